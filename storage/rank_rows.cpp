#include "storage/rank_rows.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/hash.h"

namespace holdfast {
namespace {

constexpr size_t kScoreBytes = 8;
constexpr int kBitsPerLevel = 5;
static_assert(kMembersPerFence == 1u << kBitsPerLevel);

}  // namespace

CollectionKind FenceKind(int level) {
  constexpr std::array kKinds = {CollectionKind::kFence1, CollectionKind::kFence2, CollectionKind::kFence3};
  static_assert(kKinds.size() == kFenceLevels);
  CHECK(level >= 1);
  CHECK(level <= kFenceLevels);
  return kKinds[static_cast<size_t>(level - 1)];
}

int FenceLevel(std::string_view score_suffix) {
  if (score_suffix.size() < kScoreBytes || score_suffix.size() >= kScoreBytes + kFenceMemberMax) return 0;
  const uint64_t hash = RowHash(score_suffix.substr(kScoreBytes));
  return std::min(std::countr_zero(hash) / kBitsPerLevel, kFenceLevels);
}

std::string_view FirstFence() { return {"\0\0\0\0\0\0\0\0", kScoreBytes}; }

FenceCounter::FenceCounter() {
  for (int level = 1; level <= kFenceLevels; ++level) {
    open_[static_cast<size_t>(level - 1)] = {level, std::string(FirstFence()), 0};
  }
}

void FenceCounter::Close(int level) {
  Fence& fence = open_[static_cast<size_t>(level - 1)];
  bytes_ += sizeof(Fence) + fence.suffix.size();
  done_.push_back(std::move(fence));
}

void FenceCounter::Add(std::string_view score_suffix) {
  for (int level = FenceLevel(score_suffix); level > 0; --level) {
    Close(level);
    open_[static_cast<size_t>(level - 1)] = {level, std::string(score_suffix), 0};
  }
  for (Fence& fence : open_) ++fence.count;
}

void FenceCounter::Finish() {
  for (int level = 1; level <= kFenceLevels; ++level) Close(level);
}

std::vector<FenceCounter::Fence> FenceCounter::Take() {
  bytes_ = 0;
  return std::exchange(done_, {});
}

}  // namespace holdfast
