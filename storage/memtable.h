// Rows in memory: the active and the frozen layer of the store.
//
// Key rows lie in one table a keyspace, member rows (hash fields, set members) in one table a collection; all other
// rows (byte-ordered: score index, list items, chunks, expiry rows ...) in one tree by whole row keys
// (storage/ordered_rows.h).
//
// RowTable is open addressing without wrap-around whose slots stay sorted by (hash, key): the home slot is the hash's
// high bits, and an insertion shifts the few slots behind it. So a lookup is one or two cache lines, and walking the
// slots is walking in hash order: cursor ranges and the freeze need no sort. Deletions are tombstones, but for rows
// that no layer below can hold: those are taken out. Crafted collisions cost time, not correctness.
//
// A row is one allocation (header, key, value), overwritten in place when the new value fits. Small rows come from an
// arena that is freed as a whole.
//
// Threads: written by the executor while active. Once frozen it is immutable and may be read by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "storage/base/result.h"
#include "storage/ordered_rows.h"
#include "storage/row.h"

namespace holdfast {

// Header of a row; key and value bytes follow it.
struct Row {
  uint64_t writer_offset;
  uint32_t value_size;
  uint32_t value_capacity;
  uint16_t key_size;
  bool tombstone;
  bool was_tombstone;  // replaced a tombstone in this memtable: layers below may hold the row

  [[nodiscard]] std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size}; }
  [[nodiscard]] std::string_view value() const {
    return {reinterpret_cast<const char*>(this + 1) + key_size, value_size};
  }
  [[nodiscard]] char* value_data() { return reinterpret_cast<char*>(this + 1) + key_size; }
};

class RowTable {
 public:
  struct Slot {
    uint64_t hash;
    Row* row;  // null: empty
  };

  RowTable() : RowTable(0) {}
  // A table that will perhaps hold so many rows grows to the size for all of them at once, when there are some: a few
  // rows in so large a table would make each walk pass over all the empty slots between them.
  explicit RowTable(size_t expected_rows);
  ~RowTable();
  RowTable(const RowTable&) = delete;
  RowTable& operator=(const RowTable&) = delete;

  // The slot of the row, null if it is not here. Valid until the next Insert or Remove.
  [[nodiscard]] Slot* Find(uint64_t hash, std::string_view key) const;
  // Hints to the processor: to fetch the hash's home slot; then, when that has come, to fetch the first row of that
  // hash. False if there is none.
  void PrefetchSlot(uint64_t hash) const { __builtin_prefetch(slots_ + Home(hash)); }
  [[nodiscard]] bool PrefetchRow(uint64_t hash) const;
  // The row must not be here yet.
  void Insert(uint64_t hash, Row* row);
  // Takes the slot's row out; the row itself stays.
  void Remove(Slot* slot);
  // Fills an empty table with rows in strictly ascending order of (hash, key). Linear, where inserting them one by one
  // into a table that has yet to grow is quadratic: they would all crowd its first slots.
  void Fill(std::span<const Slot> sorted);
  [[nodiscard]] size_t size() const { return count_; }

  // Slots in order: positions 0..slot_count(), empty ones included.
  [[nodiscard]] const Slot& slot(size_t position) const { return slots_[position]; }
  [[nodiscard]] size_t slot_count() const { return slot_count_; }
  // Position of the first row with (hash, key) >= the given; slot_count() if there is none.
  [[nodiscard]] size_t LowerBound(uint64_t hash, std::string_view key) const;

 private:
  [[nodiscard]] size_t Home(uint64_t hash) const { return hash >> shift_; }
  void Allocate(size_t capacity, size_t tail);
  void Place(std::span<const Slot> sorted);
  void Grow();
  void Resize(size_t capacity);

  Slot* slots_ = nullptr;
  size_t capacity_ = 0;    // power of two: home slots
  size_t slot_count_ = 0;  // with the tail that displaced rows of the last homes spill into
  size_t count_ = 0;
  int shift_ = 0;
  const size_t expected_rows_;
};

class Memtable {
 public:
  Memtable() = default;
  ~Memtable();
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;

  // ---- hashed rows ----
  // Null if nothing of it was written. The pointers live as long as the memtable.
  [[nodiscard]] RowTable* FindKeyTable(KeyspaceId keyspace) const;
  [[nodiscard]] RowTable* KeyTable(KeyspaceId keyspace, size_t expected_rows = 0);  // made when missing
  [[nodiscard]] RowTable* FindMemberTable(CollectionId collection) const;
  [[nodiscard]] RowTable* MemberTable(CollectionId collection, size_t expected_rows = 0);  // made when missing
  // Makes the row's value `value_size` bytes long and returns where to write them.
  char* Put(RowTable& table, uint64_t hash, std::string_view key, size_t value_size, uint64_t writer_offset);
  void Erase(RowTable& table, uint64_t hash, std::string_view key, uint64_t writer_offset);
  // Takes a row out as if it had never been written; only for rows that no layer below holds. False, and nothing done,
  // if it is not here.
  bool Remove(RowTable& table, uint64_t hash, std::string_view key);
  // A run that is read back: makes rows that are in no table yet, then fills an empty table with them, in order.
  Row* NewLooseRow(std::string_view key, std::string_view value, bool tombstone);
  void FillTable(RowTable& table, std::span<const RowTable::Slot> sorted);

  // ---- byte-ordered rows, by whole row key ----
  [[nodiscard]] const Row* FindOrdered(std::string_view row_key) const;
  Row* PutOrderedRow(std::string_view row_key, size_t value_size, uint64_t writer_offset);
  char* PutOrdered(std::string_view row_key, size_t value_size, uint64_t writer_offset) {
    return PutOrderedRow(row_key, value_size, writer_offset)->value_data();
  }
  void EraseOrdered(std::string_view row_key, uint64_t writer_offset);
  // Takes a row out as if it had never been written; only for rows that no layer below holds. False, and nothing done,
  // if it is not here, is a tombstone, or replaced one.
  bool RemoveOrdered(std::string_view row_key);
  [[nodiscard]] const OrderedRows& ordered() const { return ordered_; }

  // ---- what is to be collected ----
  void AddDeadCollection(CollectionId collection) { dead_collections_.insert(collection); }
  void AddDeadKeyspace(KeyspaceId keyspace) { dead_keyspaces_.insert(keyspace); }
  [[nodiscard]] const std::unordered_set<CollectionId>& dead_collections() const { return dead_collections_; }
  [[nodiscard]] const std::unordered_set<KeyspaceId>& dead_keyspaces() const { return dead_keyspaces_; }

  // All rows in row-key order, then dead rows (empty values). Rows of dead collections are left out: nothing refers to
  // them. Rows of dead keyspaces are not: they correct what LMDB holds before it is searched for collections.
  using Visitor = std::function<Result<void>(std::string_view row_key, const Row& row)>;
  Result<void> VisitInOrder(const Visitor& visit) const;

  // Rows of each class, counted without looking at hashed ones; those of dead collections are among them.
  struct Counts {
    uint64_t keys = 0, collections = 0, expiries = 0;
  };
  [[nodiscard]] Counts CountRows() const;

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] uint64_t rows() const { return rows_; }
  [[nodiscard]] bool empty() const { return rows_ == 0 && dead_collections_.empty() && dead_keyspaces_.empty(); }

 private:
  Row* NewRow(std::string_view key, size_t value_size, size_t value_capacity, uint64_t writer_offset);
  void FreeRow(Row* row);
  Row* Resized(Row* row, size_t value_size, uint64_t writer_offset);
  Result<void> VisitKeys(const Visitor& visit) const;
  Result<void> VisitCollections(OrderedRows::Iterator& ordered, const Visitor& visit) const;
  Result<void> VisitMembers(CollectionId collection, const Visitor& visit) const;

  std::unordered_map<KeyspaceId, std::unique_ptr<RowTable>> key_tables_;
  std::unordered_map<CollectionId, std::unique_ptr<RowTable>> member_tables_;
  OrderedRows ordered_;
  std::unordered_set<CollectionId> dead_collections_;
  std::unordered_set<KeyspaceId> dead_keyspaces_;

  std::vector<std::unique_ptr<char[]>> chunks_;
  char* chunk_at_ = nullptr;
  size_t chunk_left_ = 0;
  std::unordered_set<Row*> big_rows_;  // allocated one by one
  uint64_t bytes_ = 0;
  uint64_t rows_ = 0;
};

}  // namespace holdfast
