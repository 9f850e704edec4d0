// Every file call fails once, with each kind of failure: no acknowledgement after a failed write, and what is left is
// whole, both for the next process and after a power cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

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

// A log with a batch that was being written when power went.
void WriteAndLosePowerInABatch(FaultFileSystem& fs, LogDriver& driver) {
  ASSERT_TRUE(testing::RunMaster(driver).ok());
  driver.Append(4'000);
  driver.log->Seal();
  fs.CutPowerAtCall(1);
  ASSERT_FALSE(driver.log->WriteBatch().ok());
  driver.log.reset();
}

TEST(FailNthCallTest, RecoveryReportsTheFailureAndCanBeRepeated) {
  for (uint64_t call = 1;; call++) {
    SCOPED_TRACE("call " + std::to_string(call));
    FaultFileSystem fs;
    LogDriver driver(fs);
    ASSERT_NO_FATAL_FAILURE(WriteAndLosePowerInABatch(fs, driver));
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

TEST(FailNthCallTest, TheVerifierTellsTheFailureAndTakesItForNoDamage) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_NO_FATAL_FAILURE(WriteAndLosePowerInABatch(fs, driver));
  SeededRandom random(5);  // with a torn end
  fs.Crash(random);
  std::vector<std::string> whole;
  for (uint64_t call = 0;; call++) {
    SCOPED_TRACE("call " + std::to_string(call));
    const uint64_t before = fs.calls();
    if (call > 0) fs.FailCall(call, ErrorCode::kIo);
    std::vector<std::string> told;
    const auto report = VerifyLog(fs, driver.options.directory,
                                  [&](const Finding& finding) { told.push_back(finding.file + finding.message); });
    const bool fired = call > 0 && fs.calls() - before >= call;
    fs.ClearFaults();
    if (call == 0) whole = told;
    EXPECT_EQ(report.ok(), !fired);
    if (fired) {
      EXPECT_EQ(report.error().code, ErrorCode::kIo);
    }
    ASSERT_LE(told.size(), whole.size());
    EXPECT_TRUE(std::equal(told.begin(), told.end(), whole.begin())) << "damage that is none";
    if (HasFailure() || (call > 0 && !fired)) return;
  }
}

}  // namespace
}  // namespace holdfast::wal
