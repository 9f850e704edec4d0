// Power cuts at every file call of small logs, several possible states each: nothing acknowledged is cut, nothing is
// refused, and recovery itself may lose power too.
#include <gtest/gtest.h>

#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/wal/log_workload.h"
#include "wal/log_archive.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::CheckLog;
using holdfast::testing::FaultFileSystem;
using holdfast::testing::Problems;
using testing::CheckAfterRestart;
using testing::kTestDirectory;
using testing::LogDriver;
using testing::Workload;

constexpr uint64_t kStatesPerCut = 6;

void Prepare(LogDriver& driver, bool tail_rewrite) {
  driver.options.segment_bytes = 12 << 10;
  driver.options.tail_rewrite = tail_rewrite;
}

// Recovery that loses power at its `call`th call, then another one.
std::string CheckCutInRecovery(FaultFileSystem& fs, LogDriver& before, uint64_t call, Random& random) {
  fs.CutPowerAtCall(call);
  LogDriver during(fs, 6);
  during.checkpoint = before.checkpoint;
  (void)during.Reopen();
  fs.Crash(random);
  return CheckAfterRestart(fs, before);
}

void CutEverywhere(Workload workload, bool tail_rewrite) {
  uint64_t states = 0;
  for (uint64_t call = 1;; call++) {
    FaultFileSystem fs;
    LogDriver driver(fs);
    Prepare(driver, tail_rewrite);
    fs.CutPowerAtCall(call);
    const Result<void> outcome = workload(driver);
    if (!fs.power_is_off()) {
      ASSERT_TRUE(outcome.ok()) << outcome.error().message;
      EXPECT_GT(call, 60u);
      EXPECT_GT(states, 300u);
      return;
    }
    driver.log.reset();
    for (uint64_t seed = 0; seed < kStatesPerCut; seed++) {
      SeededRandom random(call * 1000 + seed);
      SCOPED_TRACE("call " + std::to_string(call) + ", seed " + std::to_string(seed));
      const std::unique_ptr<FaultFileSystem> state = fs.CrashedCopy(random);
      const std::unique_ptr<FaultFileSystem> twice = state->CrashedCopy(random);
      ASSERT_EQ(CheckAfterRestart(*state, driver), "");
      ASSERT_EQ(Problems(CheckLog(*state, kTestDirectory)), "");
      ASSERT_EQ(CheckCutInRecovery(*twice, driver, 1 + random.Below(30), random), "");
      states++;
    }
  }
}

TEST(CrashStatesTest, NothingAcknowledgedIsCutAndNothingIsRefused) { CutEverywhere(testing::RunMaster, true); }
TEST(CrashStatesTest, SameWithPaddedBatches) { CutEverywhere(testing::RunMaster, false); }
TEST(CrashStatesTest, SameForAReplicasLog) { CutEverywhere(testing::RunReplica, true); }

void Fill(LogDriver& driver) {
  for (int i = 0; i < 40; i++) {
    driver.Append(1000);
    ASSERT_TRUE(driver.Commit().ok());
  }
  driver.Checkpoint();
}

void CheckPowerCutsNow(const FaultFileSystem& fs, const LogDriver& driver, uint64_t seeds) {
  for (uint64_t seed = 0; seed < seeds; seed++) {
    SCOPED_TRACE("power cut " + std::to_string(seed));
    SeededRandom random(seed);
    const std::unique_ptr<FaultFileSystem> state = fs.CrashedCopy(random);
    ASSERT_EQ(CheckAfterRestart(*state, driver), "");
  }
}

struct BackgroundWork {
  FaultFileSystem fs;
  LogDriver driver{fs};
  LogArchive archive{fs, driver.clock, {"archive", "gen", "0123456789abcdef", false}};

  BackgroundWork() {
    EXPECT_TRUE(fs.CreateDirectory("gen").ok());
    EXPECT_TRUE(driver.Create().ok());
  }
  Result<void> Trim() { return driver.log->Trim(driver.checkpoint.offset, 0); }
  Result<void> PrepareSpare() { return driver.log->PrepareSpare(); }
  Result<void> ArchiveAndTrim() {
    RETURN_IF_ERROR(archive.Run(*driver.log));
    return Trim();
  }
};

// Another thread appends until the log rotates, ahead of each call of the work in turn; the power goes at each of its
// calls.
void CutWhileTheLogRotatesDuring(Result<void> (BackgroundWork::*work)()) {
  for (int at = 1;; at++) {
    SCOPED_TRACE("ahead of call " + std::to_string(at));
    BackgroundWork background;
    LogDriver& driver = background.driver;
    LogArchive::Hold(*driver.log);
    Fill(driver);
    if (work == &BackgroundWork::Trim) LogArchive::LetGo(*driver.log);
    int calls = 0, cuts = 0;
    bool rotating = false;
    background.fs.BeforeEachCall([&] {
      if (rotating) {
        CheckPowerCutsNow(background.fs, driver, 3);
        cuts++;
      } else if (++calls == at) {
        rotating = true;
        driver.Append(20'000);
        EXPECT_TRUE(driver.Commit().ok());
        rotating = false;
      }
    });
    ASSERT_TRUE((background.*work)().ok());
    background.fs.BeforeEachCall(nullptr);
    if (calls < at) {
      EXPECT_GE(at, 3);
      return;
    }
    ASSERT_GE(cuts, 6);
    CheckPowerCutsNow(background.fs, driver, 3);
    if (::testing::Test::HasFailure()) return;
  }
}

// A recycled file whose old name could come back must not have been written to: that segment would hold another one.
TEST(CrashStatesTest, TheLogRotatesWhileItIsTrimmed) { CutWhileTheLogRotatesDuring(&BackgroundWork::Trim); }
TEST(CrashStatesTest, TheLogRotatesWhileASpareIsPrepared) {
  CutWhileTheLogRotatesDuring(&BackgroundWork::PrepareSpare);
}
TEST(CrashStatesTest, TheLogRotatesWhileItIsArchived) { CutWhileTheLogRotatesDuring(&BackgroundWork::ArchiveAndTrim); }

TEST(CrashStatesTest, ASpareIsPreparedAfterAFailedTrim) {
  for (uint64_t call = 1;; call++) {
    SCOPED_TRACE(call);
    BackgroundWork background;
    Fill(background.driver);
    background.fs.FailCall(call, ErrorCode::kIo);
    const bool failed = !background.Trim().ok();
    background.fs.ClearFaults();
    if (!failed) {
      EXPECT_GE(call, 5u);
      return;
    }
    ASSERT_TRUE(background.PrepareSpare().ok());
    CheckPowerCutsNow(background.fs, background.driver, 20);
  }
}

// A test of the test: a log acknowledged before it is written is found out.
TEST(CrashStatesTest, AcknowledgingTooEarlyIsSeen) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_TRUE(testing::RunMaster(driver).ok());
  driver.Append(50);
  driver.acked = driver.stream.size();
  fs.CrashLosingAll();
  EXPECT_NE(CheckAfterRestart(fs, driver), "");
}

}  // namespace
}  // namespace holdfast::wal
