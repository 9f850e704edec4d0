// Both sides of a link, joined by byte pipes: every exchange, and a cut at every byte of it.
#include <gtest/gtest.h>

#include "replication/master_link.h"
#include "replication/replica_link.h"
#include "storage/base/hash.h"

namespace holdfast::replication {
namespace {

std::string Id(char digit) { return std::string(wal::kLineageIdSize, digit); }

// A node's stream in memory: frames with digests as the log would keep them.
struct ModelLog {
  wal::Lineage lineage;
  uint64_t first = 0;  // what is before is in `before` only (a snapshot's content)
  std::string before;
  HistoryDigest digest;
  std::vector<std::shared_ptr<const wal::SharedFrame>> frames;

  [[nodiscard]] uint64_t end() const { return frames.empty() ? first : frames.back()->history.EndOffset(); }
  [[nodiscard]] std::string Stream() const {
    std::string all = before;
    for (const auto& frame : frames) {
      if (frame->history.kind == wal::FrameKind::kData) all += frame->bytes;
    }
    return all;
  }
  void Add(wal::FrameKind kind, wal::UnitPart part, std::string payload) {
    auto frame = std::make_shared<wal::SharedFrame>();
    if (kind == wal::FrameKind::kData) digest.Update(payload);
    frame->bytes = std::move(payload);
    wal::HistoryFrame& history = frame->history;
    history.kind = kind;
    history.part = part;
    history.selected_db = 0;
    history.offset = end();
    history.time_ms = 1000;
    history.digest = digest.Value();
    history.payload = frame->bytes;
    frames.push_back(std::move(frame));
  }
  void Append(const wal::SharedFrame& frame) {
    ASSERT_EQ(frame.history.offset, end()) << "a byte twice or missing";
    if (frame.history.kind == wal::FrameKind::kData) digest.Update(frame.bytes);
    ASSERT_EQ(frame.history.digest, digest.Value());
    if (frame.history.kind == wal::FrameKind::kLineage) {
      auto table = wal::Lineage::Parse(frame.bytes);
      ASSERT_TRUE(table.ok());
      lineage = *table;
    }
    auto copy = std::make_shared<wal::SharedFrame>(frame);
    copy->history.payload = copy->bytes;
    frames.push_back(std::move(copy));
  }
  // An unfinished unit at the end goes.
  void DropUnfinished() {
    while (!frames.empty() && frames.back()->history.kind == wal::FrameKind::kData &&
           !frames.back()->history.EndsUnit()) {
      frames.pop_back();
    }
    digest.Reset();
    digest.Update(Stream());
  }
  [[nodiscard]] HistoryClaim Claim() const {
    HistoryClaim claim;
    claim.lineage = lineage;
    claim.end_offset = end();
    claim.digest = digest.Value();
    return claim;
  }
  [[nodiscard]] uint64_t DigestAt(uint64_t offset) const {
    HistoryDigest past;
    past.Update(Stream().substr(0, offset));
    return past.Value();
  }
  [[nodiscard]] HistoryClaim ClaimAt(uint64_t offset) const {
    HistoryClaim claim;
    claim.lineage = LineageUpTo(lineage, offset);
    claim.end_offset = offset;
    claim.digest = DigestAt(offset);
    return claim;
  }
  // Ends at the fork; returns what lay behind.
  std::string CutAt(uint64_t offset, const wal::Lineage& agreed) {
    std::string tail = Stream().substr(offset);
    while (!frames.empty() && frames.back()->history.offset >= offset) frames.pop_back();
    EXPECT_EQ(end(), offset) << "no frame ends at the fork";
    lineage = agreed;
    digest.Reset();
    digest.Update(Stream());
    return tail;
  }
};

ModelLog MakeMaster() {
  ModelLog master;
  master.lineage.Reset(Id('a'), 0, 1000);
  for (int i = 0; i < 4; ++i) {
    master.Add(wal::FrameKind::kData, wal::UnitPart::kWhole,
               "unit " + std::to_string(i) + std::string(static_cast<size_t>(i) * 3, 'x'));
  }
  master.lineage.Push(Id('b'), master.end(), 2000);
  std::string table;
  master.lineage.AppendTo(table);
  master.Add(wal::FrameKind::kLineage, wal::UnitPart::kWhole, table);
  master.Add(wal::FrameKind::kRole, wal::UnitPart::kWhole, "stays at home");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kFirst, "MULTI first");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kMiddle, " middle ");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kLast, "last EXEC");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kWhole, "the end");
  return master;
}

// What the I/O of a master does: answers the handshake, decides, pumps.
class ModelMaster {
 public:
  ModelMaster(const ModelLog& log, uint64_t snapshot_frames)
      : log_(log), snapshot_frames_(snapshot_frames), link_({}, 0) {}

  void Receive(std::string_view bytes) {
    if (decided_) {
      auto result = link_.Received(bytes, now_);
      ASSERT_TRUE(result.ok()) << result.error().message;
      return;
    }
    std::vector<std::vector<std::string>> commands;
    ASSERT_TRUE(handshake_.Append(bytes, commands).ok());
    for (const auto& command : commands) OnCommand(command);
  }
  // Sends a little more, if there is anything.
  void Pump() {
    if (!decided_) return;
    if (link_.state() == MasterState::kSnapshot) {
      uint64_t at = link_.snapshot_position();
      link_.SnapshotChunk(snapshot_.substr(at, 7), out);
    } else if (link_.state() == MasterState::kStreaming && next_ < log_.frames.size()) {
      auto result = link_.Frame(log_.frames[next_++]->history, out);
      ASSERT_TRUE(result.ok()) << result.error().message;
    }
  }

  std::string out;
  int full = 0, partial = 0, refused = 0;
  bool idle() const {
    return out.empty() && decided_ && link_.state() == MasterState::kStreaming && next_ == log_.frames.size();
  }
  [[nodiscard]] const MasterLink& link() const { return link_; }

 private:
  void OnCommand(const std::vector<std::string>& command) {
    if (command[0] == "PING") {
      out += "+PONG\r\n";
    } else if (command[0] == "AUTH") {
      out += command.back() == "123123" ? "+OK\r\n" : "-WRONGPASS no\r\n";
    } else if (command[0] == "REPLCONF" && command[1] == "holdfast-node") {
      auto claim = ParseClaim(command.back());
      ASSERT_TRUE(claim.ok());
      claim_ = *claim;
      fork_ = command[6] == "1";
      out += "+HOLDFAST 1 " + FormatOffer({log_.lineage, log_.end()}) + "\r\n";
    } else if (command[0] == "REPLCONF") {
      out += "+OK\r\n";
    } else if (command[0] == "PSYNC") {
      Decide(command[1] != "?");
    }
  }
  void Decide(bool has_history) {
    decided_ = true;
    Decision decision = DecideByLineage({log_.lineage, log_.first, log_.end(), 0}, has_history ? &claim_ : nullptr);
    if (decision.verdict == Verdict::kContinue) {
      decision = DecideByDigest(claim_, {0, log_.DigestAt(claim_.end_offset), std::nullopt}, fork_);
    }
    if (decision.verdict == Verdict::kContinue) {
      ++partial;
      while (next_ < log_.frames.size() && log_.frames[next_]->history.offset < claim_.end_offset) ++next_;
      while (next_ > 0 && log_.frames[next_ - 1]->history.offset == claim_.end_offset) --next_;
      link_.Continue(log_.lineage, claim_.end_offset, log_.end(), out);
    } else if (decision.verdict == Verdict::kFullSync) {
      ++full;
      ModelLog at;
      at.before = log_.before;
      for (; next_ < std::min<size_t>(snapshot_frames_, log_.frames.size()); ++next_)
        at.frames.push_back(log_.frames[next_]);
      snapshot_ = at.Stream();
      link_.BeginFullSync(log_.lineage, log_.end(), {at.end(), snapshot_.size(), "snap.hfs"}, out);
    } else {
      ++refused;
      link_.Refuse("NOMASTERLINK " + decision.reason, out);
    }
  }

  const ModelLog& log_;
  const uint64_t snapshot_frames_;
  MasterLink link_;
  ReplicaCommandParser handshake_;
  HistoryClaim claim_;
  bool decided_ = false, fork_ = false;
  std::string snapshot_;
  size_t next_ = 0;
  int64_t now_ = 0;
};

class ModelReplica {
 public:
  ModelReplica(ModelLog& log, ReplicaLinkOptions options, OwnSituation situation)
      : log_(log), link_(std::move(options), log.Claim(), std::move(situation), 0) {
    ReplicaActions actions;
    link_.Connected(0, actions);
    Do(actions);
  }
  void Receive(std::string_view bytes) {
    ReplicaActions actions;
    link_.Received(bytes, 0, actions);
    Do(actions);
  }
  void Durable() {
    ReplicaActions actions;
    link_.Durable(log_.end(), log_.end(), log_.lineage.current_id(), actions);
    Do(actions);
  }
  std::string out;
  std::optional<Close> closed;
  std::optional<std::string> tail;  // cut off in a rewind
  std::string rewind_impossible;
  [[nodiscard]] const ReplicaLink& link() const { return link_; }

 private:
  void Do(ReplicaActions& actions) {
    for (auto& action : actions) {
      if (auto* send = std::get_if<SendBytes>(&action)) out += send->bytes;
      if (auto* continued = std::get_if<Continued>(&action)) log_.lineage = continued->lineage;
      if (auto* impossible = std::get_if<RewindImpossible>(&action)) rewind_impossible = impossible->reason;
      if (auto* fork = std::get_if<ForkFound>(&action)) {
        ReplicaActions more;
        link_.ForkClaim(log_.ClaimAt(fork->offset), more);
        return Do(more);
      }
      if (auto* rewind = std::get_if<RewindAgreed>(&action)) {
        tail = log_.CutAt(rewind->offset, rewind->lineage);
        ReplicaActions more;
        link_.Rewound(0, more);
        return Do(more);
      }
      if (auto* chunk = std::get_if<SnapshotBytes>(&action)) {
        ASSERT_EQ(chunk->position, snapshot_.size());
        snapshot_ += chunk->bytes;
      }
      if (auto* frame = std::get_if<FrameReceived>(&action)) log_.Append(*frame->frame);
      if (auto* close = std::get_if<Close>(&action)) closed = *close;
      if (auto* complete = std::get_if<SnapshotComplete>(&action)) {
        uint64_t offset = complete->offset;
        std::string table;
        wal::Lineage lineage;
        lineage.Reset(Id('a'), 0, 1000);
        log_ = ModelLog{};
        log_.lineage = lineage;
        log_.before = snapshot_;
        log_.first = offset;
        log_.digest.Update(snapshot_);
        ReplicaActions more;
        link_.Loaded(0, more);
        Do(more);
        return;
      }
    }
  }
  ModelLog& log_;
  ReplicaLink link_;
  std::string snapshot_;
};

struct Outcome {
  uint64_t to_replica = 0, to_master = 0;  // bytes carried
  int full = 0, partial = 0, refused = 0;
  std::optional<Close> closed;
  std::optional<std::string> tail;
  std::string rewind_impossible;
};

// Runs one connection until nothing moves or one direction has carried `cut_*` bytes.
Outcome Connect(const ModelLog& master_log, ModelLog& replica_log, size_t step, uint64_t cut_to_replica = UINT64_MAX,
                uint64_t cut_to_master = UINT64_MAX, std::vector<std::string> ids_made_here = {},
                uint64_t rewind_floor = UINT64_MAX) {
  ReplicaLinkOptions options;
  options.password = "123123";
  options.announced_ip = "10.0.0.1";
  ModelMaster master(master_log, 3);
  ModelReplica replica(replica_log, options,
                       {replica_log.lineage, replica_log.end(), std::move(ids_made_here), false, rewind_floor});
  Outcome outcome;
  for (int idle = 0; idle < 3 && !replica.closed;) {
    bool moved = false;
    size_t to_master = std::min<uint64_t>({step, replica.out.size(), cut_to_master - outcome.to_master});
    if (to_master > 0) {
      master.Receive(replica.out.substr(0, to_master));
      replica.out.erase(0, to_master);
      outcome.to_master += to_master;
      moved = true;
    }
    if (outcome.to_master == cut_to_master) break;
    if (master.out.empty()) master.Pump();
    size_t to_replica = std::min<uint64_t>({step, master.out.size(), cut_to_replica - outcome.to_replica});
    if (to_replica > 0) {
      replica.Receive(master.out.substr(0, to_replica));
      master.out.erase(0, to_replica);
      outcome.to_replica += to_replica;
      moved = true;
    }
    if (outcome.to_replica == cut_to_replica) break;
    replica.Durable();
    idle = moved ? 0 : idle + 1;
  }
  replica_log.DropUnfinished();
  outcome.full = master.full;
  outcome.partial = master.partial;
  outcome.refused = master.refused;
  outcome.closed = replica.closed;
  outcome.tail = replica.tail;
  outcome.rewind_impossible = replica.rewind_impossible;
  if (!replica.closed && cut_to_replica == UINT64_MAX && cut_to_master == UINT64_MAX) {
    EXPECT_EQ(master.link().acked_offset(), master_log.end());
  }
  return outcome;
}

ModelLog Fresh() {
  ModelLog log;
  log.lineage.Reset(Id('f'), 0, 1);
  return log;
}

void ExpectEqual(const ModelLog& master, const ModelLog& replica) {
  EXPECT_EQ(replica.Stream(), master.Stream());
  EXPECT_EQ(replica.lineage, master.lineage);
  EXPECT_EQ(replica.end(), master.end());
  EXPECT_EQ(replica.digest.Value(), master.digest.Value());
}

TEST(Link, FreshReplicaIsCopiedThenFollows) {
  for (size_t step : {1u, 2u, 7u, 100000u}) {
    ModelLog master = MakeMaster(), replica = Fresh();
    Outcome outcome = Connect(master, replica, step);
    EXPECT_FALSE(outcome.closed) << outcome.closed->reason;
    EXPECT_EQ(outcome.full, 1);
    ExpectEqual(master, replica);
    Outcome again = Connect(master, replica, step);
    EXPECT_EQ(again.partial, 1);
    EXPECT_EQ(again.full, 0);
    ExpectEqual(master, replica);
  }
}

TEST(Link, CutAtEveryByteLosesNothingAndRepeatsNothing) {
  ModelLog master = MakeMaster();
  ModelLog measured = Fresh();
  Outcome whole = Connect(master, measured, 1);
  ASSERT_GT(whole.to_replica, 500u);
  for (int direction = 0; direction < 2; ++direction) {
    uint64_t bytes = direction == 0 ? whole.to_replica : whole.to_master;
    for (uint64_t cut = 1; cut <= bytes; ++cut) {
      SCOPED_TRACE(testing::Message() << (direction == 0 ? "to replica " : "to master ") << cut);
      ModelLog replica = Fresh();
      Connect(master, replica, 64, direction == 0 ? cut : UINT64_MAX, direction == 1 ? cut : UINT64_MAX);
      bool had_data = replica.end() > 0;
      Outcome second = Connect(master, replica, 1000);
      ASSERT_FALSE(second.closed) << second.closed->reason;
      // Once the copy is there, no second copy is ever made.
      ASSERT_EQ(second.partial, had_data ? 1 : 0);
      ExpectEqual(master, replica);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// A master that wrote on after its successor's promotion (offset 34 of MakeMaster: the end of four units).
ModelLog Deposed() {
  ModelLog master = MakeMaster(), deposed;
  deposed.lineage.Reset(Id('a'), 0, 1000);
  for (int i = 0; i < 4; ++i) deposed.Append(*master.frames[static_cast<size_t>(i)]);
  deposed.Add(wal::FrameKind::kData, wal::UnitPart::kWhole, "acknowledged by the old master");
  deposed.Add(wal::FrameKind::kRole, wal::UnitPart::kWhole, "role");
  deposed.Add(wal::FrameKind::kData, wal::UnitPart::kFirst, "and a unit ");
  deposed.Add(wal::FrameKind::kData, wal::UnitPart::kLast, "of two parts");
  return deposed;
}
const std::string kDeposedTail = "acknowledged by the old masterand a unit of two parts";

TEST(Link, DeposedMasterGoesBackToTheForkAndKeepsItsTail) {
  for (size_t step : {1u, 3u, 100000u}) {
    ModelLog master = MakeMaster(), deposed = Deposed();
    Outcome outcome = Connect(master, deposed, step, UINT64_MAX, UINT64_MAX, {Id('a')}, 0);
    EXPECT_FALSE(outcome.closed) << outcome.closed->reason;
    EXPECT_EQ(outcome.partial, 1);
    EXPECT_EQ(outcome.full, 0);
    EXPECT_EQ(outcome.tail, kDeposedTail);
    ExpectEqual(master, deposed);
  }
}

TEST(Link, RewindCutAtEveryByteEndsBeforeOrAfter) {
  ModelLog master = MakeMaster(), measured = Deposed();
  const Outcome whole = Connect(master, measured, 1, UINT64_MAX, UINT64_MAX, {Id('a')}, 0);
  for (int direction = 0; direction < 2; ++direction) {
    const uint64_t bytes = direction == 0 ? whole.to_replica : whole.to_master;
    for (uint64_t cut = 1; cut <= bytes; ++cut) {
      SCOPED_TRACE(testing::Message() << (direction == 0 ? "to replica " : "to master ") << cut);
      ModelLog deposed = Deposed();
      const Outcome first = Connect(master, deposed, 64, direction == 0 ? cut : UINT64_MAX,
                                    direction == 1 ? cut : UINT64_MAX, {Id('a')}, 0);
      if (!first.tail) {
        ASSERT_EQ(deposed.Stream(), Deposed().Stream()) << "nothing was cut";
      }
      const Outcome second = Connect(master, deposed, 1000, UINT64_MAX, UINT64_MAX, {Id('a')}, 0);
      ASSERT_FALSE(second.closed) << second.closed->reason;
      ASSERT_EQ(second.partial, 1);
      ASSERT_NE(first.tail.has_value(), second.tail.has_value()) << "the tail is cut once";
      ASSERT_EQ(first.tail ? *first.tail : *second.tail, kDeposedTail);
      ExpectEqual(master, deposed);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(Link, AForkBelowTheCheckpointIsAFullSyncAndSaysWhy) {
  ModelLog master = MakeMaster(), deposed = Deposed();
  const uint64_t fork = master.lineage.entries().back().from_offset;
  Outcome outcome = Connect(master, deposed, 1000, UINT64_MAX, UINT64_MAX, {Id('a')}, fork + 1);
  EXPECT_EQ(outcome.full, 1);
  EXPECT_FALSE(outcome.tail);
  EXPECT_NE(outcome.rewind_impossible.find("checkpoint"), std::string::npos) << outcome.rewind_impossible;
  ExpectEqual(master, deposed);
}

TEST(Link, AnotherPastUpToTheForkIsNeverCut) {
  ModelLog master = MakeMaster(), deposed;
  deposed.lineage.Reset(Id('a'), 0, 1000);
  // The same id and offsets, other bytes: history is more than an id and a number.
  std::string past = master.Stream().substr(0, master.lineage.entries().back().from_offset);
  past[0] = 'X';
  deposed.Add(wal::FrameKind::kData, wal::UnitPart::kWhole, past);
  deposed.Add(wal::FrameKind::kData, wal::UnitPart::kWhole, "more");
  Outcome outcome = Connect(master, deposed, 1000, UINT64_MAX, UINT64_MAX, {}, 0);
  EXPECT_EQ(outcome.full, 1);
  EXPECT_FALSE(outcome.tail) << "nothing is cut before the past was proved equal";
  ExpectEqual(master, deposed);
}

// What a replica with a broken transfer makes of a master's answer that begins at `start`.
ReplicaActions Resume(uint64_t start, const std::string& name, std::string* asked) {
  ReplicaLinkOptions options;
  options.partial = SnapshotBegin{10, 20, "snap.hfs", 12};
  HistoryClaim claim;
  claim.lineage.Reset(Id('f'), 0, 1);
  ReplicaLink link(options, claim, {claim.lineage, 0, {Id('f')}, false}, 0);
  wal::Lineage lineage;
  lineage.Reset(Id('a'), 0, 1);
  MasterLink master({}, 0);
  std::string bytes = "+PONG\r\n+OK\r\n+OK\r\n+HOLDFAST 1\r\n";
  master.BeginFullSync(lineage, 10, {10, 20, name, start, "history forbids to go on"}, bytes);
  EXPECT_EQ(master.snapshot_position(), start);
  master.SnapshotChunk(std::string(20 - start, 'x'), bytes);
  ReplicaActions actions;
  link.Connected(0, actions);
  link.Received(bytes, 0, actions);
  for (const auto& action : actions) {
    if (const auto* send = std::get_if<SendBytes>(&action)) *asked += send->bytes;
  }
  return actions;
}

TEST(Link, ATransferThatBrokeGoesOnWhereTheMasterSays) {
  for (uint64_t start : {0u, 5u, 12u}) {
    std::string asked;
    ReplicaActions actions = Resume(start, "snap.hfs", &asked);
    EXPECT_NE(asked.find("10 20 12 snap.hfs"), std::string::npos) << asked;
    ASSERT_TRUE(std::holds_alternative<SnapshotComplete>(actions.back())) << start;
    for (const auto& action : actions) {
      if (const auto* begun = std::get_if<SnapshotStarted>(&action)) {
        EXPECT_EQ(begun->begin.start, start);
        EXPECT_EQ(begun->begin.reason, "history forbids to go on");
      }
      if (const auto* chunk = std::get_if<SnapshotBytes>(&action)) {
        EXPECT_EQ(chunk->position, start);
      }
    }
  }
}

TEST(Link, ATransferIsResumedOnlyIfItIsTheOneThatBroke) {
  std::string asked;
  for (const auto& [start, name] : {std::pair<uint64_t, std::string>{13, "snap.hfs"}, {12, "other.hfs"}}) {
    ReplicaActions actions = Resume(start, name, &asked);
    ASSERT_TRUE(std::holds_alternative<Close>(actions.back()));
  }
}

TEST(Link, CutTwiceWithinTheStream) {
  ModelLog master = MakeMaster();
  ModelLog base = Fresh();
  uint64_t until_snapshot = 0;
  {  // a replica that has the snapshot alone
    ModelLog trial = Fresh();
    Outcome whole = Connect(master, trial, 1000);
    until_snapshot = whole.to_replica;
  }
  for (uint64_t first = until_snapshot / 2; first <= until_snapshot; first += 13) {
    ModelLog replica = Fresh();
    Connect(master, replica, 1, first);
    if (replica.end() == 0) continue;
    ModelLog copy = replica;
    Outcome rest = Connect(master, copy, 1000);
    for (uint64_t second = 1; second <= rest.to_replica; ++second) {
      ModelLog again = replica;
      Connect(master, again, 64, second);
      Outcome last = Connect(master, again, 1000);
      ASSERT_EQ(last.full, 0);
      ExpectEqual(master, again);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(Link, EveryFlippedByteOfTheStreamIsNoticed) {
  ModelLog master = MakeMaster();
  ModelMaster source(master, 3);
  std::string command;
  AppendCommand(command, {"PSYNC", "?", "-1"});
  source.Receive(command);
  while (!source.idle()) {
    std::string before = source.out;
    source.Pump();
    if (source.out == before) break;
  }
  size_t start = source.out.find('\n') + 1;
  for (size_t i = start; i < source.out.size(); ++i) {
    std::string damaged = source.out.substr(start);
    damaged[i - start] = static_cast<char>(damaged[i - start] ^ 0x10);
    MessageParser parser;
    parser.Append(damaged);
    bool noticed = false;
    size_t messages = 0;
    for (;;) {
      auto next = parser.Next();
      if (!next.ok()) {
        noticed = true;
        break;
      }
      if (!next->has_value()) break;
      ++messages;
    }
    EXPECT_TRUE(noticed) << "byte " << i << " after " << messages << " messages";
  }
}

TEST(Link, WrongPasswordEndsTheLink) {
  ModelLog master = MakeMaster(), replica = Fresh();
  ReplicaLinkOptions options;
  options.password = "wrong";
  ModelMaster source(master, 3);
  ModelReplica follower(replica, options, {replica.lineage, 0, {}, false});
  for (int i = 0; i < 10 && !follower.closed; ++i) {
    source.Receive(std::exchange(follower.out, {}));
    follower.Receive(std::exchange(source.out, {}));
  }
  ASSERT_TRUE(follower.closed);
  EXPECT_NE(follower.closed->reason.find("masterauth"), std::string::npos) << follower.closed->reason;
}

TEST(Link, ARedisMasterIsRefusedWithAClearMessage) {
  ModelLog replica = Fresh();
  ModelReplica follower(replica, {}, {replica.lineage, 0, {}, false});
  follower.Receive("+PONG\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: holdfast-history\r\n");
  ASSERT_TRUE(follower.closed);
  EXPECT_EQ(follower.closed->kind, CloseKind::kRefused);
  EXPECT_NE(follower.closed->reason.find("not a Holdfast server"), std::string::npos);
}

TEST(Link, KeepalivesBeforeTheAnswerAreFine) {
  ModelLog replica = Fresh();
  ModelReplica follower(replica, {}, {replica.lineage, 0, {}, false});
  follower.Receive("+PONG\r\n+OK\r\n+OK\r\n+HOLDFAST 1\r\n\n\n\n-NOMASTERLINK later\r\n");
  ASSERT_TRUE(follower.closed);
  EXPECT_EQ(follower.closed->kind, CloseKind::kPsyncRejected);
  EXPECT_NE(follower.closed->reason.find("come back later"), std::string::npos);
}

TEST(Link, MasterThatLostDataIsNotFollowed) {
  ModelLog master = MakeMaster(), replica = Fresh();
  Connect(master, replica, 1000);
  ModelLog shorter = master;
  shorter.frames.pop_back();
  Outcome outcome = Connect(shorter, replica, 1000);
  EXPECT_EQ(outcome.refused, 1);
  ASSERT_TRUE(outcome.closed);
  EXPECT_NE(outcome.closed->reason.find("lost data"), std::string::npos) << outcome.closed->reason;
  EXPECT_EQ(replica.Stream(), master.Stream());
}

TEST(Link, EmptyForeignMasterDoesNotReplaceOurData) {
  ModelLog replica = MakeMaster();
  ModelLog empty = Fresh();
  std::string before = replica.Stream();
  Outcome outcome = Connect(empty, replica, 1000);
  ASSERT_TRUE(outcome.closed);
  EXPECT_EQ(outcome.closed->kind, CloseKind::kRefused);
  EXPECT_NE(outcome.closed->reason.find("is empty"), std::string::npos) << outcome.closed->reason;
  EXPECT_EQ(replica.Stream(), before);
}

TEST(Link, SilenceEndsBothSides) {
  ModelLog log = MakeMaster();
  ReplicaLinkOptions options;
  options.timeout_ms = 5000;
  ReplicaLink replica(options, log.Claim(), {log.lineage, log.end(), {}, false}, 1000);
  ReplicaActions actions;
  replica.Connected(1000, actions);
  replica.Tick(6000, actions);
  EXPECT_EQ(replica.state(), ReplicaState::kPing);
  replica.Tick(6001, actions);
  EXPECT_EQ(replica.state(), ReplicaState::kClosed);
  ASSERT_TRUE(std::holds_alternative<Close>(actions.back()));

  MasterLink master({5000, 1000}, 1000);
  std::string out;
  ASSERT_TRUE(master.Tick(3000, 0, 0, out).ok());
  EXPECT_EQ(out, "\n");  // before the answer
  master.Continue(log.lineage, log.end(), log.end(), out);
  out.clear();
  ASSERT_TRUE(master.Tick(5000, 0, 0, out).ok());
  EXPECT_EQ(out.size(), kMessageHeaderSize + 16);
  EXPECT_FALSE(master.Tick(9000, 0, 0, out).ok());
}

TEST(Link, AcksOfWhatWasNeverSentEndTheLink) {
  ModelLog log = MakeMaster();
  MasterLink master({}, 0);
  std::string out, ack;
  master.Continue(log.lineage, 10, log.end(), out);
  AppendCommand(ack, {"replconf", "ACK", "10"});
  ASSERT_TRUE(master.Received(ack, 1).ok());
  EXPECT_TRUE(master.online());
  EXPECT_EQ(master.acked_offset(), 10u);
  ack.clear();
  AppendCommand(ack, {"REPLCONF", "ACK", "11"});
  EXPECT_FALSE(master.Received(ack, 1).ok());
}

TEST(Wire, UnknownTypesAreSkippedOnlyIfMarkedSo) {
  std::string bytes;
  AppendMessage(bytes, static_cast<MessageType>(0xff), "from the future");
  AppendKeepalive(bytes, {7, 8});
  AppendMessage(bytes, static_cast<MessageType>(0x7f), "vital");
  MessageParser parser;
  parser.Append(bytes);
  auto first = parser.Next();
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ((*first)->type, MessageType::kKeepalive);
  EXPECT_FALSE(parser.Next().ok());
}

TEST(Wire, FramesRoundTripWithAllHistoryFields) {
  wal::HistoryFrame frame;
  frame.kind = wal::FrameKind::kData;
  frame.part = wal::UnitPart::kLast;
  frame.selected_db = 3;
  frame.selected_db_after = 7;
  frame.offset = 0x1122334455;
  frame.time_ms = 1700000000000;
  frame.digest = 0xfedcba9876543210;
  frame.payload = "payload";
  std::string bytes;
  AppendFrameMessage(bytes, frame);
  MessageParser parser;
  parser.Append(bytes);
  auto message = parser.Next();
  ASSERT_TRUE(message.ok() && message->has_value());
  auto parsed = ParseFrameMessage((*message)->body);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->kind, frame.kind);
  EXPECT_EQ(parsed->part, frame.part);
  EXPECT_EQ(parsed->selected_db, 3);
  EXPECT_EQ(parsed->selected_db_after, 7);
  EXPECT_EQ(parsed->offset, frame.offset);
  EXPECT_EQ(parsed->time_ms, frame.time_ms);
  EXPECT_EQ(parsed->digest, frame.digest);
  EXPECT_EQ(parsed->payload, "payload");
}

TEST(Link, AReplicaThatCopiesIsNotOnline) {
  ModelLog log = Fresh();
  MasterLink master({}, 0);
  std::string out, bytes;
  master.BeginFullSync(log.lineage, 0, {0, 0, "empty.hfs"}, out);
  AppendCommand(bytes, {"REPLCONF", "COPYING", "1"});
  ASSERT_TRUE(master.Received(bytes, 500).ok());
  EXPECT_FALSE(master.online());
  EXPECT_EQ(master.last_ack_ms(), 500);
  bytes.clear();
  AppendCommand(bytes, {"REPLCONF", "ACK", "0"});
  ASSERT_TRUE(master.Received(bytes, 600).ok());
  EXPECT_TRUE(master.online());
}

TEST(Wire, FramesThatStayAtHomeAreRefused) {
  for (int kind : {0, 3, 6, 7, 255}) {
    std::string body(kFrameBodyPrefix, '\0');
    body[0] = static_cast<char>(kind);
    EXPECT_FALSE(ParseFrameMessage(body).ok()) << kind;
  }
}

}  // namespace
}  // namespace holdfast::replication
