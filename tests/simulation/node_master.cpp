// A node's half as a master: the handshake and the feeding of replicas, as net/ does it with sockets.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/hash.h"
#include "tests/simulation/process.h"

namespace holdfast::simulation {

using replication::Decision;
using replication::MasterState;
using replication::Verdict;

namespace {

constexpr size_t kSendBufferMax = 16 * 1024;
constexpr size_t kSnapshotPiece = 4096;

size_t CommonPrefix(const std::string& a, const std::string& b) {
  const size_t length = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(length), b.begin()).first -
                             a.begin());
}

// Where two tables part, by a reading of them that shares no code with the product: the newest name both have, and up
// to where each has it.
struct Fork {
  bool shared = false;
  std::string id;
  uint64_t offset = 0;
};
Fork ForkOf(const wal::Lineage& a, uint64_t a_end, const wal::Lineage& b, uint64_t b_end) {
  Fork fork;
  const auto end_of = [](const auto& entries, size_t i, uint64_t end) {
    return i + 1 < entries.size() ? std::min(entries[i + 1].from_offset, end) : end;
  };
  for (size_t i = 0; i < a.entries().size(); ++i) {
    for (size_t j = 0; j < b.entries().size(); ++j) {
      if (a.entries()[i].id != b.entries()[j].id) continue;
      fork = {true, a.entries()[i].id, std::min(end_of(a.entries(), i, a_end), end_of(b.entries(), j, b_end))};
    }
  }
  return fork;
}

}  // namespace

bool Node::RoleSettled() const { return process_->committed >= process_->role_ticket; }

uint64_t Node::CommitTicket() const { return process_->sealed + (process_->log->HasPending() ? 1 : 0); }

Node::Feed* Node::Find(const std::shared_ptr<Connection>& connection) {
  if (process_ == nullptr) return nullptr;
  const auto at = process_->feeds.find(connection->id);
  return at == process_->feeds.end() ? nullptr : at->second.get();
}

void Node::Accept(const std::shared_ptr<Connection>& connection) {
  process_->feeds[connection->id] = std::make_unique<Feed>(connection, NowMs());
}

void Node::MasterEof(const std::shared_ptr<Connection>& connection) {
  if (Find(connection) != nullptr) CloseFeed(connection->id, "the replica closed the connection", true);
}

void Node::MasterReceived(const std::shared_ptr<Connection>& connection, std::string_view bytes) {
  Feed* feed = Find(connection);
  if (feed == nullptr) return;
  if (feed->stage == Feed::Stage::kAttached) {
    auto received = feed->link.Received(bytes, NowMs());
    if (!received.ok()) return CloseFeed(connection->id, received.error().message, false);
    NoteAck(*feed);
    NoteAcks();
    FailoverStep();
    feed = Find(connection);
    return feed == nullptr ? void() : Pump(*feed);
  }
  std::vector<std::vector<std::string>> commands;
  auto parsed = feed->handshake.Append(bytes, commands);
  if (!parsed.ok()) return CloseFeed(connection->id, parsed.error().message, false);
  for (const auto& command : commands) {
    feed = Find(connection);
    if (feed == nullptr) return;
    HandshakeCommand(*feed, command);
  }
}

// ---- handshake ------------------------------------------------------------------------------------------------------

void Node::HandshakeCommand(Feed& feed, const std::vector<std::string>& command) {
  if (command[0] == "PING") return world_.Send(feed.connection, false, "+PONG\r\n");
  if (command[0] == "REPLCONF") return Replconf(feed, command);
  if (command[0] == "PSYNC") return Psync(feed, command);
  Fail("was sent " + command[0]);
}

void Node::Replconf(Feed& feed, const std::vector<std::string>& command) {
  bool history = false;
  for (size_t i = 1; i + 1 < command.size(); i += 2) {
    if (command[i] == "holdfast-fork") feed.fork = command[i + 1] == "1";
    if (command[i] == "holdfast-id") feed.node_id = command[i + 1];
    if (command[i] != "holdfast-history") continue;
    auto claim = replication::ParseClaim(command[i + 1]);
    if (!claim.ok()) return Fail("cannot read a claim: " + claim.error().message);
    feed.claim = std::move(*claim);
    history = true;
  }
  if (!history) return world_.Send(feed.connection, false, "+OK\r\n");
  const wal::Log& log = *process_->log;
  const uint64_t end = RoleSettled() ? log.DurableOffset() : log.AppendedOffset();
  feed.offered = log.lineage();
  feed.offered_end = end;
  const std::string answer = "+HOLDFAST 1 " + replication::FormatOffer({log.lineage(), end}) + "\r\n";
  if (RoleSettled()) return world_.Send(feed.connection, false, answer);
  feed.held_answer = answer;
  feed.held_ticket = CommitTicket();
}

void Node::Psync(Feed& feed, const std::vector<std::string>& command) {
  feed.asks_for_all = command[1] == "?";
  if (!feed.asks_for_all &&
      (feed.claim.lineage.current_id() != command[1] || std::to_string(feed.claim.end_offset + 1) != command[2])) {
    return Fail("a PSYNC asks for something else than its claim");
  }
  if (process_->failover) return Reject(feed, "NOMASTERLINK Can't SYNC while failing over");
  if (command.size() > 3 && command[3] == "FAILOVER" && !TakeOver(feed, command[1])) return;
  feed.stage = Feed::Stage::kWaiting;
  if (RoleSettled()) Attach(feed);
}

// Who waited for a role to be on disk goes on. The answer to a claim has waited for everything it tells of: the frames
// behind the role's may be in a later batch.
void Node::Settle() {
  for (const uint64_t id : FeedIds()) {
    if (process_ == nullptr) return;
    const auto at = process_->feeds.find(id);
    if (at == process_->feeds.end()) continue;
    Feed& feed = *at->second;
    if (process_->committed >= feed.held_ticket) {
      world_.Send(feed.connection, false, std::exchange(feed.held_answer, {}));
    }
    if (feed.stage != Feed::Stage::kWaiting || !RoleSettled()) continue;
    if (feed.has_more) {
      Reject(feed, "HOLDFAST TOOKOVER");
    } else {
      Attach(feed);
    }
  }
}

void Node::Attach(Feed& feed) {
  feed.stage = Feed::Stage::kAttached;
  wal::Log& log = *process_->log;
  const replication::HistoryClaim* claim = feed.asks_for_all ? nullptr : &feed.claim;
  if (claim != nullptr) feed.pin = log.PinFrom(claim->end_offset);
  const replication::OwnPast past = replication::PastOf(log);
  Decision decision = replication::DecideByPast(log, past, claim, feed.fork, true);
  if (decision.verdict == Verdict::kContinue) {
    feed.cursor = wal::OpenCursor(log);
    auto sought = feed.cursor->Seek(claim->end_offset);
    if (!sought.ok()) {
      feed.cursor.reset();
      decision = {Verdict::kFullSync, sought.error().message};
    }
  }
  std::string out;
  const bool refuse = decision.verdict == Verdict::kFullSync && process_->role.master && !process_->linked;
  if (decision.verdict == Verdict::kRefuse || refuse) {
    ++world_.counts.refused;
    if (!refuse) CheckRefusal(feed, decision.reason);
    feed.link.Refuse("NOMASTERLINK " + decision.reason, out);
    world_.Send(feed.connection, false, out);
    return CloseFeed(feed.connection->id, decision.reason, true);
  }
  if (decision.verdict == Verdict::kFullSync) return BeginFullSync(feed, decision.reason);
  ++world_.counts.continued;
  CheckContinue(feed);
  feed.link.SetGroup(log.membership());
  feed.link.Continue(past.history.lineage, claim->end_offset, log.DurableOffset(), out);
  world_.Send(feed.connection, false, out);
  Pump(feed);
}

void Node::BeginFullSync(Feed& feed, const std::string& reason) {
  ++world_.counts.full_syncs;
  world_.Trace(fmt::format("{} copies to node {}: {}", NodeName(), feed.connection->replica, reason));
  CheckFullSync(feed, reason);
  feed.full_sync_reason = reason;
  feed.pin.reset();
  feed.waiting_for_snapshot = true;
  if (seeds_.Below(3) == 0) Checkpoint();
  if (process_ == nullptr) return;
  Later(static_cast<int64_t>(seeds_.Below(300)), [this, id = feed.connection->id] { SendSnapshot(id); });
}

// A snapshot of the last checkpoint: position, history, and all content.
void Node::SendSnapshot(uint64_t connection_id) {
  const auto at = process_->feeds.find(connection_id);
  if (at == process_->feeds.end() || !at->second->waiting_for_snapshot) return;
  Feed& feed = *at->second;
  feed.waiting_for_snapshot = false;
  wal::Log& log = *process_->log;
  const StreamPosition& position = process_->checkpoint;
  feed.pin = log.PinFrom(position.offset);
  std::string table;
  log.lineage().AppendTo(table);
  AppendStreamPosition(feed.snapshot, position);
  AppendLengthPrefixed(feed.snapshot, table);
  AppendLengthPrefixed(feed.snapshot, truth().stream.substr(0, position.offset));
  Truth& truth = truths_[generation_];
  truth.promised = std::max(truth.promised, position.offset);
  std::string out;
  feed.link.SetGroup(log.membership());
  feed.link.BeginFullSync(log.lineage(), log.DurableOffset(),
                          {position.offset, feed.snapshot.size(), "snapshot", 0, feed.full_sync_reason}, out);
  world_.Send(feed.connection, false, out);
  Pump(feed);
}

// ---- feeding --------------------------------------------------------------------------------------------------------

void Node::Pump(Feed& feed) {
  if (feed.stage != Feed::Stage::kAttached) return;
  std::string out;
  const uint64_t id = feed.connection->id;
  const Result<void> filled = Fill(feed, out);
  if (!out.empty()) feed.link.Sent(NowMs());
  world_.Send(feed.connection, false, out);
  if (filled.ok()) return;
  out.clear();
  feed.link.Notice(filled.error().message, out);
  world_.Send(feed.connection, false, out);
  CloseFeed(id, filled.error().message, filled.error().code == ErrorCode::kNotFound);
}

Result<void> Node::Fill(Feed& feed, std::string& out) {
  const auto room = [&] { return out.size() + World::OnTheWay(feed.connection->to_replica) < kSendBufferMax; };
  while (feed.link.state() == MasterState::kSnapshot && room()) {
    const size_t size = std::min<size_t>(feed.snapshot.size() - feed.link.snapshot_position(), kSnapshotPiece);
    feed.link.SnapshotChunk(std::string_view(feed.snapshot).substr(feed.link.snapshot_position(), size), out);
  }
  if (feed.link.state() != MasterState::kStreaming) return {};
  if (feed.cursor == nullptr) {
    feed.cursor = wal::OpenCursor(*process_->log);
    RETURN_IF_ERROR(feed.cursor->Seek(feed.link.next_offset()));
  }
  while (room()) {
    ASSIGN_OR_RETURN(auto frame, feed.cursor->Next());
    if (!frame) return {};
    CheckSent(frame->history);
    RETURN_IF_ERROR(feed.link.Frame(frame->history, out));
  }
  return {};
}

// What goes out is what was logged, and from here on it must survive every crash of this node.
void Node::CheckSent(const wal::HistoryFrame& frame) {
  if (frame.kind != wal::FrameKind::kData) return;
  Truth& truth = truths_[generation_];
  if (frame.EndOffset() > truth.stream.size() ||
      truth.stream.compare(frame.offset, frame.payload.size(), frame.payload) != 0) {
    Fail(fmt::format("sends other bytes at offset {} than it logged", frame.offset));
  }
  truth.promised = std::max(truth.promised, frame.EndOffset());
}

// What a replica acknowledged it must keep, too.
void Node::NoteAck(Feed& feed) {
  if (!feed.link.online()) return;
  if (feed.pin) feed.pin->MoveTo(feed.link.acked_offset());
  Node& replica = world_.node(feed.connection->replica);
  if (!replica.IsCurrent(feed.connection)) return;
  Truth& theirs = replica.truths_[replica.generation_];
  if (feed.link.acked_offset() > theirs.stream.size()) {
    return Fail(fmt::format("counts offset {} as acknowledged by node {}, which ends at {}", feed.link.acked_offset(),
                            feed.connection->replica, theirs.stream.size()));
  }
  if (theirs.stream.compare(0, feed.link.acked_offset(), truth().stream, 0, feed.link.acked_offset()) != 0) {
    return Fail(fmt::format("counts offset {} of another history as acknowledged by node {}", feed.link.acked_offset(),
                            feed.connection->replica));
  }
  theirs.promised = std::max(theirs.promised, feed.link.acked_offset());
}

void Node::CloseFeed(uint64_t connection_id, const std::string& reason, bool expected) {
  const auto at = process_->feeds.find(connection_id);
  if (at == process_->feeds.end()) return;
  world_.Trace(fmt::format("{} drops the link to node {}: {}", NodeName(), at->second->connection->replica, reason));
  if (!expected) Fail("a rule of the link was broken by its replica: " + reason);
  world_.Close(at->second->connection, false, false);
  process_->confirmation.Gone(at->second->node_id);
  process_->feeds.erase(at);
  NoteAcks();  // it may have come back on another connection
}

void Node::CloseFeeds(const std::string& reason) {
  while (!process_->feeds.empty()) {
    Feed& feed = *process_->feeds.begin()->second;
    std::string out;
    feed.link.Notice(reason, out);
    world_.Send(feed.connection, false, out);
    CloseFeed(feed.connection->id, reason, true);
  }
}

// ---- what must hold of decisions ------------------------------------------------------------------------------------

// Nobody continues from a past that is not ours.
void Node::CheckContinue(const Feed& feed) {
  const Node& replica = world_.node(feed.connection->replica);
  if (!replica.IsCurrent(feed.connection)) return;
  const std::string& theirs = replica.truth().stream;
  const std::string& ours = truth().stream;
  const uint64_t end = feed.claim.end_offset;
  // Where neither digests nor tails can be compared, the first frame decides, before anything of it is logged.
  if (world_.pasts_may_differ && !feed.fork && process_->log->FirstOffset() > end - feed.claim.tail_length) return;
  if (end > theirs.size() || end > ours.size() || theirs.compare(0, end, ours, 0, end) != 0) {
    Fail(fmt::format("lets node {} continue at offset {} from another past", feed.connection->replica, end));
  }
}

// A copy is made only where history, or what the logs retain, forbids everything else.
void Node::CheckFullSync(const Feed& feed, const std::string& reason) {
  const Node& replica = world_.node(feed.connection->replica);
  if (!replica.IsCurrent(feed.connection)) return;
  const Follower& follower = *replica.process_->follower;
  if (follower.no_history) return;
  const wal::Log& log = *process_->log;
  if (world_.pasts_may_differ) return;  // judged by the content at the end
  if (feed.asks_for_all) return Fail(fmt::format("is asked for everything by node {}", feed.connection->replica));
  const wal::Lineage& names = replica.process_->log->lineage();
  const uint64_t end = replica.AppendedOffset();
  const Fork fork = ForkOf(log.lineage(), log.DurableOffset(), names, end);
  if (!fork.shared) return;
  if (CommonPrefix(replica.truth().stream, truth().stream) < fork.offset) {
    return Fail(fmt::format("has another past than node {} before offset {}", feed.connection->replica, fork.offset));
  }
  if (log.FirstOffset() > fork.offset) return;  // no longer retained
  if (fork.offset == end) {
    return Fail(fmt::format("copies everything to node {}, which could continue at offset {}: {}",
                            feed.connection->replica, end, reason));
  }
  // It would have to go back. Not to a master that has gone back itself to an older name, nor behind a checkpoint, nor
  // where no frame of its log ends.
  if (fork.offset == 0 || log.lineage().current_id() == fork.id || follower.rewind_floor > fork.offset) return;
  // The history may have gone on between question and answer; what the replica looked for was where it parted then.
  if (feed.offered != log.lineage()) return;
  if (replica.process_->log->FirstOffset() >= ForkOf(feed.offered, feed.offered_end, names, end).offset) return;
  if (follower.rewind_impossible.find("inside a frame") != std::string::npos) return;
  Fail(fmt::format("copies everything to node {}, which could go back from {} to {}: {} ({})", feed.connection->replica,
                   end, fork.offset, reason, follower.rewind_impossible));
}

void Node::CheckRefusal(const Feed& feed, const std::string& reason) {
  if (world_.pasts_may_differ || process_->role.master) return;
  const Node& replica = world_.node(feed.connection->replica);
  if (!replica.IsCurrent(feed.connection)) return;
  Fail(fmt::format("refuses node {}: {}", feed.connection->replica, reason));
}

}  // namespace holdfast::simulation
