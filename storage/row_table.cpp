#include "storage/row_table.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/out_of_memory.h"

namespace holdfast {
namespace {

constexpr size_t kCapacityMin = 8;
constexpr size_t kCapacityOfSplit = 4096;   // home slots of a segment that splits instead of growing
constexpr size_t kRowsPerEntryLeast = 256;  // of the directory: hashes that are alike must not blow it up
constexpr size_t kShrinkFrom = 1024;
constexpr size_t kSlotsPerRowMost = 64;  // where rows were taken out
constexpr size_t kTailMin = 4;
constexpr size_t kTailMax = 64;
static_assert((kCapacityOfSplit + kTailMax) * sizeof(RowTable::Slot) == RowArena::kBlockBytes);
constexpr size_t kAhead = 16;
constexpr size_t kCacheLine = 64;
constexpr size_t kPrefetchedBytes = 3 * kCacheLine;  // of a row: header, a usual key and value

// The most rows a segment of this capacity may hold: 11/16, where runs of displaced rows are still short.
size_t RowsMax(size_t capacity) { return capacity / 16 * 11 + capacity % 16 / 2; }

size_t CapacityFor(size_t rows) {
  size_t capacity = kCapacityMin;
  while (RowsMax(capacity) < rows) capacity *= 2;
  return capacity;
}

void Fetch(const Row* row) {
  const char* at = reinterpret_cast<const char*>(row);
  for (size_t line = 0; line < kPrefetchedBytes; line += kCacheLine) FetchIntoCache(at + line);
}

bool Before(const RowTable::Slot& slot, uint64_t hash, std::string_view key) {
  return slot.hash < hash || (slot.hash == hash && slot.row->key() < key);
}

}  // namespace

RowTable::RowTable(RowArena& arena) : arena_(arena) { Allocate(root_, kCapacityMin); }

RowTable::~RowTable() { Clear(); }

// ---- segments -------------------------------------------------------------------------------------------------------

void RowTable::Allocate(Segment& segment, size_t capacity) {
  segment.capacity = capacity;
  segment.shift = 64 - std::countr_zero(capacity);
  segment.slot_count = capacity + std::clamp(capacity / 2, kTailMin, kTailMax);
  segment.in_arena = segment.slot_count * sizeof(Slot) == RowArena::kBlockBytes;
  if (segment.in_arena) {
    segment.slots = reinterpret_cast<Slot*>(arena_.TakeBlock());
    std::memset(static_cast<void*>(segment.slots), 0, RowArena::kBlockBytes);
  } else {
    segment.slots = Allocated(static_cast<Slot*>(std::calloc(segment.slot_count, sizeof(Slot))));
  }
  slots_ += segment.slot_count;
}

void RowTable::Release(Segment& segment) {
  slots_ -= segment.slot_count;
  if (segment.in_arena) {
    arena_.GiveBlock(reinterpret_cast<char*>(segment.slots));
  } else {
    std::free(segment.slots);
  }
  segment.slots = nullptr;
  segment.slot_count = 0;
}

// The tail is full: many rows with the highest hashes.
void RowTable::Lengthen(Segment& segment) {
  const Segment old = segment;
  segment.slot_count += std::max(kTailMax, segment.slot_count / 2);
  segment.in_arena = false;
  segment.slots = Allocated(static_cast<Slot*>(std::calloc(segment.slot_count, sizeof(Slot))));
  std::memcpy(static_cast<void*>(segment.slots), old.slots, old.slot_count * sizeof(Slot));
  slots_ += segment.slot_count;
  Segment gone = old;
  Release(gone);
}

// Into empty slots; entries without a row are skipped.
void RowTable::Place(Segment& segment, std::span<const Slot> sorted) {
  size_t next = 0;  // first slot behind the last row placed
  for (const Slot& from : sorted) {
    if (from.row == nullptr) continue;
    next = std::max(next, segment.Home(from.hash));
    if (next >= segment.slot_count) Lengthen(segment);
    segment.slots[next++] = from;
    ++segment.count;
  }
}

void RowTable::Resize(Segment& segment, size_t capacity) {
  Segment larger;
  larger.depth = segment.depth;
  Allocate(larger, capacity);
  Place(larger, {segment.slots, segment.slot_count});
  Release(segment);
  segment = larger;
}

bool RowTable::MaySplit(const Segment& segment) const {
  if (segment.capacity < kCapacityOfSplit) return false;
  return segment.depth < depth_ || (size_t{2} << depth_) * kRowsPerEntryLeast <= count_;
}

// Twice the entries, two for each.
void RowTable::Deepen() {
  const size_t size = size_t{1} << depth_;
  auto entries = std::make_unique<Segment*[]>(2 * size);
  for (size_t i = 0; i < 2 * size; ++i) entries[i] = directory_[i / 2];
  entries_ = std::move(entries);
  directory_ = entries_.get();
  ++depth_;
}

void RowTable::Split(size_t entry) {
  if (directory_[entry]->depth == depth_) {
    Deepen();
    entry *= 2;
  }
  Segment* whole = directory_[entry];
  const size_t entries = Entries(*whole);
  const size_t first = entry & ~(entries - 1);
  const std::span<const Slot> slots(whole->slots, whole->slot_count);
  const uint64_t bit = uint64_t{1} << (63 - whole->depth);
  size_t middle = 0;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].row != nullptr && (slots[i].hash & bit) == 0) middle = i + 1;
  }
  for (const bool high : {false, true}) {
    const std::span<const Slot> part = high ? slots.subspan(middle) : slots.first(middle);
    auto half = std::make_unique<Segment>();
    half->depth = whole->depth + 1;
    Allocate(*half, std::max(kCapacityOfSplit, whole->capacity / 2));
    Place(*half, part);
    for (size_t i = 0; i < entries / 2; ++i) directory_[first + (high ? entries / 2 : 0) + i] = half.get();
    half.release();
  }
  Release(*whole);
  if (whole != &root_) delete whole;
}

// Back to one segment, which has no slots.
void RowTable::Clear() {
  for (size_t i = 0; i < size_t{1} << depth_;) {
    Segment* segment = directory_[i];
    i += Entries(*segment);
    Release(*segment);
    if (segment != &root_) delete segment;
  }
  root_ = Segment{};
  root_entry_ = &root_;
  directory_ = &root_entry_;
  entries_.reset();
  depth_ = 0;
  count_ = 0;
}

// ---- rows -----------------------------------------------------------------------------------------------------------

RowTable::Slot* RowTable::Find(uint64_t hash, std::string_view key) const {
  const Segment& segment = SegmentOf(hash);
  for (size_t i = segment.Home(hash); i < segment.slot_count; ++i) {
    Slot& slot = segment.slots[i];
    if (slot.row == nullptr || slot.hash > hash) return nullptr;
    if (slot.hash == hash && slot.row->key() == key) return &slot;
  }
  return nullptr;
}

bool RowTable::PrefetchRow(uint64_t hash) const {
  const Segment& segment = SegmentOf(hash);
  for (size_t i = segment.Home(hash); i < segment.slot_count; ++i) {
    const Slot& slot = segment.slots[i];
    if (slot.row == nullptr || slot.hash > hash) return false;
    if (slot.hash != hash) continue;
    Fetch(slot.row);
    return true;
  }
  return false;
}

void RowTable::Insert(uint64_t hash, Row* row) {
  for (;;) {
    Segment& full = SegmentOf(hash);
    if (full.count < RowsMax(full.capacity)) break;
    MaySplit(full) ? Split(EntryOf(hash)) : Resize(full, full.capacity * 2);
  }
  Segment& segment = SegmentOf(hash);
  size_t at = segment.Home(hash);
  while (at < segment.slot_count && segment.slots[at].row != nullptr && Before(segment.slots[at], hash, row->key()))
    ++at;
  size_t free = at;
  while (free < segment.slot_count && segment.slots[free].row != nullptr) ++free;
  if (free == segment.slot_count) Lengthen(segment);
  Slot* slots = segment.slots;
  std::memmove(static_cast<void*>(slots + at + 1), slots + at, (free - at) * sizeof(Slot));
  slots[at] = Slot{hash, row};
  ++segment.count;
  ++count_;
}

void RowTable::Remove(Slot* slot) {
  Segment& segment = SegmentOf(slot->hash);
  Slot* slots = segment.slots;
  const auto at = static_cast<size_t>(slot - slots);
  // Rows behind it that stand behind their homes move up by one.
  size_t end = at + 1;
  while (end < segment.slot_count && slots[end].row != nullptr && segment.Home(slots[end].hash) < end) ++end;
  std::memmove(static_cast<void*>(slots + at), slots + at + 1, (end - at - 1) * sizeof(Slot));
  slots[end - 1] = Slot{0, nullptr};
  --segment.count;
  --count_;
  if (slots_ >= kShrinkFrom && count_ < slots_ / kSlotsPerRowMost) Rebuild();
}

// Into a table that its rows fill: they are few.
void RowTable::Rebuild() {
  std::vector<Slot> rows;
  rows.reserve(count_);
  for (Position at = First(); at != End(); Next(at)) rows.push_back(At(at));
  Clear();
  Allocate(root_, CapacityFor(4 * rows.size()));
  Place(root_, rows);
  count_ = rows.size();
}

void RowTable::Fill(std::span<const Slot> sorted) {
  CHECK(count_ == 0);
  Clear();
  // As many segments as leave each room to grow.
  while ((sorted.size() >> depth_) > RowsMax(kCapacityOfSplit) * 3 / 4) ++depth_;
  const size_t entries = size_t{1} << depth_;
  if (depth_ > 0) {
    entries_ = std::make_unique<Segment*[]>(entries);
    directory_ = entries_.get();
  }
  for (size_t entry = 0; entry < entries; ++entry) {
    const auto end = std::partition_point(sorted.begin(), sorted.end(),
                                          [&](const Slot& slot) { return EntryOf(slot.hash) <= entry; });
    const auto part = sorted.first(static_cast<size_t>(end - sorted.begin()));
    sorted = sorted.subspan(part.size());
    if (depth_ > 0) directory_[entry] = new Segment;
    Segment& segment = *directory_[entry];
    segment.depth = depth_;
    Allocate(segment, CapacityFor(part.size()));
    Place(segment, part);
    count_ += part.size();
  }
}

// ---- in order -------------------------------------------------------------------------------------------------------

// On to the next row, from here on.
void RowTable::Settle(Position& position) const {
  const size_t entries = size_t{1} << depth_;
  while (position.segment < entries) {
    const Segment& segment = *directory_[position.segment];
    while (position.slot < segment.slot_count && segment.slots[position.slot].row == nullptr) ++position.slot;
    if (position.slot < segment.slot_count) return;
    position = {position.segment + Entries(segment), 0};
  }
}

RowTable::Position RowTable::First() const {
  Position first;
  Settle(first);
  return first;
}

void RowTable::Next(Position& position) const {
  ++position.slot;
  Settle(position);
}

bool RowTable::Previous(Position& position) const {
  for (;;) {
    if (position.slot == 0) {
      if (position.segment == 0) return false;
      const Segment& segment = *directory_[position.segment - 1];
      position = {position.segment - Entries(segment), segment.slot_count};
    }
    --position.slot;
    if (At(position).row != nullptr) return true;
  }
}

RowTable::Position RowTable::LowerBound(uint64_t hash, std::string_view key) const {
  const size_t entry = EntryOf(hash);
  const Segment& segment = *directory_[entry];
  Position at{entry & ~(Entries(segment) - 1), segment.Home(hash)};
  for (; at.slot < segment.slot_count; ++at.slot) {
    const Slot& slot = segment.slots[at.slot];
    if (slot.row != nullptr && !Before(slot, hash, key)) return at;
  }
  Settle(at);
  return at;
}

RowTable::Walk::Walk(const RowTable& table) : table_(table), at_(table.First()), ahead_(at_) {
  for (size_t i = 0; i < kAhead; ++i) FetchNext();
}

void RowTable::Walk::Next() {
  table_.Next(at_);
  FetchNext();
}

void RowTable::Walk::FetchNext() {
  if (ahead_ == table_.End()) return;
  Fetch(table_.At(ahead_).row);
  table_.Next(ahead_);
}

}  // namespace holdfast
