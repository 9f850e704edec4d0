// The group as its master sees it: members, their acknowledgements, and what is confirmed; and what a member has
// promised. docs/replication.md "Semi-synchronous commit".
#include <fmt/format.h>

#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

using replication::GroupNode;
using replication::GroupRecord;

namespace {

constexpr std::string_view kPing = "*1\r\n$4\r\nPING\r\n";

Error Refusal(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

const std::string& ReplicationDriver::OwnId() const { return server_.directory().identity().node_id; }

const GroupRecord& ReplicationDriver::Group() const {
  const std::string& text = server_.log().membership();
  if (text == group_text_) return group_;
  group_text_ = text;
  group_ = {};
  if (text.empty()) return group_;
  auto parsed = replication::ParseGroup(text);
  if (parsed.ok()) {
    group_ = *std::move(parsed);
  } else {
    diag::Warning("The record of the replication group in the log cannot be used: {}", parsed.error().message);
  }
  return group_;
}

void ReplicationDriver::WriteGroup(GroupRecord record) {
  wal::Log& log = server_.log();
  record.since = log.AppendedOffset();
  log.AppendControl(wal::FrameKind::kMembership, replication::FormatGroup(record), log.EndPosition().time_ms);
  // Frames of this kind have no offset of their own: who acknowledges this unit has the frame.
  log.AppendUnit(kPing, log.SelectedDb(), server_.NowMs());
  server_.SyncSoon();
  BeginConfirming();
}

void ReplicationDriver::BeginConfirming() {
  if (!replication::MayConfirm(Group(), role_)) return confirmation_.End();
  confirmation_.Begin(Group(), OwnId(), server_.log().lineage().current_id());
  NoteAcks();
}

void ReplicationDriver::NoteAcks() {
  if (IsReplica() || Group().nodes.empty()) return;
  const std::vector<uint64_t> before(confirmation_.Confirmed().begin(), confirmation_.Confirmed().end());
  for (const auto& status : replicas_) {
    if (status->redis || status->state == FeedState::kClosed) continue;
    if (const uint64_t epoch = status->fenced_by; epoch > 0) {
      confirmation_.Fenced(status->node_id, epoch);
    } else if (status->state == FeedState::kOnline) {
      confirmation_.Acked(status->node_id, status->AckedLineage(), status->acked_offset, status->last_ack_ms);
    }
  }
  if (const auto settled = confirmation_.Settled()) {
    wal::Log& log = server_.log();
    log.AppendControl(wal::FrameKind::kMembership, replication::FormatGroup(*settled), log.EndPosition().time_ms);
    confirmation_.Begin(Group(), OwnId(), log.lineage().current_id());
    diag::Notice("All {} members of the group know of it: {} of them confirm a write", settled->Members(),
                 settled->durable);
  }
  const std::span<const uint64_t> now = confirmation_.Confirmed();
  if (!std::equal(now.begin(), now.end(), before.begin(), before.end())) server_.RepliesMayLeave();
}

int ReplicationDriver::DurableMembers() const {
  // Never fewer than the record says: a new master asks by that.
  return std::max(static_cast<int>(server_.config().settings().min_replicas_durable), Group().durable);
}

int ReplicationDriver::MembersInGoodStanding() const {
  return confirmation_.InGoodStanding(server_.MonotonicMs(), server_.config().settings().min_replicas_max_lag * 1000);
}

int ReplicationDriver::MembersWith(uint64_t offset) const { return confirmation_.MembersWith(offset); }

void ReplicationDriver::GroupStep() {
  if (!IsReplica() && !Group().nodes.empty()) {
    const auto wanted = static_cast<int>(server_.config().settings().min_replicas_durable);
    if (Group().durable != wanted && !server_.ShuttingDown()) {
      diag::Notice("min-replicas-durable is {} now: the group is told", wanted);
      WriteGroup(replication::RecordWithDurable(Group(), wanted));
    }
    NoteAcks();
    RenewWhenFenced();
  }
  CandidacyStep();
}

Result<GroupNode> ReplicationDriver::NodeNamed(std::string_view name) const {
  if (const GroupNode* known = Group().Find(name)) return *known;
  const auto found = std::find_if(replicas_.begin(), replicas_.end(), [name](const auto& status) {
    return status->state == FeedState::kOnline && !status->redis && !status->node_id.empty() &&
           (status->node_id == name || fmt::format("{}:{}", status->address, status->port) == name ||
            fmt::format("[{}]:{}", status->address, status->port) == name);
  });
  if (found == replicas_.end()) {
    return Refusal(
        fmt::format("No Holdfast replica '{}' is online here: members are named by host:port or by the id "
                    "that INFO replication shows",
                    name));
  }
  return GroupNode{(*found)->node_id, (*found)->address, (*found)->port};
}

Result<void> ReplicationDriver::SetMembers(std::span<const std::string_view> names) {
  if (IsReplica()) return Refusal("Members are named to the master, this server is a replica");
  const Settings& settings = server_.config().settings();
  std::vector<GroupNode> nodes;
  if (!names.empty()) {
    GroupNode self{OwnId(), settings.replica_announce_ip, settings.port};
    if (self.host.empty()) self.host = own_address_;
    if (self.host.empty()) return Refusal("No replica has connected yet, and replica-announce-ip is not set");
    if (settings.replica_announce_port > 0) self.port = settings.replica_announce_port;
    nodes.push_back(std::move(self));
  }
  for (const std::string_view name : names) {
    ASSIGN_OR_RETURN(GroupNode node, NodeNamed(name));
    if (std::any_of(nodes.begin(), nodes.end(), [&node](const auto& other) { return other.id == node.id; }))
      return Refusal(fmt::format("'{}' is named twice, or is this server", name));
    nodes.push_back(std::move(node));
  }
  ASSIGN_OR_RETURN(GroupRecord record, replication::RecordWithMembers(Group(), std::move(nodes),
                                                                      static_cast<int>(settings.min_replicas_durable)));
  diag::Notice("The group has {} members beside this master now", record.Members());
  WriteGroup(std::move(record));
  return {};
}

void ReplicationDriver::WriteMembers(Reply& reply) const {
  const GroupRecord& group = Group();
  reply.Array(group.nodes.size());
  for (const GroupNode& node : group.nodes) {
    const auto attached = std::find_if(replicas_.begin(), replicas_.end(), [&node](const auto& status) {
      return status->node_id == node.id && status->state == FeedState::kOnline;
    });
    const bool online = attached != replicas_.end();
    std::string_view state = online ? "online" : "away";
    if (node.id == OwnId()) {
      state = "self";
    } else if (IsReplica()) {
      state = "member";
    } else if (online && (*attached)->fenced_by > 0) {
      state = "promised";
    }
    reply.Array(4);
    reply.Bulk(node.id);
    reply.Bulk(fmt::format("{}:{}", node.host, node.port));
    reply.Bulk(state);
    reply.Integer(online ? static_cast<int64_t>((*attached)->acked_offset.load()) : 0);
  }
}

void ReplicationDriver::HandlePromise(Client& client, const PromiseQuestion& question, Reply& reply) {
  const replication::Promise asked{question.epoch, std::string(question.candidate)};
  const replication::PromiseAnswer answer = replication::AnswerPromise(AsMember(), asked, question.member);
  if (!answer.granted) return reply.Status(replication::FormatPromiseAnswer(answer));
  if (candidacy_) AbandonCandidacy("another candidate was promised to");
  if (role_.promise != asked) {
    diag::Notice("Promised to {} that no master of an epoch before {} gets acknowledgements from here", asked.candidate,
                 replication::EpochNumber(asked.epoch));
    LeaveUnit();
    role_.promise = asked;
    WriteRoleFrame();
  }
  UpdateFence();
  server_.HoldForRole(client);
  reply.Status(replication::FormatPromiseAnswer(answer));
}

replication::GroupMember ReplicationDriver::AsMember() const {
  const wal::Log& log = server_.log();
  return {Group(), role_, OwnId(), log.DurableOffset(), log.lineage().current_id(), loading_};
}

void ReplicationDriver::UpdateFence() {
  const uint64_t fence = replication::FenceOf(Group(), role_.promise);
  if (fence == fence_) return;
  fence_ = fence;
  if (receiver_) receiver_->SetFence(fence);
}

void ReplicationDriver::AppendGroupInfo(std::string& to) const {
  const GroupRecord& group = Group();
  const auto line = [&to](std::string_view name, const auto& value) {
    fmt::format_to(std::back_inserter(to), "holdfast_{}:{}\r\n", name, value);
  };
  line("node_id", OwnId());
  line("group_members", group.Members());
  line("group_durable", group.durable);
  line("group_settled", group.settled ? 1 : 0);
  line("group_epoch", replication::EpochNumber(group.epoch));
  line("promised_epoch", replication::EpochNumber(role_.promise.epoch));
  if (!IsReplica()) {
    line("members_good", MembersInGoodStanding());
    const auto members = static_cast<size_t>(std::max(1, DurableMembers()));
    const std::span<const uint64_t> confirmed = confirmation_.Confirmed();
    line("confirmed_offset", members < confirmed.size() ? confirmed[members] : 0);
    line("replies_not_confirmed", server_.monitoring().stats.replies_not_confirmed);
  }
  if (candidacy_) line("promotion_waits_for", candidacy_->Lacking());
  if (!candidacy_ && !promotion_failure_.empty()) line("promotion_failure", promotion_failure_);
}

}  // namespace holdfast::net
