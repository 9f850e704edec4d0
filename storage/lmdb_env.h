// LMDB behind the store: the only includer of lmdb.h (in lmdb_env.cpp).
//
// One environment holds five named databases, one for each row class, so that each can be loaded in append mode. Every
// value is followed by a 32-bit checksum over row key and value (LMDB has none of its own); it is added by the writer
// and verified and taken off by every read, here. A mismatch is kCorruption naming database and row.
//
// Commits are fully synced (no NOSYNC, no WRITEMAP). The environment is born complete under another directory name. The
// file is checked against its meta pages before it is mapped: a truncated file is kCorruption, not SIGBUS.
//
// One writer at a time (a second one waits); readers from any thread, each object used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

namespace holdfast {

enum class LmdbTable : uint8_t { kKeys = 0, kRows = 1, kExpiry = 2, kDead = 3, kMeta = 4 };
inline constexpr size_t kLmdbTables = 5;
const char* LmdbTableName(LmdbTable table);

struct LmdbOptions {
  std::string directory;  // of data.mdb and lock.mdb
  uint64_t map_bytes = 1ull << 40;
  bool read_only = false;
  FileSystem* fs = nullptr;
  // With read_only: instead of the trees' inner pages when it is opened, the pages of each look-up are checked before
  // LMDB touches them (storage/lmdb_path_check.h): little is read for a few rows, and damage is kCorruption.
  bool check_paths = false;
};

struct LmdbTableStats {
  uint64_t entries = 0, branch_pages = 0, leaf_pages = 0, overflow_pages = 0;
};

class LmdbPathCheck;
class LmdbReader;
class LmdbWriter;

class LmdbEnv {
 public:
  // Creates an empty environment: built in <directory>.tmp, synced, renamed. kAlreadyExists if the directory exists.
  // `meta_rows` are written into kMeta, so that the store is valid from the first instant.
  static Result<void> Create(const LmdbOptions& options,
                             const std::vector<std::pair<std::string, std::string>>& meta_rows);
  static Result<std::unique_ptr<LmdbEnv>> Open(LmdbOptions options);
  ~LmdbEnv();
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;

  Result<std::unique_ptr<LmdbReader>> BeginRead();
  Result<std::unique_ptr<LmdbWriter>> BeginWrite();

  [[nodiscard]] uint64_t used_bytes() const;
  [[nodiscard]] uint64_t map_bytes() const;
  [[nodiscard]] const std::string& directory() const { return options_.directory; }

 private:
  friend class LmdbReader;
  friend class LmdbWriter;
  friend class LmdbCursor;
  explicit LmdbEnv(LmdbOptions options) : options_(std::move(options)) {}
  static Result<std::unique_ptr<LmdbEnv>> OpenAt(LmdbOptions options, bool create);
  Result<void> OpenTables(bool create);
  [[nodiscard]] Error MakeError(int code, std::string_view what) const;
  [[nodiscard]] unsigned Table(LmdbTable table) const { return tables_[static_cast<size_t>(table)]; }
  // Takes the checksum off.
  [[nodiscard]] Result<std::string_view> Verified(LmdbTable table, std::string_view key, std::string_view stored) const;

  LmdbOptions options_;
  MDB_env* env_ = nullptr;
  unsigned tables_[kLmdbTables] = {};
};

// Walks one table. Key and value stay valid until the reader's transaction ends (for a reader), or the next write.
class LmdbCursor {
 public:
  LmdbCursor(LmdbCursor&& other) noexcept;
  LmdbCursor& operator=(LmdbCursor&&) = delete;
  ~LmdbCursor();

  // First row with key >= `key`; valid() tells if there is one.
  Result<void> Seek(std::string_view key);
  // Last row with key < `key`.
  Result<void> SeekBefore(std::string_view key);
  Result<void> Next();
  Result<void> Previous();
  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] std::string_view key() const { return key_; }
  // Verified on each call; do not call twice for one row.
  [[nodiscard]] Result<std::string_view> Value() const;

 private:
  friend class LmdbReader;
  friend class LmdbWriter;
  LmdbCursor(LmdbEnv& env, LmdbTable table, MDB_cursor* cursor, LmdbReader* pool)
      : env_(env), table_(table), cursor_(cursor), pool_(pool) {}
  Result<void> Move(std::string_view from, int operation);
  Result<void> CheckMove(std::string_view from, int operation);

  LmdbEnv& env_;
  LmdbTable table_;
  MDB_cursor* cursor_;
  LmdbReader* pool_;  // takes the cursor back; null: closed at destruction
  bool valid_ = false;
  std::string_view key_;
  std::string_view stored_;
};

// A read transaction.
class LmdbReader {
 public:
  ~LmdbReader();  // its cursors must be gone
  LmdbReader(const LmdbReader&) = delete;
  LmdbReader& operator=(const LmdbReader&) = delete;

  // Goes on with the newest committed state. No cursor may be open. After an error the reader has no transaction and
  // every read fails until a Renew succeeds.
  Result<void> Renew();
  Result<std::optional<std::string_view>> Get(LmdbTable table, std::string_view key);
  Result<LmdbCursor> OpenCursor(LmdbTable table);
  Result<LmdbTableStats> TableStats(LmdbTable table);

 private:
  friend class LmdbEnv;
  friend class LmdbCursor;
  LmdbReader(LmdbEnv& env, MDB_txn* txn);
  Result<void> RenewOnce();
  Result<void> BindPaths();

  LmdbEnv& env_;
  MDB_txn* txn_;
  std::unique_ptr<LmdbPathCheck> paths_;  // with check_paths
  bool live_ = true;
  size_t open_cursors_ = 0;
  std::vector<MDB_cursor*> pooled_[kLmdbTables];
};

// A write transaction; dropped without Commit() it leaves no trace. One thread.
class LmdbWriter {
 public:
  ~LmdbWriter();
  LmdbWriter(const LmdbWriter&) = delete;
  LmdbWriter& operator=(const LmdbWriter&) = delete;

  Result<void> Put(LmdbTable table, std::string_view key, std::string_view value);
  // Fast when keys come in order; falls back to Put when they do not. Returns false if the key was there (replaced).
  Result<bool> Append(LmdbTable table, std::string_view key, std::string_view value);
  // A missing row is fine.
  Result<void> Erase(LmdbTable table, std::string_view key);
  Result<std::optional<std::string_view>> Get(LmdbTable table, std::string_view key);
  Result<LmdbCursor> OpenCursor(LmdbTable table);
  Result<LmdbTableStats> TableStats(LmdbTable table);
  // Synced when it returns. kNoSpace when less than `needed_bytes` are free on the disk or the map is full. The
  // transaction is over in any case.
  Result<void> Commit(uint64_t needed_bytes);

 private:
  friend class LmdbEnv;
  LmdbWriter(LmdbEnv& env, MDB_txn* txn) : env_(env), txn_(txn) {}
  Result<bool> PutWith(LmdbTable table, std::string_view key, std::string_view value, unsigned flags);
  Result<MDB_cursor*> PutCursor(LmdbTable table);
  void CloseCursors();

  LmdbEnv& env_;
  MDB_txn* txn_;
  MDB_cursor* cursors_[kLmdbTables] = {};
};

}  // namespace holdfast
