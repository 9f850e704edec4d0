// Plain keys: of which keys LMDB's row is known to be an inline string without expiry. To overwrite such a one nothing
// else need be known of the old value, so no look into LMDB, which is many cache misses, but one into this table.
//
// A bounded set of 64-bit fingerprints; it forgets when it is full. It begins small: when the small table is full, a
// large one takes its place, and the small one is asked, too, until the large one has far more to say. A fingerprint is
// a hash under a secret seed, its bucket comes from the row hash: a key that is not in the set is taken for one that is
// with a chance of about 2^-60, which no crafted keys raise. Longer keys, for which XXH3 is weaker, are left out.
//
// What keeps it true: every write of a key row tells it, Set or Forget, and a key that a memtable holds is looked for
// there first. So it need not know when rows reach LMDB. Executor only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/base/prefetch.h"
#include "storage/base/zeroed_memory.h"
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
    if (newest_.slots() != 0) FetchIntoCache(newest_.Bucket(hash));
  }
  [[nodiscard]] uint64_t bytes() const { return newest_.memory.bytes() + oldest_.memory.bytes(); }

 private:
  static constexpr size_t kBucket = 8;  // one cache line
  static constexpr size_t kKeyMax = 128;

  struct Table {
    ZeroedMemory memory;  // 0: an empty slot
    uint64_t used = 0;

    [[nodiscard]] uint64_t slots() const { return memory.bytes() / sizeof(uint64_t); }
    // First slot of the bucket.
    [[nodiscard]] uint64_t* Bucket(uint64_t hash) const {
      return static_cast<uint64_t*>(memory.data()) + ((hash >> 20) & (slots() - 1) & ~(kBucket - 1));
    }
    // Null: it is not here.
    [[nodiscard]] uint64_t* Find(uint64_t hash, uint64_t fingerprint) const;
    void Forget(uint64_t hash, uint64_t fingerprint);
  };

  [[nodiscard]] uint64_t Fingerprint(KeyspaceId keyspace, std::string_view key) const;
  [[nodiscard]] bool Kept(std::string_view key) const { return newest_.slots() != 0 && key.size() <= kKeyMax; }
  void Grow();

  uint64_t bytes_max_;
  uint64_t seed_;
  Table newest_;
  Table oldest_;  // the small one while it is still asked
};

}  // namespace holdfast
