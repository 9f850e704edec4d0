// The machine, starting, and group commit.
#include "tests/simulation/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/check.h"
#include "tests/simulation/process.h"

namespace holdfast::simulation {

using holdfast::testing::FaultFileSystem;
using holdfast::testing::FileCall;

namespace {

constexpr int64_t kTickMs = 100;

std::string CheckpointPath(const std::string& generation) { return JoinPath(generation, "checkpoint"); }

}  // namespace

Node::Node(World& world, int index, uint64_t seed)
    : world_(world), index_(index), seeds_(seed), disk_(std::make_unique<FaultFileSystem>()) {}

Node::~Node() { process_.reset(); }

void Node::Fail(const std::string& violation) { world_.Fail(fmt::format("{}: {}", NodeName(), violation)); }

std::string Node::NodeName() const { return fmt::format("node {}", index_); }

void Node::Later(int64_t delay_ms, std::function<void()> task) {
  world_.After(delay_ms, [this, number = process_number_, task = std::move(task)] {
    if (process_ != nullptr && number == process_number_) task();
  });
}

// ---- machine --------------------------------------------------------------------------------------------------------

void Node::Start() {
  if (process_ != nullptr) return;
  ++process_number_;
  const Result<void> booted = Boot();
  if (disk_->power_is_off()) {
    world_.Trace(NodeName() + " lost power while it started");
    process_.reset();
    ++world_.counts.power_cuts;
    disk_->Crash(seeds_);
    return RestartIn(100);
  }
  if (!booted.ok()) return Fail("does not start: " + booted.error().message);
  disk_->ClearFaults();
  world_.Trace(fmt::format("{} started: {}", NodeName(), Describe()));
  NoteElection();
  BeginConfirming();
  Later(static_cast<int64_t>(seeds_.Below(kTickMs)), [this] { Tick(); });
  Commit();
  if (process_ != nullptr && process_->role.master) ConnectIn(1);
}

void Node::Kill() {
  if (process_ == nullptr) return;
  ++world_.counts.crashes;
  RememberRole();
  disk_->ClearFaults();
  // What was being written may reach the disk all the same; nobody is told.
  if (process_->writing && seeds_.Below(2) == 0) (void)process_->log->WriteBatch();
  for (auto& [id, feed] : process_->feeds) world_.Close(feed->connection, false, false);
  if (process_->follower) world_.Close(process_->follower->connection, true, false);
  process_.reset();
  world_.Trace(NodeName() + " was killed");
}

void Node::RememberRole() {
  may_be_master_ = IsMaster() || IsCandidate() || !RoleSettled();
  last_epoch_ = process_->log != nullptr ? Group().epoch : process_->group.epoch;  // no log in the middle of a rewind
}

void Node::CutPower() {
  ++world_.counts.power_cuts;
  if (process_ != nullptr) {
    RememberRole();
    if (process_->writing && !disk_->power_is_off()) {
      disk_->CutPowerAtCall(1 + seeds_.Below(4));
      (void)process_->log->WriteBatch();
    }
    for (auto& [id, feed] : process_->feeds) world_.Close(feed->connection, false, true);
    if (process_->follower) world_.Close(process_->follower->connection, true, true);
    process_.reset();
  }
  disk_->Crash(seeds_);
  world_.Trace(NodeName() + " lost power");
}

bool Node::Down() {
  if (process_ == nullptr) return true;
  if (!disk_->power_is_off()) return false;
  CutPower();
  RestartIn(50 + static_cast<int64_t>(seeds_.Below(3000)));
  return true;
}

void Node::RestartIn(int64_t delay_ms) {
  world_.After(delay_ms, [this] { Start(); });
}

void Node::KeepCopyOfDisk() {
  // As a cautious operator does it: of a stopped server.
  Kill();
  Copy copy;
  copy.disk = disk_->CrashedCopy(seeds_);
  copy.truths = truths_;
  copy.generation = generation_;
  copy.rewinding = rewinding_;
  copy_ = std::move(copy);
  RestartIn(10);
}

void Node::PutBackOldCopy() {
  if (!copy_ || rewinding_) return;
  if (process_ != nullptr) Kill();
  world_.pasts_may_differ = true;
  disk_ = copy_->disk->CrashedCopy(seeds_);
  truths_ = copy_->truths;
  // The copy may lack what was not synced when it was made: nobody was promised that.
  generation_ = copy_->generation;
  rewinding_ = copy_->rewinding;
  world_.Trace(NodeName() + " has an old copy of its disk");
  RestartIn(10);
}

void Node::Wipe() {
  if (process_ != nullptr) Kill();
  world_.pasts_may_differ = true;
  disk_ = std::make_unique<FaultFileSystem>();
  truths_.clear();
  committed_ = rewinding_ = false;
  copy_.reset();
  world_.Trace(NodeName() + " has an empty disk");
  RestartIn(10);
}

// ---- starting -------------------------------------------------------------------------------------------------------

wal::LogOptions Node::OptionsOfLog(Process& process, const std::string& generation) {
  wal::LogOptions options;
  options.directory = JoinPath(generation, "wal");
  options.segment_bytes = world_.profile.segment_bytes;
  options.ring_bytes = world_.profile.ring_bytes;
  options.tail_rewrite = world_.profile.tail_rewrite;
  options.fs = disk_.get();
  options.clock = &clock_;
  options.random = &process.random;
  return options;
}

Result<void> Node::Boot() {
  auto process = std::make_unique<Process>(seeds_.Next());
  ASSIGN_OR_RETURN(process->directory, wal::DataDirectory::Open(*disk_, kDataDirectory, process->random));
  const std::string generation = process->directory->generation_path();
  if (process->directory->fresh()) {
    if (committed_) Fail("starts as if it were new, but it had data");
    truths_.clear();
    truths_[generation];
  } else if (!truths_.contains(generation)) {
    Fail("starts with " + generation + ", which was never complete");
  }
  Truth& truth = truths_[generation];
  RETURN_IF_ERROR(OpenLog(*process, generation, truth));
  if (process->directory->fresh()) RETURN_IF_ERROR(process->directory->Commit(generation));
  committed_ = true;
  generation_ = generation;
  rewinding_ = false;
  std::erase_if(truths_, [&](const auto& entry) { return entry.first != generation; });
  TakeRole(*process);
  process_ = std::move(process);
  return {};
}

// As wal::Engine recovers, with a store that is a position.
Result<void> Node::OpenLog(Process& process, const std::string& generation, Truth& truth) {
  process.checkpoint = {};
  ASSIGN_OR_RETURN(const bool exists, disk_->Exists(CheckpointPath(generation)));
  if (exists) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(*disk_, CheckpointPath(generation), 1 << 16));
    ByteReader reader(bytes);
    ASSIGN_OR_RETURN(process.checkpoint, ReadStreamPosition(reader));
  }
  ASSIGN_OR_RETURN(const auto order, wal::ReadRewindOrder(*disk_, generation));
  wal::RecoveryInput input;
  input.directory = JoinPath(generation, "wal");
  input.checkpoint = process.checkpoint;
  input.fs = disk_.get();
  if (order) input.cut_at = order->offset;
  uint64_t replayed = process.checkpoint.offset;
  wal::ReplayVisitor visitor;
  visitor.units = [&](uint64_t offset, int16_t, int64_t, std::string_view units) -> Result<void> {
    if (offset != replayed) Fail(fmt::format("replay came to offset {} where {} was due", offset, replayed));
    if (truth.stream.compare(std::min<size_t>(offset, truth.stream.size()), units.size(), units) != 0)
      Fail(fmt::format("replays other bytes at offset {} than were logged", offset));
    replayed += units.size();
    return {};
  };
  ASSIGN_OR_RETURN(wal::RecoveryOutcome outcome, wal::Recover(input, visitor));
  CheckRecovered(outcome, order, truth);
  if (outcome.state.lineage.empty()) {
    outcome.state.lineage.Reset(process.random.Hex(wal::kLineageIdSize), outcome.state.end.offset, clock_.WallMs());
    outcome.state.end.lineage_id = outcome.state.lineage.current_id();
  }
  ASSIGN_OR_RETURN(process.log, wal::Log::Open(OptionsOfLog(process, generation), std::move(outcome.state)));
  return order ? wal::CompleteRewind(*disk_, generation, *order, *process.log) : Result<void>();
}

void Node::CheckRecovered(const wal::RecoveryOutcome& outcome, const std::optional<wal::RewindOrder>& order,
                          Truth& truth) {
  const uint64_t end = outcome.state.end.offset;
  if (order) {
    if (!rewinding_) Fail("found the order of a rewind that was over");
    if (end != order->offset) Fail(fmt::format("ends at {} after a rewind to {}", end, order->offset));
    truth.promised = std::min(truth.promised, end);
  }
  if (end < truth.promised) {
    Fail(fmt::format("lost what it had acknowledged or sent: the log ends at offset {}, promised was {}", end,
                     truth.promised));
  }
  if (end > truth.stream.size()) Fail(fmt::format("found more than was logged, up to offset {}", end));
  truth.stream.resize(std::min<size_t>(end, truth.stream.size()));
}

void Node::TakeRole(Process& process) {
  replication::MasterAddress configured;
  if (index_ != 0) configured = std::make_pair("node", 0);
  std::optional<replication::RoleRecord> record;
  if (!process.log->role().empty()) {
    auto parsed = replication::ParseRole(process.log->role());
    if (parsed.ok()) record = std::move(*parsed);
    if (!parsed.ok()) Fail("its role is damaged: " + parsed.error().message);
  }
  process.role = record.value_or(replication::RoleRecord{});
  process.role.master = replication::RoleAtBoot(record, configured);
  process.role.configured = replication::HashOf(configured);
  if (record) return;
  for (const auto& entry : process.log->lineage().entries()) replication::AddIdMadeHere(process.role, entry.id);
  process.log->AppendControl(wal::FrameKind::kRole, replication::FormatRole(process.role),
                             process.log->EndPosition().time_ms);
  process.role_ticket = 1;
}

// ---- group commit ---------------------------------------------------------------------------------------------------

void Node::Commit() {
  if (process_ == nullptr || process_->writing || !process_->log->HasPending()) return;
  process_->writing = true;
  ++process_->sealed;
  process_->log->Seal();
  Acknowledge();
  Later(static_cast<int64_t>(seeds_.Below(static_cast<uint64_t>(write_delay_ms) + 1)), [this] { FinishWrite(); });
}

std::vector<uint64_t> Node::FeedIds() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, feed] : process_->feeds) ids.push_back(id);
  return ids;
}

void Node::FinishWrite() {
  const Result<void> written = process_->log->WriteBatch();
  if (Down()) return;
  if (!written.ok()) {
    // Fail-stop: nothing is acknowledged after it, and the next process finds out what is on the disk.
    ++world_.counts.failed_writes;
    process_->writing = false;
    Kill();
    return RestartIn(20 + static_cast<int64_t>(seeds_.Below(500)));
  }
  process_->log->FinishBatch();
  process_->writing = false;
  ++process_->committed;
  OnDurable();
  if (process_ != nullptr) Commit();
}

void Node::OnDurable() {
  Acknowledge();
  Settle();
  NoteElection();
  SendPromises();
  UpdateFence();
  CandidacyStep();
  if (process_ == nullptr) return;
  for (const uint64_t id : FeedIds()) {
    if (const auto at = process_->feeds.find(id); at != process_->feeds.end()) Pump(*at->second);
  }
  if (!process_->follower || !process_->linked) return;
  replication::ReplicaActions actions;
  const wal::Log& log = *process_->log;
  process_->follower->link->Durable(log.DurableOffset(), log.AppendedOffset(), log.lineage().current_id(), actions);
  Act(actions);
}

// The reply gate: a reply waits until the log is durable past its unit, and as many members of the group have it.
void Node::Acknowledge() {
  if (process_->waiting.empty()) return;
  const uint64_t open = GateOffset();
  Truth& truth = truths_[generation_];
  while (!process_->waiting.empty() && process_->waiting.front().end <= open) {
    const WaitingWrite write = std::move(process_->waiting.front());
    process_->waiting.pop_front();
    if (AwaitedMembers() > 0) NoteConfirmed(write.end);
    if (write.from == write.end) continue;
    truth.promised = std::max(truth.promised, write.end);
    world_.NoteAcked({index_, write.lineage_id, write.from, truth.stream.substr(write.from, write.end - write.from)});
  }
}

void Node::WriteRoleFrame() {
  process_->log->AppendControl(wal::FrameKind::kRole, replication::FormatRole(process_->role),
                               process_->log->EndPosition().time_ms);
  // The batch that will carry it.
  process_->role_ticket = process_->sealed + 1;
  Commit();
}

void Node::Tick() {
  Later(kTickMs, [this] { Tick(); });
  wal::Log& log = *process_->log;
  if (!process_->writing && !log.HasPending() && !log.InsideUnit()) log.AppendDurableMark();
  Commit();
  if (process_->follower) {
    replication::ReplicaActions actions;
    process_->follower->link->Tick(NowMs(), actions);
    Act(actions);
  }
  if (process_ == nullptr) return;
  GroupStep();
  FailoverStep();
  if (process_ == nullptr) return;
  for (const uint64_t id : FeedIds()) {
    const auto at = process_->feeds.find(id);
    if (at == process_->feeds.end() || at->second->stage != Feed::Stage::kAttached) continue;
    std::string out;
    auto ticked = at->second->link.Tick(NowMs(), clock_.WallMs(), log.DurableOffset(), out);
    if (!ticked.ok()) {
      CloseFeed(id, ticked.error().message, true);
      continue;
    }
    world_.Send(at->second->connection, false, out);
    Pump(*at->second);
  }
}

// ---- what operators and clients do ----------------------------------------------------------------------------------

bool Node::IsMaster() const { return process_ != nullptr && !process_->role.master; }

void Node::Write(size_t size) {
  if (!IsMaster() || RefusesWrites() || IsFailingOver()) return;
  ++world_.counts.writes;
  wal::Log& log = *process_->log;
  Truth& truth = truths_[generation_];
  const std::string unit = world_.NextUnit(size);
  const uint64_t from = truth.stream.size();
  truth.stream += unit;
  const uint64_t end = log.AppendUnit(unit, static_cast<int>(seeds_.Below(3)), clock_.WallMs());
  if (end != truth.stream.size()) Fail(fmt::format("appended up to {} instead of {}", end, truth.stream.size()));
  process_->waiting.push_back({from, end, log.lineage().current_id()});
  Commit();
}

void Node::Follow(int target) {
  if (process_ == nullptr || target == index_ || IsFailingOver()) return;
  told_ms_ = world_.now_ms();
  BeginFollowing(target);
}

void Node::BeginFollowing(int target) {
  took_over_from_.reset();
  // "durable here, not confirmed there" is what they are told.
  if (AwaitedMembers() > 0) process_->waiting.clear();
  process_->candidacy.reset();
  process_->fetch_from.reset();
  AnswerTakeovers(false, "it was told to follow another one");
  StopLink();
  process_->role.master = std::make_pair("node", target);
  process_->role.operator_consents = true;
  WriteRoleFrame();
  BeginConfirming();
  world_.Trace(fmt::format("{} follows node {}", NodeName(), target));
  process_->backoff.Reset();
  Connect();
}

void Node::Checkpoint() {
  if (process_ == nullptr) return;
  wal::Log& log = *process_->log;
  if (log.InsideUnit() || log.DurableOffset() < log.AppendedOffset()) return;
  const StreamPosition position = log.EndPosition();
  if (position.offset <= process_->checkpoint.offset) return;
  std::string bytes;
  AppendStreamPosition(bytes, position);
  const Result<void> written = WriteFileAtomically(*disk_, CheckpointPath(generation_), bytes);
  if (Down()) return;
  if (!written.ok() && WasInjected(written.error())) return;
  if (!written.ok()) return Fail("checkpoint: " + written.error().message);
  ++world_.counts.checkpoints;
  Truth& truth = truths_[generation_];
  truth.promised = std::max(truth.promised, position.offset);
  process_->checkpoint = position;
}

void Node::Trim() {
  if (process_ == nullptr) return;
  const Result<void> trimmed = process_->log->Trim(process_->checkpoint.offset, world_.profile.backlog_bytes);
  if (!Down() && !trimmed.ok() && !WasInjected(trimmed.error())) Fail("trimming: " + trimmed.error().message);
}

void Node::PrepareSpare() {
  if (process_ == nullptr) return;
  const Result<void> prepared = process_->log->PrepareSpare();
  if (!Down() && !prepared.ok() && !WasInjected(prepared.error()))
    Fail("preparing a segment: " + prepared.error().message);
}

void Node::FailNextWrite() {
  if (process_ == nullptr || !process_->writing) return;
  disk_->FailCall(1, seeds_.Below(2) == 0 ? ErrorCode::kIo : ErrorCode::kNoSpace, false, FileCall::kWrite);
}

// ---- observation ----------------------------------------------------------------------------------------------------

const Truth& Node::truth() const { return truths_.at(generation_); }

uint64_t Node::AppendedOffset() const { return process_ == nullptr ? 0 : process_->log->AppendedOffset(); }

uint64_t Node::CheckpointOffset() const { return process_ == nullptr ? 0 : process_->checkpoint.offset; }

std::string Node::LineageId() const { return process_ == nullptr ? "" : process_->log->lineage().current_id(); }

std::string Node::LogDirectory() const { return JoinPath(generation_, "wal"); }

bool Node::LinkUp() const { return process_ != nullptr && process_->linked; }

bool Node::Quiet() const {
  return process_ != nullptr && !process_->writing && !process_->log->HasPending() && !process_->loading;
}

std::string Node::Describe() const {
  if (process_ == nullptr) return "down";
  const wal::Log& log = *process_->log;
  std::string names;
  for (const auto& entry : log.lineage().entries()) {
    names += fmt::format(" {}@{}", entry.id.substr(0, 8), entry.from_offset);
  }
  return fmt::format("{} [{}, {}), checkpoint {}, history{}",
                     process_->role.master ? fmt::format("replica of {}", process_->role.master->second) : "master",
                     log.FirstOffset(), log.AppendedOffset(), process_->checkpoint.offset, names);
}

}  // namespace holdfast::simulation
