#include "replication/membership.h"

#include <gtest/gtest.h>

namespace holdfast::replication {
namespace {

std::string Id(char digit) { return std::string(40, digit); }

// Nodes 'a', 'b', 'c', of which one member confirms; epoch 1 begins behind offset 50.
GroupRecord Record() {
  GroupRecord record;
  record.epoch = NextEpoch(0, Id('a'));
  record.epoch_offset = 50;
  record.durable = 1;
  record.settled = true;
  for (const char node : {'a', 'b', 'c'}) record.nodes.push_back({Id(node), "10.0.0.1", 6379});
  return record;
}

RoleRecord Replica() {
  RoleRecord role;
  role.master = std::make_pair(std::string("10.0.0.1"), 6379);
  return role;
}

TEST(Membership, OnlyAMasterThatPromisedNothingMayConfirm) {
  const GroupRecord record = Record();
  RoleRecord role;
  EXPECT_TRUE(MayConfirm(record, role));
  EXPECT_FALSE(MayConfirm(GroupRecord(), role));
  EXPECT_FALSE(MayConfirm(record, Replica()));
  role.promise = {NextEpoch(record.epoch, Id('a')), Id('a')};  // to itself, too
  EXPECT_FALSE(MayConfirm(record, role));
  EXPECT_EQ(FenceOf(record, role.promise), role.promise.epoch);
  role.promise = {record.epoch, Id('a')};
  EXPECT_TRUE(MayConfirm(record, role));
  EXPECT_EQ(FenceOf(record, role.promise), 0u);
}

TEST(Membership, APromiseTellsWhatTheNodeHas) {
  const GroupRecord record = Record();
  const RoleRecord role = Replica();
  const Promise asked{NextEpoch(record.epoch, Id('c')), Id('c')};
  const PromiseAnswer answer = AnswerPromise({record, role, Id('b'), 70, Id('1')}, asked, Id('b'));
  EXPECT_TRUE(answer.granted);
  EXPECT_EQ(answer.standing, (LogStanding{record.epoch, 70}));
  EXPECT_EQ(answer.history, Id('1'));
  // Bytes before the epoch's beginning are of an earlier one.
  EXPECT_EQ(AnswerPromise({record, role, Id('b'), 49, Id('1')}, asked, Id('b')).standing, (LogStanding{0, 49}));
}

TEST(Membership, PromisesAreRefusedWithAReason) {
  const GroupRecord record = Record();
  RoleRecord role = Replica();
  const Promise asked{NextEpoch(record.epoch, Id('c')), Id('c')};
  const auto reason = [&asked](const GroupMember& own) { return AnswerPromise(own, asked, own.self).refusal.reason; };
  EXPECT_EQ(reason({record, role, Id('b'), 70, Id('1'), true}), "it is being copied anew");
  EXPECT_EQ(reason({record, role, Id('c'), 70, Id('1')}), "it is the candidate itself");
  GroupRecord inactive = record;
  inactive.durable = 0;
  EXPECT_EQ(reason({inactive, role, Id('b'), 70, Id('1')}), "it knows of no group");
  EXPECT_EQ(reason({record, RoleRecord(), Id('b'), 70, Id('1')}), "this node is a master");
  role.copied = {record.epoch, 71};
  EXPECT_NE(reason({record, role, Id('b'), 70, Id('1')}), "");
  EXPECT_EQ(reason({record, role, Id('b'), 71, Id('1')}), "");
}

// A node with an emptied disk that was copied anew, at the address of the member it was: what that member had
// acknowledged, it need not have.
TEST(Membership, APromiseInTheNameOfAnotherIsRefused) {
  const GroupRecord record = Record();
  RoleRecord role = Replica();
  const Promise asked{NextEpoch(record.epoch, Id('c')), Id('c')};
  const std::string self = Id('d'), history = Id('1');
  // Whether it has caught up makes no difference: it will never be the member that is asked.
  for (const uint64_t copied_up_to : {0U, 71U}) {
    role.copied = {record.epoch, copied_up_to};
    const PromiseAnswer answer = AnswerPromise({record, role, self, 70, history}, asked, Id('b'));
    EXPECT_FALSE(answer.granted);
    EXPECT_NE(answer.refusal.reason.find("another node is at this address"), std::string::npos)
        << answer.refusal.reason;
    EXPECT_EQ(answer.refusal.promised_epoch, 0u);
  }
}

TEST(Membership, AFreshCopyIsNoCandidateBeforeItHasCaughtUp) {
  const GroupRecord record = Record();
  RoleRecord role = Replica();
  EXPECT_FALSE(RefuseCandidacy({record, role, Id('b'), 70, Id('1')}));
  EXPECT_TRUE(RefuseCandidacy({record, role, Id('b'), 70, Id('1'), true}));
  role.copied = {record.epoch, 71};
  const auto refusal = RefuseCandidacy({record, role, Id('b'), 70, Id('1')});
  ASSERT_TRUE(refusal);
  EXPECT_NE(refusal->find("offset 70 of 71"), std::string::npos) << *refusal;
}

// What the master of a later epoch began with is all that was confirmed: who follows it need not come to where the
// copy's master was, which may be never.
TEST(Membership, AFreshCopyThatWentBackToALaterMasterLacksNothing) {
  GroupRecord record = Record();
  RoleRecord role = Replica();
  role.copied = StandingOf({wal::Lineage(), 90, FormatGroup(record)});
  EXPECT_EQ(role.copied, (LogStanding{record.epoch, 90}));
  EXPECT_TRUE(RefuseCandidacy({record, role, Id('b'), 70, Id('1')}));
  record = RecordOfEpoch(record, NextEpoch(record.epoch, Id('e')), 60);
  EXPECT_FALSE(RefuseCandidacy({record, role, Id('b'), 70, Id('2')}));
  // Before it has that epoch's beginning, it may lack what is confirmed.
  EXPECT_TRUE(RefuseCandidacy({record, role, Id('b'), 59, Id('2')}));
  // A record that cannot be read says nothing about what is enough.
  EXPECT_EQ(StandingOf({wal::Lineage(), 90, "?"}).epoch, UINT64_MAX);
}

TEST(Membership, AMasterOfANewEpochRemembersTheOneBefore) {
  const GroupRecord before = Record();
  RoleRecord role = Replica();
  role.operator_consents = true;
  role.copied = {before.epoch, 70};
  const uint64_t epoch = NextEpoch(before.epoch, Id('b'));
  TakeMastership(role, Id('2'), epoch, Id('b'));
  EXPECT_FALSE(role.master || role.operator_consents || role.copied > LogStanding());
  EXPECT_EQ(role.promise, (Promise{epoch, Id('b')}));
  EXPECT_EQ(role.ids_made_here, std::vector<std::string>{Id('2')});
  const GroupRecord after = RecordOfEpoch(before, epoch, 90);
  EXPECT_EQ(after.EpochAt(90), epoch);
  EXPECT_EQ(after.EpochAt(89), before.epoch);
  EXPECT_EQ(after.nodes, before.nodes);
  EXPECT_TRUE(MayConfirm(after, role));
  // Without a group nothing is promised.
  RoleRecord alone = Replica();
  TakeMastership(alone, Id('2'), 0, Id('b'));
  EXPECT_EQ(alone.promise, Promise());
}

TEST(Membership, ForceOutbidsWhatIsKnownAndWhatWasPromised) {
  const GroupRecord record = Record();
  const Promise later{NextEpoch(NextEpoch(record.epoch, Id('c')), Id('c')), Id('c')};
  EXPECT_GT(EpochByForce(record, {}, Id('b')), record.epoch);
  EXPECT_GT(EpochByForce(record, later, Id('b')), later.epoch);
  EXPECT_EQ(EpochByForce(GroupRecord(), later, Id('b')), 0u);
}

TEST(Membership, AnotherNIsToBeSettledAnew) {
  const GroupRecord record = RecordWithDurable(Record(), 2);
  EXPECT_EQ(record.durable, 2);
  EXPECT_FALSE(record.settled);
}

TEST(Renewal, WaitsForTheCandidateThatWasPromised) {
  Renewal renewal;
  EXPECT_EQ(renewal.Next(0, false, 1000), Renewal::Advice::kNothing);
  EXPECT_EQ(renewal.Next(7, false, 2000), Renewal::Advice::kFencedNow);
  EXPECT_EQ(renewal.Next(7, false, 2000 + Renewal::kPauseMs - 1), Renewal::Advice::kWait);
  EXPECT_EQ(renewal.Next(7, true, 2000 + Renewal::kPauseMs), Renewal::Advice::kNothing);  // begins anew
  EXPECT_EQ(renewal.Next(7, false, 100'000), Renewal::Advice::kFencedNow);
  EXPECT_EQ(renewal.Next(7, false, 100'000 + Renewal::kPauseMs), Renewal::Advice::kAskAnew);
  EXPECT_EQ(renewal.Next(7, false, 200'000), Renewal::Advice::kFencedNow);
}

}  // namespace
}  // namespace holdfast::replication
