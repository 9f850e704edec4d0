// Key windows: which keys are certainly not there. To write a new key one must know that it is new; LMDB knows it, but
// at the price of many cache misses. Here it is one.
//
// The range of row hashes is cut into equal windows, one cache line each. A window that is known holds a tag, the next
// 16 bits of the row hash, of every key in its range: a key whose tag is not among them is not there. One whose tag is
// there may be there or not. A window becomes known when somebody has looked at all keys of its range, which in LMDB
// are neighbours, and stays known because every write of a key row tells it. Deletions do not: a window that fills up
// is forgotten, and learned anew.
//
// A window belongs to one keyspace at a time. Beyond about 24 keys a window, or when keys are made whose hashes are
// alike, windows are too full and know nothing. Executor only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/base/prefetch.h"
#include "storage/base/zeroed_memory.h"
#include "storage/row.h"

namespace holdfast {

class KeyWindows {
 public:
  // `bytes_max` is rounded down to a power of two; below a kilobyte there are no windows.
  explicit KeyWindows(uint64_t bytes_max);  // taken when the first window is learned

  // True: no live key row of this keyspace has this hash.
  [[nodiscard]] bool IsAbsent(KeyspaceId keyspace, uint64_t hash) const;
  // A key row was written.
  void Put(KeyspaceId keyspace, uint64_t hash);

  // ---- learning ----
  // Whether the window of `hash` should be learned now: not known, and not given up lately.
  [[nodiscard]] bool WantsToLearn(KeyspaceId keyspace, uint64_t hash);
  // What is found out of one window. Add() is for the hash of every key of the keyspace in [first, last], wherever its
  // row is, once or several times. False: there are too many, no more need be told.
  class Lesson;
  [[nodiscard]] Lesson Begin(KeyspaceId keyspace, uint64_t hash) const;
  // Nothing was written since Begin().
  void Learn(const Lesson& lesson);

  // A hint to the processor.
  void Prefetch(uint64_t hash) const {
    if (windows() != nullptr) FetchIntoCache(windows() + (hash >> shift_));
  }
  [[nodiscard]] size_t count() const { return count_; }
  [[nodiscard]] uint64_t bytes() const { return memory_.bytes(); }

 private:
  enum class State : uint8_t { kUnknown, kKnown, kTooFull };
  static constexpr size_t kTagsMax = 28;
  static constexpr int kTagBits = 16;
  struct alignas(64) Window {
    KeyspaceId keyspace;
    State state;
    uint8_t tags_used;
    uint16_t passed_over;  // times that it was not learned
    uint16_t tags[kTagsMax];

    [[nodiscard]] bool Has(uint16_t tag) const;
    // False: full.
    bool AddTag(uint16_t tag);
  };
  static_assert(sizeof(Window) == 64);

  // Null as long as nothing was learned.
  [[nodiscard]] Window* windows() const { return static_cast<Window*>(memory_.data()); }
  [[nodiscard]] uint16_t Tag(uint64_t hash) const { return static_cast<uint16_t>(hash >> (shift_ - kTagBits)); }

  size_t count_;  // a power of two, or 0
  int shift_;     // of a hash, to its window
  ZeroedMemory memory_;
};

class KeyWindows::Lesson {
 public:
  [[nodiscard]] uint64_t first() const { return first_; }
  [[nodiscard]] uint64_t last() const { return last_; }
  bool Add(uint64_t hash);

 private:
  friend class KeyWindows;
  Lesson() = default;

  Window window_{};
  uint64_t first_ = 0, last_ = 0;
  int tag_shift_ = 0;
};

}  // namespace holdfast
