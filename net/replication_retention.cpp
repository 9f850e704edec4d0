// What a node keeps for the replicas it has or lately had: the log from where they stand, within a quota of disk, and,
// for those of the last minute, checkpoints that leave a way back. Also how old what they lack is.
#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"

namespace holdfast::net {

namespace {

constexpr int64_t kSeenForPinsMs = 3'600'000;
constexpr int64_t kSeenForRewindMs = 60'000;
constexpr size_t kSeenReplicasMax = 1000;
constexpr uint64_t kPinQuotaMax = 16ull << 30;
constexpr size_t kDurableTimesMax = 4096;

}  // namespace

uint64_t ReplicationDriver::PinQuota() const {
  const uint64_t given = server_.config().settings().replica_pin_quota;
  if (given > 0) return given;
  const uint64_t disk = server_.engine().DiskBytes();
  return disk == 0 ? kPinQuotaMax : std::min(kPinQuotaMax, disk / 5);
}

ReplicaFeeder::Limits ReplicationDriver::FeedLimits() const {
  const Settings& settings = server_.config().settings();
  ReplicaFeeder::Limits limits;
  limits.timeout_ms = settings.repl_timeout * 1000;
  limits.transfers = settings.full_sync_max_transfers;
  limits.transfer_rate = settings.full_sync_bandwidth;
  // Writers come first: with the disk nearly full nothing is kept for anybody beyond the backlog.
  limits.pin_bytes = server_.engine().SpaceIsTight() ? std::min(PinQuota(), settings.repl_backlog_size) : PinQuota();
  return limits;
}

void ReplicationDriver::KeepLogForReplicas(int64_t monotonic_ms) {
  NoteReplicas(monotonic_ms);
  std::erase_if(seen_replicas_,
                [&](const auto& entry) { return monotonic_ms - entry.second.last_seen_ms > kSeenForPinsMs; });
  uint64_t lowest = UINT64_MAX;
  for (const auto& [id, seen] : seen_replicas_) {
    if (monotonic_ms - seen.last_seen_ms <= kSeenForRewindMs) lowest = std::min(lowest, seen.acked_offset);
  }
  // Nor does a copy under way share disk and processors with one that can wait.
  server_.engine().HoldCheckpointsAbove(SnapshotInUse() ? 0 : lowest);
  const ReplicaFeeder::Limits limits = FeedLimits();
  DropPinsBeyond(limits.pin_bytes);
  // A snapshot nobody takes over is kept for who comes next, but not at the price of more log than the backlog.
  const uint64_t keep =
      SnapshotInUse() ? limits.pin_bytes : std::min(limits.pin_bytes, server_.config().settings().repl_backlog_size);
  if (snapshot_ && server_.log().DurableOffset() - snapshot_->offset > keep) {
    snapshot_.reset();
    rdb_.reset();
  }
}

void ReplicationDriver::NoteReplicas(int64_t monotonic_ms) {
  const uint64_t durable = server_.log().DurableOffset();
  const uint64_t quota = FeedLimits().pin_bytes;
  for (const auto& status : replicas_) {
    if (status->state != FeedState::kOnline || !status->acknowledges) continue;
    const std::string key =
        status->node_id.empty() ? status->address + ":" + std::to_string(status->port) : status->node_id;
    if (!seen_replicas_.contains(key) && seen_replicas_.size() >= kSeenReplicasMax) continue;
    auto [entry, fresh] = seen_replicas_.try_emplace(key);
    SeenReplica& seen = entry->second;
    seen.address = status->address;
    seen.port = status->port;
    seen.acked_offset = status->acked_offset;
    seen.last_seen_ms = monotonic_ms;
    if (seen.pin) {
      seen.pin->MoveTo(seen.acked_offset);
    } else if (durable - std::min(durable, seen.acked_offset) <= quota / 2) {  // new here, or caught up again
      seen.pin = server_.log().PinFrom(seen.acked_offset);
    }
  }
}

void ReplicationDriver::DropPinsBeyond(uint64_t quota) {
  const uint64_t durable = server_.log().DurableOffset();
  for (auto& [id, seen] : seen_replicas_) {
    const uint64_t behind = durable - std::min(durable, seen.acked_offset);
    if (!seen.pin || behind <= quota) continue;
    seen.pin.reset();
    ++pins_dropped_;
    last_pin_dropped_ = seen.address + ":" + std::to_string(seen.port);
    diag::Warning(
        "The log is no longer kept for replica {}: it is {} bytes behind, more than the {} that may be kept for "
        "replicas "
        "({}). It resumes if the backlog still has what it needs, else it is copied anew",
        last_pin_dropped_, behind, quota,
        server_.engine().SpaceIsTight() ? "the disk is nearly full" : "replica-pin-quota");
  }
}

void ReplicationDriver::ReleasePins() {
  for (auto& [id, seen] : seen_replicas_) seen.pin.reset();
  seen_replicas_.clear();
  durable_times_.clear();
}

// At least 10 ms apart; when there are too many, every other one goes: what is long ago needs less precision.
void ReplicationDriver::NoteDurable(uint64_t durable_offset) {
  if (replicas_.empty()) return durable_times_.clear();
  const int64_t now_ms = server_.MonotonicMs();
  if (!durable_times_.empty()) {
    if (durable_offset <= durable_times_.back().first) return;
    if (now_ms - durable_times_.back().second < 10) return;
  }
  durable_times_.emplace_back(durable_offset, now_ms);
  if (durable_times_.size() <= kDurableTimesMax) return;
  std::deque<std::pair<uint64_t, int64_t>> kept;
  for (size_t i = 0; i < durable_times_.size(); i += 2) kept.push_back(durable_times_[i]);
  durable_times_ = std::move(kept);
}

int64_t ReplicationDriver::StalenessMs(uint64_t offset) const {
  if (offset >= server_.log().DurableOffset()) return 0;
  const auto later = std::upper_bound(durable_times_.begin(), durable_times_.end(), offset,
                                      [](uint64_t at, const auto& entry) { return at < entry.first; });
  // Newer than the last note: less than its distance.
  if (later == durable_times_.end()) return durable_times_.empty() ? 0 : 10;
  return std::max<int64_t>(0, server_.MonotonicMs() - later->second);
}

}  // namespace holdfast::net
