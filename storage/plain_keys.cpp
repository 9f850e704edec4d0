#include "storage/plain_keys.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "storage/base/hash.h"

namespace holdfast {
namespace {

constexpr uint64_t kBytesMin = 4096;
constexpr uint64_t kGrowth = 16;

}  // namespace

PlainKeys::PlainKeys(uint64_t bytes_max, uint64_t seed)
    : bytes_max_(bytes_max < kBytesMin ? 0 : std::bit_floor(bytes_max)), seed_(seed) {
  newest_.memory = ZeroedMemory(std::max(bytes_max_ / kGrowth, std::min(bytes_max_, kBytesMin)));
}

uint64_t PlainKeys::Fingerprint(KeyspaceId keyspace, std::string_view key) const {
  const uint64_t fingerprint = Checksum64(key, seed_ + keyspace * 0x9E3779B97F4A7C15ull);
  return fingerprint == 0 ? 1 : fingerprint;
}

uint64_t* PlainKeys::Table::Find(uint64_t hash, uint64_t fingerprint) const {
  if (memory.bytes() == 0) return nullptr;
  uint64_t* bucket = Bucket(hash);
  uint64_t* found = std::find(bucket, bucket + kBucket, fingerprint);
  return found == bucket + kBucket ? nullptr : found;
}

void PlainKeys::Table::Forget(uint64_t hash, uint64_t fingerprint) {
  uint64_t* found = Find(hash, fingerprint);
  if (found == nullptr) return;
  *found = 0;
  --used;
}

bool PlainKeys::Has(KeyspaceId keyspace, uint64_t hash, std::string_view key) const {
  if (!Kept(key)) return false;
  const uint64_t fingerprint = Fingerprint(keyspace, key);
  return newest_.Find(hash, fingerprint) != nullptr || oldest_.Find(hash, fingerprint) != nullptr;
}

void PlainKeys::Set(KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  if (!Kept(key)) return;
  const uint64_t fingerprint = Fingerprint(keyspace, key);
  if (newest_.Find(hash, fingerprint) != nullptr) return;
  uint64_t* free = newest_.Find(hash, 0);
  if (free == nullptr) {
    // Another one goes, chosen by the fingerprint: as good as at random.
    newest_.Bucket(hash)[fingerprint % kBucket] = fingerprint;
    return;
  }
  *free = fingerprint;
  if (++newest_.used > newest_.slots() / 4 * 3 && newest_.memory.bytes() < bytes_max_) Grow();
  if (newest_.used > 4 * oldest_.slots() && oldest_.slots() != 0) oldest_ = {};
}

void PlainKeys::Forget(KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  if (!Kept(key)) return;
  const uint64_t fingerprint = Fingerprint(keyspace, key);
  newest_.Forget(hash, fingerprint);
  oldest_.Forget(hash, fingerprint);
}

// Buckets come from row hashes, which are not kept: the larger table starts empty.
void PlainKeys::Grow() {
  oldest_ = std::exchange(newest_, {});
  newest_.memory = ZeroedMemory(bytes_max_);
}

}  // namespace holdfast
