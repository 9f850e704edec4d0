#include "replication/failover.h"

#include <algorithm>
#include <limits>

namespace holdfast::replication {

namespace {

// It has no PSYNC ... FAILOVER that leaves both histories provable, and acknowledges what is not on its disk.
constexpr const char* kRedisTarget =
    "FAILOVER to a replica of Redis' kind is not possible: pause the writers (CLIENT PAUSE), wait until it has "
    "everything, and promote it with REPLICAOF NO ONE";

}  // namespace

std::optional<std::string> RefuseFailover(const FailoverOrder& order, std::span<const FailoverReplica> replicas) {
  if (replicas.empty()) return "FAILOVER requires connected replicas.";
  if (order.force && (order.timeout_ms == 0 || !order.to)) {
    return "FAILOVER with force option requires both a timeout and target HOST and IP.";
  }
  if (!order.to) {
    if (std::all_of(replicas.begin(), replicas.end(), [](const auto& replica) { return replica.redis; }))
      return kRedisTarget;
    return std::nullopt;
  }
  const FailoverReplica* target = nullptr;
  bool redis = false;
  for (const FailoverReplica& replica : replicas) {
    if (replica.address != *order.to) continue;
    redis = redis || replica.redis;
    if (!replica.redis && target == nullptr) target = &replica;
  }
  if (target == nullptr) return redis ? kRedisTarget : "FAILOVER target HOST and PORT is not a replica.";
  if (!target->online) return "FAILOVER target replica is not online.";
  return std::nullopt;
}

Failover::Failover(FailoverOrder order, int64_t now_ms) : order_(std::move(order)) {
  if (order_.timeout_ms <= 0) return;
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  deadline_ms_ = order_.timeout_ms > kNever - now_ms ? kNever : now_ms + order_.timeout_ms;
}

Failover::Move Failover::Next(uint64_t end, std::span<const FailoverReplica> replicas, int64_t now_ms) {
  if (in_progress_) return {};
  if (deadline_ms_ != 0 && now_ms >= deadline_ms_) {
    if (!order_.force) return {Move::Kind::kGiveUp};
    in_progress_ = true;
    return {Move::Kind::kHandOver, *order_.to, false};
  }
  for (const FailoverReplica& replica : replicas) {
    if (!replica.online || replica.redis || replica.acked_offset != end) continue;
    if (order_.to && *order_.to != replica.address) continue;
    in_progress_ = true;
    return {Move::Kind::kHandOver, replica.address};
  }
  return {};
}

TakeoverAnswer AnswerTakeover(const Takeover& takeover) {
  using Kind = TakeoverAnswer::Kind;
  const auto valid_until = takeover.own.ValidUntil(takeover.asked_id);
  if (takeover.is_master && valid_until && valid_until != UINT64_MAX) return {Kind::kIsMaster};
  if (takeover.is_master) return {Kind::kRefuse, "ERR PSYNC FAILOVER can't be sent to a master."};
  if (valid_until != UINT64_MAX) return {Kind::kRefuse, "ERR PSYNC FAILOVER replid must match my replid."};
  if (takeover.copying)
    return {Kind::kRefuse, "NOMASTERLINK A copy is being taken over: this server cannot be master now"};
  return {};
}

}  // namespace holdfast::replication
