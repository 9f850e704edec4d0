// The replica's half of the driver: link, frames, full sync, switch.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/replication_driver.h"
#include "replication/membership.h"
#include "replication/past.h"
#include "storage/base/check.h"
#include "storage/base/diag.h"
#include "wal/rewind.h"

namespace holdfast::net {

using replication::CloseKind;

namespace {

constexpr int64_t kRefusedPauseMs = 10'000;
constexpr int64_t kSettlePauseMs = 2;
constexpr int64_t kFullPauseMs = 10;

}  // namespace

MasterReceiver& ReplicationDriver::Receiver() {
  if (receiver_) return *receiver_;
  // All of the link's events take the same way, which keeps their order.
  auto enqueue = [this](PacedQueue::Work work) {
    Post([this, work = std::move(work)]() mutable { from_master_.Add(std::move(work)); });
  };
  auto when_current = [this, enqueue](auto act) {
    return [this, enqueue, act](uint64_t epoch, auto... args) {
      enqueue([this, act, epoch, args...]() mutable {
        if (epoch == epoch_ && !stopped_) act(std::move(args)...);
        return true;
      });
    };
  };
  LinkEvents events;
  events.continued = when_current([this](const wal::Lineage& lineage) { Continued(lineage); });
  events.rewind = when_current([this](uint64_t offset, const wal::Lineage& lineage) { Rewind(offset, lineage); });
  events.rewind_impossible = when_current([this](const std::string& reason) {
    rewind_refusal_ = reason;
    diag::Warning("MASTER <-> REPLICA sync: our history cannot be cut back to what the master has: {}", reason);
  });
  events.full_sync = when_current([this](const std::string& reason) {
    last_full_sync_reason_ = reason;
    diag::Notice("MASTER <-> REPLICA sync: Full resync from master, because {}", reason);
  });
  events.frames = [this, enqueue](uint64_t epoch, FrameBatch frames, uint64_t bytes) {
    enqueue([this, epoch, frames = std::move(frames), taken = size_t{0}, bytes]() mutable {
      while (taken < frames.size() && epoch == epoch_ && !stopped_) {
        TakeFrame(*frames[taken++]);
        if (taken < frames.size() && from_master_.BiteIsOver()) return false;
      }
      ReleaseWindow(bytes);
      return true;
    });
  };
  events.units = [this, enqueue](uint64_t epoch, replication::UnitsReceived units, uint64_t bytes) {
    enqueue([this, epoch, units = std::move(units), taken = size_t{0}, bytes]() mutable {
      while (taken < units.ends.size() && epoch == epoch_ && !stopped_) {
        TakeUnit(units, taken++);
        if (taken < units.ends.size() && from_master_.BiteIsOver()) return false;
      }
      ReleaseWindow(bytes);
      return true;
    });
  };
  events.snapshot_complete =
      when_current([this](const replication::SnapshotComplete& complete) { SnapshotComplete(complete); });
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
  linked_ = refused_ = false;
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
  if (!damaged_ && StoreIsFull()) return ConnectIn(kFullPauseMs);
  wal::Log& log = server_.log();
  if (log.HasPending() || log.DurableOffset() < log.AppendedOffset()) {
    // What we claim to have must be on disk.
    server_.SyncSoon();
    return ConnectIn(kSettlePauseMs);
  }
  const Settings& settings = server_.config().settings();
  LinkRequest request;
  request.epoch = epoch_;
  request.host = fetch_from_ ? fetch_from_->first : role_.master->first;
  request.port = fetch_from_ ? fetch_from_->second : role_.master->second;
  request.options.user = settings.masteruser;
  request.options.password = settings.masterauth;
  request.options.listening_port = settings.replica_announce_port > 0 ? settings.replica_announce_port : settings.port;
  request.options.announced_ip = settings.replica_announce_ip;
  request.options.run_id = server_.run_id();
  request.options.node_id = server_.directory().identity().node_id;
  request.options.timeout_ms = settings.repl_timeout * 1000;
  request.options.databases = settings.databases;
  request.options.skip_functions = settings.rdb_skip_unsupported;
  request.options.unit_bytes_max = settings.max_unit_bytes;
  request.options.wall_ms = server_.NowMs();
  request.options.take_over = failover_.has_value();
  request.claim = replication::ClaimAtEnd(log);
  request.options.refusals = refused_at_ == request.claim.end_offset ? refusals_ : 0;
  request.situation = {log.lineage(), request.claim.end_offset, role_.ids_made_here, role_.operator_consents,
                       server_.engine().RewindFloor()};
  const auto accepts = [&settings](std::string_view kind) {
    const auto& kinds = settings.accept_full_sync;
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  request.situation.accept_empty = accepts("empty");
  request.situation.accept_shorter = accepts("shorter");
  request.situation.accept_foreign = accepts("foreign");
  request.situation.accept_superseded = accepts("superseded");
  request.situation.group_epoch = Group().epoch;
  UpdateFence();
  request.options.fenced_by = fence_;
  request.options.copy_anew = copy_wanted_ || damaged_;
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
  refused_ = kind == CloseKind::kRefused;
  const bool handed_over = kind == CloseKind::kTookOver;
  ++epoch_;
  server_.engine().AbandonUnit();
  if (failover_ && handed_over) FailoverDone();
  if (failover_ && kind == CloseKind::kPsyncRejected) return FailoverFailed("Failover target rejected psync request");
  if (kind == CloseKind::kStopped) {
    halted_ = reason;
    diag::Warning(
        "REPLICATION STOPPED: the master's stream holds what this server cannot take: {}. Nothing of it was taken from "
        "there on. The link stays down until REPLICAOF is given again or this server is restarted",
        reason);
    return;
  }
  if (loading_) return;  // the copy is complete and will be put in force; the link is renewed then
  if (handed_over) return ConnectIn(0);
  ConnectIn(kind == CloseKind::kRefused ? kRefusedPauseMs : backoff_.NextMs(server_.random()));
}

void ReplicationDriver::Continued(const wal::Lineage& lineage) {
  FailoverDone();
  LinkIsUp();
  wal::Log& log = server_.log();
  diag::Notice("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization from offset {}",
               log.AppendedOffset());
  if (replication::AdoptLineage(log, lineage)) {
    diag::Notice("The history is called {} from now on", lineage.current_id());
  }
  at_link_up_ = log.lineage();
}

// The executor waits for the replay since the last checkpoint: what it would answer meanwhile is data about to go.
void ReplicationDriver::Rewind(uint64_t offset, const wal::Lineage& lineage) {
  wal::Log& log = server_.log();
  if (log.HasPending() || log.InFlight() || server_.HasRetiredEngine()) {
    server_.SyncSoon();
    executor_.RunAfter(kSettlePauseMs * 1000,
                       [this, alive = std::weak_ptr<int>(alive_), epoch = epoch_, offset, lineage] {
                         if (!alive.expired() && epoch == epoch_ && !stopped_) Rewind(offset, lineage);
                       });
    return;
  }
  const uint64_t end = log.DurableOffset();
  diag::Notice(
      "MASTER <-> REPLICA sync: going back from offset {} to {}, where the master's history {} parts from ours", end,
      offset, lineage.current_id());
  auto tail = CutAt(offset, lineage);
  if (!tail.ok()) {
    receiver_->Disconnect();
    return LinkLost(CloseKind::kRetry, "going back to the fork failed: " + tail.error().message);
  }
  FailoverDone();
  ++rewinds_;
  TailKept(*tail);
  LinkIsUp();
  rewind_refusal_.clear();
  diag::Notice("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization from offset {}, history {}",
               offset, lineage.current_id());
  receiver_->Rewound();
  TellDurable();
}

Result<wal::SavedTail> ReplicationDriver::CutAt(uint64_t offset, const wal::Lineage& lineage) {
  if (server_.engine().RewindFloor() > offset) {
    return Error{ErrorCode::kAborted, "a checkpoint has been made beyond it meanwhile"};
  }
  wal::TailRequest request;
  const std::string generation = server_.engine().options().generation_path;
  request.log_directory = JoinPath(generation, "wal");
  request.data_directory = server_.directory().path();
  request.from = offset;
  request.to = server_.log().DurableOffset();
  request.fs = &server_.fs();
  request.random = &server_.random();
  if (feeder_) feeder_->CloseAll("this server cuts its history back to its master's");
  snapshot_.reset();
  rdb_.reset();
  ReleasePins();
  wal::SavedTail tail;
  RETURN_IF_ERROR(server_.ReopenEngine([&]() -> Result<void> {
    ASSIGN_OR_RETURN(tail, wal::SaveTail(request));
    if (tail.from != offset) return Error{ErrorCode::kCorruption, "no frame of the log ends at the fork"};
    return wal::WriteRewindOrder(server_.fs(), generation,
                                 {offset, lineage, replication::FormatRole(role_), tail.path});
  }));
  return tail;
}

void ReplicationDriver::TailKept(const wal::SavedTail& tail) {
  diag::Warning(
      "The end of our history that the master does not have is kept in {}: {} units, {} bytes from offset {} on",
      tail.path, tail.units, tail.bytes, tail.from);
  last_tail_ = tail;
  tails_ = wal::CountTails(server_.fs(), server_.directory().path());
}

void ReplicationDriver::TakeFrame(const wal::SharedFrame& frame) {
  const uint64_t before = server_.log().AppendedOffset();
  auto taken = AppendFrame(frame);
  if (taken.ok()) {
    refusals_ = 0;
    return;
  }
  const bool in_log = server_.log().AppendedOffset() != before;
  StopLink();
  if (in_log) return Damaged("an effect", taken.error().message);
  last_failure_ = taken.error().message;
  const uint64_t end = server_.log().AppendedOffset();
  refusals_ = refused_at_ == end ? refusals_ + 1 : 1;
  refused_at_ = end;
  diag::Warning("The master's stream does not continue ours at offset {}: {}. The next attempt {}", end, last_failure_,
                refusals_ < replication::kRefusalsMax ? "demands proof that the pasts are equal" : "asks for a copy");
  ConnectIn(refusals_ > replication::kRefusalsMax ? kRefusedPauseMs : backoff_.NextMs(server_.random()));
}

// The active memtable is full and the one before it is still being merged, or the disk is below its mark. Clients'
// writes wait or are refused then; the master's stream waits in its log, and neither fills our memory nor our disk.
bool ReplicationDriver::StoreIsFull() const {
  // While checkpoints fail there is no pressure to wait for, but a bound that writers are refused at.
  return server_.engine().WritePressure() >= 1.0 || server_.engine().LacksSpace() || server_.engine().WriteRefusal();
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

Result<void> ReplicationDriver::AppendFrame(const wal::SharedFrame& frame) {
  ASSIGN_OR_RETURN(const bool news, replication::IsNews(server_.log(), at_link_up_, frame));
  if (!news) return {};
  RETURN_IF_ERROR(server_.engine().AppendAndApply(frame.history));
  if (frame.history.kind == wal::FrameKind::kDigestMarker) MarkerReceived(frame.bytes);
  if (frame.history.kind == wal::FrameKind::kLineage) {
    diag::Notice("The master's history goes on as {} from offset {}", server_.log().lineage().current_id(),
                 frame.history.offset);
  }
  return {};
}

void ReplicationDriver::TakeUnit(const replication::UnitsReceived& units, size_t index) {
  const size_t begin = index == 0 ? 0 : units.ends[index - 1];
  CHECK(units.offset + begin == server_.log().AppendedOffset());
  const std::string_view unit = std::string_view(units.bytes).substr(begin, units.ends[index] - begin);
  auto taken = server_.engine().ApplyAndAppend(unit, server_.NowMs());
  if (taken.ok()) return;
  StopLink();
  Damaged("a command", taken.error().message);
}

// Part of it may be in the data, all of it is in a frame's log: going on from here would be wrong.
void ReplicationDriver::Damaged(std::string_view what, const std::string& reason) {
  damaged_ = true;
  halted_ = reason;
  diag::Warning(
      "REPLICATION STOPPED: {} of the master cannot be applied: {}. The link stays down, and writes stay refused. "
      "Restart this server to try the same again; HOLDFAST RESYNC, or REPLICAOF, copies everything anew",
      what, reason);
}

uint64_t ReplicationDriver::KeysHere() {
  Transaction& transaction = server_.store().Begin(TransactionMode::kLive, 0, server_.NowMs());
  uint64_t keys = 0;
  for (int db = 0; db < transaction.database_count(); ++db) keys += transaction.KeyCount(db);
  transaction.Commit();
  return keys;
}

void ReplicationDriver::SnapshotComplete(const replication::SnapshotComplete& complete) {
  FailoverDone();
  refusals_ = 0;
  const replication::FullSyncOffer& master = complete.master;
  LoadRequest request;
  request.snapshot_path = JoinPath(server_.directory().path(), "full-sync.tmp");
  request.offset = complete.offset;
  request.rdb = complete.rdb;
  request.skip_unsupported = server_.config().settings().rdb_skip_unsupported;
  const auto& accepted = server_.config().settings().accept_full_sync;
  request.own_keys = KeysHere();
  request.accept_empty = std::find(accepted.begin(), accepted.end(), "empty") != accepted.end();
  request.options = server_.engine().options();
  engine_randoms_.push_back(std::make_unique<SeededRandom>(server_.random().Next()));
  request.options.random = engine_randoms_.back().get();
  replication::RoleRecord role = role_;
  role.operator_consents = false;  // used up
  role.copied = copy_reaches_ = replication::StandingOf(master);
  request.role_record = replication::FormatRole(role);
  request.directory = &server_.directory();
  request.master = master;
  request.own_lineage = server_.log().lineage();
  request.own_end = server_.log().DurableOffset();
  request.own_generation = server_.engine().options().generation_path;
  request.own_pin = server_.log().PinFrom(server_.log().FirstOffset());
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
  ReleasePins();
  rdb_.reset();
  server_.ReplaceEngine(std::move(loaded->engine));
  at_link_up_ = server_.log().lineage();
  old_generations_ = true;
  if (auto removed = server_.fs().Remove(JoinPath(server_.directory().path(), "full-sync.tmp")); !removed.ok()) {
    diag::Warning("The transferred snapshot could not be removed: {}", removed.error().message);
  }
  if (loaded->tail) TailKept(*loaded->tail);
  copy_wanted_ = damaged_ = false;
  difference_.clear();
  role_.operator_consents = false;
  role_.copied = copy_reaches_;
  last_failure_.clear();
  backoff_.Reset();
  diag::Notice("MASTER <-> REPLICA sync: Finished with success, at offset {}", server_.log().AppendedOffset());
  if (!link_alive) return ConnectIn(0);
  LinkIsUp();
  receiver_->Loaded();
  TellDurable();
}

void ReplicationDriver::LinkIsUp() {
  linked_ = true;
  link_id_ = server_.clients().TakeId();
  link_up_since_ms_ = server_.MonotonicMs();
  last_failure_.clear();
  backoff_.Reset();
}

void ReplicationDriver::TellDurable() {
  const wal::Log& log = server_.log();
  receiver_->Durable(log.DurableOffset(), log.AppendedOffset(), log.lineage().current_id());
}

}  // namespace holdfast::net
