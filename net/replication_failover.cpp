// FAILOVER: a master and one of its replicas change places without losing a byte; states and texts as Redis 7.0.
//
//   waiting-for-sync       writes wait until the target acknowledged everything (or the timeout, with FORCE)
//   failover-in-progress   we follow the target and ask it, by PSYNC ... FAILOVER, to be master; its answer ends it
#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"

namespace holdfast::net {

namespace {

Error Refusal(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

std::string_view ReplicationDriver::FailoverStateName() const {
  if (!failover_) return "no-failover";
  return failover_->in_progress() ? "failover-in-progress" : "waiting-for-sync";
}

std::vector<replication::FailoverReplica> ReplicationDriver::FailoverReplicas() const {
  std::vector<replication::FailoverReplica> replicas;
  for (const auto& status : replicas_) {
    if (status->state == FeedState::kClosed) continue;
    replicas.push_back(
        {{status->address, status->port}, status->state == FeedState::kOnline, status->redis, status->acked_offset});
  }
  return replicas;
}

Result<void> ReplicationDriver::StartFailover(const FailoverRequest& request) {
  if (failover_) return Refusal("FAILOVER already in progress.");
  if (IsReplica()) return Refusal("FAILOVER is not valid when server is a replica.");
  const replication::FailoverOrder order{request.to, request.force, request.timeout_ms};
  if (auto refusal = replication::RefuseFailover(order, FailoverReplicas())) return Refusal(*std::move(refusal));
  if (server_.log().AppendedOffset() == 0) {
    // The end of an empty history cannot be told from having none: nothing could be handed over at it.
    if (const auto refusal = server_.engine().WriteRefusal()) return Refusal(*refusal);
    AppendPing();
  }
  failover_.emplace(order, server_.MonotonicMs());
  diag::Notice("FAILOVER requested to {}.",
               request.to ? request.to->first + ":" + std::to_string(request.to->second) : "any replica");
  server_.SyncSoon();  // only durable bytes leave
  return {};
}

Result<void> ReplicationDriver::AbortFailover() {
  if (!failover_) return Refusal("No failover in progress.");
  FailoverFailed("Failover manually aborted");
  return {};
}

void ReplicationDriver::FailoverStep() {
  if (!failover_ || failover_->in_progress()) return;
  using Move = replication::Failover::Move;
  const Move next = failover_->Next(server_.log().AppendedOffset(), FailoverReplicas(), server_.MonotonicMs());
  if (next.kind == Move::Kind::kWait) return;
  if (next.kind == Move::Kind::kGiveUp) return FailoverFailed("Replica never caught up before timeout");
  if (next.in_step) {
    diag::Notice("Failover target {}:{} is synced, failing over.", next.target.first, next.target.second);
  } else {
    diag::Notice("Failover to {}:{} time out exceeded, failing over.", next.target.first, next.target.second);
  }
  BeginHandover(next.target);
}

void ReplicationDriver::BeginHandover(const std::pair<std::string, int>& target) {
  if (auto followed = Follow(target.first, target.second); !followed.ok()) FailoverFailed(followed.error().message);
}

void ReplicationDriver::FailoverDone() {
  if (!failover_) return;
  failover_.reset();
  diag::Notice("Failover completed: this server is a replica now");
}

void ReplicationDriver::FailoverFailed(const std::string& reason) {
  const bool in_progress = failover_->in_progress();
  failover_.reset();
  diag::Notice("Aborting failover: {}", reason);
  if (!in_progress) return;  // still master; writers go on at the end of this turn
  if (auto promoted = Promote(); !promoted.ok()) {
    diag::Warning("This server stays a replica: {}", promoted.error().message);
  }
}

bool ReplicationDriver::TakeOver(Client& client, std::span<const std::string_view> args, Reply& reply) {
  using Answer = replication::TakeoverAnswer;
  const Answer answer = replication::AnswerTakeover({!IsReplica(), args[1], server_.log().lineage(), loading_});
  if (answer.kind == Answer::Kind::kIsMaster) return true;
  if (answer.kind == Answer::Kind::kRefuse) {
    reply.Error(answer.error);
    return false;
  }
  diag::Notice("MASTER MODE asked for by {} (failover request)", client.peer_address);
  const auto claim = ClaimOf(client, args);
  const uint64_t fork = server_.log().AppendedOffset();
  if (auto promoted = Promote(); !promoted.ok()) {
    reply.Error("ERR " + promoted.error().message);
    return false;
  }
  if (IsReplica() && claim.ok()) {  // behind the promotion barrier
    client.blocked = Client::Blocked::kCommit;
    takeovers_.push_back({client.id, *claim, std::nullopt});
    return false;
  }
  if (!claim.ok() || !claim->has_value() || (*claim)->end_offset <= fork) return true;
  // Forced: the old master has more than we. It comes again and finds where the histories part. Not before that is on
  // disk: it gives up being master when it reads this.
  server_.HoldForRole(client);
  reply.Error("HOLDFAST TOOKOVER");
  return false;
}

}  // namespace holdfast::net
