// Becoming a master: at once, or in a group behind the promotion barrier (replication/candidacy.h).
#include <fmt/format.h>

#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"

namespace holdfast::net {

using replication::CandidacyState;
using replication::GroupRecord;

namespace {

constexpr int64_t kCandidacyMs = 20'000;
// A master whose members have promised themselves to somebody lets that candidate come through first.
constexpr int64_t kRenewalPauseMs = 60'000;

}  // namespace

Result<void> ReplicationDriver::Promote() {
  if (!IsReplica() || candidacy_) return {};
  if (!Group().Active()) {
    BecomeMaster(0);
    return {};
  }
  if (loading_ || server_.log().DurableOffset() < role_.copied_up_to) {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("This member of the group was copied anew and is at offset {} of {}: it lacks writes that may "
                    "be confirmed. Promote another member, or use HOLDFAST PROMOTE FORCE",
                    server_.log().DurableOffset(), role_.copied_up_to)};
  }
  StopLink();
  StartCandidacy();
  return {};
}

Result<void> ReplicationDriver::PromoteByForce() {
  if (!IsReplica()) return {};
  const uint64_t known = std::max(Group().epoch, role_.promise.epoch);
  diag::Warning("MASTER MODE by force: what other members of the group have confirmed may be lost");
  BecomeMaster(Group().nodes.empty() ? 0 : replication::NextEpoch(known, OwnId()));
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
  role_.master.reset();
  role_.operator_consents = false;
  role_.copied_up_to = 0;
  if (epoch > 0) role_.promise = {epoch, OwnId()};
  Settings& settings = server_.config().mutable_settings();
  settings.replicaof.reset();
  const std::string id = server_.random().Hex(wal::kLineageIdSize);
  const std::string old_id = log.lineage().current_id();
  replication::AddIdMadeHere(role_, id);
  // In the log before anything that is written under it: if this frame is lost, so is all that follows.
  log.StartLineage(id, server_.NowMs());
  WriteRoleFrame();
  if (epoch > 0) {
    GroupRecord record = Group();
    record.epoch_before = record.epoch;
    record.epoch_before_offset = record.epoch_offset;
    record.epoch = epoch;
    record.epoch_offset = fork;
    if (settings.min_replicas_durable != record.durable) {
      diag::Notice("min-replicas-durable is {} in this group, not {} as configured here", record.durable,
                   settings.min_replicas_durable);
      settings.min_replicas_durable = record.durable;
    }
    WriteGroup(std::move(record));
  }
  BeginConfirming();
  diag::SetRole('M');
  diag::Notice("MASTER MODE enabled: history {} goes on as {} from offset {}{}", old_id, id, fork,
               epoch > 0 ? fmt::format(", epoch {} of the group", replication::EpochNumber(epoch)) : "");
  AnswerTakeovers(fork);
}

void ReplicationDriver::StartCandidacy() {
  const int64_t now_ms = server_.MonotonicMs();
  const uint64_t durable = server_.log().DurableOffset();
  replication::Candidacy::Own own{
      OwnId(), {Group().EpochAt(durable), durable}, server_.log().lineage().current_id(), role_.promise.epoch};
  candidacy_.emplace(Group(), std::move(own), now_ms, now_ms + kCandidacyMs);
  promotion_failure_.clear();
  diag::Notice("Promotion barrier: epoch {} needs the promises of {} other members",
               replication::EpochNumber(candidacy_->epoch()), replication::PromisesNeeded(Group(), OwnId()));
  CandidacyStep();
}

// What we promise ourselves is what others are asked for.
void ReplicationDriver::PromiseOurselves() {
  const replication::Promise own{candidacy_->epoch(), OwnId()};
  if (role_.promise == own) return;
  role_.promise = own;
  WriteRoleFrame();
  UpdateFence();
}

void ReplicationDriver::CandidacyStep() {
  if (!candidacy_ || stopped_) return;
  const int64_t now_ms = server_.MonotonicMs();
  const uint64_t durable = server_.log().DurableOffset();
  candidacy_->Tick(now_ms);
  // While parts of a unit or frames are not on disk yet there is more to come.
  candidacy_->Grew({Group().EpochAt(durable), durable}, server_.log().lineage().current_id(), Group(), now_ms);
  switch (candidacy_->state()) {
    case CandidacyState::kWon:
      return BecomeMaster(candidacy_->epoch());
    case CandidacyState::kLost:
      return AbandonCandidacy(candidacy_->Lacking());
    case CandidacyState::kFetching:
      if (!IsReplica()) return AbandonCandidacy("a later master of the group has written since: this one was replaced");
      return FetchFrom({candidacy_->source().host, candidacy_->source().port});
    case CandidacyState::kAsking:
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
  call.words = {"HOLDFAST", "PROMISE", std::to_string(candidacy_->epoch()), OwnId()};
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
  renewal_since_ms_ = 0;
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
  const int64_t now_ms = server_.MonotonicMs();
  const uint64_t fence = PromisedAway() ? role_.promise.epoch : confirmation_.FencedBy();
  if (fence == 0 || candidacy_ || failover_) {
    renewal_since_ms_ = 0;
    return;
  }
  if (renewal_since_ms_ == 0) {
    renewal_since_ms_ = now_ms;
    diag::Warning(
        "Members of the group have promised to acknowledge only a master of epoch {} or later. Unless there is one "
        "within {} s, this master asks for a later epoch",
        replication::EpochNumber(fence), kRenewalPauseMs / 1000);
  }
  if (now_ms - renewal_since_ms_ < kRenewalPauseMs) return;
  renewal_since_ms_ = 0;
  StartCandidacy();
}

}  // namespace holdfast::net
