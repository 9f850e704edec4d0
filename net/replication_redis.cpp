// Replicas of Redis' kind: what they ask for, and the RDB file they are copied from. docs/replication.md "Replicas of
// Redis' kind".
#include <fmt/format.h>

#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "storage/rdb/rdb_writer.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

constexpr std::string_view kGetAck = "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

// Passes bytes on to a file until the server stops.
class CancellableSink : public rdb::ByteSink {
 public:
  CancellableSink(File& file, const std::atomic<bool>& cancelled) : file_(file), cancelled_(cancelled) {}
  Result<void> Write(std::string_view bytes) override {
    if (cancelled_) return Error{ErrorCode::kAborted, "the server is shutting down"};
    return file_.Write(bytes);
  }

 private:
  rdb::FileSink file_;
  const std::atomic<bool>& cancelled_;
};

class WriterWithProgress : public SnapshotVisitor {
 public:
  WriterWithProgress(rdb::RdbWriter& writer, uint64_t total, Clock& clock)
      : writer_(writer), total_(total), line_("RDB file for replicas", clock) {}
  Result<void> Key(const SnapshotKey& key) override { return writer_.Key(key); }
  Result<void> Row(const SnapshotRow& row) override { return writer_.Row(row); }
  Result<void> KeyEnd() override {
    line_.Update(writer_.keys(), total_, writer_.bytes());
    return writer_.KeyEnd();
  }

 private:
  rdb::RdbWriter& writer_;
  const uint64_t total_;
  ProgressLine line_;
};

// A file without a name: it is gone when nobody reads it any more, also after a crash.
Result<std::unique_ptr<File>> CreateNameless(FileSystem& fs, const std::string& directory) {
  const std::string path = JoinPath(directory, "rdb-for-replicas.tmp");
  ASSIGN_OR_RETURN(auto file, fs.Open(path, {.mode = OpenMode::kCreateOrReplace}));
  RETURN_IF_ERROR(fs.Remove(path));
  return file;
}

rdb::RdbOrigin OriginOf(const StreamPosition& position, int64_t created_ms) {
  rdb::RdbOrigin origin;
  origin.created_ms = created_ms;
  origin.replication_id = position.lineage_id;
  origin.replication_offset = static_cast<int64_t>(position.offset);
  origin.stream_db = std::max(position.selected_db, 0);
  return origin;
}

Result<std::shared_ptr<File>> ConvertSnapshot(FileSystem& fs, Clock& clock, const std::string& path,
                                              const std::string& directory, const std::atomic<bool>& cancelled) {
  ASSIGN_OR_RETURN(auto reader, SnapshotReader::Open(fs, path));
  ASSIGN_OR_RETURN(std::shared_ptr<File> file, CreateNameless(fs, directory));
  CancellableSink sink(*file, cancelled);
  rdb::RdbWriter writer(sink);
  RETURN_IF_ERROR(writer.Begin(OriginOf(reader->header().position, clock.WallMs())));
  WriterWithProgress visitor(writer, reader->footer().keys, clock);
  RETURN_IF_ERROR(reader->VisitAll(visitor));
  RETURN_IF_ERROR(writer.Finish());
  return file;
}

}  // namespace

RedisRequest ReplicationDriver::RedisRequestOf(const Client& client, std::span<const std::string_view> args) {
  RedisRequest request;
  request.peer.psync = EqualsIgnoreCase(args[0], "psync");
  request.peer.psync2 = (client.replica_capabilities & kReplicaKnowsPsync2) != 0;
  request.without_data = (client.replica_capabilities & kReplicaWantsNoData) != 0;
  request.snapshot_only = (client.replica_capabilities & kReplicaWantsRdbOnly) != 0;
  return request;
}

// Such a replica shows no more of its past than the newest id and its end.
Result<std::optional<replication::HistoryClaim>> ReplicationDriver::RedisClaimOf(
    std::span<const std::string_view> args) {
  if (args.size() < 3 || args[1] == "?") return std::optional<replication::HistoryClaim>();
  const auto offset = ParseInteger(args[2]);
  if (!offset) return Error{ErrorCode::kInvalidArgument, "value is not an integer or out of range"};
  if (*offset < 1 || args[1].size() != wal::kLineageIdSize) return std::optional<replication::HistoryClaim>();
  replication::HistoryClaim claim;
  claim.end_offset = static_cast<uint64_t>(*offset - 1);
  std::string id(args[1]);
  std::transform(id.begin(), id.end(), id.begin(), [](char c) { return c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c; });
  claim.lineage.Reset(std::move(id), 0, 0);
  return std::optional<replication::HistoryClaim>(std::move(claim));
}

bool ReplicationDriver::AnyRedisReplica() const {
  return std::any_of(replicas_.begin(), replicas_.end(), [](const auto& status) {
    return status->redis && status->acknowledges && status->state == FeedState::kOnline;
  });
}

// Our own replicas acknowledge after each of their syncs. Redis' do it once a second, or when the stream asks.
void ReplicationDriver::RequestAcks() {
  if (IsReplica() || !AnyRedisReplica()) return;
  wal::Log& log = server_.log();
  if (log.AppendedOffset() == acks_requested_at_ || server_.engine().WriteRefusal()) return;
  log.AppendUnit(kGetAck, log.SelectedDb(), server_.NowMs());
  acks_requested_at_ = log.AppendedOffset();
  server_.SyncSoon();
}

// The shared snapshot is there.
void ReplicationDriver::HandOutRdb() {
  if (rdb_running_) return;
  if (!rdb_ || rdb_->offset != snapshot_->offset) return MakeRdb();
  rdb_wanted_ = rdb_->offset < snapshot_floor_;
  SharedSnapshot snapshot = *rdb_;
  snapshot.lineage = server_.log().lineage();
  snapshot.log = &server_.log();
  if (feeder_) feeder_->SnapshotReady(std::move(snapshot));
}

void ReplicationDriver::MakeRdb() {
  rdb_.reset();
  rdb_running_ = true;
  if (!rdb_thread_) rdb_thread_ = std::make_unique<wal::BackgroundThread>("hf-rdb");
  SharedSnapshot wanted = *snapshot_;
  wanted.pin.reset();  // of a log that may be gone before the thread is done
  rdb_thread_->Run([this, snapshot = std::move(wanted), directory = server_.directory().path(), &fs = server_.fs(),
                    &clock = server_.clock()]() mutable {
    auto file = ConvertSnapshot(fs, clock, snapshot.path, directory, rdb_cancelled_);
    Post([this, snapshot = std::move(snapshot), file = std::move(file)]() mutable {
      RdbMade(std::move(snapshot), std::move(file));
    });
  });
}

void ReplicationDriver::RdbMade(SharedSnapshot snapshot, Result<std::shared_ptr<File>> file) {
  rdb_running_ = false;
  if (stopped_) return;
  if (!file.ok()) {
    rdb_wanted_ = false;
    diag::Warning("No RDB file for full synchronization: {}", file.error().message);
    if (feeder_) feeder_->RdbFailed(file.error().message);
    return;
  }
  // A full sync of our own may have replaced everything meanwhile; then OnTick begins anew.
  if (!snapshot_ || snapshot_->offset != snapshot.offset || snapshot_->path != snapshot.path) {
    snapshot_wanted_ = rdb_wanted_;
    return;
  }
  snapshot.rdb = std::move(*file);
  snapshot.pin = snapshot_->pin;
  rdb_ = std::move(snapshot);
  HandOutRdb();
}

void ReplicationDriver::HandOutEmptyRdb() {
  wal::Log& log = server_.log();
  SharedSnapshot snapshot;
  snapshot.with_data = false;
  snapshot.offset = log.DurableOffset();
  snapshot.pin = log.PinFrom(snapshot.offset);
  snapshot.lineage = log.lineage();
  snapshot.log = &log;
  StreamPosition position;
  position.offset = snapshot.offset;
  position.lineage_id = log.lineage().current_id();
  auto make = [&]() -> Result<std::shared_ptr<File>> {
    ASSIGN_OR_RETURN(std::shared_ptr<File> file, CreateNameless(server_.fs(), server_.directory().path()));
    rdb::FileSink sink(*file);
    rdb::RdbWriter writer(sink);
    RETURN_IF_ERROR(writer.Begin(OriginOf(position, server_.clock().WallMs())));
    RETURN_IF_ERROR(writer.Finish());
    return file;
  };
  auto file = make();
  if (!file.ok()) return Feeder().RdbFailed(file.error().message);
  snapshot.rdb = std::move(*file);
  Feeder().SnapshotReady(std::move(snapshot));
}

}  // namespace holdfast::net
