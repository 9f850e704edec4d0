#include "replication/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "wal/history_state.h"

namespace holdfast::replication {

bool MayConfirm(const GroupRecord& group, const RoleRecord& role) {
  return !role.master && !group.nodes.empty() && !IsFenced(group, role.promise);
}

uint64_t FenceOf(const GroupRecord& group, const Promise& given) { return IsFenced(group, given) ? given.epoch : 0; }

PromiseAnswer AnswerPromise(const GroupMember& own, const Promise& asked, std::string_view member) {
  PromiseAnswer answer;
  // First who is asked: no other reason would tell the operator that waiting does not help.
  std::optional<PromiseRefusal> refusal;
  if (member != own.self) {
    refusal = {
        0, fmt::format("another node is at this address, {} instead of {}: was its disk replaced?", own.self, member)};
  }
  if (!refusal) {
    refusal = RefusePromise(own.group, own.role.promise, {own.IsMaster(), own.Standing(), own.role.copied}, asked);
  }
  if (!refusal && own.copying) refusal = {0, "it is being copied anew"};
  if (!refusal && !own.group.Active()) refusal = {0, "it knows of no group"};
  if (!refusal && asked.candidate == own.self) refusal = {0, "it is the candidate itself"};
  if (refusal) {
    answer.refusal = *std::move(refusal);
    return answer;
  }
  // Acknowledgements under way say no more than this.
  answer.granted = true;
  answer.standing = own.Standing();
  answer.history = own.history;
  return answer;
}

LogStanding StandingOf(const FullSyncOffer& master) {
  if (master.group.empty()) return {0, master.end_offset};
  const auto record = ParseGroup(master.group);
  return {record.ok() ? record->EpochAt(master.end_offset) : UINT64_MAX, master.end_offset};
}

std::optional<std::string> RefuseCandidacy(const GroupMember& own) {
  if (!own.copying && !own.LacksOfItsCopy()) return std::nullopt;
  return fmt::format(
      "This member of the group was copied anew and is at offset {} of {}: it lacks writes that may be confirmed. "
      "Promote another member, or use HOLDFAST PROMOTE FORCE",
      own.durable_offset, own.role.copied.offset);
}

uint64_t EpochByForce(const GroupRecord& group, const Promise& given, std::string_view self) {
  return group.nodes.empty() ? 0 : NextEpoch(std::max(group.epoch, given.epoch), self);
}

void TakeMastership(RoleRecord& role, const std::string& id, uint64_t epoch, std::string_view self) {
  role.master.reset();
  role.operator_consents = false;
  role.copied = {};
  if (epoch > 0) role.promise = {epoch, std::string(self)};
  AddIdMadeHere(role, id);
}

GroupRecord RecordOfEpoch(const GroupRecord& before, uint64_t epoch, uint64_t fork) {
  GroupRecord record = before;
  record.epoch_before = before.epoch;
  record.epoch_before_offset = before.epoch_offset;
  record.epoch = epoch;
  record.epoch_offset = fork;
  return record;
}

GroupRecord RecordWithDurable(const GroupRecord& before, int durable) {
  GroupRecord record = before;
  // A record that is not settled here may have been by the master before: all that may be in force counts as one, by
  // the lowest N. Enough of all of its nodes have a node in common with those that confirm by any of them.
  record.durable_before = before.Active() ? before.durable : 0;
  if (before.durable_before > 0 && (record.durable_before == 0 || before.durable_before < record.durable_before))
    record.durable_before = before.durable_before;
  for (GroupNode& node : record.nodes) node.joins = false;
  record.durable = durable;
  record.settled = false;
  return record;
}

Result<GroupRecord> RecordWithMembers(const GroupRecord& before, std::vector<GroupNode> nodes, int durable) {
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  GroupRecord record = RecordWithDurable(before, durable);
  const std::optional<GroupRecord> settled = record.Before();
  record.left.clear();
  for (GroupNode& node : nodes) {
    // A master by the record that is not settled could settle it without this node, and confirm by it alone.
    if (settled && !before.settled && before.Find(node.id) == nullptr) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("The change of the group before this one is not settled: until every member has it, "
                               "members can be left out, and '{}:{}' cannot be named",
                               node.host, node.port)};
    }
    node.joins = settled && settled->Find(node.id) == nullptr;
  }
  record.nodes = std::move(nodes);
  if (settled) {
    std::copy_if(settled->nodes.begin(), settled->nodes.end(), std::back_inserter(record.left),
                 [&record](const GroupNode& node) { return record.Find(node.id) == nullptr; });
  }
  GroupRecord longest = record;
  longest.since = UINT64_MAX;
  longest.durable_before = std::max(longest.durable_before, 1);  // another N may follow
  if (FormatGroup(longest).size() > wal::kStickyPayloadMax) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("These are too many members, or their addresses are too long: the record of the group "
                             "may have {} bytes, which is enough for 7 members with IPv4 addresses",
                             wal::kStickyPayloadMax)};
  }
  return record;
}

Renewal::Advice Renewal::Next(uint64_t fence, bool busy, int64_t now_ms) {
  if (fence == 0 || busy) {
    since_ms_ = 0;
    return Advice::kNothing;
  }
  const bool first = since_ms_ == 0;
  if (first) since_ms_ = now_ms;
  if (now_ms - since_ms_ < kPauseMs) return first ? Advice::kFencedNow : Advice::kWait;
  since_ms_ = 0;
  return Advice::kAskAnew;
}

}  // namespace holdfast::replication
