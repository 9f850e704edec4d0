// Rows of one keyspace or collection by hash, in memory.
//
// Open addressing without wrap-around whose slots stay sorted by (hash, key): the home slot is the hash's high bits,
// and an insertion shifts the few slots behind it. So a lookup is one or two cache lines, and walking the slots is
// walking in hash order: cursor ranges and the freeze need no sort. Crafted collisions cost time, not correctness.
//
// No insertion moves more than a few thousand rows, however large the table: beyond some size it consists of segments,
// each with the rows of one range of hashes, that split in two when they are full. The directory that finds them by the
// highest bits of the hash is extendible hashing (Fagin et al., ACM TODS 4:3, 1979), with the bits taken from the top,
// which keeps the order.
//
// Threads: written by one; once nobody writes it may be read by any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "storage/base/prefetch.h"
#include "storage/memory_row.h"
#include "storage/row_arena.h"

namespace holdfast {

class RowTable {
 public:
  struct Slot {
    uint64_t hash;
    Row* row;  // null: empty
  };
  // Where a row stands, or the end. Valid until the next Insert or Remove.
  struct Position {
    size_t segment = 0;  // the first entry of the directory that leads to it
    size_t slot = 0;
    friend bool operator==(const Position&, const Position&) = default;
  };

  // The arena outlives the table.
  explicit RowTable(RowArena& arena);
  ~RowTable();
  RowTable(const RowTable&) = delete;
  RowTable& operator=(const RowTable&) = delete;

  // The slot of the row, null if it is not here. Valid until the next Insert or Remove.
  [[nodiscard]] Slot* Find(uint64_t hash, std::string_view key) const;
  // Hints to the processor: to fetch the hash's home slot; then, when that has come, to fetch the first row of that
  // hash. False if there is none.
  void PrefetchSlot(uint64_t hash) const {
    const Segment& segment = SegmentOf(hash);
    FetchIntoCache(segment.slots + segment.Home(hash));
  }
  [[nodiscard]] bool PrefetchRow(uint64_t hash) const;
  // The row must not be here yet.
  void Insert(uint64_t hash, Row* row);
  // Takes the row at `slot` (Find) out; the row itself stays.
  void Remove(Slot* slot);
  // Fills an empty table with rows in strictly ascending order of (hash, key).
  void Fill(std::span<const Slot> sorted);
  [[nodiscard]] size_t size() const { return count_; }
  // Empty ones included: what a walk costs.
  [[nodiscard]] size_t slots() const { return slots_; }

  // ---- in order ----
  [[nodiscard]] Position First() const;
  [[nodiscard]] Position End() const { return {size_t{1} << depth_, 0}; }
  // The first row with (hash, key) >= the given; End() if there is none.
  [[nodiscard]] Position LowerBound(uint64_t hash, std::string_view key) const;
  void Next(Position& position) const;
  // False, and `position` is of no use any more, if there is none before it.
  [[nodiscard]] bool Previous(Position& position) const;
  [[nodiscard]] const Slot& At(const Position& position) const {
    return directory_[position.segment]->slots[position.slot];
  }
  // In order, for walks over many rows: these lie at places without order, and are fetched some time before they come.
  class Walk;

 private:
  struct alignas(64) Segment {  // one cache line
    Slot* slots = nullptr;
    size_t slot_count = 0;  // with the tail that displaced rows of the last homes spill into
    size_t capacity = 0;    // power of two: home slots
    size_t count = 0;
    int depth = 0;  // so many of the hash's highest bits are the same in all its rows
    int shift = 0;
    bool in_arena = false;  // the slots

    [[nodiscard]] size_t Home(uint64_t hash) const { return (hash << depth) >> shift; }
  };

  [[nodiscard]] size_t EntryOf(uint64_t hash) const { return (hash >> 1) >> (63 - depth_); }
  [[nodiscard]] Segment& SegmentOf(uint64_t hash) const { return *directory_[EntryOf(hash)]; }
  // Entries of the directory that lead to it.
  [[nodiscard]] size_t Entries(const Segment& segment) const { return size_t{1} << (depth_ - segment.depth); }
  void Settle(Position& position) const;
  void Allocate(Segment& segment, size_t capacity);
  void Release(Segment& segment);
  void Lengthen(Segment& segment);
  void Place(Segment& segment, std::span<const Slot> sorted);
  void Resize(Segment& segment, size_t capacity);
  [[nodiscard]] bool MaySplit(const Segment& segment) const;
  void Split(size_t entry);
  void Deepen();
  void Rebuild();
  void Clear();

  RowArena& arena_;
  Segment* root_entry_ = &root_;
  Segment** directory_ = &root_entry_;  // its own while there is but one segment
  int depth_ = 0;                       // the directory has 2^depth entries
  Segment root_;                        // that one
  std::unique_ptr<Segment*[]> entries_;
  size_t count_ = 0;
  size_t slots_ = 0;
};

// Valid until the next Insert or Remove.
class RowTable::Walk {
 public:
  explicit Walk(const RowTable& table);
  [[nodiscard]] bool valid() const { return at_ != table_.End(); }
  [[nodiscard]] const Slot& slot() const { return table_.At(at_); }
  void Next();

 private:
  void FetchNext();

  const RowTable& table_;
  Position at_;
  Position ahead_;  // the next row to fetch
};

}  // namespace holdfast
