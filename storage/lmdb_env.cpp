#include "storage/lmdb_env.h"

#include <fmt/format.h>
#include <lmdb.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/diag.h"
#include "storage/lmdb_check.h"
#include "storage/lmdb_copy.h"
#include "storage/lmdb_path_check.h"
#include "storage/planted_bug.h"
#include "storage/row.h"

namespace holdfast {
namespace {

constexpr unsigned kReadersMax = 512;
constexpr uint64_t kMapBytesMin = 64ull << 20;
constexpr size_t kChecksumSize = kLmdbRowChecksumSize;

MDB_val ToVal(std::string_view bytes) {
  MDB_val val;
  val.mv_size = bytes.size();
  val.mv_data = const_cast<char*>(bytes.data());  // LMDB does not write through keys and input values
  return val;
}

std::string_view FromVal(const MDB_val& val) { return {static_cast<const char*>(val.mv_data), val.mv_size}; }

Result<LmdbTableStats> StatsOf(const MDB_stat& stat) {
  LmdbTableStats stats;
  stats.entries = stat.ms_entries;
  stats.branch_pages = stat.ms_branch_pages;
  stats.leaf_pages = stat.ms_leaf_pages;
  stats.overflow_pages = stat.ms_overflow_pages;
  return stats;
}

// Beside a live server the pages of a state may be reused while they are walked: look again.
constexpr int kTries = 5;
constexpr int kBindTries = 1000;
constexpr int kBindTriesAtOnce = 20;

Result<void> CheckFile(const LmdbOptions& options) {
  const std::string file = JoinPath(options.directory, "data.mdb");
  Result<void> checked;
  for (int i = 0; i < (options.read_only ? kTries : 1); ++i) {
    if (options.check_paths) {
      const auto opened = LmdbPathCheck::Open(*options.fs, file);
      checked = opened.ok() ? Result<void>() : opened.error();
    } else {
      checked = CheckLmdbFile(*options.fs, file);
    }
    if (checked.ok() || checked.error().code != ErrorCode::kCorruption) return checked;
  }
  return checked;
}

}  // namespace

const char* LmdbTableName(LmdbTable table) {
  switch (table) {
    case LmdbTable::kKeys:
      return "keys";
    case LmdbTable::kRows:
      return "rows";
    case LmdbTable::kExpiry:
      return "expiry";
    case LmdbTable::kDead:
      return "dead";
    case LmdbTable::kMeta:
      return "meta";
  }
  return "unknown";
}

// ---- environment ----------------------------------------------------------------------------------------------------

Error LmdbEnv::MakeError(int code, std::string_view what) const {
  const std::string text = fmt::format("lmdb {}: {}: {}", options_.directory, what, mdb_strerror(code));
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return Error{ErrorCode::kNoSpace, text};
    case MDB_MAP_FULL:
      return Error{ErrorCode::kNoSpace, text + fmt::format(" (the map's {} bytes are used up)", map_bytes())};
    case MDB_READERS_FULL:
      return Error{ErrorCode::kLimit, text};
    case MDB_PANIC:  // a meta page could not be written: nothing can be, until the environment is opened again
      return Error{ErrorCode::kReadOnly, text};
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_TXN:  // all an operation says when the list of databases, which it reads first, is damaged
      return Error{ErrorCode::kCorruption, text};
    case MDB_VERSION_MISMATCH:
      return Error{ErrorCode::kUnsupported, text};
    case EIO: {
      // LMDB reports a short write on a full disk as EIO.
      auto space = options_.fs->Space(options_.directory);
      if (space.ok() && space->free_bytes < (1u << 20)) return Error{ErrorCode::kNoSpace, text + " (the disk is full)"};
      return Error{ErrorCode::kIo, text};
    }
    default:
      return Error{ErrorCode::kIo, text};
  }
}

Result<std::unique_ptr<LmdbEnv>> LmdbEnv::OpenAt(LmdbOptions options, bool create) {
  if (!create) RETURN_IF_ERROR(CheckFile(options));
  const unsigned flags = MDB_NORDAHEAD | MDB_NOTLS | (options.read_only ? MDB_RDONLY : 0u);
  uint64_t map_bytes = std::max(options.map_bytes, kMapBytesMin);
  for (;;) {
    std::unique_ptr<LmdbEnv> env(new LmdbEnv(options));
    int rc = mdb_env_create(&env->env_);
    if (rc != 0) return env->MakeError(rc, "create environment");
    mdb_env_set_maxdbs(env->env_, kLmdbTables);
    mdb_env_set_maxreaders(env->env_, kReadersMax);
    rc = mdb_env_set_mapsize(env->env_, map_bytes);
    if (rc == 0) rc = mdb_env_open(env->env_, options.directory.c_str(), flags, 0640);
    if (rc == ENOMEM && map_bytes > kMapBytesMin) {  // address space is limited here (ulimit -v, sanitizers)
      map_bytes /= 2;
      continue;
    }
    if (rc != 0) return env->MakeError(rc, "open environment");
    int dead_readers = 0;
    mdb_reader_check(env->env_, &dead_readers);
    if (dead_readers > 0) diag::Notice("lmdb {}: cleared {} stale readers", options.directory, dead_readers);
    RETURN_IF_ERROR(env->OpenTables(create));
    return env;
  }
}

Result<void> LmdbEnv::OpenTables(bool create) {
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env_, nullptr, create ? 0u : static_cast<unsigned>(MDB_RDONLY), &txn);
  if (rc != 0) return MakeError(rc, "begin");
  for (size_t i = 0; i < kLmdbTables; ++i) {
    const char* name = LmdbTableName(static_cast<LmdbTable>(i));
    rc = mdb_dbi_open(txn, name, create ? static_cast<unsigned>(MDB_CREATE) : 0u, &tables_[i]);
    if (rc != 0) {
      mdb_txn_abort(txn);
      if (rc == MDB_NOTFOUND) {
        return Error{ErrorCode::kCorruption,
                     fmt::format("lmdb {}: database '{}' is missing", options_.directory, name)};
      }
      return MakeError(rc, fmt::format("open database '{}'", name));
    }
  }
  rc = mdb_txn_commit(txn);
  if (rc != 0) return MakeError(rc, "open databases");
  return {};
}

Result<void> LmdbEnv::Create(const LmdbOptions& options,
                             const std::vector<std::pair<std::string, std::string>>& meta_rows) {
  FileSystem& fs = *options.fs;
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(options.directory));
  if (exists) return Error{ErrorCode::kAlreadyExists, options.directory + ": exists"};
  LmdbOptions building = options;
  building.directory = options.directory + ".tmp";
  building.read_only = false;
  RETURN_IF_ERROR(fs.RemoveTree(building.directory));
  RETURN_IF_ERROR(fs.CreateDirectory(building.directory));
  {
    ASSIGN_OR_RETURN(std::unique_ptr<LmdbEnv> env, OpenAt(building, true));
    ASSIGN_OR_RETURN(std::unique_ptr<LmdbWriter> writer, env->BeginWrite());
    for (const auto& [key, value] : meta_rows) RETURN_IF_ERROR(writer->Put(LmdbTable::kMeta, key, value));
    RETURN_IF_ERROR(writer->Commit(1 << 20));
  }
  // LMDB wrote the file by itself; its size is part of what must last.
  ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                   fs.Open(JoinPath(building.directory, "data.mdb"), OpenOptions{OpenMode::kWrite, false}));
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(fs.SyncDirectory(building.directory));
  RETURN_IF_ERROR(fs.Rename(building.directory, options.directory));
  return fs.SyncDirectory(ParentDirectory(options.directory));
}

Result<std::unique_ptr<LmdbEnv>> LmdbEnv::Open(LmdbOptions options) { return OpenAt(std::move(options), false); }

LmdbEnv::~LmdbEnv() {
  if (env_ != nullptr) mdb_env_close(env_);
}

Result<std::unique_ptr<LmdbReader>> LmdbEnv::BeginRead() {
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (rc == MDB_READERS_FULL) {  // an offline tool may have been killed
    int dead_readers = 0;
    mdb_reader_check(env_, &dead_readers);
    rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  }
  if (rc != 0) return MakeError(rc, "begin read");
  std::unique_ptr<LmdbReader> reader(new LmdbReader(*this, txn));
  RETURN_IF_ERROR(reader->BindPaths());
  return reader;
}

Result<std::unique_ptr<LmdbWriter>> LmdbEnv::BeginWrite() {
  MDB_txn* txn = nullptr;
  const int rc = mdb_txn_begin(env_, nullptr, 0, &txn);
  if (rc != 0) return MakeError(rc, "begin write");
  return std::unique_ptr<LmdbWriter>(new LmdbWriter(*this, txn));
}

uint64_t LmdbEnv::used_bytes() const {
  MDB_envinfo info;
  MDB_stat stat;
  if (mdb_env_info(env_, &info) != 0 || mdb_env_stat(env_, &stat) != 0) return 0;
  return (static_cast<uint64_t>(info.me_last_pgno) + 1) * stat.ms_psize;
}

uint64_t LmdbEnv::map_bytes() const {
  MDB_envinfo info;
  if (env_ == nullptr || mdb_env_info(env_, &info) != 0) return 0;
  return info.me_mapsize;
}

Result<std::string_view> LmdbEnv::Verified(LmdbTable table, std::string_view key, std::string_view stored) const {
  if (stored.size() >= kChecksumSize) {
    const std::string_view value = stored.substr(0, stored.size() - kChecksumSize);
    const bool matches = LoadLittle<uint32_t>(stored.data() + value.size()) == LmdbRowChecksum(key, value);
    if (matches || Planted(PlantedBug::kValueChecksumIgnored)) return value;
  }
  return Error{ErrorCode::kCorruption,
               fmt::format("lmdb {}: database '{}', row '{}': the value ({} bytes) does not match its checksum",
                           options_.directory, LmdbTableName(table), PrintableKey(key), stored.size())};
}

// ---- copy -----------------------------------------------------------------------------------------------------------

Result<void> CopyLmdbCompacted(FileSystem& fs, const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(to));
  if (exists) return Error{ErrorCode::kAlreadyExists, to + ": exists"};
  LmdbOptions options;
  options.directory = from;
  options.read_only = true;
  options.fs = &fs;
  RETURN_IF_ERROR(CheckFile(options));
  RETURN_IF_ERROR(fs.CreateDirectory(to));
  ASSIGN_OR_RETURN(const uint64_t size, [&]() -> Result<uint64_t> {
    ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(JoinPath(from, "data.mdb"), {}));
    return file->Size();
  }());
  MDB_env* env = nullptr;
  int rc = mdb_env_create(&env);
  if (rc == 0) rc = mdb_env_set_mapsize(env, std::max(size, kMapBytesMin));
  if (rc == 0) rc = mdb_env_open(env, from.c_str(), MDB_RDONLY | MDB_NOTLS, 0640);
  if (rc == 0) rc = mdb_env_copy2(env, to.c_str(), MDB_CP_COMPACT);
  mdb_env_close(env);
  if (rc != 0) {
    const ErrorCode code = rc == ENOSPC || rc == EDQUOT ? ErrorCode::kNoSpace : ErrorCode::kIo;
    return Error{code, fmt::format("lmdb {}: copy to {}: {}", from, to, mdb_strerror(rc))};
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                   fs.Open(JoinPath(to, "data.mdb"), OpenOptions{OpenMode::kWrite, false}));
  RETURN_IF_ERROR(file->Sync());
  return fs.SyncDirectory(to);
}

// ---- cursor ---------------------------------------------------------------------------------------------------------

LmdbCursor::LmdbCursor(LmdbCursor&& other) noexcept
    : env_(other.env_),
      table_(other.table_),
      cursor_(other.cursor_),
      pool_(other.pool_),
      valid_(other.valid_),
      key_(other.key_),
      stored_(other.stored_) {
  other.cursor_ = nullptr;
}

LmdbCursor::~LmdbCursor() {
  if (cursor_ == nullptr) return;
  if (pool_ == nullptr) {
    mdb_cursor_close(cursor_);
    return;
  }
  --pool_->open_cursors_;
  pool_->pooled_[static_cast<size_t>(table_)].push_back(cursor_);
}

Result<void> LmdbCursor::Move(std::string_view from, int operation) {
  if (pool_ != nullptr && pool_->paths_ != nullptr) RETURN_IF_ERROR(CheckMove(from, operation));
  MDB_val key = ToVal(from);
  MDB_val value;
  const int rc = mdb_cursor_get(cursor_, &key, &value, static_cast<MDB_cursor_op>(operation));
  valid_ = rc == 0;
  if (rc == MDB_NOTFOUND) return {};
  if (rc != 0) return env_.MakeError(rc, fmt::format("walk database '{}'", LmdbTableName(table_)));
  key_ = FromVal(key);
  stored_ = FromVal(value);
  return {};
}

Result<void> LmdbCursor::CheckMove(std::string_view from, int operation) {
  LmdbPathCheck& paths = *pool_->paths_;
  switch (operation) {
    case MDB_NEXT:
      return paths.Next(table_, key_);
    case MDB_PREV:
      return paths.Previous(table_, key_);
    case MDB_LAST:
      return paths.SeekLast(table_);
    default:
      return paths.Seek(table_, from);
  }
}

Result<void> LmdbCursor::Seek(std::string_view key) { return Move(key, key.empty() ? MDB_FIRST : MDB_SET_RANGE); }

Result<void> LmdbCursor::SeekBefore(std::string_view key) {
  RETURN_IF_ERROR(Move(key, MDB_SET_RANGE));
  return valid_ ? Move({}, MDB_PREV) : Move({}, MDB_LAST);
}

Result<void> LmdbCursor::Next() { return Move({}, MDB_NEXT); }
Result<void> LmdbCursor::Previous() { return Move({}, MDB_PREV); }

Result<std::string_view> LmdbCursor::Value() const { return env_.Verified(table_, key_, stored_); }

// ---- reader ---------------------------------------------------------------------------------------------------------

LmdbReader::LmdbReader(LmdbEnv& env, MDB_txn* txn) : env_(env), txn_(txn) {}

LmdbReader::~LmdbReader() {
  CHECK(open_cursors_ == 0);
  for (auto& cursors : pooled_) {
    for (MDB_cursor* cursor : cursors) mdb_cursor_close(cursor);
  }
  mdb_txn_abort(txn_);
}

Result<void> LmdbReader::Renew() {
  CHECK(open_cursors_ == 0);
  RETURN_IF_ERROR(RenewOnce());
  return BindPaths();
}

Result<void> LmdbReader::BindPaths() {
  if (!env_.options_.check_paths) return {};
  if (paths_ == nullptr) {
    const std::string file = JoinPath(env_.options_.directory, "data.mdb");
    ASSIGN_OR_RETURN(paths_, LmdbPathCheck::Open(*env_.options_.fs, file));
  }
  for (int i = 0;; ++i) {
    const auto bound = paths_->Bind(mdb_txn_id(txn_));
    if (bound.ok() && *bound) return {};
    if (!bound.ok() && (bound.error().code != ErrorCode::kCorruption || i + 1 >= kTries)) return bound.error();
    if (i + 1 >= kBindTries) return env_.MakeError(EBUSY, "the server commits faster than its state can be looked at");
    if (i >= kBindTriesAtOnce) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    RETURN_IF_ERROR(RenewOnce());
  }
}

Result<void> LmdbReader::RenewOnce() {
  if (live_) mdb_txn_reset(txn_);
  live_ = false;
  int rc = mdb_txn_renew(txn_);
  if (rc != 0) return env_.MakeError(rc, "renew read transaction");
  live_ = true;
  for (auto& cursors : pooled_) {
    for (MDB_cursor* cursor : cursors) {
      rc = mdb_cursor_renew(txn_, cursor);
      if (rc != 0) return env_.MakeError(rc, "renew cursor");
    }
  }
  return {};
}

Result<std::optional<std::string_view>> LmdbReader::Get(LmdbTable table, std::string_view key) {
  if (!live_) return env_.MakeError(EINVAL, "read without a transaction");
  if (paths_ != nullptr) RETURN_IF_ERROR(paths_->Find(table, key));
  MDB_val key_val = ToVal(key);
  MDB_val value;
  const int rc = mdb_get(txn_, env_.Table(table), &key_val, &value);
  if (rc == MDB_NOTFOUND) {
    if (paths_ != nullptr) RETURN_IF_ERROR(paths_->Absent(table, key));
    return std::optional<std::string_view>{};
  }
  if (rc != 0) return env_.MakeError(rc, fmt::format("read from database '{}'", LmdbTableName(table)));
  ASSIGN_OR_RETURN(const std::string_view verified, env_.Verified(table, key, FromVal(value)));
  return std::optional<std::string_view>(verified);
}

Result<LmdbCursor> LmdbReader::OpenCursor(LmdbTable table) {
  if (!live_) return env_.MakeError(EINVAL, "read without a transaction");
  auto& pool = pooled_[static_cast<size_t>(table)];
  MDB_cursor* cursor = nullptr;
  if (!pool.empty()) {
    cursor = pool.back();
    pool.pop_back();
  } else {
    const int rc = mdb_cursor_open(txn_, env_.Table(table), &cursor);
    if (rc != 0) return env_.MakeError(rc, "open cursor");
  }
  ++open_cursors_;
  return LmdbCursor(env_, table, cursor, this);
}

Result<LmdbTableStats> LmdbReader::TableStats(LmdbTable table) {
  if (!live_) return env_.MakeError(EINVAL, "read without a transaction");
  MDB_stat stat;
  const int rc = mdb_stat(txn_, env_.Table(table), &stat);
  if (rc != 0) return env_.MakeError(rc, "statistics");
  return StatsOf(stat);
}

// ---- writer ---------------------------------------------------------------------------------------------------------

void LmdbWriter::CloseCursors() {
  for (MDB_cursor*& cursor : cursors_) {
    if (cursor != nullptr) mdb_cursor_close(cursor);
    cursor = nullptr;
  }
}

LmdbWriter::~LmdbWriter() {
  CloseCursors();
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

Result<MDB_cursor*> LmdbWriter::PutCursor(LmdbTable table) {
  MDB_cursor*& cursor = cursors_[static_cast<size_t>(table)];
  if (cursor == nullptr) {
    const int rc = mdb_cursor_open(txn_, env_.Table(table), &cursor);
    if (rc != 0) return env_.MakeError(rc, "open cursor");
  }
  return cursor;
}

Result<bool> LmdbWriter::PutWith(LmdbTable table, std::string_view key, std::string_view value, unsigned flags) {
  ASSIGN_OR_RETURN(MDB_cursor * cursor, PutCursor(table));
  MDB_val key_val = ToVal(key);
  MDB_val place;
  place.mv_size = value.size() + kChecksumSize;
  place.mv_data = nullptr;
  const int rc = mdb_cursor_put(cursor, &key_val, &place, flags | MDB_RESERVE);
  if (rc == MDB_KEYEXIST) return false;
  if (rc != 0) return env_.MakeError(rc, fmt::format("write to database '{}'", LmdbTableName(table)));
  char* to = static_cast<char*>(place.mv_data);
  if (!value.empty()) std::memcpy(to, value.data(), value.size());
  StoreLittle<uint32_t>(to + value.size(), LmdbRowChecksum(key, value));
  return true;
}

Result<void> LmdbWriter::Put(LmdbTable table, std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(const bool written, PutWith(table, key, value, 0));
  CHECK(written);
  return {};
}

Result<bool> LmdbWriter::Append(LmdbTable table, std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(const bool appended, PutWith(table, key, value, MDB_APPEND));
  if (appended) return true;
  ASSIGN_OR_RETURN(const bool inserted, PutWith(table, key, value, MDB_NOOVERWRITE));
  if (inserted) return true;
  RETURN_IF_ERROR(Put(table, key, value));
  return false;
}

Result<void> LmdbWriter::Erase(LmdbTable table, std::string_view key) {
  MDB_val key_val = ToVal(key);
  const int rc = mdb_del(txn_, env_.Table(table), &key_val, nullptr);
  if (rc != 0 && rc != MDB_NOTFOUND) {
    return env_.MakeError(rc, fmt::format("erase from database '{}'", LmdbTableName(table)));
  }
  return {};
}

Result<std::optional<std::string_view>> LmdbWriter::Get(LmdbTable table, std::string_view key) {
  MDB_val key_val = ToVal(key);
  MDB_val value;
  const int rc = mdb_get(txn_, env_.Table(table), &key_val, &value);
  if (rc == MDB_NOTFOUND) return std::optional<std::string_view>{};
  if (rc != 0) return env_.MakeError(rc, fmt::format("read from database '{}'", LmdbTableName(table)));
  ASSIGN_OR_RETURN(const std::string_view verified, env_.Verified(table, key, FromVal(value)));
  return std::optional<std::string_view>(verified);
}

Result<LmdbCursor> LmdbWriter::OpenCursor(LmdbTable table) {
  MDB_cursor* cursor = nullptr;
  const int rc = mdb_cursor_open(txn_, env_.Table(table), &cursor);
  if (rc != 0) return env_.MakeError(rc, "open cursor");
  return LmdbCursor(env_, table, cursor, nullptr);
}

Result<LmdbTableStats> LmdbWriter::TableStats(LmdbTable table) {
  MDB_stat stat;
  const int rc = mdb_stat(txn_, env_.Table(table), &stat);
  if (rc != 0) return env_.MakeError(rc, "statistics");
  return StatsOf(stat);
}

Result<void> LmdbWriter::Commit(uint64_t needed_bytes) {
  CloseCursors();
  MDB_txn* txn = txn_;
  txn_ = nullptr;
  auto space = env_.options_.fs->Space(env_.options_.directory);
  if (!space.ok() || space->free_bytes < needed_bytes) {
    mdb_txn_abort(txn);
    if (!space.ok()) return std::move(space).error();
    return Error{ErrorCode::kNoSpace, fmt::format("lmdb {}: a commit may need {} bytes, the disk has {} free",
                                                  env_.options_.directory, needed_bytes, space->free_bytes)};
  }
  const int rc = mdb_txn_commit(txn);
  if (rc != 0) return env_.MakeError(rc, "commit");
  return {};
}

}  // namespace holdfast
