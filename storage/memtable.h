// Rows in memory: the active and the frozen layer of the store.
//
// Key rows lie in one table a keyspace, member rows (hash fields, set members) in one table a collection
// (storage/row_table.h); all other rows (byte-ordered: score index, list items, chunks, expiry rows ...) in one tree by
// whole row keys (storage/ordered_rows.h).
//
// Deletions are tombstones, but for rows that no layer below can hold: those are taken out.
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
#include "storage/memory_row.h"
#include "storage/ordered_rows.h"
#include "storage/row.h"
#include "storage/row_arena.h"
#include "storage/row_table.h"

namespace holdfast {

class Memtable {
 public:
  static constexpr CollectionId kNoCollection = ~CollectionId{0};  // above all ids

  // With a pool its memory is recycled among memtables. Collections from `own_from` on have rows here alone.
  explicit Memtable(std::shared_ptr<SlabPool> pool = nullptr, CollectionId own_from = kNoCollection)
      : arena_(std::move(pool)), ordered_(arena_), own_from_(own_from) {}
  ~Memtable();
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;

  // ---- hashed rows ----
  // Null if nothing of it was written. The pointers live as long as the memtable.
  [[nodiscard]] RowTable* FindKeyTable(KeyspaceId keyspace) const;
  [[nodiscard]] RowTable* KeyTable(KeyspaceId keyspace);  // made when missing
  [[nodiscard]] RowTable* FindMemberTable(CollectionId collection) const;
  [[nodiscard]] RowTable* MemberTable(CollectionId collection);  // made when missing
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
  // Of a collection that has rows here alone nothing is left to collect: its rows are just left out.
  void AddDeadCollection(CollectionId collection) {
    (collection < own_from_ ? dead_collections_ : dropped_collections_).insert(collection);
  }
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
  [[nodiscard]] bool IsDead(CollectionId collection) const {
    return dead_collections_.contains(collection) || dropped_collections_.contains(collection);
  }

  RowArena arena_;  // first: the tables' and the tree's memory
  std::unordered_map<KeyspaceId, std::unique_ptr<RowTable>> key_tables_;
  std::unordered_map<CollectionId, std::unique_ptr<RowTable>> member_tables_;
  OrderedRows ordered_;
  const CollectionId own_from_;
  std::unordered_set<CollectionId> dead_collections_;
  std::unordered_set<CollectionId> dropped_collections_;  // dead, from own_from_ on
  std::unordered_set<KeyspaceId> dead_keyspaces_;

  std::unordered_set<Row*> big_rows_;  // allocated one by one
  uint64_t bytes_ = 0;
  uint64_t rows_ = 0;
};

}  // namespace holdfast
