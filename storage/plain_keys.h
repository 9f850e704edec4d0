// Plain keys: of which keys LMDB's row is known to be an inline string without expiry. To overwrite such a one nothing
// else need be known of the old value, so no look into LMDB, which is many cache misses, but one into this table.
//
// A bounded set of 64-bit fingerprints; it forgets when it is full and when it grows. A fingerprint is a hash under a
// secret seed, its bucket comes from the row hash: a key that is not in the set is taken for one that is with a chance
// of about 2^-60, which no crafted keys raise. Longer keys, for which XXH3 is weaker, are left out.
//
// What keeps it true: every write of a key row tells it, Set or Forget, and a key that a memtable holds is looked for
// there first. So it need not know when rows reach LMDB. Executor only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "storage/row.h"

namespace holdfast {

class PlainKeys {
 public:
  // `bytes_max` is rounded down to a power of two; below a few hundred the set stays empty.
  PlainKeys(uint64_t bytes_max, uint64_t seed);

  [[nodiscard]] bool Has(KeyspaceId keyspace, uint64_t hash, std::string_view key) const;
  void Set(KeyspaceId keyspace, uint64_t hash, std::string_view key);
  void Forget(KeyspaceId keyspace, uint64_t hash, std::string_view key);
  // A hint to the processor.
  void Prefetch(uint64_t hash) const {
    if (slot_count_ != 0) __builtin_prefetch(slots_.get() + Bucket(hash), 1);
  }
  [[nodiscard]] uint64_t bytes() const { return slot_count_ * sizeof(uint64_t); }

 private:
  static constexpr size_t kBucket = 8;  // one cache line
  static constexpr size_t kKeyMax = 128;

  // First slot of the bucket.
  [[nodiscard]] size_t Bucket(uint64_t hash) const { return (hash >> 20) & (slot_count_ - 1) & ~(kBucket - 1); }
  [[nodiscard]] uint64_t Fingerprint(KeyspaceId keyspace, std::string_view key) const;
  void Grow();
  void Allocate(uint64_t slots);

  struct Free {
    void operator()(uint64_t* slots) const { std::free(slots); }
  };

  uint64_t slots_max_;
  uint64_t seed_;
  uint64_t used_ = 0;  // slots
  uint64_t slot_count_ = 0;
  std::unique_ptr<uint64_t[], Free> slots_;  // 0: empty. Zeroed memory costs nothing until it is used
};

}  // namespace holdfast
