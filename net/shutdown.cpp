// The orderly end of a server: no new clients, no new writes, replicas catch up, the log is synced, the executor stops.
#include <algorithm>
#include <utility>

#include "net/server.h"
#include "storage/base/diag.h"

namespace holdfast::net {

namespace {
constexpr int64_t kStepUs = 10'000;
}  // namespace

void Server::RequestShutdown(ShutdownOptions options, std::function<void(Result<void>)> refused) {
  if (shutdown_ && options.now) {  // asked again, with less patience
    shutdown_->deadline_ms = 0;
    shutdown_->options.force = shutdown_->options.force || options.force;
    if (options.nosave) shutdown_->options.save = false;
    if (refused) shutdown_->refused.push_back(std::move(refused));
    return;
  }
  if (shutdown_) {
    if (refused) refused(Error{ErrorCode::kBusy, "a shutdown is already under way"});
    return;
  }
  diag::Notice("User requested shutdown...");
  Shutdown shutdown;
  shutdown.options = options;
  if (refused) shutdown.refused.push_back(std::move(refused));
  shutdown.deadline_ms = MonotonicMs() + (options.now ? 0 : config().settings().shutdown_timeout * 1000);
  shutdown_ = std::move(shutdown);
  if (shutdown_listener_) shutdown_listener_(true);
  ShutdownStep();
}

void Server::AbortShutdown() {
  if (!shutdown_) return;
  diag::Notice("Shutdown aborted, the server goes on");
  RefuseShutdown(Error{ErrorCode::kAborted, "Errors trying to SHUTDOWN. Check logs."});
}

void Server::RefuseShutdown(const Error& error) {
  const auto refused = std::move(shutdown_->refused);
  shutdown_.reset();
  if (shutdown_listener_) shutdown_listener_(false);
  for (const auto& tell : refused) tell(error);
  // Writers that were held back go on at the end of this turn (ResumePostponed).
}

void Server::SaveForShutdown() {
  shutdown_->saving = true;
  wal::SnapshotRequest request;
  request.data_directory = directory().path();
  request.write.zstd_level = config().settings().snapshot_zstd_level;
  request.write.threads = config().settings().snapshot_threads;
  request.node_id = directory().identity().node_id;
  diag::Notice("Saving a snapshot before exiting");
  auto failed = [this](const Error& error) {
    diag::Warning("The snapshot before the shutdown failed: {}", error.message);
    if (shutdown_->options.force) {
      shutdown_->saved = true;
    } else {
      RefuseShutdown(Error{ErrorCode::kIo, "Errors trying to SHUTDOWN. Check logs."});
    }
  };
  Result<void> started = engine().StartSnapshot(std::move(request), [this, failed](Result<wal::SnapshotResult> result) {
    if (!shutdown_ || !shutdown_->saving) return;  // of a shutdown that was aborted
    if (!result.ok()) return failed(result.error());
    diag::Notice("Snapshot saved to {}", result->path);
    shutdown_->saved = true;
  });
  if (!started.ok()) failed(started.error());
}

void Server::ShutdownStep() {
  if (!shutdown_) return;  // aborted
  auto again = [this] { executor().RunAfter(kStepUs, [this] { ShutdownStep(); }); };
  // Replicas that acked everything; others are waited for until the deadline.
  bool late = MonotonicMs() >= shutdown_->deadline_ms;
  int attached = replication().AttachedReplicas();
  if (!late && attached > 0 && replication().ReplicasAcked(log().AppendedOffset()) < attached) {
    sync_soon_ = true;
    replication().RequestAcks();
    return again();
  }
  if (shutdown_->options.save && !shutdown_->saved) {
    // One that is being made already is of an earlier moment.
    if (!shutdown_->saving && !engine().SnapshotRunning()) SaveForShutdown();
    return again();
  }
  if (!shutdown_->marked && !log().HasPending() && !BatchInFlight()) {
    log().AppendDurableMark();
    shutdown_->marked = true;
  }
  if (!shutdown_->marked || log().HasPending() || BatchInFlight()) {
    sync_soon_ = true;
    return again();
  }
  if (attached > 0 && late && replication().ReplicasAcked(log().DurableOffset()) < attached) {
    diag::Warning("Not all replicas have caught up: {} of {} acknowledged offset {}",
                  replication().ReplicasAcked(log().DurableOffset()), attached, log().DurableOffset());
  }
  replication().Shutdown();
  executor().Stop();
}

}  // namespace holdfast::net
