#include "storage/transaction.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/diag.h"
#include "storage/base/hash.h"
#include "storage/planted_bug.h"
#include "storage/store_state.h"
#include "storage/walks_ahead.h"

namespace holdfast {
namespace {

constexpr std::string_view kMulti = "*1\r\n$5\r\nMULTI\r\n";
constexpr std::string_view kExec = "*1\r\n$4\r\nEXEC\r\n";

// Strings of the last unit's touched keys that the next one uses again.
constexpr size_t kSpareKeys = 16;
constexpr size_t kSpareKeyMax = 512;

// Of which replacing needs to know no more than that it is there.
bool IsPlain(const KeyValue& value) { return value.type == ValueType::kString && !value.chunked && !value.HasExpiry(); }

// A key or suffix as it stands in row keys, folded into `folded` if it is too long.
std::string_view AsInKeyRow(RowKey& folded, std::string_view key) {
  if (!KeyRowFolds(key)) return key;
  MakeKeyRowKey(folded, 0, 0, key);
  return folded.VariablePart(kKeyRowPrefix + 8);
}

uint64_t CollectionSpace(CollectionId id, CollectionKind kind) { return id << 8 | static_cast<uint8_t>(kind); }

// Items of lists are mostly looked at once, before they go, and in order.
bool IsCached(CollectionKind kind) { return kind != CollectionKind::kItem; }

uint64_t CacheHash(CollectionKind kind, std::string_view suffix) {
  return kind == CollectionKind::kMember ? LoadBig<uint64_t>(suffix.data()) : RowHash(suffix);
}

void AppendNumber(std::string& to, char mark, uint64_t number) {
  char digits[24];
  char* end = std::to_chars(digits + 1, digits + sizeof(digits) - 2, number).ptr;
  digits[0] = mark;
  *end++ = '\r';
  *end++ = '\n';
  to.append(digits, static_cast<size_t>(end - digits));
}

}  // namespace

Transaction::~Transaction() { CHECK(committed_); }

void Transaction::Start(TransactionMode mode, int db, int64_t now_ms) {
  CHECK(committed_);  // one unit at a time
  committed_ = false;
  mode_ = mode;
  db_ = db;
  now_ms_ = std::max(now_ms, state_.last_time_ms);
  seen_offset_ = 0;
  effect_count_ = 0;
  effects_.assign(kMulti);
  for (Touched& touched : touched_) {
    if (spare_keys_.size() == kSpareKeys || touched.key.capacity() > kSpareKeyMax) break;
    spare_keys_.push_back(std::move(touched.key));
  }
  touched_.clear();
  event_classes_ = state_.event_classes;
  events_.clear();
  state_.cache.ReleaseEvicted();
  if (mode == TransactionMode::kLive) {
    CHECK(state_.sink != nullptr);
    start_offset_ = state_.sink->AppendedOffset();
    stream_db_ = state_.sink->SelectedDb();
  } else {
    now_ms_ = now_ms;
    start_offset_ = state_.apply_start;
  }
}

int Transaction::database_count() const { return state_.options.databases; }

Random& Transaction::random() {
  CHECK(mode_ == TransactionMode::kLive);
  CHECK(state_.options.random != nullptr);
  return *state_.options.random;
}

// ---- key rows -------------------------------------------------------------------------------------------------------

bool Transaction::IsLiveKey(int64_t expire_at_ms) const {
  if (mode_ == TransactionMode::kApply && Planted(PlantedBug::kExpiryByLocalClock)) {
    return expire_at_ms == kNoExpiry || expire_at_ms > SystemClock().WallMs();
  }
  return mode_ == TransactionMode::kApply || expire_at_ms == kNoExpiry || expire_at_ms > now_ms_;
}

Result<Transaction::Lookup> Transaction::ParseFound(std::string_view key, std::string_view bytes) const {
  std::string_view long_key;
  auto value = ParseKeyValue(bytes, &long_key);
  if (!value.ok()) return value.error().WithContext(fmt::format("key '{}'", PrintableKey(key)));
  if (!long_key.empty() && long_key != key) {
    return Error{
        ErrorCode::kUnsupported,
        fmt::format("key '{}' has the same digest as another stored key: rename one of them", PrintableKey(key))};
  }
  Lookup found;
  found.value = *value;
  found.expired = !IsLiveKey(value->expire_at_ms);
  return found;
}

Result<Transaction::Lookup> Transaction::FindAny(int db, std::string_view key, Purpose purpose) {
  CHECK(db >= 0);
  CHECK(db < state_.options.databases);
  const StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  Saw(database.marker_offset);
  const uint64_t hash = RowHash(key);
  RowKey folded;
  const std::string_view row_part = AsInKeyRow(folded, key);
  for (const RowTable* table : {static_cast<const RowTable*>(database.active), database.below}) {
    if (table == nullptr) continue;
    const RowTable::Slot* slot = table->Find(hash, row_part);
    if (slot == nullptr) continue;
    Saw(slot->row->writer_offset);
    if (slot->row->tombstone) return Lookup{};
    return ParseFound(key, slot->row->value());
  }
  if (purpose == Purpose::kReplace && state_.plain_keys.Has(database.keyspace, hash, key)) {
    Lookup plain;
    plain.value.emplace();
    return plain;
  }
  // Most reads find something, most of it in the cache.
  const bool cache_first = purpose == Purpose::kRead;
  if (!cache_first && state_.key_windows.IsAbsent(database.keyspace, hash)) return Lookup{};
  const uint64_t space = KeyCacheSpace(database.keyspace);
  const RowCache::Value cached = state_.cache.Find(space, hash, row_part);
  if (cached.data != nullptr) return ParseFound(key, cached.view());
  if (cache_first && state_.key_windows.IsAbsent(database.keyspace, hash)) return Lookup{};
  if (state_.key_rows != nullptr) {
    const KeyRows::KeyRow* known = state_.key_rows->Find(database.keyspace, hash, row_part);
    if (known != nullptr) return known->value.has_value() ? ParseFound(key, *known->value) : Lookup{};
  }
  RowKey row_key;
  MakeKeyRowKey(row_key, database.keyspace, hash, key);
  ASSIGN_OR_RETURN(const auto stored, state_.reader->Get(LmdbTable::kKeys, row_key));
  if (!stored.has_value()) {
    if (purpose != Purpose::kRead) state_.LearnKeyWindow(database, hash);
    return Lookup{};
  }
  ASSIGN_OR_RETURN(Lookup found, ParseFound(key, *stored));
  if (purpose == Purpose::kRead) state_.cache.Insert(space, hash, row_part, *stored);
  return found;
}

Result<std::optional<KeyValue>> Transaction::Find(int db, std::string_view key) {
  ASSIGN_OR_RETURN(Lookup found, FindAny(db, key, Purpose::kRead));
  if (found.value && !found.expired) return found.value;
  NotifyOn(db, KeyEventClass::kMiss, "keymiss", key);
  return std::optional<KeyValue>{};
}

Result<std::optional<KeyValue>> Transaction::Peek(int db, std::string_view key) {
  ASSIGN_OR_RETURN(Lookup found, FindAny(db, key, Purpose::kRead));
  if (found.expired) return std::optional<KeyValue>{};
  return found.value;
}

Result<std::optional<KeyValue>> Transaction::FindForWrite(int db, std::string_view key) {
  ASSIGN_OR_RETURN(Lookup found, FindAny(db, key, Purpose::kWrite));
  return ForWrite(db, key, std::move(found));
}

Result<std::optional<KeyValue>> Transaction::FindForReplace(int db, std::string_view key) {
  ASSIGN_OR_RETURN(Lookup found, FindAny(db, key, Purpose::kReplace));
  return ForWrite(db, key, std::move(found));
}

Result<std::optional<KeyValue>> Transaction::ForWrite(int db, std::string_view key, Lookup found) {
  if (!found.expired) return found.value;
  RETURN_IF_ERROR(CheckRoom(2 * key.size(), 4));  // DEL, and the key again in the command's own effect
  Erase(db, key, *found.value);
  EmitOn(db, {"DEL", key});
  NotifyOn(db, KeyEventClass::kExpired, "expired", key);
  return std::optional<KeyValue>{};
}

void Transaction::Touch(int db, std::string_view key, Change change) {
  if (!touched_.empty()) {
    const Touched& last = touched_.back();
    if (last.db == db && last.key == key && !last.whole_db && last.change == change) return;
  }
  if (spare_keys_.empty()) {
    touched_.push_back({db, std::string(key), false, change});
    return;
  }
  touched_.push_back({db, std::move(spare_keys_.back()), false, change});
  spare_keys_.pop_back();
  touched_.back().key.assign(key);
}

// The rows of `old` are to be collected, unless `replacement` goes on with the same collection.
void Transaction::ReleaseRows(const KeyValue& old, const KeyValue* replacement) {
  const auto id = CollectionOf(old);
  if (!id.ok()) {
    diag::Warning("a {} with a damaged header was overwritten; its rows stay behind", ValueTypeName(old.type));
    return;
  }
  if (!id->has_value()) return;
  if (replacement != nullptr) {
    const auto kept = CollectionOf(*replacement);
    if (kept.ok() && *kept == *id) return;
  }
  state_.active->AddDeadCollection(**id);
}

void Transaction::Put(int db, std::string_view key, const KeyValue& value, const std::optional<KeyValue>& old,
                      Change change) {
  StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  const uint64_t hash = RowHash(key);
  const uint64_t writer = start_offset_ + 1;
  const int64_t old_expiry = old.has_value() ? old->expire_at_ms : kNoExpiry;
  if (old.has_value()) {
    ReleaseRows(*old, &value);
  } else {
    ++database.keys;
  }
  if (old_expiry != value.expire_at_ms) {
    if (old_expiry != kNoExpiry) {
      state_.EraseExpiryRow(old_expiry, database.keyspace, hash, key, writer);
      --database.expiries;
    }
    if (value.HasExpiry()) {
      state_.PutExpiryRow(value.expire_at_ms, database.keyspace, hash, key, writer);
      ++database.expiries;
    }
  }
  RowKey folded;
  const std::string_view row_part = AsInKeyRow(folded, key);
  char* to = state_.active->Put(state_.ActiveKeys(database), hash, row_part, KeyValueSize(key, value), writer);
  WriteKeyValue(to, key, value);
  state_.cache.Erase(KeyCacheSpace(database.keyspace), hash, row_part);
  state_.key_windows.Put(database.keyspace, hash);
  if (IsPlain(value)) {
    state_.plain_keys.Set(database.keyspace, hash, key);
  } else {
    state_.plain_keys.Forget(database.keyspace, hash, key);
  }
  Touch(db, key, change);
  if (!old.has_value()) NotifyOn(db, KeyEventClass::kNew, "new", key);
}

void Transaction::Erase(int db, std::string_view key, const KeyValue& old, bool keep_rows) {
  StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  const uint64_t hash = RowHash(key);
  const uint64_t writer = start_offset_ + 1;
  if (!keep_rows) ReleaseRows(old, nullptr);
  CHECK(database.keys > 0);
  --database.keys;
  if (old.HasExpiry()) {
    state_.EraseExpiryRow(old.expire_at_ms, database.keyspace, hash, key, writer);
    --database.expiries;
  }
  RowKey folded;
  const std::string_view row_part = AsInKeyRow(folded, key);
  state_.active->Erase(state_.ActiveKeys(database), hash, row_part, writer);
  state_.cache.Erase(KeyCacheSpace(database.keyspace), hash, row_part);
  state_.plain_keys.Forget(database.keyspace, hash, key);
  Touch(db, key, Change::kRemoval);
}

// ---- collection rows ------------------------------------------------------------------------------------------------

CollectionId Transaction::NewCollectionId() { return state_.next_collection++; }

Result<std::optional<std::string_view>> Transaction::FindRow(CollectionId id, CollectionKind kind,
                                                             std::string_view suffix) {
  RowKey row_key;
  MakeCollectionRowKey(row_key, id, kind, suffix);
  const std::string_view row_suffix = row_key.VariablePart(kCollectionRowPrefix);
  auto parse = [&](std::string_view bytes) -> Result<std::optional<std::string_view>> {
    ASSIGN_OR_RETURN(const CollectionRowView row, ParseCollectionRow(row_suffix, bytes));
    if (row.suffix != suffix) {
      return Error{ErrorCode::kUnsupported, "an element has the same digest as another one of its collection"};
    }
    return std::optional<std::string_view>(row.value);
  };
  const Memtable* layers[] = {state_.active.get(), state_.LayerBelow(id)};
  for (const Memtable* layer : layers) {
    if (layer == nullptr) continue;
    const Row* row = nullptr;
    if (kind == CollectionKind::kMember) {
      CHECK(suffix.size() >= 8);
      const RowTable* table = layer->FindMemberTable(id);
      const RowTable::Slot* slot =
          table == nullptr ? nullptr : table->Find(LoadBig<uint64_t>(suffix.data()), row_suffix.substr(8));
      if (slot != nullptr) row = slot->row;
    } else {
      row = layer->FindOrdered(row_key);
    }
    if (row == nullptr) continue;
    Saw(row->writer_offset);
    if (row->tombstone) return std::optional<std::string_view>{};
    return parse(row->value());
  }
  if (!state_.MayBeInLmdb(id)) return std::optional<std::string_view>{};
  if (!IsCached(kind)) {
    // A cursor that stood on the page last time finds the next row there without a descent.
    ASSIGN_OR_RETURN(LmdbCursor cursor, state_.reader->OpenCursor(LmdbTable::kRows));
    RETURN_IF_ERROR(cursor.Seek(row_key));
    if (!cursor.valid() || cursor.key() != row_key.view()) return std::optional<std::string_view>{};
    ASSIGN_OR_RETURN(const std::string_view stored, cursor.Value());
    return parse(stored);
  }
  const uint64_t hash = CacheHash(kind, suffix);
  const RowCache::Value cached = state_.cache.Find(CollectionSpace(id, kind), hash, row_suffix);
  if (cached.data != nullptr) return parse(cached.view());
  ASSIGN_OR_RETURN(const auto stored, state_.reader->Get(LmdbTable::kRows, row_key));
  if (!stored.has_value()) return std::optional<std::string_view>{};
  state_.cache.Insert(CollectionSpace(id, kind), hash, row_suffix, *stored);
  return parse(*stored);
}

const Memtable* Transaction::MayBeFrozenLayer(CollectionId id) const {
  return state_.MayBeFrozen(id) ? state_.frozen.get() : nullptr;
}

void Transaction::PutRow(CollectionId id, CollectionKind kind, std::string_view suffix, std::string_view value) {
  RowKey row_key;
  MakeCollectionRowKey(row_key, id, kind, suffix);
  const std::string_view row_suffix = row_key.VariablePart(kCollectionRowPrefix);
  const uint64_t writer = start_offset_ + 1;
  const bool folds = CollectionRowFolds(suffix);
  const size_t size = (folds ? 4 + suffix.size() : 0) + value.size();
  char* to;
  if (kind == CollectionKind::kMember) {
    CHECK(suffix.size() >= 8);
    to = state_.active->Put(state_.ActiveMembers(id), LoadBig<uint64_t>(suffix.data()), row_suffix.substr(8), size,
                            writer);
  } else {
    to = state_.active->PutOrdered(row_key, size, writer);
  }
  if (folds) {
    StoreLittle<uint32_t>(to, static_cast<uint32_t>(suffix.size()));
    std::memcpy(to + 4, suffix.data(), suffix.size());
    to += 4 + suffix.size();
  }
  if (!value.empty()) std::memcpy(to, value.data(), value.size());
  if (IsCached(kind) && state_.MayBeInLmdb(id)) {
    state_.cache.Erase(CollectionSpace(id, kind), CacheHash(kind, suffix), row_suffix);
  }
}

void Transaction::EraseRow(CollectionId id, CollectionKind kind, std::string_view suffix) {
  RowKey row_key;
  MakeCollectionRowKey(row_key, id, kind, suffix);
  const std::string_view row_suffix = row_key.VariablePart(kCollectionRowPrefix);
  const uint64_t writer = start_offset_ + 1;
  if (IsCached(kind) && state_.MayBeInLmdb(id)) {
    state_.cache.Erase(CollectionSpace(id, kind), CacheHash(kind, suffix), row_suffix);
  }
  if (kind == CollectionKind::kMember) {
    CHECK(suffix.size() >= 8);
    RowTable& table = state_.ActiveMembers(id);
    const uint64_t hash = LoadBig<uint64_t>(suffix.data());
    // A young collection has no rows below. Without tombstones, taking members out one by one at random does not walk
    // over those that are gone.
    const bool young = MayBeFrozenLayer(id) == nullptr && !state_.MayBeInLmdb(id);
    if (young && state_.active->Remove(table, hash, row_suffix.substr(8))) return;
    state_.active->Erase(table, hash, row_suffix.substr(8), writer);
    return;
  }
  // Queues put and take rows at their ends: rows that no layer below holds go without a tombstone, else each pop would
  // walk over all earlier ones. The key row, written by the same unit, carries the writer offset.
  if (!IsBelowActive(id, row_key) && state_.active->RemoveOrdered(row_key)) return;
  state_.active->EraseOrdered(row_key, writer);
}

PickWindows& Transaction::pick_windows() { return state_.pick_windows; }

RankTrees& Transaction::rank_trees() { return state_.rank_trees; }

void Transaction::WantWalkAhead(WalkAhead walk) {
  if (state_.MayBeInLmdb(walk.id)) state_.walks_ahead.Want(std::move(walk));
}

void Transaction::PutCounter(CollectionId id, CollectionKind kind, std::string_view suffix, uint64_t value,
                             CounterPlace& place) {
  if (place.row == nullptr || place.freeze != state_.checkpoint) {
    CHECK(!CollectionRowFolds(suffix));
    RowKey row_key;
    MakeCollectionRowKey(row_key, id, kind, suffix);
    place.row = state_.active->PutOrderedRow(row_key, sizeof(value), writer_offset());
    place.freeze = state_.checkpoint;
  }
  place.row->writer_offset = writer_offset();
  StoreLittle<uint64_t>(place.row->value_data(), value);
}

bool Transaction::IsBelowActive(CollectionId id, std::string_view row_key) {
  const Memtable* frozen = MayBeFrozenLayer(id);
  if (frozen != nullptr && frozen->FindOrdered(row_key) != nullptr) return true;
  if (!state_.MayBeInLmdb(id)) return false;
  if (state_.active->FindOrdered(row_key) == nullptr) return true;  // not here: spare the look
  const auto stored = state_.reader->Get(LmdbTable::kRows, row_key);
  return !stored.ok() || stored->has_value();
}

// ---- keyspaces ------------------------------------------------------------------------------------------------------

uint64_t Transaction::KeyCount(int db) {
  const StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  Saw(database.marker_offset);
  return database.keys;
}

uint64_t Transaction::ExpiryCount(int db) {
  const StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  Saw(database.marker_offset);
  return database.expiries;
}

void Transaction::FlushDb(int db) {
  StoreState::Database& database = state_.databases[static_cast<size_t>(db)];
  database.marker_offset = start_offset_ + 1;
  touched_.push_back({db, {}, true, Change::kRemoval});
  if (database.keys == 0) return;
  state_.active->AddDeadKeyspace(database.keyspace);
  state_.database_of.erase(database.keyspace);
  CHECK(state_.next_keyspace != 0);
  database.keyspace = state_.next_keyspace++;
  database.keys = 0;
  database.expiries = 0;
  state_.MapDatabase(db);
}

void Transaction::FlushAll() {
  for (int db = 0; db < static_cast<int>(state_.databases.size()); ++db) FlushDb(db);
}

void Transaction::SwapDb(int a, int b) {
  StoreState::Database& first = state_.databases[static_cast<size_t>(a)];
  StoreState::Database& second = state_.databases[static_cast<size_t>(b)];
  std::swap(first, second);
  for (const int db : {a, b}) {
    state_.databases[static_cast<size_t>(db)].marker_offset = start_offset_ + 1;
    state_.MapDatabase(db);
    touched_.push_back({db, {}, true, Change::kContent});
  }
}

// ---- effects --------------------------------------------------------------------------------------------------------

void Transaction::AppendCommand(std::span<const std::string_view> arguments) {
  AppendNumber(effects_, '*', arguments.size());
  for (const std::string_view argument : arguments) {
    AppendNumber(effects_, '$', argument.size());
    effects_ += argument;
    effects_ += "\r\n";
  }
}

void Transaction::SelectInStream(int db) {
  if (stream_db_ == db) return;
  char digits[16];
  const char* end = std::to_chars(digits, digits + sizeof(digits), db).ptr;
  const std::string_view arguments[] = {"SELECT", {digits, static_cast<size_t>(end - digits)}};
  AppendCommand(arguments);
  stream_db_ = db;
}

void Transaction::EmitTo(int db, std::span<const std::string_view> arguments) {
  if (mode_ == TransactionMode::kApply) return;
  SelectInStream(db);
  AppendCommand(arguments);
  ++effect_count_;
}

void Transaction::Emit(std::span<const std::string_view> arguments) { EmitTo(db_, arguments); }

void Transaction::EmitOn(int db, std::initializer_list<std::string_view> arguments) {
  EmitTo(db, std::span(arguments.begin(), arguments.size()));
}

Result<void> Transaction::CheckRoom(uint64_t bytes, uint64_t arguments) const {
  if (mode_ == TransactionMode::kApply) return {};
  constexpr uint64_t kArgumentOverhead = 40;  // its length and line ends, and a DEL in front
  constexpr uint64_t kUnitOverhead = 256;     // MULTI, EXEC, SELECT
  const uint64_t max = state_.sink->MaxUnitBytes();
  const uint64_t used = effects_.size() + kUnitOverhead + arguments * kArgumentOverhead;
  if (used <= max && bytes <= max - used) return {};
  return Error{ErrorCode::kLimit,
               fmt::format("the command's effects, with those before it in its transaction, would exceed "
                           "max-unit-bytes ({})",
                           max)};
}

void Transaction::SawEverything() { Saw(start_offset_); }

UnitResult Transaction::Commit() {
  CHECK(!committed_);
  committed_ = true;
  UnitResult result;
  result.seen_offset = Planted(PlantedBug::kUndurableSeen) ? 0 : seen_offset_;
  result.effects = effect_count_;
  if (mode_ == TransactionMode::kApply) {
    result.end_offset = state_.apply_end;
    state_.last_time_ms = std::max(state_.last_time_ms, now_ms_);
    return result;
  }
  if (effect_count_ == 0) return result;
  std::string_view unit = effects_;
  if (effect_count_ == 1) {
    unit.remove_prefix(kMulti.size());
  } else {
    effects_ += kExec;
    unit = effects_;
  }
  result.end_offset = state_.sink->AppendUnit(unit, stream_db_, now_ms_);
  state_.last_time_ms = now_ms_;
  return result;
}

}  // namespace holdfast
