#include "storage/merge.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/planted_bug.h"

namespace holdfast {
namespace {

constexpr double kPageSize = 4096;
constexpr double kInnerPages = 1.15;           // inner pages and the free list, per leaf page
constexpr uint64_t kCommitReserve = 1u << 20;  // bytes a commit may need beyond its dirty pages

LmdbTable TableOf(std::string_view row_key) {
  switch (static_cast<RowClass>(static_cast<uint8_t>(row_key[0]))) {
    case RowClass::kKey:
      return LmdbTable::kKeys;
    case RowClass::kCollection:
      return LmdbTable::kRows;
    case RowClass::kExpiry:
      return LmdbTable::kExpiry;
    case RowClass::kDead:
      return LmdbTable::kDead;
    case RowClass::kMeta:
      return LmdbTable::kMeta;
  }
  CHECK_MSG(false, "row of an unknown class in a memtable");
  return LmdbTable::kMeta;
}

// Pages that the bytes of a row fill, at the usual fill of leaves; large values have pages of their own.
double PagesOfBytes(size_t size) { return static_cast<double>(size + 32) * 1.4 / kPageSize; }

}  // namespace

Result<void> Merger::Begin() {
  ASSIGN_OR_RETURN(writer_, env_.BeginWrite());
  dirty_pages_ = 0;
  return {};
}

Result<void> Merger::Commit() {
  const auto bytes = static_cast<uint64_t>(dirty_pages_ * kPageSize);
  Result<void> committed = writer_->Commit(bytes + kCommitReserve);
  writer_.reset();
  return committed;
}

Result<void> Merger::Cut() {
  if (dirty_pages_ < options_.dirty_pages_max) return {};
  RETURN_IF_ERROR(Commit());
  if (progress_ && rows_total_ > 0) {
    progress_(std::min(1.0, static_cast<double>(rows_done_) / static_cast<double>(rows_total_)));
  }
  if (cancelled_.load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kAborted, "checkpoint: stopped on request between two LMDB transactions"};
  }
  return Begin();
}

Result<void> Merger::MergeRow(std::string_view row_key, const Row& row) {
  const LmdbTable table = TableOf(row_key);
  if (row.tombstone) {
    RETURN_IF_ERROR(writer_->Erase(table, row_key));
  } else {
    RETURN_IF_ERROR(writer_->Put(table, row_key, row.value()));
  }
  ++rows_done_;
  const double own = pages_per_row_[static_cast<size_t>(table)];
  dirty_pages_ += (own + PagesOfBytes(row_key.size() + row.value_size)) * kInnerPages;
  return Cut();
}

Result<void> Merger::MergeRows(const Memtable& rows, const StoreMeta& meta) {
  writer_.reset();
  RETURN_IF_ERROR(Begin());
  std::string number;
  AppendLittle<uint64_t>(number, meta.checkpoint);
  RETURN_IF_ERROR(writer_->Put(LmdbTable::kMeta, kMergingRow, number));
  std::string state;
  AppendStoreMeta(state, meta);
  if (Planted(PlantedBug::kOffsetOutsideMerge)) RETURN_IF_ERROR(writer_->Put(LmdbTable::kMeta, kStateRow, state));

  // m rows spread over L leaves touch at most min(m, L) of them.
  const Memtable::Counts by_class = rows.CountRows();
  uint64_t counts[kLmdbTables] = {};
  counts[static_cast<size_t>(LmdbTable::kKeys)] = by_class.keys;
  counts[static_cast<size_t>(LmdbTable::kRows)] = by_class.collections;
  counts[static_cast<size_t>(LmdbTable::kExpiry)] = by_class.expiries;
  counts[static_cast<size_t>(LmdbTable::kDead)] = rows.dead_collections().size() + rows.dead_keyspaces().size();
  rows_done_ = 0;
  rows_total_ = 0;
  for (size_t i = 0; i < kLmdbTables; ++i) {
    rows_total_ += counts[i];
    ASSIGN_OR_RETURN(const LmdbTableStats stats, writer_->TableStats(static_cast<LmdbTable>(i)));
    if (counts[i] == 0) continue;
    pages_per_row_[i] = std::min(1.0, static_cast<double>(stats.leaf_pages) / static_cast<double>(counts[i]));
  }

  RETURN_IF_ERROR(rows.VisitInOrder(
      [&](std::string_view row_key, const Row& row) -> Result<void> { return MergeRow(row_key, row); }));
  RETURN_IF_ERROR(writer_->Put(LmdbTable::kMeta, kStateRow, state));
  RETURN_IF_ERROR(Commit());
  if (progress_) progress_(1.0);
  return {};
}

// ---- dead rows ------------------------------------------------------------------------------------------------------

Result<void> Merger::CollectDead() {
  writer_.reset();
  RETURN_IF_ERROR(Begin());
  uint64_t budget = options_.dead_rows_max;
  bool changed = false;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, CollectFirstDead(budget));
    if (!more) break;
    changed = true;
    if (budget == 0) break;
  }
  if (changed) return Commit();
  writer_.reset();
  return {};
}

// Works on the first entry of the dead list; false if the list is empty.
Result<bool> Merger::CollectFirstDead(uint64_t& budget) {
  std::string entry;
  {
    ASSIGN_OR_RETURN(LmdbCursor cursor, writer_->OpenCursor(LmdbTable::kDead));
    RETURN_IF_ERROR(cursor.Seek({}));
    if (!cursor.valid()) return false;
    entry = cursor.key();
  }
  if (entry.size() != 1 + 4 && entry.size() != 1 + 8) {
    return Error{ErrorCode::kCorruption, fmt::format("lmdb {}: dead row '{}' has {} bytes", env_.directory(),
                                                     PrintableKey(entry), entry.size())};
  }
  const bool is_keyspace = entry.size() == 1 + 4;
  std::string prefix = entry;
  prefix[0] = static_cast<char>(is_keyspace ? RowClass::kKey : RowClass::kCollection);
  ASSIGN_OR_RETURN(const bool done, CollectRows(is_keyspace ? LmdbTable::kKeys : LmdbTable::kRows, prefix, budget));
  if (done) {
    RETURN_IF_ERROR(writer_->Erase(LmdbTable::kDead, entry));
    if (budget > 0) --budget;
    dirty_pages_ += 0.2;
    RETURN_IF_ERROR(Cut());
  }
  return true;
}

// Erases rows beginning with `prefix`; true when none is left.
Result<bool> Merger::CollectRows(LmdbTable table, const std::string& prefix, uint64_t& budget) {
  std::string row_key;
  std::string value;
  for (; budget > 0; --budget) {
    {
      ASSIGN_OR_RETURN(LmdbCursor cursor, writer_->OpenCursor(table));
      RETURN_IF_ERROR(cursor.Seek(prefix));
      if (!cursor.valid() || !cursor.key().starts_with(prefix)) return true;
      row_key = cursor.key();
      if (table == LmdbTable::kKeys) {
        ASSIGN_OR_RETURN(const std::string_view view, cursor.Value());
        value = view;
      }
    }
    if (table == LmdbTable::kKeys) RETURN_IF_ERROR(ReleaseKey(row_key, value));
    RETURN_IF_ERROR(writer_->Erase(table, row_key));
    dirty_pages_ += 0.2 + PagesOfBytes(row_key.size() + value.size());
    RETURN_IF_ERROR(Cut());
  }
  return false;
}

// A key of a dead keyspace: its collection joins the dead list, its expiry row goes with it.
Result<void> Merger::ReleaseKey(std::string_view row_key, std::string_view value) {
  if (row_key.size() < kKeyRowPrefix + 8) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("lmdb {}: key row '{}' is too short", env_.directory(), PrintableKey(row_key))};
  }
  std::string_view long_key;
  auto parsed = ParseKeyValue(value, &long_key);
  if (!parsed.ok()) return parsed.error().WithContext(fmt::format("lmdb row '{}'", PrintableKey(row_key)));
  ASSIGN_OR_RETURN(const std::optional<CollectionId> collection, CollectionOf(*parsed));
  if (collection.has_value()) {
    RETURN_IF_ERROR(writer_->Put(LmdbTable::kDead, DeadCollectionRowKey(*collection), {}));
    dirty_pages_ += 0.2;
  }
  if (parsed->HasExpiry()) {
    const auto keyspace = LoadBig<uint32_t>(row_key.data() + 1);
    const auto hash = LoadBig<uint64_t>(row_key.data() + kKeyRowPrefix);
    const std::string_view key = row_key.size() == kRowKeyMax ? long_key : row_key.substr(kKeyRowPrefix + 8);
    RETURN_IF_ERROR(writer_->Erase(LmdbTable::kExpiry, ExpiryRowKey(parsed->expire_at_ms, keyspace, hash, key)));
    dirty_pages_ += 1;
  }
  return {};
}

}  // namespace holdfast
