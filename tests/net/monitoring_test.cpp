#include "net/monitoring.h"

#include <gtest/gtest.h>

#include <vector>

namespace holdfast::net {
namespace {

TEST(DurationHistogram, BucketsAreDividedAtTheirBounds) {
  EXPECT_EQ(DurationHistogram::BoundOf(0), 1u);
  for (size_t bucket = 1; bucket + 1 < DurationHistogram{}.buckets.size(); ++bucket) {
    const uint64_t low = DurationHistogram::BoundOf(bucket - 1), bound = DurationHistogram::BoundOf(bucket);
    ASSERT_LT(low, bound);
    for (const uint64_t us : {low, bound - 1}) {
      DurationHistogram histogram;
      histogram.Add(us);
      ASSERT_EQ(histogram.buckets[bucket], 1u) << us;
    }
  }
}

TEST(DurationHistogram, PercentilesAreAtMostAQuarterTooHigh) {
  DurationHistogram histogram;
  for (uint64_t us = 1; us <= 100'000; ++us) histogram.Add(us);
  for (const double fraction : {0.1, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = fraction * 100'000;
    EXPECT_GE(static_cast<double>(histogram.Percentile(fraction)), exact);
    EXPECT_LE(static_cast<double>(histogram.Percentile(fraction)), exact * 1.25);
  }
}

TEST(DurationHistogram, TheLongestDurationsShareTheLastBucket) {
  DurationHistogram histogram;
  histogram.Add(UINT64_MAX);
  EXPECT_EQ(histogram.buckets.back(), 1u);
  EXPECT_EQ(histogram.Percentile(0.99), UINT64_MAX);
}

}  // namespace
}  // namespace holdfast::net
