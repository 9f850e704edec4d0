// The logical content of whatever the tool was given: keys with their values, in the records of a snapshot
// (storage/snapshot.h), whatever the type. docs/tool.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tool_context.h"
#include "cli/tool_input.h"
#include "storage/snapshot.h"

namespace holdfast::cli {

struct ContentInfo {
  std::string path;
  InputKind kind = InputKind::kSnapshot;
  bool ordered = true;  // keys come in the order of (database, row hash, key)
  // Where in a history the content stands; nullopt for RDB and AOF.
  std::optional<StreamPosition> position;
  std::string lineage_table;  // wal::Lineage's serialized form; "" if there is none
  std::string node_id;
  int64_t created_ms = 0;
  int databases = 16;
  uint64_t keys = 0;  // 0: not known before it was read
  // Of a data directory: where the store stood, and what the log added.
  uint64_t checkpoint_offset = 0;
  uint64_t log_bytes = 0;
  std::optional<int> server_pid;  // a server is running on it
};

// One thread. Errors are kCorruption (file and place) or the file system's.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  [[nodiscard]] virtual const ContentInfo& info() const = 0;
  // Everything, verified as it goes; stops at the first damage. Keys that are expired are content, too.
  virtual Result<void> VisitAll(SnapshotVisitor& visitor) = 0;
  // The same, with the reading, or a part of it, on another thread.
  virtual Result<void> VisitAllOnTwoThreads(SnapshotVisitor& visitor);
  // What damage left; keys that lost a part get no KeyEnd. kUnsupported where that is not possible.
  virtual Result<void> VisitUndamaged(SnapshotVisitor& visitor,
                                      const std::function<void(const SnapshotFinding&)>& damage);
  // Whether the key was there. Reads only what it needs where there is an index.
  virtual Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) = 0;
};

// What of it will be read: everything (null), or these keys, of any database, and VisitAll is not called. LMDB's pages
// are looked at before they are believed: all of them, or those that VisitKey meets, each when it is met. For some keys
// only what follows the checkpoint is read of the log, and what concerns them is replayed: the info's lineage may lag,
// and keys are not counted.
using OnlyKeys = const std::vector<std::string>*;

// kUnsupported for inputs that hold no content (a log without a store).
Result<std::unique_ptr<ContentSource>> OpenContent(const ToolContext& tool, const ToolInput& input,
                                                   OnlyKeys only = nullptr);
Result<std::unique_ptr<ContentSource>> OpenContent(const ToolContext& tool, const std::string& path,
                                                   OnlyKeys only = nullptr);

// The parts of OpenContent.
Result<std::unique_ptr<ContentSource>> OpenSnapshotContent(FileSystem& fs, const std::string& path);
// LMDB, its run, and the log's tail replayed in memory. Beside a server: a registered reader; what was acknowledged
// before the call is in it.
Result<std::unique_ptr<ContentSource>> OpenStoreContent(const ToolContext& tool, const ToolInput& input,
                                                        OnlyKeys only = nullptr);

Result<std::unique_ptr<ContentSource>> OpenRdbContent(FileSystem& fs, const std::string& path);
// AOF: replayed into a store in a temporary directory.
Result<std::unique_ptr<ContentSource>> OpenAofContent(const ToolContext& tool, const std::string& path);
// The same content in order, sorted through temporary files if need be.
Result<std::unique_ptr<ContentSource>> MakeOrdered(FileSystem& fs, std::unique_ptr<ContentSource> content);

// The number of elements (or bytes, of a string) that a key's body announces.
[[nodiscard]] uint64_t AnnouncedCount(const KeyValue& value);

// One element of a value, decoded from its row.
struct Element {
  std::string_view field;  // hash: the field; set, sorted set: the member; stream: the entry's id as text
  std::string_view value;  // hash: the field's value; list: the item; string: the bytes; stream: the entry
  double score = 0;
  uint64_t offset = 0;  // of a string's chunk
};
// nullopt for rows that repeat others (the score index) or are no elements (groups of a stream).
std::optional<Element> DecodeElement(const KeyValue& key, const SnapshotRow& row, std::string& scratch);

// ---- pulling ---------------------------------------------------------------------------------------------------

// A record as VisitAll gives it, held in a batch.
struct ContentRecord {
  enum class What : uint8_t { kKey, kRow, kKeyEnd } what = What::kKey;
  int db = 0;
  KeyValue head;  // of a key; body is set when it is read
  CollectionKind kind = CollectionKind::kChunk;
  uint32_t first_size = 0;   // key or suffix
  uint32_t second_size = 0;  // body or value
  size_t at = 0;             // in the batch's bytes
};

// Reads a source on a thread of its own, so that a consumer can take records one by one, and two processors work.
// Memory: a few batches of about 1 MB, or of the longest record.
class RecordStream {
 public:
  explicit RecordStream(ContentSource& source);
  ~RecordStream();  // stops the source
  RecordStream(const RecordStream&) = delete;
  RecordStream& operator=(const RecordStream&) = delete;

  // The next record; false at the end. Views live until the next call.
  Result<bool> Next();
  [[nodiscard]] ContentRecord::What what() const { return record_.what; }
  [[nodiscard]] SnapshotKey key() const;  // what() == kKey
  [[nodiscard]] SnapshotRow row() const;  // what() == kRow

 private:
  struct Shared;
  ContentRecord record_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace holdfast::cli
