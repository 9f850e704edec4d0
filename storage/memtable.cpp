#include "storage/memtable.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/out_of_memory.h"

namespace holdfast {
namespace {

constexpr size_t kBigRow = 16 * 1024;     // rows from this size on are allocated one by one
constexpr uint64_t kTableRowCost = 32;    // slots of a table at its usual load
constexpr uint64_t kOrderedRowCost = 32;  // its place in the tree, with inner nodes and room left in leaves
constexpr uint64_t kTableCost = 256;      // an empty table and its place in the map

}  // namespace

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
    place = arena_.Allocate(size);
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

RowTable* Memtable::KeyTable(KeyspaceId keyspace) {
  std::unique_ptr<RowTable>& table = key_tables_[keyspace];
  if (table == nullptr) {
    table = std::make_unique<RowTable>(arena_);
    bytes_ += kTableCost;
  }
  return table.get();
}

RowTable* Memtable::FindMemberTable(CollectionId collection) const {
  auto found = member_tables_.find(collection);
  return found == member_tables_.end() ? nullptr : found->second.get();
}

RowTable* Memtable::MemberTable(CollectionId collection) {
  std::unique_ptr<RowTable>& table = member_tables_[collection];
  if (table == nullptr) {
    table = std::make_unique<RowTable>(arena_);
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
    for (RowTable::Walk walk(table); walk.valid(); walk.Next()) {
      const RowTable::Slot& slot = walk.slot();
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
  for (RowTable::Walk walk(table); walk.valid(); walk.Next()) {
    const RowTable::Slot& slot = walk.slot();
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
    if (!IsDead(id)) collections.push_back(id);
  }
  std::sort(collections.begin(), collections.end());
  const char end_of_class = static_cast<char>(RowClass::kExpiry);
  // Ordered rows below `bound`; those of dead collections are skipped.
  CollectionId last_id = 0;
  bool last_dead = IsDead(0);
  auto visit_below = [&](std::string_view bound) -> Result<void> {
    for (; ordered != ordered_.end() && (*ordered)->key() < bound; ++ordered) {
      const auto id = LoadBig<uint64_t>((*ordered)->key().data() + 1);
      if (id != last_id) {
        last_id = id;
        last_dead = IsDead(id);
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
