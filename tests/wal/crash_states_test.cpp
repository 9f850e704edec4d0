// Power cuts at every file call of small logs, several possible states each: nothing acknowledged is cut, nothing is
// refused, and recovery itself may lose power too.
#include <gtest/gtest.h>

#include <functional>

#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/wal/log_workload.h"

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

// Something happens ahead of each sync of a directory, as by another thread.
class FileSystemWithAnother : public FaultFileSystem {
 public:
  std::function<void()> meanwhile;
  Result<void> SyncDirectory(const std::string& path) override {
    if (meanwhile) meanwhile();
    return FaultFileSystem::SyncDirectory(path);
  }
};

void Fill(LogDriver& driver) {
  ASSERT_TRUE(driver.Create().ok());
  for (int i = 0; i < 40; i++) {
    driver.Append(1000);
    ASSERT_TRUE(driver.Commit().ok());
  }
  driver.Checkpoint();
}

void CheckPowerCutsNow(const FaultFileSystem& fs, const LogDriver& driver) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    const std::unique_ptr<FaultFileSystem> state = fs.CrashedCopy(random);
    ASSERT_EQ(CheckAfterRestart(*state, driver), "");
  }
}

// A recycled file whose old name could come back must not have been written to: that segment would hold another one.
TEST(CrashStatesTest, TheLogRotatesWhileItIsTrimmed) {
  FileSystemWithAnother fs;
  LogDriver driver(fs);
  Fill(driver);
  bool rotating = false;
  int cuts = 0;
  fs.meanwhile = [&] {
    if (rotating) {
      CheckPowerCutsNow(fs, driver);
      cuts++;
      return;
    }
    rotating = true;
    driver.Append(20'000);
    EXPECT_TRUE(driver.Commit().ok());
    rotating = false;
  };
  ASSERT_TRUE(driver.log->Trim(driver.checkpoint.offset, 0).ok());
  fs.meanwhile = nullptr;
  EXPECT_GE(cuts, 3);
}

TEST(CrashStatesTest, ASpareIsPreparedAfterAFailedTrim) {
  for (uint64_t call = 1;; call++) {
    SCOPED_TRACE(call);
    FaultFileSystem fs;
    LogDriver driver(fs);
    Fill(driver);
    fs.FailCall(call, ErrorCode::kIo);
    const bool failed = !driver.log->Trim(driver.checkpoint.offset, 0).ok();
    fs.ClearFaults();
    if (!failed) {
      EXPECT_GE(call, 5u);
      return;
    }
    ASSERT_TRUE(driver.log->PrepareSpare().ok());
    CheckPowerCutsNow(fs, driver);
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
