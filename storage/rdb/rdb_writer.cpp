#include "storage/rdb/rdb_writer.h"

#include <cstdio>

#include "storage/base/check.h"
#include "storage/rdb/rdb_format.h"
#include "storage/snapshot_format.h"
#include "storage/types/numbers.h"

namespace holdfast::rdb {
namespace {

constexpr uint64_t kProgressEveryKeys = 1024;

// Looks now and then whether to go on.
class WatchedWriter : public SnapshotVisitor {
 public:
  WatchedWriter(RdbWriter& writer, const std::atomic<bool>* cancelled,
                const std::function<void(const RdbProgress&)>& progress)
      : writer_(writer), cancelled_(cancelled), progress_(progress) {}

  Result<void> Key(const SnapshotKey& key) override {
    RETURN_IF_ERROR(CheckCancelled());
    return writer_.Key(key);
  }
  Result<void> Row(const SnapshotRow& row) override {
    RETURN_IF_ERROR(CheckCancelled());
    return writer_.Row(row);
  }
  Result<void> KeyEnd() override {
    RETURN_IF_ERROR(writer_.KeyEnd());
    if (progress_ && writer_.keys() % kProgressEveryKeys == 0) progress_({writer_.bytes(), writer_.keys()});
    return {};
  }

 private:
  Result<void> CheckCancelled() const {
    if (cancelled_ == nullptr || !cancelled_->load(std::memory_order_relaxed)) return {};
    return Error{ErrorCode::kAborted, "writing the RDB was cancelled"};
  }

  RdbWriter& writer_;
  const std::atomic<bool>* cancelled_;
  const std::function<void(const RdbProgress&)>& progress_;
};

Result<void> VisitDatabase(StoreView& view, int db, SnapshotVisitor& visitor) {
  return view.VisitKeys(db, [&](std::string_view key, uint64_t, const KeyValue& stored) -> Result<void> {
    ASSIGN_OR_RETURN(const snapshot_format::SplitBody split, snapshot_format::SplitStoredBody(stored));
    KeyValue value = stored;
    value.body = split.body;
    RETURN_IF_ERROR(visitor.Key({db, key, value}));
    if (split.has_rows) {
      for (const char kind : snapshot_format::KindsOf(value.type, value.chunked)) {
        Result<void> taken;
        RETURN_IF_ERROR(view.VisitRows(split.id, static_cast<CollectionKind>(kind),
                                       [&](std::string_view suffix, std::string_view bytes) {
                                         taken = visitor.Row({static_cast<CollectionKind>(kind), suffix, bytes});
                                         return taken.ok();
                                       }));
        RETURN_IF_ERROR(std::move(taken));
      }
    }
    return visitor.KeyEnd();
  });
}

}  // namespace

RdbWriter::RdbWriter(ByteSink& sink, const RdbWriteOptions& options)
    : options_(options), output_(sink, options.compress), value_(output_, options.version) {
  CHECK(options.version == kVersionWritten || options.version == kVersionWrittenOld);
}

Result<void> RdbWriter::Begin(const RdbOrigin& origin) {
  char header[kHeaderSize + 1];
  std::snprintf(header, sizeof(header), "REDIS%04d", options_.version);
  RETURN_IF_ERROR(output_.Bytes({header, kHeaderSize}));
  RETURN_IF_ERROR(Aux("redis-ver", origin.redis_version));
  RETURN_IF_ERROR(Aux("redis-bits", "64"));
  RETURN_IF_ERROR(Aux("ctime", FormatInteger(origin.created_ms / 1000)));
  RETURN_IF_ERROR(Aux("used-mem", std::to_string(origin.used_memory)));
  if (!origin.replication_id.empty()) {
    if (origin.stream_db >= 0) RETURN_IF_ERROR(Aux("repl-stream-db", FormatInteger(origin.stream_db)));
    RETURN_IF_ERROR(Aux("repl-id", origin.replication_id));
    RETURN_IF_ERROR(Aux("repl-offset", FormatInteger(origin.replication_offset)));
  }
  return Aux(options_.version >= kVersionWritten ? "aof-base" : "aof-preamble", "0");
}

Result<void> RdbWriter::Aux(std::string_view name, std::string_view value) {
  RETURN_IF_ERROR(output_.Byte(static_cast<uint8_t>(Opcode::kAux)));
  RETURN_IF_ERROR(output_.String(name));
  return output_.String(value);
}

Result<void> RdbWriter::Select(int db) {
  if (db == db_) return {};
  db_ = db;
  RETURN_IF_ERROR(output_.Byte(static_cast<uint8_t>(Opcode::kSelectDb)));
  return output_.Length(static_cast<uint64_t>(db));
}

Result<void> RdbWriter::DatabaseSize(int db, uint64_t keys, uint64_t expiries) {
  RETURN_IF_ERROR(Select(db));
  RETURN_IF_ERROR(output_.Byte(static_cast<uint8_t>(Opcode::kResizeDb)));
  RETURN_IF_ERROR(output_.Length(keys));
  return output_.Length(expiries);
}

Result<void> RdbWriter::Key(const SnapshotKey& key) {
  RETURN_IF_ERROR(Select(key.db));
  if (key.value.HasExpiry()) {
    RETURN_IF_ERROR(output_.Byte(static_cast<uint8_t>(Opcode::kExpireMs)));
    RETURN_IF_ERROR(output_.Little<int64_t>(key.value.expire_at_ms));
  }
  key_ = key.key;
  auto begun = value_.Begin(&key_, key.value);
  if (!begun.ok()) return std::move(begun).error().WithContext("key '" + PrintableKey(key_) + "'");
  return {};
}

Result<void> RdbWriter::Row(const SnapshotRow& row) {
  auto written = value_.Row(row);
  if (!written.ok()) return std::move(written).error().WithContext("key '" + PrintableKey(key_) + "'");
  return {};
}

Result<void> RdbWriter::KeyEnd() {
  auto ended = value_.End();
  if (!ended.ok()) return std::move(ended).error().WithContext("key '" + PrintableKey(key_) + "'");
  ++keys_;
  return {};
}

Result<void> RdbWriter::Finish() {
  RETURN_IF_ERROR(output_.Byte(static_cast<uint8_t>(Opcode::kEnd)));
  const uint64_t checksum = options_.checksum ? output_.Checksum() : 0;
  RETURN_IF_ERROR(output_.Little<uint64_t>(checksum));
  return output_.Flush();
}

Result<void> VisitRecords(StoreView& view, SnapshotVisitor& visitor) {
  for (int db = 0; db < view.database_count(); ++db) RETURN_IF_ERROR(VisitDatabase(view, db, visitor));
  return {};
}

Result<uint64_t> WriteRdb(ByteSink& sink, const RdbWriteOptions& options, const RdbOrigin& origin, StoreView& view,
                          const std::atomic<bool>* cancelled, const std::function<void(const RdbProgress&)>& progress) {
  RdbWriter writer(sink, options);
  WatchedWriter watched(writer, cancelled, progress);
  RETURN_IF_ERROR(writer.Begin(origin));
  for (int db = 0; db < view.database_count(); ++db) {
    if (view.KeyCount(db) == 0) continue;
    RETURN_IF_ERROR(writer.DatabaseSize(db, view.KeyCount(db), view.ExpiryCount(db)));
    RETURN_IF_ERROR(VisitDatabase(view, db, watched));
  }
  RETURN_IF_ERROR(writer.Finish());
  if (progress) progress({writer.bytes(), writer.keys()});
  return writer.bytes();
}

}  // namespace holdfast::rdb
