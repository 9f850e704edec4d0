// A node's half as a replica: link, frames, full sync, rewind, as net/ does it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tests/simulation/process.h"
#include "wal/frame.h"
#include "wal/new_generation.h"
#include "wal/segment_format.h"

namespace holdfast::simulation {

using replication::CloseKind;
using replication::ReplicaActions;
using replication::ReplicaState;

namespace {

constexpr int64_t kRefusedPauseMs = 3000;
constexpr int64_t kSettlePauseMs = 2;

std::string SpoolPath() { return JoinPath(kDataDirectory, "full-sync.tmp"); }

// What ends a link although nobody did anything wrong.
bool IsExpected(const std::string& reason) {
  for (const std::string_view start :
       {"nothing from the master", "the master closed the connection", "the master asks to come back later",
        "the master closes the link", "a checkpoint has been made", "full synchronization refused",
        "the snapshot cannot be stored: ", "the master is of epoch", "it is master now",
        "the master answers PSYNC with '-ERR PSYNC FAILOVER", "the master answers PSYNC with '-ERR This member"}) {
    if (reason.starts_with(start)) return true;
  }
  return false;
}

// All stream bytes of a file in diverged/.
std::string StreamOfTail(const std::string& file) {
  std::string stream;
  std::string_view rest = std::string_view(file).substr(wal::kSegmentHeaderSize);
  while (!rest.empty()) {
    auto frame = wal::ParseFrame(rest);
    if (!frame.ok()) return stream;
    if (frame->history.kind == wal::FrameKind::kData) stream += frame->history.payload;
    rest.remove_prefix(std::min(rest.size(), frame->size_on_disk));
  }
  return stream;
}

}  // namespace

bool Node::IsCurrent(const std::shared_ptr<Connection>& connection) const {
  return process_ != nullptr && process_->follower && process_->follower->connection == connection;
}

bool Node::InMessages(const std::shared_ptr<Connection>& connection) const {
  if (!IsCurrent(connection)) return false;
  const ReplicaState state = process_->follower->link->state();
  return state == ReplicaState::kSnapshot || state == ReplicaState::kStreaming;
}

// ---- link -----------------------------------------------------------------------------------------------------------

void Node::StopLink() {
  ++process_->epoch;
  ++process_->load;
  process_->loading = false;
  process_->own_pin.reset();
  if (process_->follower) world_.Close(process_->follower->connection, true, false);
  process_->follower.reset();
  process_->linked = false;
  if (!process_->log->InsideUnit()) return;
  process_->log->AbandonUnit();
  truths_[generation_].stream.resize(process_->log->AppendedOffset());
}

void Node::ConnectIn(int64_t delay_ms) {
  Later(delay_ms, [this, epoch = process_->epoch] {
    if (epoch == process_->epoch) Connect();
  });
}

void Node::Connect() {
  if (!process_->role.master) return;
  wal::Log& log = *process_->log;
  if (log.HasPending() || log.DurableOffset() < log.AppendedOffset()) {
    Commit();
    return ConnectIn(kSettlePauseMs);
  }
  Follower follower;
  follower.claim = replication::ClaimAtEnd(log);
  follower.first_offset = log.FirstOffset();
  replication::OwnSituation situation{log.lineage(), follower.claim.end_offset, process_->role.ids_made_here,
                                      process_->role.operator_consents, process_->checkpoint.offset};
  situation.group_epoch = Group().epoch;
  follower.rewind_floor = process_->checkpoint.offset;
  // At the end an operator decides that the master is right.
  if (world_.at_rest && world_.pasts_may_differ)
    situation.accept_empty = situation.accept_shorter = situation.accept_foreign = situation.accept_superseded = true;
  const auto& ids = situation.ids_made_here;
  follower.no_history =
      follower.claim.end_offset == 0 && std::find(ids.begin(), ids.end(), log.lineage().current_id()) != ids.end();
  AddTail(follower);
  replication::ReplicaLinkOptions options;
  options.listening_port = index_;
  options.run_id = fmt::format("{}-{}", index_, process_number_);
  options.node_id = process_->directory->identity().node_id;
  options.timeout_ms = 8000;
  UpdateFence();
  options.fenced_by = process_->fence;
  options.take_over = process_->failover.has_value();
  options.refusals = process_->refused_at == follower.claim.end_offset ? process_->refusals : 0;
  follower.link = std::make_unique<replication::ReplicaLink>(options, follower.claim, situation, NowMs());
  follower.connection = world_.Connect(index_, process_->fetch_from.value_or(process_->role.master->second));
  process_->follower = std::move(follower);
}

void Node::AddTail(Follower& follower) {
  const replication::HistoryClaim& last = process_->last_claim;
  replication::HistoryClaim& claim = follower.claim;
  if (last.end_offset == claim.end_offset && last.digest == claim.digest && last.digest_base == claim.digest_base &&
      process_->last_claim_first_offset == follower.first_offset) {
    claim.tail_length = last.tail_length;
    claim.tail_checksum = last.tail_checksum;
    return;
  }
  replication::AddTail(*process_->log, follower.first_offset, claim);
  process_->last_claim = claim;
  process_->last_claim_first_offset = follower.first_offset;
}

void Node::Connected(const std::shared_ptr<Connection>& connection) {
  if (!IsCurrent(connection)) return;
  ReplicaActions actions;
  process_->follower->link->Connected(NowMs(), actions);
  Act(actions);
}

void Node::ReplicaReceived(const std::shared_ptr<Connection>& connection, std::string_view bytes) {
  if (!IsCurrent(connection)) return;
  ReplicaActions actions;
  process_->follower->link->Received(bytes, NowMs(), actions);
  Act(actions);
}

void Node::ReplicaEof(const std::shared_ptr<Connection>& connection) {
  if (IsCurrent(connection)) LinkLost(CloseKind::kRetry, "the master closed the connection");
}

void Node::LinkLost(CloseKind kind, const std::string& reason) {
  world_.Trace(fmt::format("{} lost its link: {}", NodeName(), reason));
  if (!IsExpected(reason) && world_.flipped_bytes == 0 && !world_.pasts_may_differ) {
    Fail("a rule of the link was broken by its master: " + reason);
  }
  if (process_->linked) process_->backoff.Reset();
  ++process_->epoch;
  world_.Close(process_->follower->connection, true, false);
  process_->follower.reset();
  process_->linked = false;
  if (process_->log->InsideUnit()) {
    process_->log->AbandonUnit();
    truths_[generation_].stream.resize(process_->log->AppendedOffset());
  }
  if (kind == CloseKind::kTookOver) FailoverDone();
  if (process_->failover && kind == CloseKind::kPsyncRejected) return FailoverFailed(reason);
  if (process_->loading) return;
  if (kind == CloseKind::kTookOver) return ConnectIn(0);
  ConnectIn(kind == CloseKind::kRefused ? kRefusedPauseMs : process_->backoff.NextMs(process_->random));
}

void Node::Act(ReplicaActions& actions) {
  const uint64_t number = process_number_;
  const uint64_t epoch = process_->epoch;
  for (auto& action : actions) {
    std::visit([this](auto& one) { Do(one); }, action);
    if (process_ == nullptr || number != process_number_ || epoch != process_->epoch) return;
  }
}

void Node::Do(replication::SendBytes& send) { world_.Send(process_->follower->connection, true, send.bytes); }

void Node::Do(replication::Continued& continued) {
  FailoverDone();
  process_->linked = true;
  process_->backoff.Reset();
  replication::AdoptLineage(*process_->log, continued.lineage);
  process_->at_link_up = process_->log->lineage();
  Commit();
}

void Node::Do(replication::ForkFound& found) {
  Follower& follower = *process_->follower;
  auto claim = replication::ClaimAtFork(*process_->log, follower.first_offset, follower.claim, found.offset);
  if (!claim.ok()) follower.rewind_impossible = claim.error().message;
  ReplicaActions next;
  follower.link->ForkClaim(claim.ok() ? std::optional(*std::move(claim)) : std::nullopt, next);
  Act(next);
}

void Node::Do(replication::RewindImpossible& impossible) { process_->follower->rewind_impossible = impossible.reason; }

void Node::Do(replication::RewindAgreed& agreed) { Rewind(agreed.offset, agreed.lineage); }

void Node::Do(replication::Close& close) { LinkLost(close.kind, close.reason); }

void Node::Do(replication::FrameReceived& received) {
  auto taken = TakeFrame(*received.frame);
  if (taken.ok()) {
    process_->refusals = 0;
    return Commit();
  }
  if (!world_.pasts_may_differ) Fail("cannot append its master's frame: " + taken.error().message);
  StopLink();
  const uint64_t end = process_->log->AppendedOffset();
  process_->refusals = process_->refused_at == end ? process_->refusals + 1 : 1;
  process_->refused_at = end;
  world_.Trace(fmt::format("{} refuses its master's stream at offset {}: {}", NodeName(), end, taken.error().message));
  ConnectIn(kRefusedPauseMs);
}

void Node::Do(replication::UnitsReceived&) { Fail("was sent the stream of a Redis master"); }

Result<void> Node::TakeFrame(const wal::SharedFrame& frame) {
  ASSIGN_OR_RETURN(const bool news, replication::IsNews(*process_->log, process_->at_link_up, frame));
  if (!news) return {};
  RETURN_IF_ERROR(process_->log->AppendFrame(frame.history));
  Truth& truth = truths_[generation_];
  if (frame.history.kind == wal::FrameKind::kData) truth.stream += frame.bytes;
  if (process_->log->AppendedOffset() != truth.stream.size()) Fail("counts something else than what it logged");
  return {};
}

// ---- rewind ---------------------------------------------------------------------------------------------------------

void Node::Rewind(uint64_t offset, const wal::Lineage& lineage) {
  wal::Log& log = *process_->log;
  if (log.HasPending() || log.InFlight()) {
    Commit();
    return Later(kSettlePauseMs, [this, epoch = process_->epoch, offset, lineage] {
      if (epoch == process_->epoch) Rewind(offset, lineage);
    });
  }
  if (process_->checkpoint.offset > offset) {
    return LinkLost(CloseKind::kRetry, "a checkpoint has been made beyond it meanwhile");
  }
  if (world_.OneIn(4)) CutPowerDuringNext(1 + seeds_.Below(40));
  const Result<void> cut = CutAt(offset, lineage);
  if (Down()) return;
  disk_->ClearFaults();
  if (!cut.ok()) return Fail("going back to offset " + std::to_string(offset) + ": " + cut.error().message);
  FailoverDone();
  ++world_.counts.rewinds;
  world_.Trace(fmt::format("{} went back to offset {}", NodeName(), offset));
  process_->linked = true;
  process_->backoff.Reset();
  ReplicaActions actions;
  process_->follower->link->Rewound(NowMs(), actions);
  Act(actions);
}

Result<void> Node::CutAt(uint64_t offset, const wal::Lineage& lineage) {
  CloseFeeds("this server cuts its history back to its master's");
  wal::TailRequest request;
  request.log_directory = JoinPath(generation_, "wal");
  request.data_directory = kDataDirectory;
  request.from = offset;
  request.to = process_->log->DurableOffset();
  request.fs = disk_.get();
  request.random = &process_->random;
  process_->waiting.clear();
  process_->log.reset();
  ASSIGN_OR_RETURN(const wal::SavedTail tail, wal::SaveTail(request));
  if (tail.from != offset) return Error{ErrorCode::kCorruption, "no frame of the log ends at the fork"};
  TailKept(tail);
  rewinding_ = true;
  RETURN_IF_ERROR(wal::WriteRewindOrder(*disk_, generation_,
                                        {offset, lineage, replication::FormatRole(process_->role), tail.path}));
  RETURN_IF_ERROR(OpenLog(*process_, generation_, truths_[generation_]));
  rewinding_ = false;
  return {};
}

void Node::TailKept(const wal::SavedTail& tail) {
  const std::string bytes = truth().stream.substr(tail.from, tail.bytes);
  if (StreamOfTail(disk_->Content(tail.path)) != bytes) Fail("kept other bytes than it gave up in " + tail.path);
  world_.Trace(fmt::format("{} keeps [{}, {}) in a file", NodeName(), tail.from, tail.from + tail.bytes));
  world_.kept_tails.emplace_back(tail.from, bytes);
}

// ---- full sync ------------------------------------------------------------------------------------------------------

void Node::Do(replication::SnapshotStarted& started) {
  (void)started;
  auto file = disk_->Open(SpoolPath(), {.mode = OpenMode::kCreateOrReplace});
  if (Down()) return;
  if (!file.ok()) return SpoolFailed(file.error());
  process_->follower->spool = std::move(*file);
}

void Node::Do(replication::SnapshotBytes& bytes) {
  const Result<void> written = process_->follower->spool->WriteAt(bytes.position, bytes.bytes);
  if (Down()) return;
  if (!written.ok()) SpoolFailed(written.error());
}

// A copy that cannot be stored is no reason to stop: the old data stays in force, and the next attempt begins anew.
void Node::SpoolFailed(const Error& error) {
  if (!WasInjected(error)) return Fail("spooling: " + error.message);
  LinkLost(CloseKind::kRetry, "the snapshot cannot be stored: " + error.message);
}

void Node::Do(replication::SnapshotComplete& complete) {
  Follower& follower = *process_->follower;
  const Result<void> synced = follower.spool ? follower.spool->Sync() : Result<void>();
  if (Down()) return;
  if (!synced.ok()) return SpoolFailed(synced.error());
  follower.spool.reset();
  FailoverDone();
  process_->loading = true;
  process_->refusals = 0;
  process_->own_pin = process_->log->PinFrom(process_->log->FirstOffset());
  Later(static_cast<int64_t>(seeds_.Below(500)),
        [this, load = process_->load, offset = complete.offset, master = complete.master] {
          if (load == process_->load) LoadSnapshot(offset, master);
        });
}

void Node::LoadSnapshot(uint64_t offset, const replication::FullSyncOffer& master) {
  if (process_->writing || process_->log->HasPending()) {
    Commit();
    return Later(kSettlePauseMs, [this, load = process_->load, offset, master] {
      if (load == process_->load) LoadSnapshot(offset, master);
    });
  }
  process_->loading = false;
  if (world_.OneIn(3) && !world_.at_rest) CutPowerDuringNext(1 + seeds_.Below(60));
  auto made = MakeGeneration(offset, master);
  Result<void> committed = made.ok() ? process_->directory->Commit(*made) : Result<void>(made.error());
  if (Down()) return;
  disk_->ClearFaults();
  if (!committed.ok()) return Fail("loading a snapshot: " + committed.error().message);
  CloseFeeds("this server has got a new copy from its master");
  process_->own_pin.reset();
  process_->waiting.clear();
  process_->log.reset();
  generation_ = *made;
  Result<void> opened = OpenLog(*process_, generation_, truths_[generation_]);
  if (Down()) return;
  if (!opened.ok()) return Fail("opening a copy: " + opened.error().message);
  (void)disk_->Remove(SpoolPath());
  (void)process_->directory->RemoveOldGenerations();
  if (Down()) return;
  process_->role.operator_consents = false;
  process_->role.copied = process_->copy_reaches;
  process_->at_link_up = process_->log->lineage();
  process_->role_ticket = 0;
  BeginConfirming();
  process_->backoff.Reset();
  world_.Trace(fmt::format("{} has a copy: {}", NodeName(), Describe()));
  if (!process_->follower) return ConnectIn(0);
  process_->linked = true;
  ReplicaActions actions;
  process_->follower->link->Loaded(NowMs(), actions);
  Act(actions);
}

// As the loader of full syncs does it: everything beside the data in force.
Result<std::string> Node::MakeGeneration(uint64_t offset, const replication::FullSyncOffer& master) {
  ASSIGN_OR_RETURN(const std::string path, process_->directory->NewGeneration());
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(*disk_, SpoolPath(), 1 << 26));
  ByteReader reader(bytes);
  wal::LogState state;
  ASSIGN_OR_RETURN(state.end, ReadStreamPosition(reader));
  ASSIGN_OR_RETURN(const wal::Lineage table, wal::Lineage::Parse(reader.LengthPrefixed()));
  const std::string stream(reader.LengthPrefixed());
  if (!reader.AtEnd() || stream.size() != offset || state.end.offset != offset) {
    return Error{ErrorCode::kCorruption, "the snapshot is not what was announced"};
  }
  std::string position;
  AppendStreamPosition(position, state.end);
  RETURN_IF_ERROR(WriteFileAtomically(*disk_, JoinPath(path, "checkpoint"), position));
  state.lineage = replication::LineageUpTo(table, offset);
  state.end.lineage_id = state.lineage.current_id();
  state.membership = master.group;
  replication::RoleRecord role = process_->role;
  role.operator_consents = false;
  role.copied = process_->copy_reaches = replication::StandingOf(master);
  wal::EngineOptions options;
  options.segment_bytes = world_.profile.segment_bytes;
  options.ring_bytes = world_.profile.ring_bytes;
  options.tail_rewrite = world_.profile.tail_rewrite;
  options.fs = disk_.get();
  options.clock = &clock_;
  options.random = &process_->random;
  RETURN_IF_ERROR(wal::BeginLog(options, path, std::move(state), replication::FormatRole(role)));
  truths_[path] = Truth{stream, offset};
  RETURN_IF_ERROR(KeepLost(master));
  return path;
}

// What we have and the master does not is kept in a file.
Result<void> Node::KeepLost(const replication::FullSyncOffer& master) {
  const wal::Log& log = *process_->log;
  const replication::FullSyncOffer own{log.lineage(), log.DurableOffset()};
  wal::TailRequest request;
  request.log_directory = JoinPath(generation_, "wal");
  request.data_directory = kDataDirectory;
  request.fs = disk_.get();
  request.random = &process_->random;
  ASSIGN_OR_RETURN(const auto tail, replication::KeepWhatMasterLacks(own, master, request));
  if (tail) TailKept(*tail);
  // What the log no longer held cannot be kept, nor what an operator consented to losing.
  const auto common = replication::FindCommon(own.lineage, own.end_offset, master.lineage, master.end_offset);
  const uint64_t from = common ? common->fork : 0;
  if (from < own.end_offset && (!common || log.FirstOffset() > from)) {
    world_.kept_tails.emplace_back(from, truth().stream.substr(from));
  }
  return {};
}

}  // namespace holdfast::simulation
