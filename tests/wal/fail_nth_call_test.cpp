// Every file call fails once, with each kind of failure: no acknowledgement after a failed write, and what is left is
// whole, both for the next process and after a power cut.
#include <gtest/gtest.h>

#include "tests/support/fault_file_system.h"
#include "tests/wal/log_workload.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::FaultFileSystem;
using testing::CheckAfterRestart;
using testing::LogDriver;
using testing::Workload;

void FailEverywhere(Workload workload, ErrorCode code) {
  for (uint64_t call = 1;; call++) {
    SCOPED_TRACE("call " + std::to_string(call));
    FaultFileSystem fs;
    LogDriver driver(fs);
    driver.options.segment_bytes = 12 << 10;
    const uint64_t before = fs.calls();
    fs.FailCall(call, code);
    const Result<void> outcome = workload(driver);
    if (fs.calls() - before < call) {
      ASSERT_TRUE(outcome.ok()) << outcome.error().message;
      EXPECT_GT(call, 60u);
      return;
    }
    if (driver.log != nullptr && driver.log->InFlight()) {
      const uint64_t durable = driver.log->DurableOffset();
      EXPECT_EQ(durable, driver.acked);
      EXPECT_FALSE(driver.log->WriteBatch().ok()) << "a failed batch was retried";
      EXPECT_EQ(driver.log->DurableOffset(), durable);
    }
    driver.log.reset();
    SeededRandom random(call);
    const std::unique_ptr<FaultFileSystem> cut = fs.CrashedCopy(random);
    ASSERT_EQ(CheckAfterRestart(*cut, driver), "") << "after a power cut";
    ASSERT_EQ(CheckAfterRestart(fs, driver), "") << "for the next process";
  }
}

TEST(FailNthCallTest, InputOutputError) { FailEverywhere(testing::RunMaster, ErrorCode::kIo); }
TEST(FailNthCallTest, NoSpace) { FailEverywhere(testing::RunMaster, ErrorCode::kNoSpace); }
TEST(FailNthCallTest, ReplicasLog) { FailEverywhere(testing::RunReplica, ErrorCode::kIo); }

TEST(FailNthCallTest, RecoveryReportsTheFailureAndCanBeRepeated) {
  for (uint64_t call = 1;; call++) {
    SCOPED_TRACE("call " + std::to_string(call));
    FaultFileSystem fs;
    LogDriver driver(fs);
    ASSERT_TRUE(testing::RunMaster(driver).ok());
    driver.Append(4'000);
    driver.log->Seal();
    fs.CutPowerAtCall(1);
    ASSERT_FALSE(driver.log->WriteBatch().ok());
    driver.log.reset();
    fs.CrashKeepingAll();
    const uint64_t before = fs.calls();
    fs.FailCall(call, ErrorCode::kIo);
    const auto outcome = driver.Replay(false);
    const bool fired = fs.calls() - before >= call;
    EXPECT_EQ(outcome.ok(), !fired);
    if (!outcome.ok()) {
      EXPECT_EQ(outcome.error().code, ErrorCode::kIo);
    }
    fs.ClearFaults();
    ASSERT_EQ(CheckAfterRestart(fs, driver), "");
    if (!fired) return;
  }
}

}  // namespace
}  // namespace holdfast::wal
