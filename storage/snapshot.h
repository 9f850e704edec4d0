// Snapshot files (.hfs): the whole logical content at one stream offset. docs/formats-snapshot.md has the bytes.
//
// header | block ... | block index | footer. Blocks hold logical records in (db, row hash, key) order, each block
// zstd-compressed with raw and stored length, first position and XXH3-64 checksum. Big keys span blocks; the index
// finds a key's first block, so one key is read without reading the file; a damaged block costs its own keys only.
//
// Every byte of the file is under some checksum, and all checksums are seeded by the header's: a block of another file
// never passes. Everything here treats the file as hostile: lengths are bounded before they are believed, and records
// that break an order or shape rule are damage, whatever their checksum says.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/store_options.h"
#include "storage/store_view.h"
#include "storage/stream_position.h"

namespace holdfast {

inline constexpr uint32_t kSnapshotVersion = 1;
inline constexpr size_t kSnapshotBlockTarget = 256 * 1024;  // raw bytes of a full block; the writer never exceeds it

struct SnapshotHeader {
  uint32_t version = kSnapshotVersion;
  StreamPosition position;    // offset, selected db, digest state, lineage id, stream time
  std::string lineage_table;  // wal::Lineage's serialized form, opaque here
  int64_t created_ms = 0;
  uint32_t databases = 0;
  uint64_t key_count = 0;  // as announced by the view; the footer has what was written
  std::string node_id;
};

struct SnapshotFooter {
  uint64_t keys = 0, records = 0, raw_bytes = 0, stored_bytes = 0, blocks = 0;
  uint64_t keys_by_type[6] = {};
  uint64_t file_bytes = 0;
};

struct SnapshotWriteOptions {
  int zstd_level = 1;
  int threads = 1;  // compression workers beside the calling thread; 0: compress on the calling thread
  uint64_t bytes_per_second_max = 0;  // of the file; 0: no limit
};

struct SnapshotProgress {
  uint64_t keys_done, keys_total, raw_bytes, stored_bytes;
};

// Writes `path` (temporary name `path`.tmp, sync, rename, sync directory). Blocking. `header.position`,
// `databases` and `key_count` are taken from the view; the caller fills the rest. `cancelled` gives kAborted; every
// failure leaves nothing behind. `progress` (may be empty) is called on the calling thread after each block. Memory:
// about (2 * threads + 2) blocks, 48 bytes per block written, and the longest single record.
Result<SnapshotFooter> WriteSnapshot(FileSystem& fs, const std::string& path, SnapshotHeader header, StoreView& view,
                                     const SnapshotWriteOptions& options, const std::atomic<bool>& cancelled,
                                     const std::function<void(const SnapshotProgress&)>& progress);

// One logical record as read back. A key comes first, then the rows of its value.
struct SnapshotKey {
  int db;
  std::string_view key;
  // body: an inline string whole, or the header without local ids: of a chunked string its length (u64 LE), of other
  // types element count (u64 LE) and what the type adds.
  KeyValue value;
};
struct SnapshotRow {  // belongs to the key before it; rows ascend by (kind, suffix)
  CollectionKind kind;
  std::string_view suffix;
  std::string_view value;
};

// Views live until the call returns. An error returned by the visitor ends the visit with that error.
class SnapshotVisitor {
 public:
  virtual ~SnapshotVisitor() = default;
  virtual Result<void> Key(const SnapshotKey& key) = 0;
  virtual Result<void> Row(const SnapshotRow& row) = 0;
  // The key before is whole. A key without this call lost rows to damage and must not be used.
  virtual Result<void> KeyEnd() { return {}; }
};

struct SnapshotFinding {
  uint64_t position;  // byte in the file
  std::string message;
};

// One thread at a time. Errors are kCorruption with the file and the byte position, or the file system's.
class SnapshotReader {
 public:
  // Verifies header, footer and index. kUnsupported for a newer format version.
  static Result<std::unique_ptr<SnapshotReader>> Open(FileSystem& fs, const std::string& path);
  virtual ~SnapshotReader() = default;
  [[nodiscard]] virtual const SnapshotHeader& header() const = 0;
  [[nodiscard]] virtual const SnapshotFooter& footer() const = 0;
  // Everything, verified as it goes; stops at the first damage. ok means: the whole file was good.
  virtual Result<void> VisitAll(SnapshotVisitor& visitor) = 0;
  // What damage left: `damage` is told about each bad block, keys that lost a part get no KeyEnd (or are not seen).
  virtual Result<void> VisitUndamaged(SnapshotVisitor& visitor,
                                      const std::function<void(const SnapshotFinding&)>& damage) = 0;
  // Only the block(s) that may hold `key` are read. Whether it was there.
  virtual Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) = 0;
};

// Every checksum and structure rule; works on damaged files as far as it can: goes on past damaged blocks, also without
// index, footer or header. The result is an error only if the file cannot be read at all, is not a snapshot, or is of a
// newer version. ok and no finding means: the whole file is good.
Result<void> VerifySnapshot(FileSystem& fs, const std::string& path,
                            const std::function<void(const SnapshotFinding&)>& finding);

// For an interrupted transfer: how much of the beginning of a file can be kept. Bytes are taken from the front: header,
// whole verified blocks, then index and footer together.
struct PartialSnapshot {
  uint64_t verified_bytes = 0;  // go on from here; 0: not even a header
  uint64_t blocks = 0;
  bool complete = false;  // the whole file is there (its records are not checked: LoadSnapshot does)
  // Checksum of the header: a transfer may go on only from a file with the same one. 0 without a header.
  uint64_t identity = 0;
};
Result<PartialSnapshot> CheckPartialSnapshot(FileSystem& fs, const std::string& path);

// Loads a snapshot into the LMDB of a fresh generation, in append mode, verifying everything. On failure the generation
// directory holds leftovers and is the caller's to remove. Nothing is in force before the caller commits the
// generation.
Result<SnapshotHeader> LoadSnapshot(FileSystem& fs, const std::string& path, StoreOptions generation,
                                    const std::atomic<bool>& cancelled,
                                    const std::function<void(const SnapshotProgress&)>& progress);

// ---- names: <data directory>/snapshots/<offset, 20 digits>-<yyyymmddThhmmss.mmmZ>.hfs ------------------------------

struct SnapshotFileName {
  std::string path;
  uint64_t offset = 0;
  int64_t created_ms = 0;
};
[[nodiscard]] std::string SnapshotDirectory(std::string_view data_directory);
[[nodiscard]] std::string SnapshotPath(std::string_view data_directory, uint64_t offset, int64_t created_ms);
// Finished snapshots by age, oldest first; other files are ignored, a missing directory is empty.
Result<std::vector<SnapshotFileName>> ListSnapshots(FileSystem& fs, std::string_view data_directory);
// Removes all but the newest `keep` finished snapshots. Returns how many were removed.
Result<size_t> KeepNewestSnapshots(FileSystem& fs, std::string_view data_directory, size_t keep);
// Removes what a crash left of unfinished snapshots (*.hfs.tmp). Only while nobody writes one: at start.
Result<size_t> RemoveUnfinishedSnapshots(FileSystem& fs, std::string_view data_directory);

}  // namespace holdfast
