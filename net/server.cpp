#include "net/server.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "net/saving.h"
#include "net/standalone_replication.h"
#include "storage/base/diag.h"
#include "storage/types/keys.h"

namespace holdfast::net {

namespace {

constexpr int64_t kCronUs = 100'000;
constexpr int64_t kIdleMarkUs = 10'000;
// appendfsync everysec and no: the log is synced this often, and when this much waits in memory.
// With appendfsync everysec and no. What is not yet synced is in this process alone, so a kill loses it, where Redis
// has it in the page cache already: hence far more often than once a second.
constexpr int64_t kRelaxedSyncPeriodMs = 20;
constexpr size_t kPendingBytesMax = 1 << 20;
// Active expiry: slices of at most this long, with pauses three times as long, so that it takes a quarter of the time.
constexpr int64_t kExpirySliceUs = 1000;
constexpr int64_t kExpiryPauseUs = 3000;
constexpr size_t kExpiryBatch = 32;
constexpr int kExitDataRefused = 2;
constexpr int kExitLogFailed = 3;

}  // namespace

Server::Server(Parts parts)
    : parts_(std::move(parts)),
      watches_(clients_),
      pubsub_(*this),
      blocking_(*this),
      monitoring_(*this),
      cold_reads_(*parts_.executor) {
  run_id_ = parts_.random->Hex(40);
  for (const auto& [from, to] : config().settings().renamed_commands) {
    if (const char* wrong = commands_.Rename(from, to)) diag::Warning("rename-command {}: {}", from, wrong);
  }
  started_us_ = parts_.clock->MonotonicUs();
  monitoring_.stats.last_save_s = parts_.clock->WallMs() / 1000;
  replication_ = std::make_unique<StandaloneReplication>(*this);
  if (parts_.engine) AdoptEngine();
}

Server::~Server() {
  cold_reads_.LetGo();
  replication_.reset();  // may still look at the engine
}

void Server::AdoptEngine() {
  sealed_offset_ = log().DurableOffset();
  AdoptKeyEvents();
  parts_.engine->SetWake([this, executor = parts_.executor] { executor->Post([this] { engine().RunCompletions(); }); });
}

void Server::ReplaceEngine(std::unique_ptr<wal::Engine> engine) {
  if (parts_.engine) CloseGatedClients(log());
  cold_reads_.LetGo();
  std::unique_ptr<wal::Engine> old = std::exchange(parts_.engine, std::move(engine));
  AdoptEngine();
  if (old) {
    old->Stop();
    // The other thread may still be writing the old log's last batch.
    if (old->log().InFlight()) retired_engine_ = std::move(old);
  }
  ForgetOldHistory();
}

Result<void> Server::ReopenEngine(const std::function<Result<void>()>& between) {
  CHECK(!BatchInFlight());
  CHECK(retired_engine_ == nullptr);
  CloseGatedClients(log());
  cold_reads_.LetGo();
  wal::EngineOptions options = engine().options();
  engine().Stop();
  parts_.engine.reset();
  Result<void> outcome = between();
  auto opened = wal::Engine::Open(std::move(options), {});
  if (!opened.ok()) {
    // Nobody but the data itself is to blame for damage; a disk or memory may be well again at the next start.
    const ErrorCode code = opened.error().code;
    const bool refused = code == ErrorCode::kCorruption || code == ErrorCode::kUnsupported;
    diag::Warning("FATAL: the data cannot be opened again: {}. The server stops, {}", opened.error().message,
                  refused ? "a start would say the same" : "start it again: nothing acknowledged is given up");
    diag::Flush();
    _exit(refused ? kExitDataRefused : kExitLogFailed);
  }
  parts_.engine = *std::move(opened);
  AdoptEngine();
  ForgetOldHistory();
  return outcome;
}

void Server::ForgetOldHistory() {
  watches_.TouchAll();
  // What clients of a replica wait for may have come with the copy.
  for (int db = 0; db < config().settings().databases; ++db) {
    blocking_.Touched({db, {}, /*whole_db=*/true, Transaction::Change::kContent});
  }
  clients_.ForEach([](Client& client) { client.last_write_offset = 0; });
  replication().OnEngineReplaced();
}

// What waits for bytes that the log was not durable to would tell of data that is gone now.
void Server::CloseGatedClients(wal::Log& old_log) {
  ReleaseHeldReplies(true);
  const uint64_t open =
      config().settings().appendfsync == AppendFsync::kAlways ? old_log.DurableOffset() : old_log.AppendedOffset();
  size_t closed = 0;
  for (ClientId id : std::exchange(gated_, {})) {
    Client* client = clients_.Find(id);
    if (client == nullptr) continue;
    client->gate_listed = false;
    (void)client->output.Sendable(open, replication().Confirmed());
    if (client->output.HasGates()) {
      ++closed;
      client->close_asap = true;
      if (client->transport != nullptr) client->transport->Close(true);
    } else if (client->transport != nullptr) {
      client->transport->OutputReady();
    }
  }
  if (closed > 0) {
    diag::Warning("{} connections closed: their replies waited for writes that are not part of the new history",
                  closed);
  }
}

int64_t Server::NowMs() {
  if (now_ms_ == 0) now_ms_ = clock().WallMs();
  return now_ms_;
}

int64_t Server::MonotonicMs() {
  if (monotonic_us_ == 0) monotonic_us_ = clock().MonotonicUs();
  return monotonic_us_ / 1000;
}

uint64_t Server::GateOffset() {
  return config().settings().appendfsync == AppendFsync::kAlways ? log().DurableOffset() : log().AppendedOffset();
}

bool Server::OverBudget() const {
  const Settings& settings = parts_.config->settings();
  uint64_t budget = settings.memory_budget;
  if (settings.maxmemory > 0) budget = std::min(budget, settings.maxmemory);
  return static_cast<uint64_t>(std::max<int64_t>(buffer_bytes_, 0)) + layer_bytes_ > budget;
}

void Server::Forget(Client& client) {
  pubsub_.UnsubscribeAll(client);
  watches_.Unwatch(client);
  blocking_.Forget(client.id);
  monitoring_.RemoveMonitor(client.id);
}

// ---- turns and commits -------------------------------------------------------------------------------------------

void Server::EndOfTurn() {
  engine().Tick(MonotonicMs());
  ResumePostponed();
  blocking_.ServeTouched();
  if (blocking_.size() > 0) blocking_.Recheck();
  FlushReady();
  clients_.CollectGarbage();
  if (monotonic_us_ != 0) {
    monitoring_.turn_us.Add(static_cast<uint64_t>(std::max<int64_t>(clock().MonotonicUs() - monotonic_us_, 0)));
  }
  ForgetTime();
}

bool Server::WantsCommit() {
  if (!log().HasPending() || BatchInFlight()) return false;
  AppendFsync policy = config().settings().appendfsync;
  if (policy == AppendFsync::kAlways || sync_soon_ || shutdown_) return true;
  if (replication().AttachedReplicas() > 0) return true;  // only durable bytes leave: back to back, not once a second
  return log().PendingBytes() >= kPendingBytesMax ||
         clock().MonotonicUs() / 1000 - last_sync_ms_ >= kRelaxedSyncPeriodMs;
}

size_t Server::PendingBytes() { return log().PendingBytes(); }

void Server::SealBatch() {
  sealed_offset_ = log().AppendedOffset();
  ++sealed_batches_;
  batch_log_ = &log();
  batch_log_->Seal();
}

Result<void> Server::WriteBatch() {
  int64_t started_us = clock().MonotonicUs();
  Result<void> written = batch_log_->WriteBatch();
  batch_us_ = clock().MonotonicUs() - started_us;
  return written;
}

void Server::FinishBatch() {
  batch_log_->FinishBatch();
  batch_log_ = nullptr;
  retired_engine_.reset();
  ++finished_batches_;
  sync_soon_ = false;
  last_sync_ms_ = clock().MonotonicUs() / 1000;
  monitoring_.sync_us.Add(static_cast<uint64_t>(std::max<int64_t>(batch_us_, 0)));
  int64_t threshold_ms = config().settings().latency_monitor_threshold;
  if (threshold_ms > 0 && batch_us_ / 1000 >= threshold_ms) monitoring_.AddLatency("log-sync", batch_us_ / 1000);
  ReleaseHeldReplies(false);
  FlushGatedOutput();
  replication().OnDurable(log().DurableOffset());
  blocking_.Recheck();
  FlushReady();
  ScheduleIdleMark();
}

void Server::HoldUntilCommitted(Client& client) {
  const uint64_t ticket = CommitTicket();
  if (Committed(ticket)) return;
  client.hold_ticket = ticket;
  sync_soon_ = true;
}

void Server::ReleaseHeldReplies(bool all) {
  if (held_.empty()) return;
  for (ClientId id : std::exchange(held_, {})) {
    Client* client = clients_.Find(id);
    if (client == nullptr) continue;
    if (!all && !Committed(client->hold_ticket)) {
      held_.push_back(id);
      continue;
    }
    client->hold_ticket = 0;
    client->blocked = Client::Blocked::kNo;
    // Pushes may stand behind the reply by now: whatever they tell of was appended before this moment.
    client->output.ReleaseHeld(all ? 0 : log().UnitsEnd());
    if (client->transport != nullptr) client->transport->Resume();
  }
}

void Server::CommitFailed(const Error& error) {
  diag::Warning(
      "FATAL: the log could not be written: {}. Nothing after the last confirmed write has been acknowledged, and "
      "nothing "
      "will be: the server stops. Check the disk (dmesg, free space), then start the server again; recovery keeps "
      "everything that was acknowledged.",
      error.message);
  diag::Flush();
  _exit(kExitLogFailed);
}

void Server::FlushGatedOutput() {
  if (gated_.empty()) return;
  std::vector<ClientId> waiting = std::exchange(gated_, {});
  for (ClientId id : waiting) {
    Client* client = clients_.Find(id);
    if (client == nullptr) continue;
    client->gate_listed = false;
    if (client->transport != nullptr) client->transport->OutputReady();
    if (client->output.HasGates() && !client->gate_listed) {
      client->gate_listed = true;
      gated_.push_back(id);
    }
  }
  if (gated_.empty()) {  // keeps its capacity: the list fills up again in the next turn
    waiting.clear();
    gated_.swap(waiting);
  }
}

void Server::FlushReady() {
  while (!ready_.empty()) {
    std::vector<ClientId> waiting = std::exchange(ready_, {});
    for (ClientId id : waiting) {
      Client* client = clients_.Find(id);
      if (client == nullptr) continue;
      client->ready_listed = false;
      if (client->transport != nullptr) client->transport->OutputReady();
    }
  }
}

// ---- postponed commands ------------------------------------------------------------------------------------------

void Server::Postpone(Client& client) {
  postponed_.push_back(client.id);
  if (postpone_timer_) return;
  postpone_timer_ = true;
  // The task does nothing: the end of its turn looks at the postponed clients.
  int64_t delay_ms = client.blocked == Client::Blocked::kThrottled
                         ? 1
                         : std::clamp<int64_t>(client.blocked_deadline_ms - MonotonicMs(), 1, kCronUs / 1000);
  executor().RunAfter(delay_ms * 1000, [this] { postpone_timer_ = false; });
}

void Server::ResumePostponed() {
  if (postponed_.empty()) return;
  ClientRegistry::Pause& pause = clients_.pause;
  if (pause.active && MonotonicMs() >= pause.until_ms) pause.active = false;
  bool paused = pause.active || ShuttingDown() || replication().WritesPaused();
  std::vector<ClientId> waiting = std::exchange(postponed_, {});
  for (ClientId id : waiting) {
    Client* client = clients_.Find(id);
    if (client == nullptr) continue;
    bool waits = false;
    if (client->blocked == Client::Blocked::kPaused) {
      waits = paused;
    } else if (client->blocked == Client::Blocked::kThrottled) {
      waits = client->retry_command ? engine().WritePressure() >= 1.0 : MonotonicMs() < client->blocked_deadline_ms;
    } else {
      continue;
    }
    if (waits) {
      Postpone(*client);
      continue;
    }
    client->blocked = Client::Blocked::kNo;
    client->blocked_deadline_ms = 0;
    if (client->transport != nullptr) client->transport->Resume();
  }
}

// ---- timers ------------------------------------------------------------------------------------------------------

void Server::StartTimers() { CronHundredMs(); }

void Server::CronHundredMs() {
  executor().RunAfter(kCronUs, [this] { CronHundredMs(); });
  monitoring_.SampleRates();
  const StoreStats layers = store().Stats();
  layer_bytes_ = layers.active_bytes + layers.frozen_bytes + layers.merged_bytes + layers.cache_bytes +
                 layers.index_bytes + log().PendingBytes();
  cold_reads_.Tick(MonotonicMs(), config().settings().prefetch_cold_reads);
  if (store().HasWalksAhead()) cold_reads_.MakeWalks(store());
  blocking_.Tick(MonotonicMs());
  replication().OnTick(MonotonicMs());
  if (!gated_.empty()) GiveUpUnconfirmed(config().settings().min_replicas_durable_timeout);
  if (!expiring_) ActiveExpiry();
  CheckSavePoints(*this);
  if (++cron_ticks_ % 10 == 0) {
    CheckIdleClients();
    CheckSoftLimits();
  }
}

void Server::CheckIdleClients() {
  int64_t timeout_ms = config().settings().timeout * 1000;
  if (timeout_ms <= 0) return;
  int64_t now_ms = MonotonicMs();
  clients_.ForEach([&](Client& client) {
    if (client.kind != ClientKind::kNormal || client.blocked != Client::Blocked::kNo || client.monitor) return;
    if (now_ms - client.last_interaction_ms <= timeout_ms || client.transport == nullptr) return;
    diag::Verbose("Closing idle client {}", client.peer_address);
    client.transport->Close(true);
  });
}

void Server::CheckSoftLimits() {
  const Settings& settings = config().settings();
  int64_t now_ms = MonotonicMs();
  clients_.ForEach([&](Client& client) {
    const OutputBufferLimit& limit =
        client.kind == ClientKind::kPubSub ? settings.output_pubsub : settings.output_normal;
    if (limit.soft_bytes == 0 || client.output.unsent() <= limit.soft_bytes) {
      client.soft_limit_since_ms = 0;
      return;
    }
    if (client.soft_limit_since_ms == 0) client.soft_limit_since_ms = now_ms;
    if (now_ms - client.soft_limit_since_ms < limit.soft_seconds * 1000 || client.transport == nullptr) return;
    diag::Warning("Client {} closed: its output buffer was over the soft limit of {} bytes for {} s",
                  client.peer_address, limit.soft_bytes, limit.soft_seconds);
    ++monitoring_.stats.output_buffer_disconnections;
    client.close_asap = true;
    client.transport->Close(true);
  });
}

void Server::ActiveExpiry() {
  expiring_ = false;
  if (!config().settings().active_expire || replication().IsReplica() || loading_ || shutdown_) return;
  if (clients_.pause.active && MonotonicMs() < clients_.pause.until_ms) return;
  if (replication().WritesPaused()) return;
  if (engine().WritePressure() >= 1.0) return;
  int64_t started_us = clock().MonotonicUs();
  while (true) {
    Result<std::vector<Store::ExpiredKey>> found = store().ExpiredKeys(NowMs(), kExpiryBatch);
    if (!found.ok()) {
      diag::Warning("Expired keys could not be listed: {}", found.error().message);
      return;
    }
    size_t gone = 0;
    for (const Store::ExpiredKey& expired : *found) {
      Transaction& tx = store().Begin(TransactionMode::kLive, expired.db, NowMs());
      Result<bool> deleted = keys::ExpireNow(tx, expired.db, expired.key);
      CommitUnit(nullptr, tx);
      if (deleted.ok() && *deleted) ++gone;
    }
    monitoring_.stats.expired_keys += gone;
    if (gone == 0) return;
    if (clock().MonotonicUs() - started_us >= kExpirySliceUs) break;
  }
  expiring_ = true;
  executor().RunAfter(kExpiryPauseUs, [this] { ActiveExpiry(); });
}

// A durable mark proves the last acknowledged batch to recovery. Under load the next batch carries it; when nothing has
// been appended for a while it is written alone.
void Server::ScheduleIdleMark() {
  if (idle_mark_scheduled_) return;
  idle_mark_scheduled_ = true;
  idle_mark_offset_ = log().AppendedOffset();
  executor().RunAfter(kIdleMarkUs, [this] { IdleMark(); });
}

void Server::IdleMark() {
  idle_mark_scheduled_ = false;
  if (log().HasPending() || BatchInFlight()) return;  // its end schedules the next look
  if (log().AppendedOffset() != idle_mark_offset_) return ScheduleIdleMark();
  if (log().AppendDurableMark()) sync_soon_ = true;
}

}  // namespace holdfast::net
