// The clean row cache: values of LMDB rows that were read lately, bounded in bytes, second-chance eviction. Filled by
// reads and emptied by writes of the executor, so an entry is never older or newer than the layers below the memtables.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "storage/base/prefetch.h"

namespace holdfast {

class RowCache {
 public:
  explicit RowCache(uint64_t bytes_max);
  ~RowCache();
  RowCache(const RowCache&) = delete;
  RowCache& operator=(const RowCache&) = delete;

  // `space` tells apart keyspaces and the kinds of a collection; `hash` should be well spread.
  // The value lives until it is erased or ReleaseEvicted() is called: rows evicted by an Insert stay that long.
  struct Value {
    const char* data = nullptr;  // null: not here
    uint32_t size = 0;
    [[nodiscard]] std::string_view view() const { return {data, size}; }
  };
  Value Find(uint64_t space, uint64_t hash, std::string_view key);
  // Hints to the processor: to fetch the slot; then, when that has come, to fetch the entry it leads to.
  void PrefetchSlot(uint64_t space, uint64_t hash) const { FetchIntoCache(slots_.get() + (Mix(space, hash) & mask_)); }
  void PrefetchEntry(uint64_t space, uint64_t hash) const;
  // Not kept if it is large against the whole cache, or when much was evicted since the last ReleaseEvicted().
  void Insert(uint64_t space, uint64_t hash, std::string_view key, std::string_view value);
  void Erase(uint64_t space, uint64_t hash, std::string_view key);
  void ReleaseEvicted() {
    if (!evicted_.empty()) FreeEvicted();
  }
  void Clear();

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] uint64_t rows() const { return clock_.size(); }
  [[nodiscard]] uint64_t hits() const { return hits_; }
  [[nodiscard]] uint64_t misses() const { return misses_; }

 private:
  struct Entry;
  static constexpr size_t kNotFound = ~size_t{0};

  [[nodiscard]] static uint64_t Mix(uint64_t space, uint64_t hash) {
    const uint64_t x = (hash ^ (space * 0x9E3779B97F4A7C15ull)) * 0xD6E8FEB86659FD93ull;
    return x ^ (x >> 32);
  }
  [[nodiscard]] size_t SlotOf(uint64_t mixed, uint64_t space, std::string_view key) const;
  Entry* TakeOut(size_t slot);
  void FreeEvicted();
  void Evict(size_t slot);
  void EvictOne();

  struct Free {
    void operator()(Entry** slots) const { std::free(static_cast<void*>(slots)); }
  };

  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
  size_t mask_;
  // As many as the smallest entries could need, so that the table never grows: that would take tens of milliseconds.
  // Zeroed memory costs nothing until it is used.
  std::unique_ptr<Entry*[], Free> slots_;
  std::vector<Entry*> clock_;  // all entries; the hand goes round
  size_t hand_ = 0;
  std::vector<Entry*> evicted_;
  uint64_t evicted_bytes_ = 0;
};

}  // namespace holdfast
