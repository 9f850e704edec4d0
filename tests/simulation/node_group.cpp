// A node as a member of a replication group: confirmations, promises, candidacies, as net/ does it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tests/simulation/process.h"

namespace holdfast::simulation {

using replication::CandidacyMove;
using replication::GroupNode;
using replication::GroupRecord;
using replication::Promise;
using replication::PromiseAnswer;
using replication::Renewal;

namespace {

constexpr std::string_view kPing = "*1\r\n$4\r\nPING\r\n";
constexpr int64_t kCandidacyMs = 20'000;
constexpr int64_t kQuestionMs = 2'000;
constexpr int64_t kMaxLagMs = 10'000;

// Addresses of nodes are their numbers; a port is never 0.
int PortOf(int index) { return index + 1; }
int IndexOf(const GroupNode& node) { return node.port - 1; }

}  // namespace

const std::string& Node::OwnId() const { return process_->directory->identity().node_id; }

const GroupRecord& Node::Group() const {
  const std::string& text = process_->log->membership();
  if (text == process_->group_text) return process_->group;
  process_->group_text = text;
  process_->group = {};
  if (text.empty()) return process_->group;
  auto parsed = replication::ParseGroup(text);
  if (!parsed.ok()) world_.Fail(fmt::format("{}: its group record is damaged: {}", NodeName(), parsed.error().message));
  if (parsed.ok()) process_->group = *std::move(parsed);
  return process_->group;
}

replication::GroupMember Node::AsMember() const {
  const wal::Log& log = *process_->log;
  return {Group(), process_->role, OwnId(), log.DurableOffset(), log.lineage().current_id(), process_->loading};
}

replication::LogStanding Node::Standing() const {
  return process_ == nullptr ? replication::LogStanding() : AsMember().Standing();
}

bool Node::KnowsItsGroup() const { return process_ != nullptr && Group().Active(); }

bool Node::IsCandidate() const { return process_ != nullptr && process_->candidacy.has_value(); }

// ---- confirmations --------------------------------------------------------------------------------------------------

bool Node::FormGroup() {
  if (!IsMaster()) return false;
  GroupRecord record;
  record.durable = world_.profile.durable;
  record.nodes.push_back({OwnId(), "node", PortOf(index_)});
  for (const auto& [id, feed] : process_->feeds) {
    if (record.Members() >= world_.profile.members || record.Find(feed->node_id) != nullptr) continue;
    if (!feed->link.online() || feed->connection->replica > world_.profile.members) continue;
    record.nodes.push_back({feed->node_id, "node", PortOf(feed->connection->replica)});
  }
  if (record.Members() < world_.profile.members) return false;
  std::sort(record.nodes.begin(), record.nodes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  world_.Trace(
      fmt::format("{} forms a group of {} members, of which {} confirm", NodeName(), record.Members(), record.durable));
  WriteGroup(std::move(record));
  if (!world_.profile.changes) return true;
  for (int i = world_.profile.members + 1; i < world_.node_count(); ++i) world_.left_out[i] = 0;
  return true;
}

void Node::WriteGroup(GroupRecord record) {
  wal::Log& log = *process_->log;
  record.since = log.AppendedOffset();
  log.AppendControl(wal::FrameKind::kMembership, replication::FormatGroup(record), log.EndPosition().time_ms);
  truths_[generation_].stream += kPing;
  log.AppendUnit(kPing, log.SelectedDb(), clock_.WallMs());
  BeginConfirming();  // before anything is acknowledged by the new record
  Commit();
}

void Node::BeginConfirming() {
  if (!replication::MayConfirm(Group(), process_->role)) return process_->confirmation.End();
  process_->confirmation.Begin(Group(), OwnId(), process_->log->lineage().current_id());
  NoteAcks();
}

void Node::NoteAcks() {
  if (!IsMaster() || Group().nodes.empty()) return;
  replication::Confirmation& confirmation = process_->confirmation;
  for (const auto& [id, feed] : process_->feeds) {
    if (feed->stage != Feed::Stage::kAttached) continue;
    if (const uint64_t epoch = feed->link.fenced_by(); epoch > 0) {
      confirmation.Fenced(feed->node_id, epoch);
    } else if (feed->link.online()) {
      confirmation.Acked(feed->node_id, feed->link.acked_lineage(), feed->link.acked_offset(),
                         feed->link.last_ack_ms());
    }
  }
  if (const auto settled = confirmation.Settled()) {
    wal::Log& log = *process_->log;
    log.AppendControl(wal::FrameKind::kMembership, replication::FormatGroup(*settled), log.EndPosition().time_ms);
    confirmation.Begin(Group(), OwnId(), log.lineage().current_id());
    ++world_.counts.settled;
    for (const GroupNode& node : settled->nodes) {
      const auto out = world_.left_out.find(IndexOf(node));
      if (out != world_.left_out.end() && out->second <= settled->epoch) world_.left_out.erase(out);
    }
    Commit();
  }
  Acknowledge();
}

// ---- changes of the group -------------------------------------------------------------------------------------------

void Node::ChangeGroup() {
  if (!IsMaster() || !Group().Active()) return;
  if (seeds_.Below(2) == 0) return ChangeMembers();
  const int durable = 1 + static_cast<int>(seeds_.Below(static_cast<uint64_t>(Group().Members())));
  if (durable == Group().durable) return;
  ++world_.counts.changes;
  world_.Trace(fmt::format("{} is told that {} members confirm, not {}", NodeName(), durable, Group().durable));
  WriteGroup(replication::RecordWithDurable(Group(), durable));
}

// Who is left out will not be promoted, is no master, and has not been one of a later epoch, nor followed one: its
// operators know, or ask it (docs/replication.md).
bool Node::MayBeLeftOut(int index) const {
  const Node& node = world_.node(index);
  if (index == index_) return false;
  if (!node.up()) return !node.may_be_master_ && node.last_epoch_ <= Group().epoch;
  return !node.IsMaster() && !node.IsCandidate() && node.RoleSettled() && node.Group().epoch <= Group().epoch;
}

// Leaves somebody out, or names somebody who is attached, or both.
void Node::ChangeMembers() {
  const GroupRecord& group = Group();
  std::vector<GroupNode> nodes = group.nodes;
  if (group.Find(OwnId()) == nullptr) nodes.push_back({OwnId(), "node", PortOf(index_)});
  const bool leave = seeds_.Below(2) == 0, join = !leave || seeds_.Below(2) == 0;
  const size_t drawn = seeds_.Below(nodes.size());
  if (leave && nodes.size() > 2 && MayBeLeftOut(IndexOf(nodes[drawn]))) {
    nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(drawn));
  }
  for (const auto& [id, feed] : process_->feeds) {
    if (!join || !feed->link.online() || group.Find(feed->node_id) != nullptr) continue;
    nodes.push_back({feed->node_id, "node", PortOf(feed->connection->replica)});
    break;
  }
  const int durable = std::min(group.durable, static_cast<int>(nodes.size()) - 1);
  auto record = replication::RecordWithMembers(group, std::move(nodes), durable);
  if (!record.ok() || record->nodes == group.nodes) return;
  ++world_.counts.changes;
  std::string names;
  for (const GroupNode& node : record->nodes) names += fmt::format(" {}", IndexOf(node));
  for (int i = 0; i < world_.node_count(); ++i) {
    const bool in = std::any_of(record->nodes.begin(), record->nodes.end(),
                                [i](const GroupNode& node) { return IndexOf(node) == i; });
    if (!in) world_.left_out[i] = std::max(world_.left_out[i], group.epoch);
  }
  world_.Trace(fmt::format("{} is told that the group is{}, and that {} confirm", NodeName(), names, record->durable));
  WriteGroup(*std::move(record));
}

// How many members a reply of ours waits for.
int Node::AwaitedMembers() const { return IsMaster() ? Group().durable : 0; }

// Up to where replies may leave.
uint64_t Node::GateOffset() const {
  const uint64_t durable = process_->log->DurableOffset();
  const auto awaited = static_cast<size_t>(AwaitedMembers());
  if (awaited == 0) return durable;
  const auto confirmed = process_->confirmation.Confirmed();
  return awaited < confirmed.size() ? std::min(durable, confirmed[awaited]) : 0;
}

bool Node::RefusesWrites() { return process_->confirmation.InGoodStanding(NowMs(), kMaxLagMs) < AwaitedMembers(); }

void Node::NoteConfirmed(uint64_t end) {
  ++world_.counts.confirmed;
  if (world_.pasts_may_differ) return;  // a member has lost what it had acknowledged
  const auto violation = world_.confirmed.Confirmed(index_, Group().epoch, process_->log->lineage().current_id(),
                                                    std::string_view(truth().stream).substr(0, end));
  if (!violation.empty()) Fail(violation);
}

void Node::Read() {
  if (!IsMaster() || AwaitedMembers() == 0 || AppendedOffset() == 0) return;
  process_->waiting.push_back({AppendedOffset(), AppendedOffset(), process_->log->lineage().current_id()});
  Acknowledge();
}

// ---- becoming master ------------------------------------------------------------------------------------------------

// Who was left out of the group. A replica beside the group that does not know it would pass no barrier, and a master
// of it by force would have no epoch by which to say what it gives up (docs/replication.md).
bool Node::NobodyPromotesIt() const {
  if (world_.left_out.contains(index_)) return true;
  return !Group().Active() && world_.group_formed && index_ > world_.profile.members;
}

void Node::Promote() {
  if (process_ == nullptr || IsMaster() || IsFailingOver() || NobodyPromotesIt()) return;
  told_ms_ = world_.now_ms();
  (void)BeginPromotion();
}

std::string Node::BeginPromotion() {
  if (process_->candidacy) return {};
  if (!Group().Active()) {
    BecomeMaster(0, false);
    return {};
  }
  if (auto refusal = replication::RefuseCandidacy(AsMember())) return *std::move(refusal);
  StopLink();
  StartCandidacy();
  return {};
}

void Node::PromoteByForce() {
  if (process_ == nullptr || IsMaster() || IsFailingOver() || NobodyPromotesIt()) return;
  told_ms_ = world_.now_ms();
  BecomeMaster(replication::EpochByForce(Group(), process_->role.promise, OwnId()), true);
}

void Node::BecomeMaster(uint64_t epoch, bool forced) {
  ++world_.counts.promotions;
  if (epoch == 0 && world_.group_formed) world_.group_bypassed = true;
  process_->candidacy.reset();
  process_->fetch_from.reset();
  if (!IsMaster()) StopLink();
  wal::Log& log = *process_->log;
  const uint64_t fork = log.AppendedOffset();
  const std::string id = process_->random.Hex(wal::kLineageIdSize);
  replication::TakeMastership(process_->role, id, epoch, OwnId());
  log.StartLineage(id, clock_.WallMs());
  WriteRoleFrame();
  world_.Trace(fmt::format("{} is master from offset {} on as {}, epoch {:x}{}", NodeName(), fork, id.substr(0, 8),
                           epoch, forced ? " by force" : ""));
  if (epoch > 0) {
    ++world_.counts.elections;
    election_ = {epoch, forced, truth().stream};
    WriteGroup(replication::RecordOfEpoch(Group(), epoch, fork));
  }
  BeginConfirming();
  AnswerTakeovers(true, {});
}

// A mastership that is not on disk when the process ends never was: nobody has been told of it.
void Node::NoteElection() {
  if (!election_ || !RoleSettled()) return;
  const Election election = *std::exchange(election_, std::nullopt);
  if (process_->role.promise.epoch < election.epoch || world_.pasts_may_differ) return;
  const auto violation = world_.confirmed.BecameMaster(index_, election.epoch, election.forced, election.stream);
  if (!violation.empty()) Fail(violation);
}

void Node::StartCandidacy() {
  replication::Candidacy::Own own{OwnId(), AsMember().Standing(), process_->log->lineage().current_id(),
                                  process_->role.promise.epoch};
  process_->candidacy.emplace(Group(), std::move(own), NowMs(), NowMs() + kCandidacyMs);
  world_.Trace(fmt::format("{} is a candidate of epoch {:x}", NodeName(), process_->candidacy->epoch()));
  CandidacyStep();
}

void Node::CandidacyStep() {
  if (process_ == nullptr || !process_->candidacy) return;
  replication::Candidacy& candidacy = *process_->candidacy;
  const CandidacyMove next =
      candidacy.Next(AsMember().Standing(), process_->log->lineage().current_id(), Group(), IsMaster(), NowMs());
  switch (next.kind) {
    case CandidacyMove::Kind::kBecomeMaster:
      return BecomeMaster(candidacy.epoch(), false);
    case CandidacyMove::Kind::kGiveUp:
      return AbandonCandidacy(next.reason);
    case CandidacyMove::Kind::kFetch:
      return FetchFrom(IndexOf(next.source));
    case CandidacyMove::Kind::kAsk:
      break;
  }
  const Promise own{candidacy.epoch(), OwnId()};
  if (process_->role.promise != own) {
    LeaveUnit();
    process_->role.promise = own;
    WriteRoleFrame();
    UpdateFence();
  }
  if (!RoleSettled()) return;
  for (const GroupNode& node : candidacy.TakeQuestions(NowMs())) Ask(node);
}

void Node::LeaveUnit() {
  if (!process_->log->InsideUnit()) return;
  StopLink();
  process_->fetch_from.reset();
  if (!process_->candidacy) ConnectIn(0);
}

void Node::FetchFrom(int source) {
  if (process_->fetch_from == source) return;
  StopLink();
  process_->fetch_from = source;
  world_.Trace(fmt::format("{} fetches what node {} has more", NodeName(), source));
  Connect();
}

void Node::AbandonCandidacy(const std::string& reason) {
  process_->candidacy.reset();
  world_.Trace(fmt::format("{} is no candidate any more: {}", NodeName(), reason));
  AnswerTakeovers(false, reason);
  process_->renewal.Reset();
  if (IsMaster()) return;
  StopLink();
  process_->fetch_from.reset();
  Connect();
}

void Node::RenewWhenFenced() {
  const uint64_t own = replication::FenceOf(Group(), process_->role.promise);
  const uint64_t fence = own != 0 ? own : process_->confirmation.FencedBy();
  const auto advice = process_->renewal.Next(fence, process_->candidacy || process_->failover, NowMs());
  if (advice == Renewal::Advice::kAskAnew) StartCandidacy();
}

void Node::GroupStep() {
  if (IsMaster() && !Group().nodes.empty()) {
    NoteAcks();
    if (process_ != nullptr) RenewWhenFenced();
  }
  CandidacyStep();
}

// ---- promises -------------------------------------------------------------------------------------------------------

// One question, one answer or none: late ones go with the connection that was given up.
void Node::Ask(const GroupNode& node) {
  auto over = std::make_shared<bool>(false);
  const uint64_t epoch = process_->candidacy->epoch();
  const int to = IndexOf(node);
  Later(kQuestionMs, [this, over, id = node.id, epoch] {
    if (std::exchange(*over, true) || !process_->candidacy) return;
    process_->candidacy->Unreachable(id, epoch, "no answer", NowMs());
    CandidacyStep();
  });
  auto answered = [this, number = process_number_, over, id = node.id, epoch](const std::string& text) {
    if (process_ == nullptr || number != process_number_ || std::exchange(*over, true) || !process_->candidacy) return;
    auto answer = replication::ParsePromiseAnswer(text);
    if (!answer.ok()) return Fail("cannot read a promise: " + answer.error().message);
    process_->candidacy->Answered(id, epoch, *answer, NowMs(), process_->random);
    CandidacyStep();
  };
  world_.Tell(index_, to, [this, to, epoch, candidate = OwnId(), member = node.id, answered = std::move(answered)] {
    world_.node(to).AskedForPromise(index_, {epoch, candidate}, member, answered);
  });
}

void Node::AskedForPromise(int from, const Promise& asked, const std::string& member,
                           std::function<void(const std::string&)> answered) {
  if (process_ == nullptr) return;
  const PromiseAnswer answer = replication::AnswerPromise(AsMember(), asked, member);
  auto reply = [this, from, text = replication::FormatPromiseAnswer(answer), answered = std::move(answered)] {
    world_.Tell(index_, from, [text, answered] { answered(text); });
  };
  if (!answer.granted) return reply();
  if (process_->candidacy) AbandonCandidacy("another candidate was promised to");
  if (process_->role.promise != asked) {
    world_.Trace(fmt::format("{} promises epoch {:x} to node {}", NodeName(), asked.epoch, from));
    LeaveUnit();
    process_->role.promise = asked;
    WriteRoleFrame();
  }
  UpdateFence();
  if (RoleSettled()) return reply();
  process_->held_promises.emplace_back(CommitTicket(), std::move(reply));
}

void Node::SendPromises() {
  auto& held = process_->held_promises;
  while (!held.empty() && held.front().first <= process_->committed) {
    held.front().second();
    held.pop_front();
  }
}

void Node::UpdateFence() {
  const uint64_t fence = replication::FenceOf(Group(), process_->role.promise);
  if (fence == process_->fence) return;
  process_->fence = fence;
  if (process_->follower) process_->follower->link->SetFence(fence);
}

}  // namespace holdfast::simulation
