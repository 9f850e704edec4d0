#include "storage/memtable.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "storage/base/check.h"
#include "storage/base/coding.h"

namespace holdfast {
namespace {

constexpr size_t kTableCapacityMin = 8;
constexpr size_t kSparseMost = 16;  // a table gets room for this many times its rows at most
constexpr size_t kShrinkFrom = 1024;
constexpr size_t kSlotsPerRowMost = 64;  // where rows were taken out
constexpr size_t kChunkBytes = 256 * 1024;
constexpr size_t kBigRow = 16 * 1024;  // rows from this size on are allocated one by one
constexpr size_t kCacheLine = 64;
constexpr size_t kPrefetchedBytes = 3 * kCacheLine;  // of a row: header, a usual key and value
constexpr uint64_t kTableRowCost = 32;               // slots of a table at its usual load
constexpr uint64_t kOrderedRowCost = 32;             // its place in the tree, with inner nodes and room left in leaves
constexpr uint64_t kTableCost = 256;                 // an empty table and its place in the map

// The most rows a table of this capacity may hold: 11/16, where runs of displaced rows are still short.
size_t RowsMax(size_t capacity) { return capacity / 16 * 11 + capacity % 16 / 2; }

size_t CapacityFor(size_t rows) {
  size_t capacity = kTableCapacityMin;
  while (RowsMax(capacity) < rows) capacity *= 2;
  return capacity;
}

void Fetch(const Row* row) {
  const char* at = reinterpret_cast<const char*>(row);
  for (size_t line = 0; line < kPrefetchedBytes; line += kCacheLine) __builtin_prefetch(at + line, 1);
}

// Walks over a table in order meet rows at places without order: those of the next slots are fetched meanwhile.
void FetchAhead(const RowTable& table, size_t position) {
  constexpr size_t kAhead = 16;
  if (position + kAhead >= table.slot_count()) return;
  const Row* row = table.slot(position + kAhead).row;
  if (row != nullptr) Fetch(row);
}

template <typename T>
T* Allocated(T* pointer) {
  CHECK_MSG(pointer != nullptr, "out of memory");
  return pointer;
}

// Asks for huge pages where they are to be had. A table that grows writes all of the new one at once: with small pages
// nearly all of that time, some ten milliseconds for half a million rows, would be page faults.
void PreferHugePages(void* memory, size_t size) {
  constexpr size_t kWorthIt = 4 << 20;
  if (size < kWorthIt) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t from = (begin + page - 1) / page * page;
  const uintptr_t to = (begin + size) / page * page;
  ::madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);  // without them it is only slower
}

}  // namespace

// ---- RowTable -------------------------------------------------------------------------------------------------------

RowTable::RowTable(size_t expected_rows) : expected_rows_(expected_rows) { Allocate(kTableCapacityMin, 4); }

RowTable::~RowTable() { std::free(slots_); }

void RowTable::Allocate(size_t capacity, size_t tail) {
  capacity_ = capacity;
  shift_ = 64 - std::countr_zero(capacity);
  slot_count_ = capacity + tail;
  slots_ = Allocated(static_cast<Slot*>(std::calloc(slot_count_, sizeof(Slot))));
  PreferHugePages(slots_, slot_count_ * sizeof(Slot));
}

RowTable::Slot* RowTable::Find(uint64_t hash, std::string_view key) const {
  for (size_t i = Home(hash); i < slot_count_; ++i) {
    Slot& slot = slots_[i];
    if (slot.row == nullptr || slot.hash > hash) return nullptr;
    if (slot.hash == hash && slot.row->key() == key) return &slot;
  }
  return nullptr;
}

bool RowTable::PrefetchRow(uint64_t hash) const {
  for (size_t i = Home(hash); i < slot_count_; ++i) {
    const Slot& slot = slots_[i];
    if (slot.row == nullptr || slot.hash > hash) return false;
    if (slot.hash != hash) continue;
    Fetch(slot.row);
    return true;
  }
  return false;
}

// Into empty slots; entries without a row are skipped.
void RowTable::Place(std::span<const Slot> sorted) {
  size_t next = 0;  // first slot behind the last row placed
  for (const Slot& from : sorted) {
    if (from.row == nullptr) continue;
    next = std::max(next, Home(from.hash));
    if (next >= slot_count_) {
      const size_t more = slot_count_ / 2;
      slots_ = Allocated(static_cast<Slot*>(std::realloc(slots_, (slot_count_ + more) * sizeof(Slot))));
      std::memset(static_cast<void*>(slots_ + slot_count_), 0, more * sizeof(Slot));
      slot_count_ += more;
    }
    slots_[next++] = from;
  }
}

void RowTable::Grow() {
  size_t capacity = capacity_ * 2;
  if (count_ >= expected_rows_ / kSparseMost) capacity = std::max(capacity, CapacityFor(expected_rows_));
  Resize(capacity);
}

void RowTable::Resize(size_t capacity) {
  Slot* old = slots_;
  const size_t old_count = slot_count_;
  Allocate(capacity, 64);
  Place({old, old_count});
  std::free(old);
}

void RowTable::Fill(std::span<const Slot> sorted) {
  CHECK(count_ == 0);
  const size_t capacity = CapacityFor(sorted.size());
  std::free(slots_);
  Allocate(capacity, capacity == kTableCapacityMin ? 4 : 64);
  Place(sorted);
  count_ = sorted.size();
}

void RowTable::Insert(uint64_t hash, Row* row) {
  if (count_ >= RowsMax(capacity_)) Grow();
  size_t at = Home(hash);
  while (at < slot_count_ && slots_[at].row != nullptr &&
         (slots_[at].hash < hash || (slots_[at].hash == hash && slots_[at].row->key() < row->key()))) {
    ++at;
  }
  size_t free = at;
  while (free < slot_count_ && slots_[free].row != nullptr) ++free;
  if (free == slot_count_) {  // the tail is full: many rows with the highest hashes
    const size_t more = std::max<size_t>(64, slot_count_ / 2);
    slots_ = Allocated(static_cast<Slot*>(std::realloc(slots_, (slot_count_ + more) * sizeof(Slot))));
    std::memset(static_cast<void*>(slots_ + slot_count_), 0, more * sizeof(Slot));
    slot_count_ += more;
  }
  std::memmove(static_cast<void*>(slots_ + at + 1), slots_ + at, (free - at) * sizeof(Slot));
  slots_[at] = Slot{hash, row};
  ++count_;
}

void RowTable::Remove(Slot* slot) {
  const auto at = static_cast<size_t>(slot - slots_);
  // Rows behind it that stand behind their homes move up by one.
  size_t end = at + 1;
  while (end < slot_count_ && slots_[end].row != nullptr && Home(slots_[end].hash) < end) ++end;
  std::memmove(static_cast<void*>(slots_ + at), slots_ + at + 1, (end - at - 1) * sizeof(Slot));
  slots_[end - 1] = Slot{0, nullptr};
  --count_;
  if (capacity_ >= kShrinkFrom && count_ < capacity_ / kSlotsPerRowMost) Resize(CapacityFor(4 * count_));
}

size_t RowTable::LowerBound(uint64_t hash, std::string_view key) const {
  for (size_t i = Home(hash); i < slot_count_; ++i) {
    const Slot& slot = slots_[i];
    if (slot.row == nullptr) continue;
    if (slot.hash > hash || (slot.hash == hash && slot.row->key() >= key)) return i;
  }
  return slot_count_;
}

// ---- rows -----------------------------------------------------------------------------------------------------------

Memtable::~Memtable() {
  for (Row* row : big_rows_) std::free(row);
}

Row* Memtable::NewRow(std::string_view key, size_t value_size, size_t value_capacity, uint64_t writer_offset) {
  CHECK(value_capacity <= std::numeric_limits<uint32_t>::max());
  CHECK(key.size() <= kRowKeyMax);
  const size_t size = (sizeof(Row) + key.size() + value_capacity + 7) & ~size_t{7};
  char* place;
  if (size >= kBigRow) {
    place = Allocated(static_cast<char*>(std::malloc(size)));
    big_rows_.insert(reinterpret_cast<Row*>(place));
  } else {
    if (size > chunk_left_) {
      chunks_.emplace_back(new char[kChunkBytes]);
      chunk_at_ = chunks_.back().get();
      chunk_left_ = kChunkBytes;
    }
    place = chunk_at_;
    chunk_at_ += size;
    chunk_left_ -= size;
  }
  bytes_ += size;
  Row* row = new (place) Row{writer_offset,
                             static_cast<uint32_t>(value_size),
                             static_cast<uint32_t>(value_capacity),
                             static_cast<uint16_t>(key.size()),
                             false,
                             false};
  if (!key.empty()) std::memcpy(place + sizeof(Row), key.data(), key.size());
  return row;
}

void Memtable::FreeRow(Row* row) {
  const size_t size = (sizeof(Row) + row->key_size + row->value_capacity + 7) & ~size_t{7};
  if (size < kBigRow) return;  // goes with the arena
  bytes_ -= size;
  big_rows_.erase(row);
  std::free(row);
}

// The row with room for the new value: itself, or a new one. The old one must be replaced wherever it is referenced,
// and then freed. Values that grow again and again (APPEND) get room in reserve.
Row* Memtable::Resized(Row* row, size_t value_size, uint64_t writer_offset) {
  // A big value that became small gives its memory back.
  const bool wasteful = row->value_capacity >= kBigRow && value_size < row->value_capacity / 4;
  if (value_size <= row->value_capacity && !wasteful) {
    row->value_size = static_cast<uint32_t>(value_size);
    row->writer_offset = writer_offset;
    row->was_tombstone |= row->tombstone;
    row->tombstone = false;
    return row;
  }
  const size_t reserve = wasteful || value_size >= (1u << 20) ? 0 : value_size / 4;
  Row* larger = NewRow(row->key(), value_size, value_size + reserve, writer_offset);
  larger->was_tombstone = row->was_tombstone || row->tombstone;
  return larger;
}

RowTable* Memtable::FindKeyTable(KeyspaceId keyspace) const {
  auto found = key_tables_.find(keyspace);
  return found == key_tables_.end() ? nullptr : found->second.get();
}

RowTable* Memtable::KeyTable(KeyspaceId keyspace, size_t expected_rows) {
  std::unique_ptr<RowTable>& table = key_tables_[keyspace];
  if (table == nullptr) {
    table = std::make_unique<RowTable>(expected_rows);
    bytes_ += kTableCost;
  }
  return table.get();
}

RowTable* Memtable::FindMemberTable(CollectionId collection) const {
  auto found = member_tables_.find(collection);
  return found == member_tables_.end() ? nullptr : found->second.get();
}

RowTable* Memtable::MemberTable(CollectionId collection, size_t expected_rows) {
  std::unique_ptr<RowTable>& table = member_tables_[collection];
  if (table == nullptr) {
    table = std::make_unique<RowTable>(expected_rows);
    bytes_ += kTableCost;
  }
  return table.get();
}

char* Memtable::Put(RowTable& table, uint64_t hash, std::string_view key, size_t value_size, uint64_t writer_offset) {
  RowTable::Slot* slot = table.Find(hash, key);
  if (slot == nullptr) {
    Row* row = NewRow(key, value_size, value_size, writer_offset);
    table.Insert(hash, row);
    bytes_ += kTableRowCost;
    ++rows_;
    return row->value_data();
  }
  Row* old = slot->row;
  Row* row = Resized(old, value_size, writer_offset);
  if (row != old) {
    slot->row = row;
    FreeRow(old);
  }
  return row->value_data();
}

void Memtable::Erase(RowTable& table, uint64_t hash, std::string_view key, uint64_t writer_offset) {
  Put(table, hash, key, 0, writer_offset);
  table.Find(hash, key)->row->tombstone = true;
}

bool Memtable::Remove(RowTable& table, uint64_t hash, std::string_view key) {
  RowTable::Slot* slot = table.Find(hash, key);
  if (slot == nullptr) return false;
  Row* row = slot->row;
  table.Remove(slot);
  FreeRow(row);
  --rows_;
  return true;
}

Row* Memtable::NewLooseRow(std::string_view key, std::string_view value, bool tombstone) {
  Row* row = NewRow(key, value.size(), value.size(), 0);
  if (!value.empty()) std::memcpy(row->value_data(), value.data(), value.size());
  row->tombstone = tombstone;
  return row;
}

void Memtable::FillTable(RowTable& table, std::span<const RowTable::Slot> sorted) {
  table.Fill(sorted);
  bytes_ += kTableRowCost * sorted.size();
  rows_ += sorted.size();
}

const Row* Memtable::FindOrdered(std::string_view row_key) const { return ordered_.Find(row_key); }

Row* Memtable::PutOrderedRow(std::string_view row_key, size_t value_size, uint64_t writer_offset) {
  Row* row = nullptr;
  Row* old = ordered_.FindOrInsert(row_key, [&] {
    row = NewRow(row_key, value_size, value_size, writer_offset);
    bytes_ += kOrderedRowCost;
    ++rows_;
    return row;
  });
  if (old == nullptr) return row;
  row = Resized(old, value_size, writer_offset);
  if (row != old) {
    ordered_.Replace(row);
    FreeRow(old);
  }
  return row;
}

void Memtable::EraseOrdered(std::string_view row_key, uint64_t writer_offset) {
  PutOrderedRow(row_key, 0, writer_offset)->tombstone = true;
}

bool Memtable::RemoveOrdered(std::string_view row_key) {
  Row* row = ordered_.Find(row_key);
  if (row == nullptr || row->tombstone || row->was_tombstone) return false;
  ordered_.Erase(row_key);
  FreeRow(row);
  --rows_;
  return true;
}

// ---- in order -------------------------------------------------------------------------------------------------------

Result<void> Memtable::VisitKeys(const Visitor& visit) const {
  std::vector<KeyspaceId> keyspaces;
  keyspaces.reserve(key_tables_.size());
  for (const auto& [id, table] : key_tables_) keyspaces.push_back(id);
  std::sort(keyspaces.begin(), keyspaces.end());
  for (const KeyspaceId keyspace : keyspaces) {
    const RowTable& table = *key_tables_.at(keyspace);
    for (size_t i = 0; i < table.slot_count(); ++i) {
      const RowTable::Slot& slot = table.slot(i);
      FetchAhead(table, i);
      if (slot.row == nullptr) continue;
      RowKey row_key;
      row_key.AppendByte(static_cast<uint8_t>(RowClass::kKey));
      row_key.AppendBig32(keyspace);
      row_key.AppendBig64(slot.hash);
      row_key.AppendAsIs(slot.row->key());
      RETURN_IF_ERROR(visit(row_key, *slot.row));
    }
  }
  return {};
}

Result<void> Memtable::VisitMembers(CollectionId collection, const Visitor& visit) const {
  const RowTable& table = *member_tables_.at(collection);
  for (size_t i = 0; i < table.slot_count(); ++i) {
    const RowTable::Slot& slot = table.slot(i);
    FetchAhead(table, i);
    if (slot.row == nullptr) continue;
    RowKey row_key;
    row_key.AppendByte(static_cast<uint8_t>(RowClass::kCollection));
    row_key.AppendBig64(collection);
    row_key.AppendByte(static_cast<uint8_t>(CollectionKind::kMember));
    row_key.AppendBig64(slot.hash);
    row_key.AppendAsIs(slot.row->key());
    RETURN_IF_ERROR(visit(row_key, *slot.row));
  }
  return {};
}

Result<void> Memtable::VisitCollections(OrderedRows::Iterator& ordered, const Visitor& visit) const {
  std::vector<CollectionId> collections;
  collections.reserve(member_tables_.size());
  for (const auto& [id, table] : member_tables_) {
    if (!dead_collections_.contains(id)) collections.push_back(id);
  }
  std::sort(collections.begin(), collections.end());
  const char end_of_class = static_cast<char>(RowClass::kExpiry);
  // Ordered rows below `bound`; those of dead collections are skipped.
  CollectionId last_id = 0;
  bool last_dead = dead_collections_.contains(0);
  auto visit_below = [&](std::string_view bound) -> Result<void> {
    for (; ordered != ordered_.end() && (*ordered)->key() < bound; ++ordered) {
      const auto id = LoadBig<uint64_t>((*ordered)->key().data() + 1);
      if (id != last_id) {
        last_id = id;
        last_dead = dead_collections_.contains(id);
      }
      if (!last_dead) RETURN_IF_ERROR(visit((*ordered)->key(), **ordered));
    }
    return {};
  };
  for (const CollectionId collection : collections) {
    RowKey members;
    MakeCollectionRowKey(members, collection, CollectionKind::kMember, {});
    RETURN_IF_ERROR(visit_below(members));
    RETURN_IF_ERROR(VisitMembers(collection, visit));
  }
  return visit_below(std::string_view(&end_of_class, 1));
}

Memtable::Counts Memtable::CountRows() const {
  Counts counts;
  for (const auto& [id, table] : key_tables_) counts.keys += table->size();
  for (const auto& [id, table] : member_tables_) counts.collections += table->size();
  for (const Row* row : ordered_) {
    const bool expiry = row->key()[0] == static_cast<char>(RowClass::kExpiry);
    ++(expiry ? counts.expiries : counts.collections);
  }
  return counts;
}

Result<void> Memtable::VisitInOrder(const Visitor& visit) const {
  RETURN_IF_ERROR(VisitKeys(visit));
  auto ordered = ordered_.begin();
  RETURN_IF_ERROR(VisitCollections(ordered, visit));
  for (; ordered != ordered_.end(); ++ordered) RETURN_IF_ERROR(visit((*ordered)->key(), **ordered));
  // Dead rows: those of keyspaces are shorter, so bytes decide the order.
  std::vector<std::string> dead;
  dead.reserve(dead_collections_.size() + dead_keyspaces_.size());
  for (const CollectionId id : dead_collections_) dead.push_back(DeadCollectionRowKey(id));
  for (const KeyspaceId id : dead_keyspaces_) dead.push_back(DeadKeyspaceRowKey(id));
  std::sort(dead.begin(), dead.end());
  const Row no_value{0, 0, 0, 0, false, false};
  for (const std::string& row_key : dead) RETURN_IF_ERROR(visit(row_key, no_value));
  return {};
}

}  // namespace holdfast
