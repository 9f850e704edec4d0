// Both sides of a link, joined by byte pipes: every exchange, and a cut at every byte of it.
#include "tests/replication/link_model.h"

namespace holdfast::replication {
namespace {

using namespace model;  // NOLINT: made for these tests

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

// A log that refused the stream: first the master has to prove that the pasts are equal, and if that does not help, a
// copy is asked for, once.
TEST(Link, ARefusedStreamEndsInProofOrACopy) {
  for (int refusals = 0; refusals <= kRefusalsMax; ++refusals) {
    SCOPED_TRACE(refusals);
    ModelLog master = MakeMaster(), replica = Fresh();
    Connect(master, replica, 100);
    Outcome outcome = Connect(master, replica, 100, UINT64_MAX, UINT64_MAX, {}, UINT64_MAX, refusals);
    ASSERT_FALSE(outcome.closed) << outcome.closed->reason;
    EXPECT_EQ(outcome.proof_asked, refusals > 0);
    EXPECT_EQ(outcome.partial, refusals < kRefusalsMax ? 1 : 0);
    EXPECT_EQ(outcome.full, refusals < kRefusalsMax ? 0 : 1);
    const bool reason_told = outcome.full_sync_reason.find("refused 3 times in a row") != std::string::npos;
    EXPECT_EQ(reason_told, refusals == kRefusalsMax) << outcome.full_sync_reason;
    ExpectEqual(master, replica);
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

}  // namespace
}  // namespace holdfast::replication
