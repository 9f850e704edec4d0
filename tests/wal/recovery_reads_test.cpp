// What recovery and verify of a log hold open, and how often they read.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/fault_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/wal/log_driver.h"
#include "wal/recovery.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::FaultFileSystem;
using holdfast::testing::FileCall;
using testing::LogDriver;

// A log may have more segments than files can be open.
TEST(RecoveryReads, FewSegmentsAreOpenAtATime) {
  constexpr size_t kSegments = 100;
  holdfast::testing::TempDirectory temp;
  LogDriver driver(PosixFileSystem());
  driver.options.directory = temp.File("wal");
  driver.options.segment_bytes = 0;  // as small as can be
  ASSERT_TRUE(driver.Create().ok());
  while (driver.log->Stats().segments < kSegments) {
    driver.Append(3000);
    ASSERT_TRUE(driver.Commit().ok());
  }
  driver.log.reset();
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit low = limit;
  low.rlim_cur = kSegments / 2;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto report = VerifyLog(PosixFileSystem(), driver.options.directory,
                                [](const Finding& finding) { ADD_FAILURE() << finding.message; });
  const auto recovered = driver.Reopen();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->replayed_bytes, driver.stream.size());
  ASSERT_TRUE(recovered.ok());
  EXPECT_TRUE(driver.replayed == driver.stream);
}

TEST(RecoveryReads, AShortSegmentOnce) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_TRUE(driver.Create().ok());
  driver.Append(1000);
  ASSERT_TRUE(driver.Commit().ok());
  driver.log.reset();
  const uint64_t before = fs.calls(FileCall::kRead);
  ASSERT_TRUE(driver.Replay(false).ok());
  EXPECT_EQ(fs.calls(FileCall::kRead) - before, 2u);  // the header, and all the rest
  EXPECT_TRUE(driver.replayed == driver.stream);
}

}  // namespace
}  // namespace holdfast::wal
