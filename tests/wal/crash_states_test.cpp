// Power cuts at every file call of small logs, several possible states each: nothing acknowledged is cut, nothing is
// refused, and recovery itself may lose power too.
#include <gtest/gtest.h>

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
