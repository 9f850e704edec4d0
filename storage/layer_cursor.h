// One ordered walk over the same range of rows in several layers: the newest layer's row hides the older ones',
// tombstones are passed on (they hide, too, and have a writer). Rows are ordered by (hash, key): tables by hash have
// their hash there, byte-ordered rows have 0.
//
// Valid until something is written to one of the layers. Executor, or one background thread over its own layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/lmdb_env.h"
#include "storage/memtable.h"
#include "storage/row.h"

namespace holdfast {

// Which rows: all row keys that begin with `prefix`.
struct RowRange {
  LmdbTable table;
  std::string prefix;  // of row keys
  bool hashed;         // after the prefix come hash u64 BE and key

  static RowRange Keys(KeyspaceId keyspace);
  static RowRange Collection(CollectionId collection, CollectionKind kind);
  static RowRange Expiries();
};

// Where to start: hash and key of the first row wanted (forwards: >=; backwards: <=, nullopt is the end). `key` is a
// view of bytes that outlive Start().
struct RowStart {
  uint64_t hash = 0;
  std::string_view key;
};

class LayerCursor {
 public:
  explicit LayerCursor(RowRange range, bool reverse = false) : range_(std::move(range)), reverse_(reverse) {}
  LayerCursor(const LayerCursor&) = delete;
  LayerCursor& operator=(const LayerCursor&) = delete;

  // Layers from newest to oldest, all before Start(). Null tables and memtables are skipped.
  void AddTable(const RowTable* table);       // hashed ranges
  void AddOrdered(const Memtable* memtable);  // byte-ordered ranges
  Result<void> AddLmdb(LmdbReader& reader);

  Result<void> Start(const std::optional<RowStart>& from);
  [[nodiscard]] bool valid() const { return valid_; }
  Result<void> Next();

  [[nodiscard]] uint64_t hash() const { return current_.hash; }
  // Without prefix and hash; folded if the row key is.
  [[nodiscard]] std::string_view key() const { return current_.key; }
  [[nodiscard]] bool tombstone() const { return current_.tombstone; }
  // Newest writer of any layer's row of this key; 0 for rows of LMDB.
  [[nodiscard]] uint64_t writer_offset() const { return current_.writer_offset; }
  // Of a tombstone: empty.
  [[nodiscard]] Result<std::string_view> Value() const;
  [[nodiscard]] std::string RowKeyBytes() const;
  // Of a range of a collection, and no tombstone: its row. `suffix` is where the bytes of a hashed one's suffix go.
  [[nodiscard]] Result<CollectionRowView> CollectionRow(std::string& suffix) const;

 private:
  struct Position {
    uint64_t hash = 0;
    std::string_view key;
    std::string_view value;  // memtable rows
    uint64_t writer_offset = 0;
    bool tombstone = false;
    bool from_lmdb = false;
  };
  struct Layer {
    const RowTable* table = nullptr;
    RowTable::Position slot;
    std::optional<RowTable::Walk> walk;  // instead of `slot`: from the first row on, forwards
    const Memtable* memtable = nullptr;
    OrderedRows::Iterator row;
    bool at_end = true;
    Position position;
  };

  Result<void> StartLayer(Layer& layer, const std::optional<RowStart>& from);
  void StartTable(Layer& layer, const std::optional<RowStart>& from);
  void StartOrdered(Layer& layer, const std::optional<RowStart>& from);
  // The row key at which the walk starts.
  [[nodiscard]] RowKey KeyOf(const std::optional<RowStart>& from) const;
  Result<void> StartLmdb(const std::optional<RowStart>& from);
  Result<void> AdvanceLayer(Layer& layer);
  void LoadTable(Layer& layer);
  void LoadOrdered(Layer& layer);
  void LoadLmdb();
  // Below zero: a comes first in the walk's direction.
  [[nodiscard]] int Compare(const Position& a, const Position& b) const;
  Result<void> Settle();

  RowRange range_;
  bool reverse_;
  bool valid_ = false;
  Layer memory_[2];
  size_t memory_count_ = 0;
  std::optional<LmdbCursor> lmdb_;
  Layer lmdb_layer_;
  Layer* winner_ = nullptr;
  Position current_;
};

}  // namespace holdfast
