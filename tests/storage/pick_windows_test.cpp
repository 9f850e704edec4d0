#include "storage/pick_windows.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using Counts = PickWindows::Counts;

TEST(PickWindowsTest, WindowsCoverTheHashRangeAndHoldAFewMembersEach) {
  for (const uint64_t members : {1ull, 31ull, 65ull, 1000ull, 1'000'000ull, 20'000'000ull}) {
    const Counts counts(members);
    EXPECT_LE(members / counts.windows(), 32u) << members;
    EXPECT_EQ(counts.First(0), 0u);
    const uint64_t width = counts.windows() == 1 ? 0 : counts.First(1);
    EXPECT_EQ(width * counts.windows(), 0u) << "the range is 2^64, in equal parts";
  }
}

TEST(PickWindowsTest, PlacesAreTheLargestCountOnceAllAreKnown) {
  Counts counts(64);
  ASSERT_EQ(counts.windows(), 2u);
  EXPECT_EQ(counts.Places(), Counts::kPlacesMin);
  counts.Learn(0, 30);
  EXPECT_EQ(counts.Places(), Counts::kPlacesMin);
  counts.Learn(1, 34);
  EXPECT_EQ(counts.Places(), 34u);
  counts.Change(counts.First(1), +1);
  EXPECT_EQ(counts.count(1), 35u);
  EXPECT_EQ(counts.Places(), 35u);
  for (int i = 0; i < 20; ++i) counts.Change(~uint64_t{0}, -1);
  EXPECT_EQ(counts.count(1), 15u);
  EXPECT_EQ(counts.Places(), 30u);
  for (int i = 0; i < 15; ++i) counts.Change(~uint64_t{0}, -1);
  EXPECT_EQ(counts.count(1), 0u);
  counts.Change(~uint64_t{0}, -1);  // cannot be: it is asked again
  EXPECT_EQ(counts.count(1), Counts::kUnknown);
}

TEST(PickWindowsTest, CrowdedWindowsStayUnknown) {
  Counts counts(64);
  counts.Learn(0, 1000);
  counts.Learn(1, 2);
  EXPECT_EQ(counts.count(0), Counts::kUnknown);
  EXPECT_EQ(counts.Places(), Counts::kPlacesMin);
  counts.Change(0, -1);
  EXPECT_EQ(counts.count(0), Counts::kUnknown);
}

TEST(PickWindowsTest, BecomeFewerWithTheMembersAndKnowWhatTheyKnew) {
  PickWindows windows;
  Counts& many = windows.For(1, 10'000'000);
  const uint64_t before = many.windows();
  const uint64_t bytes = windows.bytes();
  ASSERT_GT(before, 200'000u);
  // Nothing is known: each try has one chance in 96.
  Counts& unknown = windows.For(1, 1000);
  EXPECT_LE(unknown.windows() * Counts::kPlacesMin, Counts::kTriesMax * 1000);
  EXPECT_EQ(windows.bytes(), bytes - (before - unknown.windows()));
  for (uint64_t i = 0; i < unknown.windows(); ++i) unknown.Learn(i, i % 4096 == 0 ? 1 : 0);
  const uint64_t learnt = unknown.windows();
  Counts& known = windows.For(1, 1);
  EXPECT_LT(known.windows(), learnt);
  EXPECT_LE(known.windows() * known.Places(), Counts::kTriesMax);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < known.windows(); ++i) sum += known.count(i);
  EXPECT_EQ(sum, learnt / 4096);
  EXPECT_EQ(known.First(1) * known.windows(), 0u) << "equal parts";
  const uint64_t last = known.windows() - 1;
  const uint8_t held = known.count(last);
  known.Change(~uint64_t{0}, +1);
  EXPECT_EQ(known.count(last), held + 1);
  windows.Forget(1);
  EXPECT_EQ(windows.bytes(), 0u);
}

TEST(PickWindowsTest, AreMadeAnewForACollectionThatGrewAndDroppedWhenTheyAreTooMany) {
  PickWindows windows;
  windows.For(1, 100).Learn(0, 7);
  EXPECT_EQ(windows.For(1, 120).count(0), 7u);
  EXPECT_GT(windows.For(1, 100'000).windows(), 1000u);
  const uint64_t bytes = windows.bytes();
  windows.Forget(1);
  EXPECT_EQ(windows.bytes(), 0u);
  for (CollectionId id = 1; id < 50'000; ++id) windows.For(id, 100);
  EXPECT_GT(windows.bytes(), bytes);
  EXPECT_LE(windows.bytes(), uint64_t{8} << 20);
}

}  // namespace
}  // namespace holdfast
