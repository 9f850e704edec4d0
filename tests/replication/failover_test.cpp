// FAILOVER: who may be asked, when the roles change, and what the target answers.
#include "replication/failover.h"

#include <gtest/gtest.h>

#include "replication/past.h"
#include "replication/replica_link.h"

namespace holdfast::replication {
namespace {

using Move = Failover::Move;

std::string Id(char digit) { return std::string(40, digit); }

const std::pair<std::string, int> kOne{"10.0.0.1", 6001}, kTwo{"10.0.0.1", 6002}, kRedis{"10.0.0.1", 6003};

std::vector<FailoverReplica> Replicas(uint64_t one, uint64_t two) {
  return {{kOne, true, false, one}, {kTwo, true, false, two}, {kRedis, true, true, 100}};
}

TEST(Failover, RefusesAsRedisDoes) {
  EXPECT_EQ(RefuseFailover({}, {}), "FAILOVER requires connected replicas.");
  EXPECT_EQ(RefuseFailover({kOne, true, 0}, Replicas(0, 0)),
            "FAILOVER with force option requires both a timeout and target HOST and IP.");
  EXPECT_EQ(RefuseFailover({std::nullopt, true, 5}, Replicas(0, 0)),
            "FAILOVER with force option requires both a timeout and target HOST and IP.");
  EXPECT_EQ(RefuseFailover({std::pair("10.0.0.1", 1), false, 0}, Replicas(0, 0)),
            "FAILOVER target HOST and PORT is not a replica.");
  EXPECT_EQ(RefuseFailover({kOne, false, 0}, Replicas(0, 0)), std::nullopt);
  EXPECT_EQ(RefuseFailover({}, Replicas(0, 0)), std::nullopt);
  std::vector<FailoverReplica> replicas = Replicas(0, 0);
  replicas[0].online = false;
  EXPECT_EQ(RefuseFailover({kOne, false, 0}, replicas), "FAILOVER target replica is not online.");
  for (const FailoverOrder& order : {FailoverOrder{}, FailoverOrder{kRedis, false, 0}}) {
    const auto refusal = RefuseFailover(order, std::vector<FailoverReplica>{{kRedis, true, true, 100}});
    ASSERT_TRUE(refusal);
    EXPECT_TRUE(refusal->starts_with("FAILOVER to a replica of Redis' kind is not possible")) << *refusal;
  }
}

TEST(Failover, WaitsUntilTheTargetHasEverything) {
  Failover failover({kTwo, false, 0}, 1000);
  EXPECT_EQ(failover.Next(100, Replicas(100, 99), 2000).kind, Move::Kind::kWait);
  EXPECT_FALSE(failover.in_progress());
  std::vector<FailoverReplica> away = Replicas(100, 100);
  away[1].online = false;
  EXPECT_EQ(failover.Next(100, away, 2000).kind, Move::Kind::kWait);
  const Move move = failover.Next(100, Replicas(100, 100), 1'000'000);
  EXPECT_EQ(move.kind, Move::Kind::kHandOver);
  EXPECT_EQ(move.target, kTwo);
  EXPECT_TRUE(move.in_step);
  EXPECT_TRUE(failover.in_progress());
  EXPECT_EQ(failover.Next(100, Replicas(100, 100), 1'000'001).kind, Move::Kind::kWait);
}

TEST(Failover, WithoutATargetTakesWhoIsFirst) {
  Failover failover({}, 1000);
  EXPECT_EQ(failover.Next(100, Replicas(90, 99), 2000).kind, Move::Kind::kWait) << "one of Redis' kind is passed over";
  EXPECT_EQ(failover.Next(100, Replicas(90, 100), 2000).target, kTwo);
}

TEST(Failover, TheTimeoutEndsItOrForcesIt) {
  Failover patient({kOne, false, 500}, 1000);
  EXPECT_EQ(patient.Next(100, Replicas(90, 90), 1499).kind, Move::Kind::kWait);
  EXPECT_EQ(patient.Next(100, Replicas(90, 90), 1500).kind, Move::Kind::kGiveUp);
  Failover forced({kOne, true, 500}, 1000);
  EXPECT_EQ(forced.Next(100, Replicas(90, 90), 1499).kind, Move::Kind::kWait);
  const Move move = forced.Next(100, Replicas(90, 90), 1500);
  EXPECT_EQ(move.kind, Move::Kind::kHandOver);
  EXPECT_EQ(move.target, kOne);
  EXPECT_FALSE(move.in_step);
  Failover never({kOne, false, INT64_MAX}, 1000);
  EXPECT_EQ(never.Next(100, Replicas(90, 90), INT64_MAX - 1).kind, Move::Kind::kWait);
}

TEST(Takeover, OnlyOfOurOwnHistoryAndAsAReplica) {
  wal::Lineage own;
  own.Push(Id('a'), 0, 0);
  using Kind = TakeoverAnswer::Kind;
  EXPECT_EQ(AnswerTakeover({false, Id('a'), own, false}).kind, Kind::kBecomeMaster);
  EXPECT_EQ(AnswerTakeover({false, Id('A'), own, false}).kind, Kind::kBecomeMaster);
  EXPECT_EQ(AnswerTakeover({false, Id('b'), own, false}).error, "ERR PSYNC FAILOVER replid must match my replid.");
  EXPECT_EQ(AnswerTakeover({true, Id('a'), own, false}).error, "ERR PSYNC FAILOVER can't be sent to a master.");
  EXPECT_EQ(AnswerTakeover({true, Id('b'), own, false}).kind, Kind::kRefuse);
  EXPECT_TRUE(AnswerTakeover({false, Id('a'), own, true}).error.starts_with("NOMASTERLINK"));
}

// Its answer was lost and the old master asks again: to refuse would make that one master, too.
TEST(Takeover, WhoIsMasterAlreadyDoesNotRefuse) {
  wal::Lineage own;
  own.Push(Id('a'), 0, 0);
  own.Push(Id('b'), 100, 0);
  EXPECT_EQ(AnswerTakeover({true, Id('a'), own, false}).kind, TakeoverAnswer::Kind::kIsMaster);
  EXPECT_EQ(AnswerTakeover({false, Id('a'), own, false}).kind, TakeoverAnswer::Kind::kRefuse);
}

// The same as the old master sees it: whatever else the target would say, it need not be asked any more.
TEST(Takeover, TheOldMasterSeesThatItsPlaceIsTaken) {
  for (const bool taken : {false, true}) {
    HistoryClaim claim;
    claim.end_offset = 100;
    claim.lineage.Push(Id('a'), 0, 0);
    OwnSituation situation{claim.lineage, 100, {Id('a')}, true, 100};
    ReplicaLinkOptions options;
    options.take_over = true;
    ReplicaLink link(options, claim, situation, 0);
    FullSyncOffer offer{claim.lineage, 100};
    if (taken) offer.lineage.Push(Id('b'), 100, 0);
    ReplicaActions actions;
    link.Connected(0, actions);
    link.Received("+PONG\r\n", 0, actions);
    actions.clear();
    link.Received("+OK\r\n+OK\r\n+HOLDFAST 1 " + FormatOffer(offer) + "\r\n", 0, actions);
    ASSERT_EQ(actions.size(), 1u);
    if (taken) {
      ASSERT_TRUE(std::holds_alternative<Close>(actions[0]));
      EXPECT_EQ(std::get<Close>(actions[0]).kind, CloseKind::kTookOver);
    } else {
      ASSERT_TRUE(std::holds_alternative<SendBytes>(actions[0]));
      EXPECT_NE(std::get<SendBytes>(actions[0]).bytes.find("FAILOVER"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace holdfast::replication
