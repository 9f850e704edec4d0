#include "storage/pick_windows.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace holdfast {
namespace {

constexpr uint64_t kMembersPerWindow = 32;  // at most, when the windows are made
constexpr uint64_t kWindowsMax = 4 << 20;   // beyond, windows hold more
constexpr uint64_t kBytesMax = 2 * kWindowsMax;
constexpr uint64_t kCollectionCost = 1200;

}  // namespace

PickWindows::Counts::Counts(uint64_t members) {
  const uint64_t windows = std::bit_ceil(std::clamp<uint64_t>(members / kMembersPerWindow, 1, kWindowsMax));
  shift_ = 64 - std::countr_zero(windows);
  members_max_ = windows == kWindowsMax ? ~uint64_t{0} : 2 * windows * kMembersPerWindow;
  counts_.assign(windows, kUnknown);
  windows_of_[kUnknown] = static_cast<uint32_t>(windows);
}

// Never beyond kWindowsMax windows, so the most members are a number again.
void PickWindows::Counts::Halve() {
  std::vector<uint8_t> halves(counts_.size() / 2);
  ++shift_;
  members_max_ = 2 * halves.size() * kMembersPerWindow;
  windows_of_ = {};
  highest_ = 0;
  for (size_t i = 0; i < halves.size(); ++i) {
    const int a = counts_[2 * i], b = counts_[2 * i + 1];
    const bool known = a != kUnknown && b != kUnknown && a + b <= kCountMax;
    halves[i] = known ? static_cast<uint8_t>(a + b) : kUnknown;
    ++windows_of_[halves[i]];
    if (known) highest_ = std::max(highest_, halves[i]);
  }
  counts_ = std::move(halves);
}

uint64_t PickWindows::Counts::Places() const {
  while (highest_ > 1 && windows_of_[highest_] == 0) --highest_;
  const uint64_t places = std::max<uint64_t>(highest_, 1);
  return windows_of_[kUnknown] > 0 ? std::max(places, kPlacesMin) : places;
}

void PickWindows::Counts::Set(uint64_t window, uint8_t count) {
  --windows_of_[counts_[window]];
  counts_[window] = count;
  ++windows_of_[count];
  if (count != kUnknown) highest_ = std::max(highest_, count);
}

void PickWindows::Counts::Learn(uint64_t window, uint64_t count) {
  Set(window, count > kCountMax ? kUnknown : static_cast<uint8_t>(count));
}

void PickWindows::Counts::Change(uint64_t hash, int by) {
  const uint64_t window = shift_ == 64 ? 0 : hash >> shift_;
  const uint8_t count = counts_[window];
  if (count == kUnknown) return;
  const int changed = count + by;
  Set(window, changed < 0 || changed > kCountMax ? kUnknown : static_cast<uint8_t>(changed));
}

PickWindows::Counts& PickWindows::For(CollectionId id, uint64_t members) {
  auto found = collections_.find(id);
  if (found != collections_.end()) {
    Counts& known = found->second;
    while (known.TooFine(members)) {
      bytes_ -= known.windows() / 2;
      known.Halve();
    }
    if (!known.TooCoarse(members)) return known;
    Forget(id);
  }
  Counts counts(members);
  const uint64_t cost = counts.windows() + kCollectionCost;
  if (bytes_ + cost > kBytesMax) {
    collections_.clear();
    bytes_ = 0;
  }
  bytes_ += cost;
  return collections_.emplace(id, std::move(counts)).first->second;
}

bool PickWindows::FindsFew(CollectionId id, uint64_t members) const {
  constexpr uint64_t kWindowsPerMember = 16 << 10;  // a fifth of a millisecond
  const auto found = collections_.find(id);
  return found != collections_.end() && found->second.windows() <= kWindowsPerMember * members;
}

void PickWindows::ChangeKnown(CollectionId id, uint64_t hash, int by) {
  const auto found = collections_.find(id);
  if (found != collections_.end()) found->second.Change(hash, by);
}

void PickWindows::Forget(CollectionId id) {
  const auto found = collections_.find(id);
  if (found == collections_.end()) return;
  bytes_ -= found->second.windows() + kCollectionCost;
  collections_.erase(found);
}

}  // namespace holdfast
