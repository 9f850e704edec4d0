// FAILOVER: a master and one of its replicas change places, as net/ does it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tests/simulation/process.h"

namespace holdfast::simulation {

using replication::TakeoverAnswer;

bool Node::IsFailingOver() const { return process_ != nullptr && process_->failover.has_value(); }

// ---- the master that leaves -----------------------------------------------------------------------------------------

void Node::FailOver(std::optional<int> target, bool force, int64_t timeout_ms) {
  if (!IsMaster() || IsFailingOver() || AppendedOffset() == 0) return;
  replication::FailoverOrder order{std::nullopt, force, timeout_ms};
  if (target) order.to.emplace("node", *target);
  if (replication::RefuseFailover(order, FailoverReplicas())) return;
  process_->failover.emplace(std::move(order), NowMs());
  world_.Trace(fmt::format("{} is told to hand over{}", NodeName(), force ? " by force" : ""));
  FailoverStep();
}

void Node::AbortFailover() {
  if (!IsFailingOver()) return;
  told_ms_ = world_.now_ms();
  FailoverFailed("aborted");
}

std::vector<replication::FailoverReplica> Node::FailoverReplicas() const {
  std::vector<replication::FailoverReplica> replicas;
  for (const auto& [id, feed] : process_->feeds) {
    if (feed->stage != Feed::Stage::kAttached || world_.left_out.contains(feed->connection->replica)) continue;
    replicas.push_back({{"node", feed->connection->replica}, feed->link.online(), false, feed->link.acked_offset()});
  }
  return replicas;
}

void Node::FailoverStep() {
  if (process_ == nullptr || !process_->failover || process_->failover->in_progress()) return;
  using Move = replication::Failover::Move;
  const Move next = process_->failover->Next(AppendedOffset(), FailoverReplicas(), NowMs());
  if (next.kind == Move::Kind::kWait) return;
  if (next.kind == Move::Kind::kGiveUp) return FailoverFailed("nobody came into step in time");
  // An acknowledgement may still be on its way when its sender has left for another master.
  const Node& target = world_.node(next.target.second);
  process_->handover_sure = next.in_step && target.process_ != nullptr && target.process_->follower &&
                            Find(target.process_->follower->connection) != nullptr;
  process_->handover_ms = world_.now_ms();
  BeginFollowing(next.target.second);
}

void Node::FailoverDone() {
  if (process_->failover && process_->failover->in_progress()) ++world_.counts.handovers;
  process_->failover.reset();
}

void Node::FailoverFailed(const std::string& reason) {
  const bool in_progress = process_->failover->in_progress();
  process_->failover.reset();
  world_.Trace(fmt::format("{} does not hand over: {}", NodeName(), reason));
  if (!in_progress) return;
  const Node& target = world_.node(process_->role.master->second);
  if (target.took_over_from_ == index_ && told_ms_ < process_->handover_ms && target.IsMaster() &&
      !world_.pasts_may_differ) {
    return Fail(fmt::format("is about to be master again, but node {} has taken its place: {}",
                            process_->role.master->second, reason));
  }
  (void)BeginPromotion();
}

// ---- the replica that takes its place -------------------------------------------------------------------------------

void Node::Reject(Feed& feed, const std::string& error) {
  world_.Send(feed.connection, false, "-" + error + "\r\n");
  CloseFeed(feed.connection->id, error, true);
}

bool Node::TakeOver(Feed& feed, const std::string& asked_id) {
  using Kind = TakeoverAnswer::Kind;
  const TakeoverAnswer answer =
      replication::AnswerTakeover({IsMaster(), asked_id, process_->log->lineage(), process_->loading});
  if (answer.kind == Kind::kIsMaster) return true;
  if (answer.kind == Kind::kRefuse) {
    Reject(feed, answer.error);
    return false;
  }
  if (NobodyPromotesIt()) {
    Reject(feed, "ERR This member was left out");
    return false;
  }
  world_.Trace(fmt::format("{} is asked to take the place of node {}", NodeName(), feed.connection->replica));
  process_->takeovers.push_back(feed.connection->id);
  if (const std::string refusal = BeginPromotion(); !refusal.empty()) {
    std::erase(process_->takeovers, feed.connection->id);
    Reject(feed, "ERR " + refusal);
  }
  return false;
}

// Those who asked that we take their place.
void Node::AnswerTakeovers(bool master, const std::string& reason) {
  for (const uint64_t id : std::exchange(process_->takeovers, {})) {
    const auto at = process_->feeds.find(id);
    if (at == process_->feeds.end()) continue;
    Feed& feed = *at->second;
    if (!master) {
      Reject(feed, "NOMASTERLINK The promotion barrier was not passed: " + reason);
      continue;
    }
    took_over_from_ = feed.connection->replica;
    CheckTakenOver(feed);
    feed.has_more = feed.claim.end_offset > process_->log->lineage().entries().back().from_offset;
    feed.stage = Feed::Stage::kWaiting;  // until our role is on disk
  }
}

// Unless it was forced, nothing is lost by it.
void Node::CheckTakenOver(const Feed& feed) {
  const Node& old = world_.node(feed.connection->replica);
  if (world_.pasts_may_differ || !old.IsCurrent(feed.connection) || !old.process_->handover_sure) return;
  if (told_ms_ >= old.process_->handover_ms) return;  // somebody else meddled
  const std::string& theirs = old.truth().stream;
  if (truth().stream.compare(0, theirs.size(), theirs) == 0) return;
  Fail(fmt::format("takes the place of node {}, which ends at offset {}, and lacks some of it",
                   feed.connection->replica, theirs.size()));
}

}  // namespace holdfast::simulation
