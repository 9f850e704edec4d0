// The replica's half of the driver: link, frames, full sync, switch.
#include <fmt/format.h>

#include <utility>

#include "net/replication_driver.h"
#include "storage/base/diag.h"

namespace holdfast::net {

using replication::CloseKind;

namespace {

constexpr int64_t kRefusedPauseMs = 10'000;
constexpr int64_t kSettlePauseMs = 2;
constexpr int64_t kFullPauseMs = 10;

}  // namespace

MasterReceiver& ReplicationDriver::Receiver() {
  if (receiver_) return *receiver_;
  auto when_current = [this](auto act) {
    return [this, act](uint64_t epoch, auto... args) {
      Post([this, act, epoch, args...]() mutable {
        if (epoch == epoch_ && !stopped_) act(std::move(args)...);
      });
    };
  };
  LinkEvents events;
  events.continued = when_current([this](const wal::Lineage& lineage) { Continued(lineage); });
  events.frames = [this](uint64_t epoch, FrameBatch frames, uint64_t bytes) {
    Post([this, epoch, frames = std::move(frames), bytes] {
      if (epoch == epoch_ && !stopped_) TakeFrames(frames);
      ReleaseWindow(bytes);
    });
  };
  events.snapshot_complete = when_current([this](uint64_t offset) { SnapshotComplete(offset); });
  events.closed = when_current([this](CloseKind kind, const std::string& reason) { LinkLost(kind, reason); });
  receiver_ = std::make_unique<MasterReceiver>(server_.clock(), server_.fs(), std::move(events));
  return *receiver_;
}

void ReplicationDriver::StopLink() {
  ++epoch_;
  ++load_;
  loading_ = false;
  if (receiver_) receiver_->Disconnect();
  loader_.Cancel();
  if (linked_ || link_down_since_ms_ == 0) link_down_since_ms_ = server_.MonotonicMs();
  linked_ = false;
  halted_.clear();
  last_failure_.clear();
  // A unit of which only the first parts came did not happen.
  server_.engine().AbandonUnit();
}

void ReplicationDriver::ConnectIn(int64_t delay_ms) {
  executor_.RunAfter(delay_ms * 1000, [this, alive = std::weak_ptr<int>(alive_), epoch = epoch_] {
    if (!alive.expired() && epoch == epoch_ && !stopped_) Connect();
  });
}

void ReplicationDriver::Connect() {
  if (!role_.master) return;
  if (StoreIsFull()) return ConnectIn(kFullPauseMs);
  wal::Log& log = server_.log();
  if (log.HasPending() || log.DurableOffset() < log.AppendedOffset()) {
    // What we claim to have must be on disk.
    server_.SyncSoon();
    return ConnectIn(kSettlePauseMs);
  }
  const Settings& settings = server_.config().settings();
  const StreamPosition end = log.EndPosition();
  LinkRequest request;
  request.epoch = epoch_;
  request.host = role_.master->first;
  request.port = role_.master->second;
  request.options.user = settings.masteruser;
  request.options.password = settings.masterauth;
  request.options.listening_port = settings.replica_announce_port > 0 ? settings.replica_announce_port : settings.port;
  request.options.announced_ip = settings.replica_announce_ip;
  request.options.run_id = server_.run_id();
  request.options.timeout_ms = settings.repl_timeout * 1000;
  request.claim.lineage = log.lineage();
  request.claim.end_offset = end.offset;
  request.claim.digest = end.digest.Value();
  request.claim.digest_base = end.offset - end.digest.total_length();
  request.situation = {log.lineage(), end.offset, role_.ids_made_here, role_.operator_consents};
  request.first_offset = log.FirstOffset();
  request.log = &log;
  request.spool_path = JoinPath(server_.directory().path(), "full-sync.tmp");
  if (last_failure_.empty()) diag::Notice("Connecting to MASTER {}:{}", request.host, request.port);
  Receiver().Connect(std::move(request));
}

void ReplicationDriver::LinkLost(CloseKind kind, const std::string& reason) {
  if (linked_) {
    diag::Warning("Connection with master lost: {}", reason);
    link_down_since_ms_ = server_.MonotonicMs();
    backoff_.Reset();
  } else if (reason != last_failure_) {
    diag::Warning("MASTER <-> REPLICA sync with {}:{} failed: {}", role_.master->first, role_.master->second, reason);
  }
  last_failure_ = linked_ ? std::string() : reason;
  linked_ = false;
  ++epoch_;
  server_.engine().AbandonUnit();
  if (loading_) return;  // the copy is complete and will be put in force; the link is renewed then
  ConnectIn(kind == CloseKind::kRefused ? kRefusedPauseMs : backoff_.NextMs(server_.random()));
}

void ReplicationDriver::Continued(const wal::Lineage& lineage) {
  linked_ = true;
  last_failure_.clear();
  backoff_.Reset();
  wal::Log& log = server_.log();
  diag::Notice("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization from offset {}",
               log.AppendedOffset());
  if (log.lineage() != lineage) {
    // The master's name for the same past; its later names come as frames.
    std::string table;
    lineage.AppendTo(table);
    log.AppendControl(wal::FrameKind::kLineage, table, log.EndPosition().time_ms);
    diag::Notice("The history is called {} from now on", lineage.current_id());
  }
}

void ReplicationDriver::TakeFrames(const FrameBatch& frames) {
  for (const auto& frame : frames) {
    const uint64_t before = server_.log().AppendedOffset();
    auto taken = TakeFrame(*frame);
    if (taken.ok()) continue;
    const bool in_log = server_.log().AppendedOffset() != before;
    StopLink();
    if (in_log) {
      // The log has it, the data does not: going on would skip it.
      halted_ = taken.error().message;
      diag::Warning(
          "REPLICATION STOPPED: an effect of the master cannot be applied: {}. The link stays down until REPLICAOF "
          "is given again; restart this server to try the same effect again",
          halted_);
    } else {
      last_failure_ = taken.error().message;
      diag::Warning("The master's stream does not continue ours: {}. Trying again in {} s", last_failure_,
                    kRefusedPauseMs / 1000);
      ConnectIn(kRefusedPauseMs);
    }
    return;
  }
}

// The active memtable is full and the one before it is still being merged, or the disk is below its mark. Clients'
// writes wait or are refused then; the master's stream waits in its log, and neither fills our memory nor our disk.
bool ReplicationDriver::StoreIsFull() const {
  return server_.engine().WritePressure() >= 1.0 || server_.engine().LacksSpace();
}

void ReplicationDriver::ReleaseWindow(uint64_t bytes) {
  held_window_ += bytes;
  if (window_timer_ || stopped_) return;
  if (!StoreIsFull()) {
    receiver_->FramesTaken(std::exchange(held_window_, 0));
    return;
  }
  window_timer_ = true;
  executor_.RunAfter(kFullPauseMs * 1000, [this, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired()) return;
    window_timer_ = false;
    ReleaseWindow(0);
  });
}

Result<void> ReplicationDriver::TakeFrame(const wal::SharedFrame& frame) {
  if (frame.history.kind == wal::FrameKind::kLineage) {
    auto table = wal::Lineage::Parse(frame.bytes);
    if (!table.ok()) return table.error().WithContext("lineage frame");
    if (server_.log().lineage().ValidUntil(table->current_id())) return {};  // learnt when the link came up
    diag::Notice("The master's history goes on as {} from offset {}", table->current_id(), frame.history.offset);
  }
  return server_.engine().AppendAndApply(frame.history);
}

void ReplicationDriver::SnapshotComplete(uint64_t offset) {
  LoadRequest request;
  request.snapshot_path = JoinPath(server_.directory().path(), "full-sync.tmp");
  request.offset = offset;
  request.options = server_.engine().options();
  engine_randoms_.push_back(std::make_unique<SeededRandom>(server_.random().Next()));
  request.options.random = engine_randoms_.back().get();
  replication::RoleRecord role = role_;
  role.operator_consents = false;  // used up
  request.role_record = replication::FormatRole(role);
  request.directory = &server_.directory();
  diag::Notice("MASTER <-> REPLICA sync: Loading the snapshot in the background, the old data is served meanwhile");
  loading_ = true;
  loader_.Start(std::move(request), [this, load = load_, epoch = epoch_](Result<LoadedGeneration> loaded) {
    auto shared = std::make_shared<Result<LoadedGeneration>>(std::move(loaded));
    Post([this, load, epoch, shared] {
      if (load == load_ && !stopped_) GenerationLoaded(std::move(*shared), epoch == epoch_);
    });
  });
}

void ReplicationDriver::GenerationLoaded(Result<LoadedGeneration> loaded, bool link_alive) {
  loading_ = false;
  auto failed = [this](const std::string& reason) {
    receiver_->Disconnect();
    LinkLost(CloseKind::kRetry, "the copy cannot be used, the old data stays in force: " + reason);
  };
  if (!loaded.ok()) return failed(loaded.error().message);
  // From here on the new generation is what a restart finds.
  if (auto committed = server_.directory().Commit(loaded->path); !committed.ok()) {
    loaded->Keep();
    return failed(committed.error().message);
  }
  if (feeder_) feeder_->CloseAll("this server has got a new copy from its master");
  snapshot_.reset();
  rdb_.reset();
  server_.ReplaceEngine(std::move(loaded->engine));
  old_generations_ = true;
  if (auto removed = server_.fs().Remove(JoinPath(server_.directory().path(), "full-sync.tmp")); !removed.ok()) {
    diag::Warning("The transferred snapshot could not be removed: {}", removed.error().message);
  }
  role_.operator_consents = false;
  last_failure_.clear();
  backoff_.Reset();
  diag::Notice("MASTER <-> REPLICA sync: Finished with success, at offset {}", server_.log().AppendedOffset());
  if (!link_alive) return ConnectIn(0);
  linked_ = true;
  receiver_->Loaded();
}

}  // namespace holdfast::net
