#include "storage/lmdb_view.h"

#include <fmt/format.h>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/layer_cursor.h"

namespace holdfast {
namespace {

// LMDB, and rows in memory that hide its.
class LayeredView : public StoreView {
 public:
  LayeredView(std::shared_ptr<LmdbEnv> env, std::unique_ptr<LmdbReader> reader, StoreMeta meta, int databases)
      : env_(std::move(env)),
        reader_(std::move(reader)),
        meta_(std::move(meta)),
        databases_(databases),
        first_collection_above_lmdb_(meta_.next_collection) {}

  // `rows` make it the state `meta`.
  void PutAbove(std::shared_ptr<const Memtable> rows, StoreMeta meta) {
    rows_ = std::move(rows);
    meta_ = std::move(meta);
  }

  [[nodiscard]] const StreamPosition& position() const override { return meta_.position; }
  [[nodiscard]] int database_count() const override { return databases_; }
  [[nodiscard]] uint64_t KeyCount(int db) const override { return Has(db) ? Database(db).keys : 0; }
  [[nodiscard]] uint64_t ExpiryCount(int db) const override { return Has(db) ? Database(db).expiries : 0; }

  Result<void> VisitKeys(int db, const Visitor& visit) override {
    if (!Has(db)) return {};
    LayerCursor cursor(RowRange::Keys(Database(db).keyspace));
    if (rows_ != nullptr) cursor.AddTable(rows_->FindKeyTable(Database(db).keyspace));
    RETURN_IF_ERROR(cursor.AddLmdb(*reader_));
    for (Result<void> moved = cursor.Start(std::nullopt);; moved = cursor.Next()) {
      RETURN_IF_ERROR(std::move(moved));
      if (!cursor.valid()) return {};
      if (cursor.tombstone()) continue;
      ASSIGN_OR_RETURN(const std::string_view bytes, cursor.Value());
      std::string_view long_key;
      auto value = ParseKeyValue(bytes, &long_key);
      if (!value.ok()) return value.error().WithContext(fmt::format("key '{}'", PrintableKey(cursor.key())));
      RETURN_IF_ERROR(visit(long_key.empty() ? cursor.key() : long_key, cursor.hash(), *value));
    }
  }

  Result<void> VisitRows(CollectionId id, CollectionKind kind, const RowVisitor& visit) override {
    return rows_ == nullptr ? VisitRowsInLmdb(id, kind, visit) : VisitRowsInLayers(id, kind, visit);
  }

 private:
  [[nodiscard]] bool Has(int db) const { return db >= 0 && static_cast<size_t>(db) < meta_.databases.size(); }
  [[nodiscard]] const StoreMeta::Database& Database(int db) const { return meta_.databases[static_cast<size_t>(db)]; }

  Result<void> VisitRowsInLmdb(CollectionId id, CollectionKind kind, const RowVisitor& visit) {
    const RowRange range = RowRange::Collection(id, kind);
    ASSIGN_OR_RETURN(LmdbCursor cursor, reader_->OpenCursor(range.table));
    RETURN_IF_ERROR(cursor.Seek(range.prefix));
    while (cursor.valid() && cursor.key().starts_with(range.prefix)) {
      ASSIGN_OR_RETURN(const std::string_view bytes, cursor.Value());
      ASSIGN_OR_RETURN(const CollectionRowView row,
                       ParseCollectionRow(cursor.key().substr(kCollectionRowPrefix), bytes));
      if (!visit(row.suffix, row.value)) return {};
      RETURN_IF_ERROR(cursor.Next());
    }
    return {};
  }

  Result<void> VisitRowsInLayers(CollectionId id, CollectionKind kind, const RowVisitor& visit) {
    RowRange range = RowRange::Collection(id, kind);
    const bool hashed = range.hashed;
    LayerCursor cursor(std::move(range));
    if (hashed) {
      cursor.AddTable(rows_->FindMemberTable(id));
    } else {
      cursor.AddOrdered(rows_.get());
    }
    if (id < first_collection_above_lmdb_) RETURN_IF_ERROR(cursor.AddLmdb(*reader_));
    std::string suffix;
    for (Result<void> moved = cursor.Start(std::nullopt);; moved = cursor.Next()) {
      RETURN_IF_ERROR(std::move(moved));
      if (!cursor.valid()) return {};
      if (cursor.tombstone()) continue;
      ASSIGN_OR_RETURN(const CollectionRowView row, cursor.CollectionRow(suffix));
      if (!visit(row.suffix, row.value)) return {};
    }
  }

  std::shared_ptr<LmdbEnv> env_;
  std::unique_ptr<LmdbReader> reader_;
  std::shared_ptr<const Memtable> rows_;  // null: none
  StoreMeta meta_;
  int databases_;
  CollectionId first_collection_above_lmdb_;  // of ids from here on LMDB has no rows
};

}  // namespace

Result<void> CreateEmptyLmdb(const LmdbOptions& options, int databases) {
  std::string state;
  AppendStoreMeta(state, EmptyStoreMeta(databases));
  std::string number;
  AppendLittle<uint64_t>(number, 0);
  return LmdbEnv::Create(options, {{std::string(kStateRow), state}, {std::string(kMergingRow), number}});
}

Result<LmdbState> ReadLmdbState(LmdbEnv& env, LmdbReader& reader) {
  ASSIGN_OR_RETURN(const auto state_row, reader.Get(LmdbTable::kMeta, kStateRow));
  ASSIGN_OR_RETURN(const auto merging_row, reader.Get(LmdbTable::kMeta, kMergingRow));
  if (!state_row.has_value() || !merging_row.has_value() || merging_row->size() != sizeof(uint64_t)) {
    return Error{ErrorCode::kCorruption, fmt::format("lmdb {}: the store's state row is missing", env.directory())};
  }
  auto meta = ParseStoreMeta(*state_row);
  if (!meta.ok()) return meta.error().WithContext(fmt::format("lmdb {}", env.directory()));
  LmdbState state;
  state.meta = *std::move(meta);
  state.half_merged = LoadLittle<uint64_t>(merging_row->data()) != state.meta.checkpoint;
  return state;
}

Result<std::unique_ptr<StoreView>> OpenLmdbView(std::shared_ptr<LmdbEnv> env, int databases,
                                                std::shared_ptr<const Memtable> rows, const StoreMeta& meta) {
  ASSIGN_OR_RETURN(std::unique_ptr<LmdbReader> reader, env->BeginRead());
  ASSIGN_OR_RETURN(LmdbState state, ReadLmdbState(*env, *reader));
  if (state.half_merged) {
    return Error{ErrorCode::kBusy, "a checkpoint is being merged: a view is possible when it is finished"};
  }
  const uint64_t merged = state.meta.checkpoint;
  auto view = std::make_unique<LayeredView>(std::move(env), std::move(reader), std::move(state.meta), databases);
  if (rows != nullptr && merged < meta.checkpoint) view->PutAbove(std::move(rows), meta);
  return std::unique_ptr<StoreView>(std::move(view));
}

}  // namespace holdfast
