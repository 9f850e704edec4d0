// Transaction: walks over several rows.
#include <fmt/format.h>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/layer_cursor.h"
#include "storage/store_state.h"
#include "storage/transaction.h"

namespace holdfast {
namespace {

__extension__ typedef unsigned __int128 Wide;  // NOLINT: a range of hashes needs 65 bits

// Rows that a random pick looks at. Without masses of deleted rows it looks at about fifty.
constexpr uint64_t kRandomRowsMax = 4000;
// Rows that it looks at when nothing was found there and most are deleted.
constexpr uint64_t kSearchRowsMax = 100'000;
// A walk over this many deleted rows asks for a checkpoint, which removes them.
constexpr uint64_t kManyDeletedRows = 4000;

// A checkpoint removes deleted rows. Expired ones stay until they are deleted.
bool IsMost(uint64_t deleted, uint64_t rows) { return deleted >= rows - rows / 2; }

struct FoundKey {
  std::string_view key;
  KeyValue value;
};

Result<FoundKey> ParseAt(const LayerCursor& cursor) {
  ASSIGN_OR_RETURN(const std::string_view bytes, cursor.Value());
  std::string_view long_key;
  auto value = ParseKeyValue(bytes, &long_key);
  if (!value.ok()) return value.error().WithContext(fmt::format("key '{}'", PrintableKey(cursor.key())));
  return FoundKey{long_key.empty() ? cursor.key() : long_key, *value};
}

// Where a walk over rows of one kind starts: at the row of this suffix, folded if that is, be it there or not. Folded
// rows of one beginning lie in the order of their digests, so a long `from` is the whole suffix of a row; no walk
// begins at a bound that is as long. It views `row_key`.
std::optional<RowStart> StartAt(RowKey& row_key, CollectionId id, CollectionKind kind, std::string_view from,
                                bool hashed) {
  if (from.empty()) return std::nullopt;
  MakeCollectionRowKey(row_key, id, kind, from);
  const std::string_view row_part = row_key.VariablePart(kCollectionRowPrefix);
  if (!hashed) return RowStart{0, row_part};
  // A suffix shorter than a hash is the beginning of a range of hashes.
  const size_t hash_bytes = std::min<size_t>(8, row_part.size());
  std::string hash(row_part.substr(0, hash_bytes));
  hash.resize(8, '\0');
  return RowStart{LoadBig<uint64_t>(hash.data()), row_part.substr(hash_bytes)};
}

}  // namespace

Result<void> Transaction::VisitRows(CollectionId id, CollectionKind kind, std::string_view from, bool reverse,
                                    const RowVisitor& visit, RowBudget* budget) {
  RowRange range = RowRange::Collection(id, kind);
  const bool hashed = range.hashed;
  RowKey start_key;
  const std::optional<RowStart> start = StartAt(start_key, id, kind, from, hashed);
  LayerCursor cursor(std::move(range), reverse);
  const Memtable* frozen = MayBeFrozenLayer(id);
  if (hashed) {
    cursor.AddTable(state_.active->FindMemberTable(id));
    if (frozen != nullptr) cursor.AddTable(frozen->FindMemberTable(id));
  } else {
    cursor.AddOrdered(state_.active.get());
    cursor.AddOrdered(frozen);
  }
  if (state_.MayBeInLmdb(id)) RETURN_IF_ERROR(cursor.AddLmdb(*state_.reader));
  std::string suffix;
  uint64_t rows = 0, deleted = 0, last_hash = 0;
  for (Result<void> moved = cursor.Start(start);; moved = cursor.Next()) {
    RETURN_IF_ERROR(std::move(moved));
    if (!cursor.valid()) return {};
    if (budget != nullptr && rows++ >= budget->rows && cursor.hash() != last_hash) {
      budget->next_hash = cursor.hash();
      return {};
    }
    last_hash = cursor.hash();
    Saw(cursor.writer_offset());
    if (cursor.tombstone()) {
      if (++deleted == kManyDeletedRows) state_.met_many_deleted = true;
      continue;
    }
    ASSIGN_OR_RETURN(const CollectionRowView row, cursor.CollectionRow(suffix));
    if (!visit(row.suffix, row.value)) return {};
  }
}

Result<uint64_t> Transaction::VisitKeys(int db, uint64_t from, const KeyVisitor& visit, uint64_t rows_max) {
  return WalkKeys(db, from, visit, {rows_max});
}

Result<uint64_t> Transaction::WalkKeys(int db, uint64_t from, const KeyVisitor& visit, const KeyBudget& budget) {
  const StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  Saw(database.marker_offset);
  LayerCursor cursor(RowRange::Keys(database.keyspace));
  cursor.AddTable(database.active);
  if (state_.frozen != nullptr) cursor.AddTable(database.below);
  RETURN_IF_ERROR(cursor.AddLmdb(*state_.reader));
  bool stopping = false;
  uint64_t last_hash = 0;
  uint64_t rows = 0, deleted = 0, expired = 0;
  for (Result<void> moved = cursor.Start(RowStart{from, {}});; moved = cursor.Next()) {
    RETURN_IF_ERROR(std::move(moved));
    if (!cursor.valid()) return uint64_t{0};
    if (stopping && cursor.hash() != last_hash) return cursor.hash();
    Saw(cursor.writer_offset());
    bool more = ++rows < budget.rows;
    if (cursor.tombstone()) {
      ++deleted;
    } else {
      ASSIGN_OR_RETURN(const FoundKey found, ParseAt(cursor));
      if (IsLiveKey(found.value.expire_at_ms)) {
        more = visit(found.key, found.value) && more;
      } else {
        more = ++expired < budget.expired && more;
      }
    }
    if (rows == budget.rows && IsMost(deleted, rows)) state_.met_many_deleted = true;
    if (more) continue;
    stopping = true;
    last_hash = cursor.hash();
  }
}

struct Transaction::KeySample {
  uint64_t rows_left = kRandomRowsMax;
  uint64_t deleted = 0;
  std::vector<std::string> keys;
};

// Rejection sampling: cut the hash range into equal windows of a few keys each, pick one of them and a place below
// kPlaces, and take the key at that place if there is one. Every live key then has the same chance.
Result<std::optional<std::string>> Transaction::RandomKey(int db) {
  constexpr uint64_t kKeysPerWindow = 8;
  constexpr uint64_t kPlaces = 40;  // more keys than this in a window: a chance below 1e-15 with honest hashes
  constexpr int kTries = 2000;
  CHECK(state_.options.random != nullptr);
  const uint64_t count = KeyCount(db);
  if (count == 0) return std::optional<std::string>{};
  const uint64_t windows = count <= kPlaces ? 1 : count / kKeysPerWindow;
  KeySample sample;
  std::vector<std::string>& keys = sample.keys;
  for (int i = 0; i < kTries; ++i) {
    const uint64_t window = state_.options.random->Below(windows);
    const auto begin = static_cast<uint64_t>((static_cast<Wide>(window) << 64) / windows);
    const Wide end = (static_cast<Wide>(window + 1) << 64) / windows;
    keys.clear();
    RETURN_IF_ERROR(CollectKeys(db, begin, end == Wide{1} << 64 ? 0 : static_cast<uint64_t>(end), sample));
    if (sample.rows_left == 0) {
      if (IsMost(sample.deleted, kRandomRowsMax)) state_.met_many_deleted = true;
      return KeyAmongDeleted(db);
    }
    if (keys.empty() && windows == 1) return std::optional<std::string>{};
    // One window is everything: no place needs to be rejected.
    const uint64_t places = windows == 1 ? keys.size() : std::max<uint64_t>(kPlaces, keys.size());
    const uint64_t place = state_.options.random->Below(places);
    if (place < keys.size()) return std::optional<std::string>(std::move(keys[place]));
  }
  return std::optional<std::string>{};
}

// The first live key from a random place on. If that takes too long: from where one was found before; if that one is
// gone, too, from where the last search ended without one.
Result<std::optional<std::string>> Transaction::KeyAmongDeleted(int db) {
  StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  uint64_t& known = database.live_hash;
  std::optional<std::string> found;
  uint64_t hash = 0;
  const auto take = [&](std::string_view key, const KeyValue&) {
    found = key;
    hash = RowHash(key);
    return false;
  };
  RETURN_IF_ERROR(VisitKeys(db, state_.options.random->Next(), take, kRandomRowsMax));
  if (!found.has_value()) RETURN_IF_ERROR(VisitKeys(db, known, take, kRandomRowsMax));
  if (!found.has_value()) {
    const uint64_t from = database.search_hash;
    const KeyBudget budget{kSearchRowsMax, kRandomRowsMax};
    ASSIGN_OR_RETURN(database.search_hash, WalkKeys(db, from, take, budget));
    if (!found.has_value() && database.search_hash == 0 && from != 0) {
      ASSIGN_OR_RETURN(database.search_hash, WalkKeys(db, 0, take, budget));
    }
  }
  if (found.has_value()) known = hash;
  return found;
}

// Live keys with begin <= hash < end (0: no end), until no rows are left.
Result<void> Transaction::CollectKeys(int db, uint64_t begin, uint64_t end, KeySample& sample) {
  const StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  LayerCursor cursor(RowRange::Keys(database.keyspace));
  cursor.AddTable(database.active);
  if (state_.frozen != nullptr) cursor.AddTable(database.below);
  RETURN_IF_ERROR(cursor.AddLmdb(*state_.reader));
  RETURN_IF_ERROR(cursor.Start(RowStart{begin, {}}));
  while (cursor.valid() && (end == 0 || cursor.hash() < end) && sample.rows_left > 0) {
    --sample.rows_left;
    Saw(cursor.writer_offset());
    if (cursor.tombstone()) {
      ++sample.deleted;
    } else {
      ASSIGN_OR_RETURN(const FoundKey found, ParseAt(cursor));
      if (IsLiveKey(found.value.expire_at_ms)) sample.keys.emplace_back(found.key);
    }
    RETURN_IF_ERROR(cursor.Next());
  }
  return {};
}

}  // namespace holdfast
