// FAILOVER: a master and one of its replicas change places without losing a byte; states and texts as Redis 7.0.
//
//   waiting-for-sync       writes wait until the target acknowledged everything (or the timeout, with FORCE)
//   failover-in-progress   we follow the target and ask it, by PSYNC ... FAILOVER, to be master; its answer ends it
#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

// It has no PSYNC ... FAILOVER that leaves both histories provable, and acknowledges what is not on its disk.
constexpr const char* kRedisTarget =
    "FAILOVER to a replica of Redis' kind is not possible: pause the writers (CLIENT PAUSE), wait until it has "
    "everything, and promote it with REPLICAOF NO ONE";

Error Refusal(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

std::string_view ReplicationDriver::FailoverStateName() const {
  if (!failover_) return "no-failover";
  return failover_->in_progress ? "failover-in-progress" : "waiting-for-sync";
}

std::shared_ptr<FeedStatus> ReplicationDriver::FindReplica(const std::pair<std::string, int>& address) const {
  auto found = std::find_if(replicas_.begin(), replicas_.end(), [&](const auto& status) {
    return status->state != FeedState::kClosed && !status->redis && status->address == address.first &&
           status->port == address.second;
  });
  return found == replicas_.end() ? nullptr : *found;
}

Result<void> ReplicationDriver::StartFailover(const FailoverRequest& request) {
  if (failover_) return Refusal("FAILOVER already in progress.");
  if (IsReplica()) return Refusal("FAILOVER is not valid when server is a replica.");
  if (replicas_.empty()) return Refusal("FAILOVER requires connected replicas.");
  if (request.force && (request.timeout_ms == 0 || !request.to)) {
    return Refusal("FAILOVER with force option requires both a timeout and target HOST and IP.");
  }
  if (request.to) {
    const auto target = FindReplica(*request.to);
    if (!target && std::any_of(replicas_.begin(), replicas_.end(), [&](const auto& status) {
          return status->redis && std::pair{status->address, status->port} == *request.to;
        })) {
      return Refusal(kRedisTarget);
    }
    if (!target) return Refusal("FAILOVER target HOST and PORT is not a replica.");
    if (target->state != FeedState::kOnline) return Refusal("FAILOVER target replica is not online.");
  } else if (std::all_of(replicas_.begin(), replicas_.end(), [](const auto& status) { return status->redis; })) {
    return Refusal(kRedisTarget);
  }
  if (server_.log().AppendedOffset() == 0) {
    // The end of an empty history cannot be told from having none: nothing could be handed over at it.
    if (const auto refusal = server_.engine().WriteRefusal()) return Refusal(*refusal);
    AppendPing();
  }
  Failover failover;
  failover.request = request;
  if (request.timeout_ms > 0) {
    const int64_t now_ms = server_.MonotonicMs();
    failover.deadline_ms = request.timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + request.timeout_ms;
  }
  failover_ = std::move(failover);
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
  if (!failover_ || failover_->in_progress) return;
  if (failover_->deadline_ms != 0 && server_.MonotonicMs() >= failover_->deadline_ms) {
    if (!failover_->request.force) return FailoverFailed("Replica never caught up before timeout");
    const auto target = *failover_->request.to;
    diag::Notice("Failover to {}:{} time out exceeded, failing over.", target.first, target.second);
    return BeginHandover(target);
  }
  const uint64_t end = server_.log().AppendedOffset();
  for (const auto& status : replicas_) {
    // A replica of Redis' kind cannot become our master.
    if (status->state != FeedState::kOnline || status->redis || status->acked_offset != end) continue;
    const std::pair<std::string, int> address{status->address, status->port};
    if (failover_->request.to && *failover_->request.to != address) continue;
    diag::Notice("Failover target {}:{} is synced, failing over.", address.first, address.second);
    return BeginHandover(address);
  }
}

void ReplicationDriver::BeginHandover(const std::pair<std::string, int>& target) {
  failover_->in_progress = true;
  if (auto followed = Follow(target.first, target.second); !followed.ok()) FailoverFailed(followed.error().message);
}

void ReplicationDriver::FailoverDone() {
  if (!failover_) return;
  failover_.reset();
  diag::Notice("Failover completed: this server is a replica now");
}

void ReplicationDriver::FailoverFailed(const std::string& reason) {
  const bool in_progress = failover_->in_progress;
  failover_.reset();
  diag::Notice("Aborting failover: {}", reason);
  if (!in_progress) return;  // still master; writers go on at the end of this turn
  if (auto promoted = Promote(); !promoted.ok()) {
    diag::Warning("This server stays a replica: {}", promoted.error().message);
  }
}

bool ReplicationDriver::TakeOver(Client& client, std::span<const std::string_view> args, Reply& reply) {
  if (!IsReplica()) {
    reply.Error("ERR PSYNC FAILOVER can't be sent to a master.");
    return false;
  }
  if (!EqualsIgnoreCase(args[1], server_.log().lineage().current_id())) {
    reply.Error("ERR PSYNC FAILOVER replid must match my replid.");
    return false;
  }
  if (loading_) {
    reply.Error("NOMASTERLINK A copy is being taken over: this server cannot be master now");
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
