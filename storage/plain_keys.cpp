#include "storage/plain_keys.h"

#include <algorithm>
#include <bit>

#include "storage/base/hash.h"
#include "storage/base/out_of_memory.h"

namespace holdfast {
namespace {

constexpr size_t kSlotsMin = 512;
constexpr size_t kGrowth = 4;

}  // namespace

PlainKeys::PlainKeys(uint64_t bytes_max, uint64_t seed)
    : slots_max_(bytes_max < kSlotsMin * sizeof(uint64_t) ? 0 : std::bit_floor(bytes_max / sizeof(uint64_t))),
      seed_(seed) {
  Allocate(std::min<uint64_t>(slots_max_, kSlotsMin));
}

void PlainKeys::Allocate(uint64_t slots) {
  slot_count_ = slots;
  used_ = 0;
  slots_.reset(slots == 0 ? nullptr : Allocated(static_cast<uint64_t*>(std::calloc(slots, sizeof(uint64_t)))));
}

uint64_t PlainKeys::Fingerprint(KeyspaceId keyspace, std::string_view key) const {
  const uint64_t fingerprint = Checksum64(key, seed_ + keyspace * 0x9E3779B97F4A7C15ull);
  return fingerprint == 0 ? 1 : fingerprint;
}

bool PlainKeys::Has(KeyspaceId keyspace, uint64_t hash, std::string_view key) const {
  if (slot_count_ == 0 || key.size() > kKeyMax) return false;
  const uint64_t* bucket = slots_.get() + Bucket(hash);
  return std::find(bucket, bucket + kBucket, Fingerprint(keyspace, key)) != bucket + kBucket;
}

void PlainKeys::Set(KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  if (slot_count_ == 0 || key.size() > kKeyMax) return;
  const uint64_t fingerprint = Fingerprint(keyspace, key);
  uint64_t* bucket = slots_.get() + Bucket(hash);
  uint64_t* free = nullptr;
  for (uint64_t* slot = bucket; slot != bucket + kBucket; ++slot) {
    if (*slot == fingerprint) return;
    if (*slot == 0 && free == nullptr) free = slot;
  }
  if (free == nullptr) {
    // Another one goes, chosen by the fingerprint: as good as at random.
    bucket[fingerprint % kBucket] = fingerprint;
    return;
  }
  *free = fingerprint;
  if (++used_ > slot_count_ / 4 * 3 && slot_count_ < slots_max_) Grow();
}

void PlainKeys::Forget(KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  if (slot_count_ == 0 || key.size() > kKeyMax) return;
  uint64_t* bucket = slots_.get() + Bucket(hash);
  uint64_t* found = std::find(bucket, bucket + kBucket, Fingerprint(keyspace, key));
  if (found == bucket + kBucket) return;
  *found = 0;
  --used_;
}

// Buckets come from row hashes, which are not kept: the larger table starts empty.
void PlainKeys::Grow() { Allocate(std::min<uint64_t>(slot_count_ * kGrowth, slots_max_)); }

}  // namespace holdfast
