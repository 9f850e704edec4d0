// Full syncs' files: one snapshot serves every replica that asks while it is fresh enough.
#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"

namespace holdfast::net {

namespace {

// A file this much behind is still better than making another one: the stream after it is sent from the log.
constexpr uint64_t kSharedSnapshotLagMax = 256ull << 20;

}  // namespace

bool ReplicationDriver::SharedSnapshotFits() const {
  if (!snapshot_ || snapshot_->offset < snapshot_floor_) return false;
  if (server_.log().DurableOffset() - snapshot_->offset > kSharedSnapshotLagMax) return false;
  auto exists = server_.fs().Exists(snapshot_->path);
  return exists.ok() && *exists;
}

bool ReplicationDriver::SnapshotInUse() const {
  if (rdb_wanted_ || rdb_running_) return true;
  return std::any_of(replicas_.begin(), replicas_.end(), [](const auto& status) {
    const FeedState state = status->state;
    return state == FeedState::kPreparing || state == FeedState::kSendingSnapshot;
  });
}

void ReplicationDriver::WantSnapshot() {
  snapshot_wanted_ = true;
  if (snapshot_running_) return;
  if (SharedSnapshotFits()) return HandOutSnapshot();
  snapshot_.reset();
  const Settings& settings = server_.config().settings();
  wal::SnapshotRequest request;
  request.data_directory = server_.directory().path();
  request.write.zstd_level = settings.snapshot_zstd_level;
  request.write.threads = settings.snapshot_threads;
  request.node_id = server_.directory().identity().node_id;
  request.fresh = snapshot_floor_ > 0;
  snapshot_running_ = true;
  auto started = server_.engine().StartSnapshot(
      std::move(request), [this, alive = std::weak_ptr<int>(alive_)](Result<wal::SnapshotResult> result) {
        if (!alive.expired()) SnapshotMade(std::move(result));
      });
  if (started.ok()) return;
  snapshot_running_ = false;
  if (started.error().code == ErrorCode::kBusy) return;  // BGSAVE at work: OnTick asks again
  snapshot_wanted_ = rdb_wanted_ = false;
  snapshot_floor_ = 0;
  diag::Warning("No snapshot for full synchronization: {}", started.error().message);
  if (feeder_) feeder_->SnapshotFailed(started.error().message);
}

void ReplicationDriver::SnapshotMade(Result<wal::SnapshotResult> result) {
  snapshot_running_ = false;
  KeepLogForReplicas(server_.MonotonicMs());
  if (!result.ok()) {
    snapshot_wanted_ = rdb_wanted_ = false;
    snapshot_floor_ = 0;
    diag::Warning("No snapshot for full synchronization: {}", result.error().message);
    if (feeder_) feeder_->SnapshotFailed(result.error().message);
    return;
  }
  diag::Notice("Snapshot for full synchronization made: {} keys, {} bytes, at offset {}", result->footer.keys,
               result->footer.stored_bytes, result->position.offset);
  SharedSnapshot snapshot;
  snapshot.path = result->path;
  snapshot.offset = result->position.offset;
  snapshot.pin = result->pin;
  snapshot_ = std::move(snapshot);
  const auto keep = static_cast<size_t>(std::max(1, server_.config().settings().snapshot_keep));
  if (auto removed = KeepNewestSnapshots(server_.fs(), server_.directory().path(), keep); !removed.ok()) {
    diag::Warning("Old snapshots could not be removed: {}", removed.error().message);
  }
  HandOutSnapshot();
}

void ReplicationDriver::HandOutSnapshot() {
  // One that was begun too early serves those whom it suffices; OnTick makes another.
  snapshot_wanted_ = snapshot_->offset < snapshot_floor_;
  if (!snapshot_wanted_) snapshot_floor_ = 0;
  snapshot_used_ms_ = server_.MonotonicMs();
  SharedSnapshot snapshot = *snapshot_;
  snapshot.lineage = server_.log().lineage();
  snapshot.group = server_.log().membership();
  snapshot.log = &server_.log();
  if (feeder_) feeder_->SnapshotReady(std::move(snapshot));
  if (rdb_wanted_) HandOutRdb();
}

}  // namespace holdfast::net
