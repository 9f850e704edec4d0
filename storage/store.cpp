#include "storage/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/diag.h"
#include "storage/base/hash.h"
#include "storage/frozen_view.h"
#include "storage/layer_cursor.h"
#include "storage/lmdb_view.h"
#include "storage/merge.h"
#include "storage/run_file.h"
#include "storage/store_state.h"

namespace holdfast {
namespace {

// A window of keys is learned when its range takes so many pages of LMDB on average, and there are so many keys for
// each window: few keys are quickly found in LMDB, too.
constexpr uint64_t kPagesPerWindowMax = 2;
constexpr uint64_t kWindowsPerKeyMax = 64;

constexpr uint64_t kManyDeletedRowsMin = 4000;  // with fewer rows in memory a checkpoint would not help

std::string RunDirectory(const StoreOptions& options) { return JoinPath(options.directory, "run"); }

// What is on disk: LMDB's state and the run that is not merged yet.
struct OnDisk {
  std::shared_ptr<LmdbEnv> env;
  std::unique_ptr<LmdbReader> reader;
  StoreMeta lmdb;
  std::optional<Run> run;
};

// What is found was perhaps written by a process that died before it synced: a run that LMDB holds is removed, and the
// log trimmed, only on the strength of what is on the disk.
Result<void> SyncWhatIsFound(const StoreOptions& options, const LmdbOptions& lmdb) {
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                   options.fs->Open(JoinPath(lmdb.directory, "data.mdb"), {.mode = OpenMode::kWrite}));
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(options.fs->SyncDirectory(RunDirectory(options)));
  return options.fs->SyncDirectory(options.directory);
}

Result<void> CreateIfEmpty(const StoreOptions& options, const LmdbOptions& lmdb) {
  FileSystem& fs = *options.fs;
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(lmdb.directory));
  if (options.read_only) {
    if (exists) return {};
    return Error{ErrorCode::kNotFound, fmt::format("{}: there is no store here", options.directory)};
  }
  RETURN_IF_ERROR(fs.CreateDirectory(options.directory));
  RETURN_IF_ERROR(fs.CreateDirectory(RunDirectory(options)));
  if (exists) return SyncWhatIsFound(options, lmdb);
  RETURN_IF_ERROR(fs.SyncDirectory(options.directory));
  ASSIGN_OR_RETURN(const std::vector<std::string> runs, ListRuns(fs, RunDirectory(options), false));
  if (!runs.empty()) {
    return Error{ErrorCode::kCorruption, fmt::format("{}: a run file is there ({}), but no LMDB directory: restore it",
                                                     options.directory, runs.front())};
  }
  return CreateEmptyLmdb(lmdb, options.databases);
}

Result<Run> ReadRunFor(const StoreOptions& options, const std::string& path, LmdbReader& lmdb) {
  const std::vector<std::string>* keys = OnlyKeysWanted::OfThisThread();
  if (keys == nullptr || !options.check_paths) return ReadRun(*options.fs, path);
  return ReadRunOfKeys(*options.fs, path, *keys,
                       [&lmdb](const std::string& row_key) -> Result<std::optional<CollectionId>> {
                         ASSIGN_OR_RETURN(const auto row, lmdb.Get(LmdbTable::kKeys, row_key));
                         if (!row) return std::optional<CollectionId>();
                         ASSIGN_OR_RETURN(const KeyValue value, ParseKeyValue(*row));
                         return CollectionOf(value);
                       });
}

// Reads the run that LMDB does not hold yet. Runs already merged are removed (the server stopped before it did so).
Result<void> ReadPendingRun(const StoreOptions& options, bool half_merged, OnDisk& disk) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   ListRuns(*options.fs, RunDirectory(options), options.read_only));
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(Run run, ReadRunFor(options, path, *disk.reader));
    if (run.meta.checkpoint <= disk.lmdb.checkpoint) {
      if (!options.read_only) RETURN_IF_ERROR(options.fs->Remove(path));
      continue;
    }
    if (run.meta.checkpoint != disk.lmdb.checkpoint + 1) {
      // Without a server at work a file is missing. Beside one, LMDB has moved on since it was looked at.
      return Error{ErrorCode::kCorruption,
                   fmt::format("{} is of checkpoint {}, but LMDB holds checkpoint {}: one between them is missing",
                               path, run.meta.checkpoint, disk.lmdb.checkpoint)};
    }
    if (disk.run.has_value()) {
      return Error{ErrorCode::kCorruption,
                   fmt::format("{} and {}: two runs wait to be merged, there can be one", disk.run->path, path)};
    }
    disk.run = std::move(run);
  }
  if (half_merged && !disk.run.has_value()) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("{}: LMDB holds a part of a merge whose run file is missing from {}", options.directory,
                             RunDirectory(options))};
  }
  return {};
}

Result<OnDisk> ReadDisk(const StoreOptions& options, const LmdbOptions& lmdb) {
  OnDisk disk;
  ASSIGN_OR_RETURN(disk.env, LmdbEnv::Open(lmdb));
  // Beside a live server the run may be merged and removed between two looks.
  constexpr int kTries = 10;
  for (int i = 0;; ++i) {
    ASSIGN_OR_RETURN(disk.reader, disk.env->BeginRead());
    ASSIGN_OR_RETURN(LmdbState state, ReadLmdbState(*disk.env, *disk.reader));
    disk.lmdb = std::move(state.meta);
    disk.run.reset();
    Result<void> run = ReadPendingRun(options, state.half_merged, disk);
    if (run.ok()) return disk;
    if (!options.read_only || i + 1 == kTries) return std::move(run).error();
  }
}

}  // namespace

// ---- checkpoint job -------------------------------------------------------------------------------------------------

Result<std::unique_ptr<StoreView>> MemtableCheckpoint::OpenView() const {
  return OpenLmdbView(env_, options_.databases, rows_, meta_);
}

Result<std::unique_ptr<StoreView>> OpenFrozenView(const CheckpointJob& job) {
  // Stores make no other jobs.
  return static_cast<const MemtableCheckpoint&>(job).OpenView();
}

Result<void> MemtableCheckpoint::Run(const std::function<void(double progress)>& progress,
                                     const std::atomic<bool>& cancelled) {
  if (done()) return {};
  retired_.reset();
  if (run_path_.empty()) {
    ASSIGN_OR_RETURN(run_path_, WriteRun(*options_.fs, RunDirectory(options_), meta_, *rows_));
  }
  if (cancelled.load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kAborted, "checkpoint: stopped on request after the run was written"};
  }
  const std::function<void(double)> report = [&](double fraction) {
    progress_.store(fraction, std::memory_order_relaxed);
    if (progress) progress(fraction);
  };
  Merger merger(*env_, {options_.merge_dirty_pages, options_.dead_rows_per_checkpoint}, report, cancelled);
  if (!merged_) {
    RETURN_IF_ERROR(merger.MergeRows(*rows_, meta_));
    merged_ = true;
  }
  // Not synced: a run that comes back after a crash is recognised as merged by its number.
  Result<void> removed = options_.fs->Remove(run_path_);
  if (!removed.ok() && removed.error().code != ErrorCode::kNotFound) return removed;
  RETURN_IF_ERROR(merger.CollectDead());
  done_.store(true, std::memory_order_release);
  return {};
}

// ---- state ----------------------------------------------------------------------------------------------------------

void StoreState::Adopt(const StoreMeta& meta) {
  next_collection = meta.next_collection;
  next_keyspace = meta.next_keyspace;
  first_collection_active = meta.next_collection;
  checkpoint = meta.checkpoint;
  position = meta.position;
  last_time_ms = meta.position.time_ms;
  const size_t count = std::max(meta.databases.size(), static_cast<size_t>(options.databases));
  databases.reserve(count);
  database_of.reserve(count);
  for (const StoreMeta::Database& from : meta.databases) {
    Database database;
    database.keyspace = from.keyspace;
    database.keys = from.keys;
    database.expiries = from.expiries;
    databases.push_back(database);
  }
  // More databases were configured than before. Fewer: those beyond stay, out of reach.
  while (databases.size() < static_cast<size_t>(options.databases)) {
    databases.emplace_back().keyspace = next_keyspace++;
  }
  for (size_t i = 0; i < databases.size(); ++i) MapDatabase(static_cast<int>(i));
}

StoreMeta StoreState::MakeMeta(uint64_t number, StreamPosition at) const {
  StoreMeta meta;
  meta.checkpoint = number;
  meta.position = std::move(at);
  meta.next_collection = next_collection;
  meta.next_keyspace = next_keyspace;
  for (const Database& database : databases) {
    meta.databases.push_back({database.keyspace, database.keys, database.expiries});
  }
  return meta;
}

void StoreState::MapDatabase(int db) {
  Database& database = databases[static_cast<size_t>(db)];
  database_of[database.keyspace] = db;
  database.active = active->FindKeyTable(database.keyspace);
  const Memtable* next = FrozenOrMerged();
  database.below = next == nullptr ? nullptr : next->FindKeyTable(database.keyspace);
}

RowTable& StoreState::ActiveKeys(Database& database) {
  if (database.active == nullptr) database.active = active->KeyTable(database.keyspace);
  return *database.active;
}

void StoreState::LearnKeyWindow(const Database& database, uint64_t hash) {
  if (database.keys * kWindowsPerKeyMax < key_windows.count()) return;
  if (!key_windows.WantsToLearn(database.keyspace, hash)) return;
  const auto stats = reader->TableStats(LmdbTable::kKeys);
  if (!stats.ok() || stats->leaf_pages > kPagesPerWindowMax * key_windows.count()) return;
  KeyWindows::Lesson lesson = key_windows.Begin(database.keyspace, hash);
  bool room = true;
  for (const RowTable* table : {static_cast<const RowTable*>(database.active), database.below}) {
    if (table == nullptr) continue;
    for (RowTable::Position at = table->LowerBound(lesson.first(), {}); room && at != table->End(); table->Next(at)) {
      if (table->At(at).hash > lesson.last()) break;
      room = lesson.Add(table->At(at).hash);
    }
  }
  auto cursor = reader->OpenCursor(LmdbTable::kKeys);
  if (!cursor.ok()) return;
  RowKey from;
  MakeKeyRowKey(from, database.keyspace, lesson.first(), {});
  Result<void> moved = cursor->Seek(from);
  for (; moved.ok() && cursor->valid() && room; moved = cursor->Next()) {
    const std::string_view row_key = cursor->key();
    if (row_key.size() < kKeyRowPrefix + sizeof(uint64_t)) return;  // damaged; whoever reads it will say so
    if (LoadBig<uint32_t>(row_key.data() + 1) != database.keyspace) break;
    const auto found = LoadBig<uint64_t>(row_key.data() + kKeyRowPrefix);
    if (found > lesson.last()) break;
    if (found < lesson.first()) return;
    room = lesson.Add(found);
  }
  if (moved.ok()) key_windows.Learn(lesson);
}

RowTable& StoreState::ActiveMembers(CollectionId id) { return *active->MemberTable(id); }

void StoreState::PutExpiryRow(int64_t at, KeyspaceId keyspace, uint64_t hash, std::string_view key,
                              uint64_t writer_offset) {
  RowKey row_key;
  MakeExpiryRowKey(row_key, at, keyspace, hash, key);
  const std::string_view value = ExpiryRowFolds(key) ? key : std::string_view();
  std::copy(value.begin(), value.end(), active->PutOrdered(row_key, value.size(), writer_offset));
  if (row_key.view() < expiry_floor) expiry_floor = row_key.view();
}

void StoreState::EraseExpiryRow(int64_t at, KeyspaceId keyspace, uint64_t hash, std::string_view key,
                                uint64_t writer_offset) {
  RowKey row_key;
  MakeExpiryRowKey(row_key, at, keyspace, hash, key);
  // An expiry row is put only when there was none: one that is here and replaced no tombstone is nowhere below.
  if (active->RemoveOrdered(row_key)) return;
  active->EraseOrdered(row_key, writer_offset);
}

// ---- opening --------------------------------------------------------------------------------------------------------

Store::Store(std::unique_ptr<StoreState> state) : state_(std::move(state)) {
  state_->transaction.reset(new Transaction(*state_));
}

Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options) {
  CHECK(options.fs != nullptr);
  CHECK(options.databases > 0);
  LmdbOptions lmdb{JoinPath(options.directory, "lmdb"), options.map_bytes, options.read_only, options.fs,
                   options.check_paths};
  RETURN_IF_ERROR(CreateIfEmpty(options, lmdb));
  ASSIGN_OR_RETURN(OnDisk disk, ReadDisk(options, lmdb));
  auto state = std::make_unique<StoreState>(options, disk.env);
  state->reader = std::move(disk.reader);
  const StoreMeta& found = disk.run.has_value() ? disk.run->meta : disk.lmdb;
  state->active = std::make_shared<Memtable>(state->slabs, found.next_collection);
  if (disk.run.has_value()) {
    diag::Notice("store {}: the run at offset {} ({} rows) waits to be merged", options.directory,
                 disk.run->meta.position.offset, disk.run->rows->rows());
    state->frozen = disk.run->rows;
    state->job = std::make_shared<MemtableCheckpoint>(disk.env, options, state->frozen, disk.run->meta, disk.run->path);
  }
  state->Adopt(found);
  state->first_collection_above_lmdb = disk.lmdb.next_collection;
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

const StreamPosition& Store::CheckpointPosition() const { return state_->position; }

std::shared_ptr<CheckpointJob> Store::PendingCheckpoint() const { return state_->job; }

void Store::SetEventClasses(uint32_t classes) { state_->event_classes = classes; }

void Store::AttachSink(EffectSink* sink) { state_->sink = sink; }

Transaction& Store::Begin(TransactionMode mode, int db, int64_t now_ms) {
  state_->transaction->Start(mode, db, now_ms);
  return *state_->transaction;
}

void Store::Prefetch(int db, std::span<const std::string_view> keys, bool to_write) {
  constexpr size_t kTogether = 64;
  StoreState& state = *state_;
  const StoreState::Database& database = state.databases[static_cast<size_t>(db)];
  const uint64_t space = KeyCacheSpace(database.keyspace);
  uint64_t hashes[kTogether];
  keys = keys.first(std::min(keys.size(), kTogether));
  for (size_t i = 0; i < keys.size(); ++i) {
    hashes[i] = RowHash(keys[i]);
    if (database.active != nullptr) database.active->PrefetchSlot(hashes[i]);
    if (database.below != nullptr) database.below->PrefetchSlot(hashes[i]);
    state.cache.PrefetchSlot(space, hashes[i]);
  }
  // By now the first slots are there: they say where the rows are.
  for (size_t i = 0; i < keys.size(); ++i) {
    if (to_write) state.plain_keys.Prefetch(hashes[i]);
    state.key_windows.Prefetch(hashes[i]);
    if (database.active != nullptr && database.active->PrefetchRow(hashes[i])) continue;
    if (database.below != nullptr && database.below->PrefetchRow(hashes[i])) continue;
    state.cache.PrefetchEntry(space, hashes[i]);
  }
}

void Store::SetApplyUnit(uint64_t start_offset, uint64_t end_offset) {
  state_->apply_start = start_offset;
  state_->apply_end = end_offset;
}

Result<std::unique_ptr<KeyPrefetcher>> Store::OpenKeyPrefetcher() {
  ASSIGN_OR_RETURN(auto reader, state_->env->BeginRead());
  std::vector<KeyspaceId> keyspaces;
  for (const StoreState::Database& database : state_->databases) keyspaces.push_back(database.keyspace);
  return std::make_unique<KeyPrefetcher>(state_->env, std::move(reader), std::move(keyspaces));
}

void Store::UseKeyRows(const KeyRows* rows) { state_->key_rows = rows; }

std::optional<WantedKey> Store::WantFromLmdb(int db, std::string_view key) {
  StoreState& state = *state_;
  const StoreState::Database& database = state.databases[static_cast<size_t>(db)];
  if (!KeyRowFolds(key)) {
    const uint64_t hash = RowHash(key);
    // A row in memory is whole, but a collection's or long string's other rows may be elsewhere.
    const auto is_all = [](std::string_view row) {
      const auto value = ParseKeyValue(row);
      return value.ok() && value->type == ValueType::kString && !value->chunked;
    };
    for (const RowTable* table : {static_cast<const RowTable*>(database.active), database.below}) {
      const RowTable::Slot* slot = table == nullptr ? nullptr : table->Find(hash, key);
      if (slot == nullptr) continue;
      if (slot->row->tombstone || is_all(slot->row->value())) return std::nullopt;
      return WantedKey{database.keyspace, std::string(key), {}};
    }
    if (state.key_windows.IsAbsent(database.keyspace, hash)) return std::nullopt;
    const RowCache::Value cached = state.cache.Find(KeyCacheSpace(database.keyspace), hash, key);
    if (cached.data != nullptr && is_all(cached.view())) return std::nullopt;
  }
  return WantedKey{database.keyspace, std::string(key), {}};
}

bool Store::HasWalksAhead() const { return !state_->walks_ahead.empty(); }

std::vector<WalkAhead> Store::TakeWalksAhead() { return state_->walks_ahead.Take(); }

std::shared_ptr<const ColdRows> Store::OpenColdRows() const { return std::make_shared<ColdRows>(state_->env); }

// ---- checkpoints ----------------------------------------------------------------------------------------------------

bool Store::FreezeWanted() const {
  if (state_->frozen != nullptr) return false;
  if (state_->active->bytes() >= state_->options.memtable_bytes) return true;
  return state_->met_many_deleted && state_->active->rows() >= kManyDeletedRowsMin;
}

bool Store::HasFrozen() const { return state_->frozen != nullptr; }

std::shared_ptr<CheckpointJob> Store::FreezeActive(StreamPosition position) {
  StoreState& state = *state_;
  CHECK(state.frozen == nullptr);
  CHECK(state.transaction->ended());
  CHECK(!state.options.read_only);
  ++state.checkpoint;
  state.met_many_deleted = false;
  state.frozen = std::move(state.active);
  state.active = std::make_shared<Memtable>(state.slabs, state.next_collection);
  state.job = std::make_shared<MemtableCheckpoint>(state.env, state.options, state.frozen,
                                                   state.MakeMeta(state.checkpoint, std::move(position)), std::string(),
                                                   std::exchange(state.merged, nullptr));
  state.first_collection_active = state.next_collection;
  for (StoreState::Database& database : state.databases) {
    database.below = database.active;
    database.active = nullptr;
  }
  return state.job;
}

Result<void> Store::RenewReader() {
  CHECK(state_->transaction->ended());
  return state_->reader->Renew();
}

Result<void> Store::FinishCheckpoint() {
  StoreState& state = *state_;
  CHECK(state.job != nullptr);
  CHECK(state.job->done());
  RETURN_IF_ERROR(RenewReader());
  state.merged_rows += state.frozen->rows();
  ++state.checkpoints_done;
  state.position = state.job->position();
  // Ids given out since the freeze are above LMDB from now on; the frozen ones are in it.
  state.first_collection_above_lmdb = state.first_collection_active;
  state.job.reset();
  if (state.options.cache_bytes > 0) state.merged = std::move(state.frozen);
  state.frozen.reset();
  for (size_t i = 0; i < state.databases.size(); ++i) state.MapDatabase(static_cast<int>(i));
  return {};
}

double Store::WritePressure() const { return state_->frozen == nullptr ? 0 : ActiveFill(); }

double Store::ActiveFill() const {
  if (state_->options.memtable_bytes == 0) return 0;
  return static_cast<double>(state_->active->bytes()) / static_cast<double>(state_->options.memtable_bytes);
}

Result<std::unique_ptr<StoreView>> Store::OpenView() { return OpenLmdbView(state_->env, state_->options.databases); }

// ---- expiry ---------------------------------------------------------------------------------------------------------

Result<std::vector<Store::ExpiredKey>> Store::ExpiredKeys(int64_t now_ms, size_t limit) {
  StoreState& state = *state_;
  const size_t rows_max = 4 * limit + 1000;
  LayerCursor cursor(RowRange::Expiries());
  cursor.AddOrdered(state.active.get());
  cursor.AddOrdered(state.frozen.get());
  RETURN_IF_ERROR(cursor.AddLmdb(*state.reader));
  std::optional<RowStart> from;
  if (!state.expiry_floor.empty()) from = RowStart{0, std::string_view(state.expiry_floor).substr(1)};
  RETURN_IF_ERROR(cursor.Start(from));
  std::vector<ExpiredKey> expired;
  bool only_gone = true;  // nothing alive was passed so far
  for (size_t i = 0; cursor.valid() && i < rows_max && expired.size() < limit; ++i) {
    const std::string row_key = cursor.RowKeyBytes();
    ASSIGN_OR_RETURN(const std::string_view value, cursor.Value());
    ASSIGN_OR_RETURN(const ExpiryRow row, ParseExpiryRow(row_key, value));
    const auto db = state.database_of.find(row.keyspace);
    const bool gone = cursor.tombstone() || db == state.database_of.end();
    if (!gone && row.expire_at_ms > now_ms) break;
    if (gone && only_gone) state.expiry_floor = row_key;
    if (!gone) {
      only_gone = false;
      if (db->second < state.options.databases) expired.push_back({db->second, std::string(row.key)});
    }
    RETURN_IF_ERROR(cursor.Next());
  }
  return expired;
}

StoreStats Store::Stats() const {
  const StoreState& state = *state_;
  StoreStats stats;
  stats.active_bytes = state.active->bytes();
  stats.active_rows = state.active->rows();
  stats.dead_collections = state.active->dead_collections().size() + state.active->dead_keyspaces().size();
  if (state.frozen != nullptr) {
    stats.frozen_bytes = state.frozen->bytes();
    stats.frozen_rows = state.frozen->rows();
    stats.dead_collections += state.frozen->dead_collections().size() + state.frozen->dead_keyspaces().size();
    stats.checkpoint_running = true;
    stats.checkpoint_progress = state.job->progress();
  }
  stats.cache_bytes = state.cache.bytes();
  stats.cache_rows = state.cache.rows();
  stats.merged_bytes = state.merged == nullptr ? 0 : state.merged->bytes();
  stats.index_bytes =
      state.rank_trees.bytes() + state.pick_windows.bytes() + state.plain_keys.bytes() + state.key_windows.bytes();
  stats.cache_hits = state.cache.hits();
  stats.cache_misses = state.cache.misses();
  stats.lmdb_used_bytes = state.env->used_bytes();
  stats.lmdb_map_bytes = state.env->map_bytes();
  auto dead = state.reader->TableStats(LmdbTable::kDead);
  if (dead.ok()) stats.dead_in_lmdb = dead->entries;
  stats.dead_collections += stats.dead_in_lmdb;
  stats.checkpoints = state.checkpoints_done;
  stats.merged_rows = state.merged_rows;
  return stats;
}

const StoreOptions& Store::options() const { return state_->options; }

}  // namespace holdfast
