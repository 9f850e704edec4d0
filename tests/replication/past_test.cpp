// What logs say about the past where there is least of it: a log that begins exactly where the question is.
#include "replication/past.h"

#include <gtest/gtest.h>

#include "tests/support/fault_file_system.h"
#include "tests/wal/log_driver.h"

namespace holdfast::replication {
namespace {

using holdfast::testing::FaultFileSystem;
using wal::testing::LogDriver;

constexpr uint64_t kFork = 300;

struct Histories : ::testing::Test {
  // A master that wrote on behind the fork, and a node that has a copy up to the fork, no log before it, and a name of
  // its own from there on.
  void SetUp() override {
    ASSERT_TRUE(old_master.Create().ok());
    old_master.Append(kFork);
    ASSERT_TRUE(old_master.Commit().ok());
    wal::LogState copy;
    copy.end = old_master.log->EndPosition();
    copy.lineage = old_master.log->lineage();
    ASSERT_TRUE(new_master.OpenAt(std::move(copy)).ok());
    new_master.stream = old_master.stream;
    new_master.log->StartLineage(std::string(40, 'b'), new_master.clock.WallMs());
    old_master.Append(500);
    ASSERT_TRUE(old_master.Commit().ok());
    ASSERT_TRUE(new_master.Commit().ok());
  }
  HistoryClaim AtFork() {
    auto claim = ClaimAtFork(*old_master.log, 0, ClaimAtEnd(*old_master.log), kFork);
    EXPECT_TRUE(claim.ok()) << claim.error().message;
    return *claim;
  }

  FaultFileSystem old_fs, new_fs;
  LogDriver old_master{old_fs, 1}, new_master{new_fs, 2};
};

TEST_F(Histories, AForkAtTheBeginningOfTheMastersLogIsProved) {
  const HistoryClaim claim = AtFork();
  const OwnPast past = PastOf(*new_master.log);
  EXPECT_EQ(past.history.first_offset, kFork);
  const Decision decision = DecideByPast(*new_master.log, past, &claim, true, true);
  EXPECT_EQ(decision.verdict, Verdict::kContinue) << decision.reason;
}

TEST_F(Histories, AnotherPastBeforeTheBeginningIsSeen) {
  HistoryClaim claim = AtFork();
  claim.digest ^= 1;
  new_master.Append(50);  // so that the log's end is not what is compared
  const Decision decision = DecideByPast(*new_master.log, PastOf(*new_master.log), &claim, true, true);
  EXPECT_EQ(decision.verdict, Verdict::kFullSync);
  EXPECT_NE(decision.reason.find("digest"), std::string::npos) << decision.reason;
}

// A node whose disk an old copy was put in place of, and that wrote other units since: the same id, another past, and
// no frame that ends where the replica's past does. Without the rest of that frame there is nothing to continue with.
TEST(DecideByPast, AReplicaThatEndsInsideAUnitIsNotContinued) {
  FaultFileSystem fs, copy_fs;
  LogDriver before{fs, 1};
  ASSERT_TRUE(before.Create().ok());
  before.Append(300);
  ASSERT_TRUE(before.Commit().ok());
  wal::LogState state;
  state.end = before.log->EndPosition();
  state.lineage = before.log->lineage();
  LogDriver copy{copy_fs, 2};
  ASSERT_TRUE(copy.OpenAt(std::move(state)).ok());
  copy.stream = before.stream;
  before.Append(100);
  ASSERT_TRUE(before.Commit().ok());
  HistoryClaim claim = ClaimAtEnd(*before.log);
  copy.log->AppendUnit(std::string(250, '!'), 0, copy.clock.WallMs());
  ASSERT_TRUE(copy.Commit().ok());
  for (const bool tail : {false, true}) {
    if (tail) AddTail(*before.log, 0, claim);  // longer than the copy's log
    for (const bool prove : {false, true}) {
      const Decision decision = DecideByPast(*copy.log, PastOf(*copy.log), &claim, prove, true);
      EXPECT_EQ(decision.verdict, Verdict::kFullSync) << tail << prove;
      EXPECT_NE(decision.reason.find("digest of the past differs"), std::string::npos) << decision.reason;
    }
  }
}

// Units of one millisecond share a frame, and a snapshot may be made between two of them. A replica that was copied so
// and lost its master before anything else came has all of the past there is.
TEST(DecideByPast, AReplicaThatWasCopiedInsideAFrameGoesOn) {
  FaultFileSystem fs, copy_fs;
  LogDriver master{fs, 1};
  ASSERT_TRUE(master.Create().ok());
  master.Append(300);
  ASSERT_TRUE(master.Commit().ok());
  master.Append(100);
  wal::LogState snapshot;
  snapshot.end = master.log->EndPosition();
  snapshot.lineage = master.log->lineage();
  master.Append(150);
  ASSERT_TRUE(master.Commit().ok());
  LogDriver replica{copy_fs, 2};
  ASSERT_TRUE(replica.OpenAt(std::move(snapshot)).ok());
  HistoryClaim claim = ClaimAtEnd(*replica.log);
  ASSERT_EQ(claim.end_offset, 400U);
  const auto cursor = wal::OpenCursor(*master.log);
  ASSERT_TRUE(cursor->Seek(399).ok());
  const auto frame = cursor->Next();
  ASSERT_TRUE(frame.ok() && *frame != nullptr);
  ASSERT_EQ((*frame)->history.EndOffset(), 550U) << "the units do not share a frame";
  for (const bool prove : {false, true}) {
    const Decision decision = DecideByPast(*master.log, PastOf(*master.log), &claim, prove, true);
    EXPECT_EQ(decision.verdict, Verdict::kContinue) << decision.reason;
  }
  claim.digest ^= 1;
  EXPECT_EQ(DecideByPast(*master.log, PastOf(*master.log), &claim, false, true).verdict, Verdict::kFullSync);
  claim.digest_base += 1;
  EXPECT_EQ(DecideByPast(*master.log, PastOf(*master.log), &claim, false, true).verdict, Verdict::kFullSync);
}

// A deposed node of which only the copy is left has no bytes to keep, and must not be kept from taking another copy.
wal::SharedFrame LineageFrame(const wal::Lineage& table) {
  wal::SharedFrame frame;
  frame.history.kind = wal::FrameKind::kLineage;
  table.AppendTo(frame.bytes);
  return frame;
}

// A master that went back to the fork with another, and from there to the first again, has both names in its log at one
// offset. Who takes the first for the last calls its history by a wrong name.
TEST(IsNews, WhatTheMasterTookUpAndLeftAgainIsToldInOrder) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_TRUE(driver.Create().ok());
  driver.Append(kFork);
  ASSERT_TRUE(driver.Commit().ok());
  const wal::Lineage first = driver.log->lineage();
  wal::Lineage second = first;
  second.Push(std::string(40, 'b'), kFork, 1);
  const auto is_news = [&](const wal::Lineage& at_link_up, const wal::Lineage& told) {
    return IsNews(*driver.log, at_link_up, LineageFrame(told)).value();
  };
  EXPECT_FALSE(is_news(first, first));
  EXPECT_TRUE(is_news(first, second));
  AdoptLineage(*driver.log, second);
  EXPECT_FALSE(is_news(first, second));
  EXPECT_TRUE(is_news(first, first));
  // A link that came up under the second hears of the first only what it was.
  EXPECT_FALSE(is_news(second, first));
}

TEST_F(Histories, ACopyWithoutALogLeavesNoTail) {
  wal::TailRequest request;
  request.log_directory = new_master.options.directory;
  request.data_directory = "data";
  request.fs = &new_fs;
  request.random = &new_master.random;
  FullSyncOffer ours{old_master.log->lineage(), kFork};
  FullSyncOffer master = ours;
  master.lineage.Push(std::string(40, 'c'), 100, 1);
  master.end_offset = 1000;
  const auto kept = KeepWhatMasterLacks(ours, master, request);
  ASSERT_TRUE(kept.ok()) << kept.error().message;
  EXPECT_FALSE(kept->has_value());
}

}  // namespace
}  // namespace holdfast::replication
