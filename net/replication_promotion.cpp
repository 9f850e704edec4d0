// Becoming a master: at once, or in a group behind the promotion barrier (replication/candidacy.h).
#include <fmt/format.h>

#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"

namespace holdfast::net {

using replication::CandidacyMove;
using replication::Renewal;

namespace {

constexpr int64_t kCandidacyMs = 20'000;

}  // namespace

Result<void> ReplicationDriver::Promote() {
  if (!IsReplica() || candidacy_) return {};
  if (!Group().Active()) {
    BecomeMaster(0);
    return {};
  }
  if (auto refusal = replication::RefuseCandidacy(AsMember())) {
    return Error{ErrorCode::kInvalidArgument, *std::move(refusal)};
  }
  StopLink();
  StartCandidacy();
  return {};
}

Result<void> ReplicationDriver::PromoteByForce() {
  if (!IsReplica()) return {};
  diag::Warning("MASTER MODE by force: what other members of the group have confirmed may be lost");
  BecomeMaster(replication::EpochByForce(Group(), role_.promise, OwnId()));
  return {};
}

// `epoch`: of this master of the group; 0: there is none.
void ReplicationDriver::BecomeMaster(uint64_t epoch) {
  candidacy_.reset();
  fetch_from_.reset();
  promotion_failure_.clear();
  if (IsReplica()) StopLink();
  wal::Log& log = server_.log();
  const uint64_t fork = log.AppendedOffset();
  Settings& settings = server_.config().mutable_settings();
  settings.replicaof.reset();
  const std::string id = server_.random().Hex(wal::kLineageIdSize);
  const std::string old_id = log.lineage().current_id();
  replication::TakeMastership(role_, id, epoch, OwnId());
  // In the log before anything that is written under it: if this frame is lost, so is all that follows.
  log.StartLineage(id, server_.NowMs());
  WriteRoleFrame();
  if (epoch > 0) {
    const int durable = Group().durable;
    if (settings.min_replicas_durable != durable) {
      diag::Notice("min-replicas-durable is {} in this group, not {} as configured here", durable,
                   settings.min_replicas_durable);
      settings.min_replicas_durable = durable;
    }
    WriteGroup(replication::RecordOfEpoch(Group(), epoch, fork));
  }
  BeginConfirming();
  diag::SetRole('M');
  diag::Notice("MASTER MODE enabled: history {} goes on as {} from offset {}{}", old_id, id, fork,
               epoch > 0 ? fmt::format(", epoch {} of the group", replication::EpochNumber(epoch)) : "");
  AnswerTakeovers(fork);
}

void ReplicationDriver::StartCandidacy() {
  const int64_t now_ms = server_.MonotonicMs();
  replication::Candidacy::Own own{OwnId(), AsMember().Standing(), server_.log().lineage().current_id(),
                                  role_.promise.epoch};
  candidacy_.emplace(Group(), std::move(own), now_ms, now_ms + kCandidacyMs);
  promotion_failure_.clear();
  diag::Notice("Promotion barrier: epoch {} needs the promises of {} other members",
               replication::EpochNumber(candidacy_->epoch()), replication::PromisesNeeded(Group(), OwnId()));
  CandidacyStep();
}

// A promise cannot be kept within a unit of the log. One that is being received is dropped, and comes again.
void ReplicationDriver::LeaveUnit() {
  if (!server_.log().InsideUnit()) return;
  StopLink();
  fetch_from_.reset();
  if (!candidacy_) ConnectIn(0);
}

// What we promise ourselves is what others are asked for.
void ReplicationDriver::PromiseOurselves() {
  const replication::Promise own{candidacy_->epoch(), OwnId()};
  if (role_.promise == own) return;
  LeaveUnit();
  role_.promise = own;
  WriteRoleFrame();
  UpdateFence();
}

void ReplicationDriver::CandidacyStep() {
  if (!candidacy_ || stopped_) return;
  const int64_t now_ms = server_.MonotonicMs();
  // While parts of a unit or frames are not on disk yet there is more to come.
  const CandidacyMove next =
      candidacy_->Next(AsMember().Standing(), server_.log().lineage().current_id(), Group(), !IsReplica(), now_ms);
  switch (next.kind) {
    case CandidacyMove::Kind::kBecomeMaster:
      return BecomeMaster(candidacy_->epoch());
    case CandidacyMove::Kind::kGiveUp:
      return AbandonCandidacy(next.reason);
    case CandidacyMove::Kind::kFetch:
      return FetchFrom({next.source.host, next.source.port});
    case CandidacyMove::Kind::kAsk:
      break;
  }
  PromiseOurselves();
  if (!RoleSettled()) return;
  for (const replication::GroupNode& node : candidacy_->TakeQuestions(now_ms)) Ask(node);
}

void ReplicationDriver::Ask(const replication::GroupNode& node) {
  const Settings& settings = server_.config().settings();
  MemberCalls::Call call;
  call.host = node.host;
  call.port = node.port;
  call.user = settings.masteruser;
  call.password = settings.masterauth;
  call.words = {"HOLDFAST", "PROMISE", std::to_string(candidacy_->epoch()), OwnId(), node.id};
  calls_.Start(std::move(call), [this, alive = std::weak_ptr<int>(alive_), id = node.id,
                                 epoch = candidacy_->epoch()](const Result<std::string>& line) {
    Post([this, id, epoch, line] {
      if (!candidacy_) return;
      const int64_t now_ms = server_.MonotonicMs();
      Result<replication::PromiseAnswer> answer = line.ok() && line->starts_with('+')
                                                      ? replication::ParsePromiseAnswer(line->substr(1))
                                                      : Error{ErrorCode::kIo, line.ok() ? *line : line.error().message};
      if (answer.ok()) {
        candidacy_->Answered(id, epoch, *answer, now_ms, server_.random());
      } else {
        candidacy_->Unreachable(id, epoch, answer.error().message, now_ms);
      }
      CandidacyStep();
    });
  });
}

void ReplicationDriver::FetchFrom(const std::pair<std::string, int>& source) {
  if (fetch_from_ == source) return;
  StopLink();
  fetch_from_ = source;
  diag::Notice("Promotion barrier: {}:{} has more than this node, it is fetched first", source.first, source.second);
  Connect();
}

void ReplicationDriver::AbandonCandidacy(const std::string& reason) {
  candidacy_.reset();
  promotion_failure_ = reason;
  std::replace_if(
      promotion_failure_.begin(), promotion_failure_.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  diag::Warning("The promotion barrier was not passed: this server {}. Lacking: {}",
                IsReplica() ? "stays a replica" : "confirms nothing", reason);
  AnswerTakeovers(std::nullopt);
  renewal_.Reset();
  if (!IsReplica()) return;
  StopLink();
  fetch_from_.reset();
  Connect();
}

// Those who asked, by PSYNC ... FAILOVER, that we take their place. `fork`: we did, and have what they have up to
// there.
void ReplicationDriver::AnswerTakeovers(std::optional<uint64_t> fork) {
  for (WaitingReplica& waiting : std::exchange(takeovers_, {})) {
    Client* client = server_.clients().Find(waiting.client);
    if (client == nullptr) continue;
    if (fork) {  // stays blocked until our role is on disk
      waiting.has_more = !waiting.claim || waiting.claim->end_offset > *fork;
      waiting_replicas_.push_back(std::move(waiting));
      continue;
    }
    client->blocked = Client::Blocked::kNo;
    Reply reply(client->output.bytes, client->resp);
    reply.Error("NOMASTERLINK The promotion barrier was not passed: " + promotion_failure_);
    server_.Unblock(*client);
  }
}

void ReplicationDriver::RenewWhenFenced() {
  const uint64_t own = replication::FenceOf(Group(), role_.promise);
  const uint64_t fence = own != 0 ? own : confirmation_.FencedBy();
  switch (renewal_.Next(fence, candidacy_ || failover_, server_.MonotonicMs())) {
    case Renewal::Advice::kFencedNow:
      diag::Warning(
          "Members of the group have promised to acknowledge only a master of epoch {} or later. Unless there is one "
          "within {} s, this master asks for a later epoch",
          replication::EpochNumber(fence), Renewal::kPauseMs / 1000);
      return;
    case Renewal::Advice::kAskAnew:
      return StartCandidacy();
    case Renewal::Advice::kNothing:
    case Renewal::Advice::kWait:
      return;
  }
}

}  // namespace holdfast::net
