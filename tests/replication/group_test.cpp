#include "replication/group.h"

#include <gtest/gtest.h>

#include "replication/candidacy.h"
#include "replication/confirmation.h"
#include "replication/history.h"
#include "replication/membership.h"
#include "wal/history_state.h"

namespace holdfast::replication {
namespace {

std::string Id(char digit) { return std::string(40, digit); }

// Nodes 'a' (usually the master), 'b', 'c' ...; settled, epoch 1 from the beginning.
GroupRecord Group(int nodes, int durable) {
  GroupRecord record;
  record.epoch = 1;
  record.durable = durable;
  record.settled = true;
  for (int i = 0; i < nodes; ++i) record.nodes.push_back({Id(static_cast<char>('a' + i)), "10.0.0.1", 6000 + i});
  return record;
}

PromiseAnswer Granted(LogStanding standing) { return {true, standing, Id('1'), {}}; }

TEST(GroupRecord, RoundTripsAndDetectsEveryFlip) {
  GroupRecord record = Group(4, 2);
  record.epoch_offset = 77;
  record.epoch_before = 1;
  record.epoch_before_offset = 5;
  record.since = UINT64_MAX;
  record.nodes[1].host = "fe80::1%eth0";
  const std::string text = FormatGroup(record);
  const auto parsed = ParseGroup(text);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, record);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(ParseGroup(damaged).ok()) << i;
    EXPECT_FALSE(ParseGroup(text.substr(0, i)).ok()) << i;
  }
}

TEST(GroupRecord, EightNodesWithLongIpv4AddressesFitAFrame) {
  GroupRecord record = Group(8, 7);
  for (GroupNode& node : record.nodes) node = {node.id, "255.255.255.255", 65535};
  record.since = record.epoch = record.epoch_before = 1ull << 40;
  record.epoch_offset = record.epoch_before_offset = 1ull << 40;
  record.durable_before = 7;
  EXPECT_LE(FormatGroup(record).size(), wal::kStickyPayloadMax);
}

TEST(GroupRecord, TheEpochOfBytesGoesByTheirPlace) {
  GroupRecord record = Group(3, 1);
  record.epoch = 5;
  record.epoch_offset = 100;
  record.epoch_before = 3;
  record.epoch_before_offset = 40;
  EXPECT_EQ(record.EpochAt(100), 5u);
  EXPECT_EQ(record.EpochAt(99), 3u);
  EXPECT_EQ(record.EpochAt(39), 0u);
}

TEST(GroupRecord, PromisesNeededMakeEveryTwoSetsMeet) {
  for (int nodes = 2; nodes <= 9; ++nodes) {
    for (int durable = 1; durable < nodes; ++durable) {
      const GroupRecord record = Group(nodes, durable);
      const int promised = PromisesNeeded(record, Id('a')) + 1;
      EXPECT_EQ(promised + (durable + 1), nodes + 1) << nodes << " nodes, " << durable;
      EXPECT_EQ(PromisesNeeded(record, Id('f') + "x"), promised);  // one that is no member asks one more
    }
  }
  EXPECT_EQ(PromisesNeeded(Group(3, 0), Id('a')), 0);
}

TEST(Promises, AreGivenOnceForAnEpochAndAgainToTheSameCandidate) {
  const GroupRecord record = Group(3, 1);
  const PromiseSituation own{false, {1, 100}, {}};
  EXPECT_FALSE(RefusePromise(record, {}, own, {2, Id('b')}));
  EXPECT_FALSE(RefusePromise(record, {2, Id('b')}, own, {2, Id('b')}));
  EXPECT_FALSE(RefusePromise(record, {2, Id('b')}, own, {3, Id('c')}));
  EXPECT_EQ(RefusePromise(record, {2, Id('b')}, own, {2, Id('c')})->promised_epoch, 2u);
  EXPECT_TRUE(RefusePromise(record, {}, own, {1, Id('b')}));
  EXPECT_TRUE(RefusePromise(record, {}, {true, {1, 100}, {}}, {2, Id('b')}));  // a master
  // Copied anew, and not caught up with what its master had; or went back since, to a master of a later epoch.
  EXPECT_TRUE(RefusePromise(record, {}, {false, {1, 100}, {1, 101}}, {2, Id('b')}));
  EXPECT_FALSE(RefusePromise(record, {}, {false, {1, 100}, {0, 101}}, {2, Id('b')}));
}

TEST(Promises, FenceUntilTheEpochIsThere) {
  GroupRecord record = Group(3, 1);
  EXPECT_TRUE(IsFenced(record, {2, Id('b')}));
  record.epoch = 2;
  EXPECT_FALSE(IsFenced(record, {2, Id('b')}));
}

TEST(Promises, AnswersRoundTrip) {
  const auto granted = ParsePromiseAnswer(FormatPromiseAnswer(Granted({4, 99})));
  ASSERT_TRUE(granted.ok());
  EXPECT_TRUE(granted->granted);
  EXPECT_EQ(granted->standing, (LogStanding{4, 99}));
  EXPECT_EQ(granted->history, Id('1'));
  const auto refused = ParsePromiseAnswer(FormatPromiseAnswer({false, {}, {}, {7, "epoch 7 is promised already"}}));
  ASSERT_TRUE(refused.ok());
  EXPECT_FALSE(refused->granted);
  EXPECT_EQ(refused->refusal.promised_epoch, 7u);
  for (const char* text : {"", "PROMISED", "PROMISED 1", "PROMISED 1 2", "PROMISED 1 2 xyz", "REFUSED x", "ERR no"}) {
    EXPECT_FALSE(ParsePromiseAnswer(text).ok()) << text;
  }
}

TEST(Confirmation, NMembersMakeAnOffsetConfirmed) {
  Confirmation confirmation;
  confirmation.Begin(Group(4, 2), Id('a'), Id('1'));
  ASSERT_EQ(confirmation.Confirmed().size(), 4u);
  confirmation.Acked(Id('b'), Id('1'), 100, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 100u);
  EXPECT_EQ(confirmation.Confirmed()[2], 0u);
  confirmation.Acked(Id('c'), Id('1'), 80, 1);
  EXPECT_EQ(confirmation.Confirmed()[2], 80u);
  EXPECT_EQ(confirmation.Confirmed()[3], 0u);
  confirmation.Acked(Id('f'), Id('1'), 500, 1);  // no member
  confirmation.Acked(Id('a'), Id('1'), 500, 1);  // the master itself
  EXPECT_EQ(confirmation.Confirmed()[1], 100u);
}

TEST(Confirmation, AcknowledgementsOfAnOldHistoryDoNotCount) {
  Confirmation confirmation;
  confirmation.Begin(Group(2, 1), Id('a'), Id('2'));
  confirmation.Acked(Id('b'), Id('1'), 100, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 0u);
  EXPECT_EQ(confirmation.InGoodStanding(1, 0), 0);
  confirmation.Acked(Id('b'), Id('2'), 60, 2);
  EXPECT_EQ(confirmation.Confirmed()[1], 60u);
  confirmation.Begin(Group(2, 1), Id('a'), Id('3'));  // a new history: what was said of the old one is forgotten
  EXPECT_EQ(confirmation.Confirmed()[1], 0u);
}

TEST(Confirmation, WhoDoesNotReachBehindTheRecordDoesNotCount) {
  GroupRecord record = Group(3, 1);
  record.since = 50;
  Confirmation confirmation;
  confirmation.Begin(record, Id('a'), Id('1'));
  confirmation.Acked(Id('b'), Id('1'), 50, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 0u);
  confirmation.Acked(Id('b'), Id('1'), 51, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 51u);
}

// Or a member that asks the R - N others it needs could miss both nodes that have a write: this master and one member.
TEST(Confirmation, AMasterBesideTheGroupNeedsAMemberMore) {
  Confirmation confirmation;
  confirmation.Begin(Group(3, 1), Id('x'), Id('1'));
  ASSERT_EQ(confirmation.Confirmed().size(), 3u);
  confirmation.Acked(Id('a'), Id('1'), 100, 1000);
  EXPECT_EQ(confirmation.Confirmed()[1], 0u);
  EXPECT_EQ(confirmation.InGoodStanding(1000, 0), 0);
  confirmation.Acked(Id('b'), Id('1'), 90, 1000);
  EXPECT_EQ(confirmation.Confirmed()[1], 90u);
  EXPECT_EQ(confirmation.Confirmed()[2], 0u);
  EXPECT_EQ(confirmation.InGoodStanding(1000, 0), 1);
  confirmation.Acked(Id('c'), Id('1'), 80, 1000);
  EXPECT_EQ(confirmation.Confirmed()[2], 80u);
}

TEST(Confirmation, AnUnsettledRecordNeedsAllMembers) {
  GroupRecord record = Group(3, 1);
  record.settled = false;
  record.since = 50;
  Confirmation confirmation;
  confirmation.Begin(record, Id('a'), Id('1'));
  confirmation.Acked(Id('b'), Id('1'), 90, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 0u);
  EXPECT_FALSE(confirmation.Settled());
  confirmation.Acked(Id('c'), Id('1'), 60, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 60u);
  EXPECT_TRUE(confirmation.Settled().value().settled);
  record.settled = true;
  confirmation.Begin(record, Id('a'), Id('1'));
  EXPECT_EQ(confirmation.Confirmed()[1], 90u);
}

TEST(Confirmation, GoodStandingIsConnectedFreshAndNotPromised) {
  Confirmation confirmation;
  confirmation.Begin(Group(4, 2), Id('a'), Id('1'));
  confirmation.Acked(Id('b'), Id('1'), 10, 1000);
  confirmation.Acked(Id('c'), Id('1'), 10, 5000);
  EXPECT_EQ(confirmation.InGoodStanding(6000, 0), 2);
  EXPECT_EQ(confirmation.InGoodStanding(6000, 2000), 1);
  confirmation.Fenced(Id('c'), 9);
  EXPECT_EQ(confirmation.InGoodStanding(6000, 2000), 0);
  EXPECT_EQ(confirmation.FencedBy(), 9u);
  confirmation.Gone(Id('b'));
  EXPECT_EQ(confirmation.InGoodStanding(6000, 0), 0);
  EXPECT_EQ(confirmation.Confirmed()[2], 10u);  // what they have stays on their disks
}

TEST(Candidacy, WithAllMembersConfirmingNobodyIsAsked) {
  const Candidacy candidacy(Group(3, 2), {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  EXPECT_EQ(candidacy.state(), CandidacyState::kWon);
  EXPECT_EQ(EpochNumber(candidacy.epoch()), 1u);
}

TEST(Candidacy, WinsWithTheMostOfThoseThatPromised) {
  SeededRandom random(1);
  Candidacy candidacy(Group(4, 2), {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  EXPECT_EQ(candidacy.TakeQuestions(0).size(), 3u);
  EXPECT_TRUE(candidacy.TakeQuestions(0).empty());
  candidacy.Unreachable(Id('a'), candidacy.epoch(), "nobody listens there", 0);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kWon);
}

TEST(Candidacy, FetchesWhatTheMostAdvancedHas) {
  SeededRandom random(1);
  GroupRecord record = Group(4, 1);
  Candidacy candidacy(record, {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({1, 120}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  candidacy.Answered(Id('d'), candidacy.epoch(), Granted({1, 110}), 0, random);
  ASSERT_EQ(candidacy.state(), CandidacyState::kFetching);
  EXPECT_EQ(candidacy.source().id, Id('c'));
  candidacy.Grew({1, 119}, Id('1'), record, 10);
  EXPECT_EQ(candidacy.state(), CandidacyState::kFetching);
  candidacy.Grew({1, 120}, Id('1'), record, 10);
  EXPECT_EQ(candidacy.state(), CandidacyState::kWon);
}

TEST(Candidacy, LessOfALaterEpochIsMore) {
  SeededRandom random(1);
  Candidacy candidacy(Group(3, 1), {Id('b'), {1, 500}, Id('1'), 0}, 0, 1000);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({2, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kFetching);
}

TEST(Candidacy, ARecordThatIsFetchedCounts) {
  SeededRandom random(1);
  Candidacy candidacy(Group(3, 1), {Id('b'), {1, 50}, Id('1'), 0}, 0, 1000);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({1, 90}), 0, random);
  ASSERT_EQ(candidacy.state(), CandidacyState::kFetching);
  candidacy.Grew({1, 90}, Id('1'), Group(5, 1), 10);  // two more members than we knew of
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  EXPECT_EQ(candidacy.TakeQuestions(10).size(), 3u);  // 'c' has promised
}

TEST(Candidacy, AHigherPromiseBeginsAnew) {
  SeededRandom random(1);
  Candidacy candidacy(Group(4, 1), {Id('b'), {1, 100}, Id('1'), 3}, 0, 5000);
  const uint64_t first = candidacy.epoch();
  EXPECT_EQ(first, NextEpoch(3, Id('b')));
  candidacy.Answered(Id('c'), first, Granted({1, 90}), 0, random);
  candidacy.Answered(Id('d'), first, {false, {}, {}, {first + 1, "promised"}}, 0, random);
  const uint64_t second = candidacy.epoch();
  EXPECT_EQ(EpochNumber(second), EpochNumber(first) + 1);
  candidacy.Answered(Id('a'), first, Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  EXPECT_EQ(candidacy.TakeQuestions(1000).size(), 3u);
  candidacy.Answered(Id('c'), second, Granted({1, 90}), 1000, random);
  candidacy.Answered(Id('d'), second, Granted({1, 90}), 1000, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kWon);
}

TEST(Candidacy, NoTwoCandidatesShareAnEpoch) {
  EXPECT_NE(NextEpoch(5, Id('a')), NextEpoch(5, Id('b')));
  EXPECT_GT(NextEpoch(NextEpoch(5, Id('a')), Id('b')), NextEpoch(5, Id('a')));
}

TEST(Candidacy, GivesUpAtItsDeadlineAndSaysWhatLacks) {
  Candidacy candidacy(Group(3, 1), {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  (void)candidacy.TakeQuestions(0);
  candidacy.Unreachable(Id('c'), candidacy.epoch(), "nobody listens there", 0);
  candidacy.Tick(999);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  candidacy.Tick(1000);
  EXPECT_EQ(candidacy.state(), CandidacyState::kLost);
  EXPECT_NE(candidacy.Lacking().find("0 of 1"), std::string::npos);
  EXPECT_NE(candidacy.Lacking().find("10.0.0.1:6002: nobody listens there"), std::string::npos);
}

// What fewer members than the old N have is not confirmed by a lower N at once: who has not got that yet asks only
// R - N others by the old one, and could miss those members.
TEST(Confirmation, ALowerNumberConfirmsNothingBeforeItIsSettled) {
  GroupRecord record = Group(5, 2);
  Confirmation confirmation;
  confirmation.Begin(record, Id('a'), Id('1'));
  confirmation.Acked(Id('b'), Id('1'), 100, 1);
  confirmation.Acked(Id('c'), Id('1'), 80, 1);
  record = RecordWithDurable(record, 1);
  record.since = 120;
  confirmation.Begin(record, Id('a'), Id('1'));
  EXPECT_EQ(confirmation.Confirmed()[1], 80u);
  for (const char node : {'b', 'c', 'd'}) confirmation.Acked(Id(node), Id('1'), 130, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 80u);
  confirmation.Acked(Id('e'), Id('1'), 125, 1);
  EXPECT_EQ(confirmation.Confirmed()[1], 125u);
  confirmation.Begin(confirmation.Settled().value(), Id('a'), Id('1'));
  EXPECT_EQ(confirmation.Confirmed()[1], 130u);
}

TEST(Confirmation, NothingIsConfirmedOfWhatNobodyWaitedFor) {
  GroupRecord record = Group(3, 0);
  Confirmation confirmation;
  confirmation.Begin(record, Id('a'), Id('1'));
  confirmation.Acked(Id('b'), Id('1'), 100, 1);
  record = RecordWithDurable(record, 1);
  record.since = 120;
  confirmation.Begin(record, Id('a'), Id('1'));
  EXPECT_EQ(confirmation.Confirmed()[1], 0u);
}

// A master that was replaced and does not know it raises N: one promise would do by its record. The master that
// replaced it confirms by the record before, with one member: three of the others must be asked to find it.
TEST(Candidacy, ByAChangeThatIsNotSettledTheRecordBeforeCountsToo) {
  SeededRandom random(1);
  const GroupRecord record = RecordWithDurable(Group(5, 1), 3);
  Candidacy candidacy(record, {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  EXPECT_NE(candidacy.Lacking().find("3 of the 5 nodes before it"), std::string::npos) << candidacy.Lacking();
  candidacy.Answered(Id('d'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  candidacy.Answered(Id('e'), candidacy.epoch(), Granted({2, 50}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kFetching);

  // A change of a change: both that may be in force count, by the lower N.
  EXPECT_EQ(RecordWithDurable(record, 2).durable_before, 1);
  GroupRecord heard = Group(5, 3);  // settled by its master, which this node has not heard
  heard.settled = false;
  EXPECT_EQ(RecordWithDurable(heard, 4).durable_before, 3);
  EXPECT_EQ(RecordWithDurable(RecordWithDurable(heard, 4), 2).durable_before, 3);
  EXPECT_EQ(RecordWithDurable(Group(5, 0), 2).durable_before, 0);
  GroupRecord settled = record;
  settled.settled = true;
  EXPECT_FALSE(settled.Before());
}

TEST(Candidacy, WhoIsBeingLeftOutIsAskedToo) {
  SeededRandom random(1);
  const GroupRecord before = Group(4, 1);
  const GroupRecord record = RecordWithMembers(before, {before.nodes[0], before.nodes[1]}, 1).value();
  ASSERT_EQ(record.left.size(), 2u);
  Candidacy candidacy(record, {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  EXPECT_EQ(candidacy.TakeQuestions(0).size(), 3u);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  candidacy.Answered(Id('d'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kWon);
}

// Two new ones and the candidate would be enough among five, and are none of those by which others may be master.
TEST(Candidacy, WhoJoinsDoesNotCountForTheRecordBefore) {
  SeededRandom random(1);
  const GroupRecord before = Group(3, 1);
  std::vector<GroupNode> nodes = before.nodes;
  nodes.push_back({Id('d'), "10.0.0.1", 6004});
  nodes.push_back({Id('e'), "10.0.0.1", 6005});
  const GroupRecord record = RecordWithMembers(before, nodes, 2).value();
  EXPECT_TRUE(record.Find(Id('d'))->joins);
  EXPECT_EQ(record.Before()->nodes, before.nodes);
  Candidacy candidacy(record, {Id('b'), {1, 100}, Id('1'), 0}, 0, 1000);
  candidacy.Answered(Id('d'), candidacy.epoch(), Granted({1, 90}), 0, random);
  candidacy.Answered(Id('e'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kAsking);
  candidacy.Answered(Id('c'), candidacy.epoch(), Granted({1, 90}), 0, random);
  EXPECT_EQ(candidacy.state(), CandidacyState::kWon);

  // As it comes out of the log.
  EXPECT_EQ(ParseGroup(FormatGroup(record)).value(), record);
  const GroupRecord left = RecordWithMembers(before, {before.nodes[0], before.nodes[2]}, 1).value();
  EXPECT_EQ(ParseGroup(FormatGroup(left)).value(), left);
}

TEST(RecordWithMembers, BeforeAChangeIsSettledOnlyFewerCanBeNamed) {
  const GroupRecord before = Group(4, 1);
  const GroupRecord three = RecordWithMembers(before, {before.nodes[0], before.nodes[1], before.nodes[2]}, 1).value();
  const GroupRecord two = RecordWithMembers(three, {before.nodes[0], before.nodes[1]}, 1).value();
  EXPECT_EQ(two.left.size(), 2u);
  EXPECT_FALSE(RecordWithMembers(two, before.nodes, 1).ok());
  EXPECT_TRUE(RecordWithMembers(Group(2, 0), before.nodes, 1).ok());
  Confirmation confirmation;
  confirmation.Begin(two, Id('a'), Id('1'));
  confirmation.Acked(Id('b'), Id('1'), 10, 1);
  const GroupRecord settled = confirmation.Settled().value();
  EXPECT_TRUE(settled.left.empty());
  EXPECT_EQ(settled.durable_before, 0);
  EXPECT_TRUE(RecordWithMembers(settled, before.nodes, 1).value().Find(Id('c'))->joins);
}

TEST(RefuseSuperseded, AMasterOfAnEarlierEpochIsNotFollowed) {
  OwnSituation own;
  own.group_epoch = 3;
  FullSyncOffer offer;
  EXPECT_FALSE(RefuseSuperseded(own, offer));  // no shared history: another rule's business
  own.lineage.Push(Id('1'), 0, 0);
  offer.lineage.Push(Id('1'), 0, 0);
  EXPECT_TRUE(RefuseSuperseded(own, offer));
  GroupRecord record = Group(3, 1);
  record.epoch = 2;
  offer.group = FormatGroup(record);
  EXPECT_TRUE(RefuseSuperseded(own, offer));
  record.epoch = 3;
  offer.group = FormatGroup(record);
  EXPECT_FALSE(RefuseSuperseded(own, offer));
  offer.group.clear();
  own.accept_superseded = true;
  EXPECT_FALSE(RefuseSuperseded(own, offer));
}

}  // namespace
}  // namespace holdfast::replication
