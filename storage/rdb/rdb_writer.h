// Writes RDB files and streams that redis-server loads: version 10 for Redis 7.0 and later and Valkey, version 9 for
// Redis 5.0 to 6.2. docs/formats-rdb.md says in which forms, and what version 9 loses.
//
// Memory is bounded by the longest element. The sink gets chunks of about 64 KiB and may hold the writer back as long
// as it likes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/rdb/byte_stream.h"
#include "storage/rdb/rdb_output.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/rdb/value_writer.h"
#include "storage/snapshot.h"
#include "storage/store_view.h"

namespace holdfast::rdb {

struct RdbWriteOptions {
  int version = 10;      // or 9
  bool compress = true;  // rdbcompression
  bool checksum = true;  // rdbchecksum
};

// What Redis writes in front of the keys. Names and meaning are its own.
struct RdbOrigin {
  std::string redis_version = "7.0.15";
  int64_t created_ms = 0;
  uint64_t used_memory = 0;
  // Of the stream that goes on from this state: redis' offsets, which count the bytes before. Not written if empty.
  std::string replication_id;
  int64_t replication_offset = 0;
  int stream_db = -1;  // selected there; -1: not written
};

// Logical records in, bytes out. Order of calls: Begin, any Aux and DatabaseSize, keys (databases ascend), Finish.
class RdbWriter : public SnapshotVisitor {
 public:
  // `sink` outlives the writer.
  explicit RdbWriter(ByteSink& sink, const RdbWriteOptions& options = {});

  // The header and the fields that Redis writes.
  Result<void> Begin(const RdbOrigin& origin);
  Result<void> Aux(std::string_view name, std::string_view value);
  // Selects the database and says how many keys will come, for whoever allocates ahead. Optional.
  Result<void> DatabaseSize(int db, uint64_t keys, uint64_t expiries);

  Result<void> Key(const SnapshotKey& key) override;
  Result<void> Row(const SnapshotRow& row) override;
  Result<void> KeyEnd() override;

  // The end mark and the checksum; everything has been given to the sink then.
  Result<void> Finish();

  [[nodiscard]] uint64_t bytes() const { return output_.position(); }
  [[nodiscard]] uint64_t keys() const { return keys_; }

 private:
  Result<void> Select(int db);

  const RdbWriteOptions options_;
  Output output_;
  ValueWriter value_;
  int db_ = -1;
  uint64_t keys_ = 0;
  std::string key_;  // being written
};

// Tells `visitor` about every key of `view`, expired ones included, in the order of snapshots.
Result<void> VisitRecords(StoreView& view, SnapshotVisitor& visitor);

// A whole file from a view. `cancelled` (may be null) ends it with kAborted; `progress` may be empty.
Result<uint64_t> WriteRdb(ByteSink& sink, const RdbWriteOptions& options, const RdbOrigin& origin, StoreView& view,
                          const std::atomic<bool>* cancelled, const std::function<void(const RdbProgress&)>& progress);

}  // namespace holdfast::rdb
