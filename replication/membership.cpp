#include "replication/membership.h"

#include <fmt/format.h>

#include <algorithm>

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
  record.durable = durable;
  record.settled = false;
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
