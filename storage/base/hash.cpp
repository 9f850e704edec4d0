#include "storage/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "storage/base/coding.h"

namespace holdfast {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

constexpr size_t kStripe = 32;
// The four accumulators at seed 0: P1 + P2, P2, 0, -P1, all modulo 2^64.
constexpr std::array<uint64_t, 4> kInitialLanes = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};

constexpr uint64_t Round(uint64_t lane, uint64_t input) { return std::rotl(lane + input * kPrime2, 31) * kPrime1; }

constexpr uint64_t MergeLane(uint64_t accumulator, uint64_t lane) {
  return (accumulator ^ Round(0, lane)) * kPrime1 + kPrime4;
}

constexpr uint64_t Avalanche(uint64_t value) {
  value = (value ^ (value >> 33)) * kPrime2;
  value = (value ^ (value >> 29)) * kPrime3;
  return value ^ (value >> 32);
}

}  // namespace

uint64_t Checksum64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t Checksum64(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

uint64_t RowHash(std::string_view bytes) {
  const uint64_t hash = XXH3_64bits_withSeed(bytes.data(), bytes.size(), kRowHashSeed);
  return hash == 0 ? 1 : hash;
}

std::array<unsigned char, 16> RowDigest(std::string_view bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(bytes.data(), bytes.size(), kRowHashSeed));
  std::array<unsigned char, 16> digest;
  static_assert(sizeof(canonical.digest) == 16);
  std::memcpy(digest.data(), canonical.digest, digest.size());
  return digest;
}

void HistoryDigest::Reset() {
  total_length_ = 0;
  lanes_ = kInitialLanes;
  buffer_.fill(0);
}

void HistoryDigest::ConsumeStripe(const char* stripe) {
  for (size_t i = 0; i < lanes_.size(); i++) lanes_[i] = Round(lanes_[i], LoadLittle<uint64_t>(stripe + 8 * i));
}

void HistoryDigest::Update(std::string_view bytes) {
  const size_t buffered = total_length_ % kStripe;
  total_length_ += bytes.size();
  if (buffered != 0) {
    const size_t taken = std::min(kStripe - buffered, bytes.size());
    if (taken != 0) std::memcpy(buffer_.data() + buffered, bytes.data(), taken);
    bytes.remove_prefix(taken);
    if (buffered + taken < kStripe) return;
    ConsumeStripe(buffer_.data());
    buffer_.fill(0);
  }
  while (bytes.size() >= kStripe) {
    ConsumeStripe(bytes.data());
    bytes.remove_prefix(kStripe);
  }
  if (!bytes.empty()) std::memcpy(buffer_.data(), bytes.data(), bytes.size());
}

uint64_t HistoryDigest::Value() const {
  uint64_t value;
  if (total_length_ >= kStripe) {
    value = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (uint64_t lane : lanes_) value = MergeLane(value, lane);
  } else {
    value = kPrime5;
  }
  value += total_length_;

  const char* at = buffer_.data();
  size_t left = total_length_ % kStripe;
  for (; left >= 8; at += 8, left -= 8) {
    value = std::rotl(value ^ Round(0, LoadLittle<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  }
  if (left >= 4) {
    value = std::rotl(value ^ (uint64_t{LoadLittle<uint32_t>(at)} * kPrime1), 23) * kPrime2 + kPrime3;
    at += 4;
    left -= 4;
  }
  for (; left > 0; at++, left--) {
    value = std::rotl(value ^ (uint64_t{static_cast<unsigned char>(*at)} * kPrime5), 11) * kPrime1;
  }
  return Avalanche(value);
}

void HistoryDigest::AppendTo(std::string& to) const {
  AppendLittle(to, total_length_);
  for (uint64_t lane : lanes_) AppendLittle(to, lane);
  to.append(buffer_.data(), buffer_.size());
}

Result<HistoryDigest> HistoryDigest::Parse(std::string_view bytes) {
  if (bytes.size() != kSerializedSize) {
    return Error{ErrorCode::kCorruption, "history digest: " + std::to_string(bytes.size()) + " bytes, expected " +
                                             std::to_string(kSerializedSize)};
  }
  HistoryDigest digest;
  ByteReader reader(bytes);
  digest.total_length_ = reader.Little<uint64_t>();
  for (uint64_t& lane : digest.lanes_) lane = reader.Little<uint64_t>();
  const std::string_view buffered = reader.Bytes(kStripe);
  std::copy(buffered.begin(), buffered.end(), digest.buffer_.begin());
  // One state has one serialized form: what cannot have come from AppendTo is refused.
  if (buffered.substr(digest.total_length_ % kStripe).find_first_not_of('\0') != std::string_view::npos) {
    return Error{ErrorCode::kCorruption, "history digest: bytes beyond the buffered ones are not zero"};
  }
  if (digest.total_length_ < kStripe && digest.lanes_ != kInitialLanes) {
    return Error{ErrorCode::kCorruption, "history digest: lanes differ from the initial ones before the first stripe"};
  }
  return digest;
}

}  // namespace holdfast
