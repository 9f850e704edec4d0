#include "storage/base/progress_line.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(ProgressLine, SaysPercentRateAndTimeLeft) {
  EXPECT_EQ(ProgressLine::Describe(25, 100, 50ull << 20, 2'000'000), "25%, 25.0 MB/s, 6 s left");
  EXPECT_EQ(ProgressLine::Describe(100, 100, 10ull << 20, 1'000'000), "100%, 10.0 MB/s, 0 s left");
}

TEST(ProgressLine, PromisesNothingBeforeItKnows) {
  EXPECT_EQ(ProgressLine::Describe(0, 100, 0, 1'000'000), "0%, 0.0 MB/s");
  EXPECT_EQ(ProgressLine::Describe(5, 0, 1ull << 20, 1'000'000), "1.0 MB, 1.0 MB/s");
}

TEST(ProgressLine, MoreThanAllIsAll) {
  EXPECT_EQ(ProgressLine::Describe(120, 100, 0, 1'000'000), "100%, 0.0 MB/s, 0 s left");
}

}  // namespace
}  // namespace holdfast
