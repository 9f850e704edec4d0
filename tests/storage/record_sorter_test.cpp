#include "storage/record_sorter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

using Records = std::vector<std::pair<std::string, std::string>>;

Records Sorted(RecordSorter& sorter) {
  Records records;
  auto drained = sorter.Drain([&](std::string_view order, std::string_view record) -> Result<void> {
    records.emplace_back(order, record);
    return {};
  });
  EXPECT_TRUE(drained.ok()) << drained.error().message;
  return records;
}

TEST(RecordSorterTest, GivesEverythingInOrder) {
  constexpr uint64_t kSeed = 7;
  SeededRandom random(kSeed);
  testing::TempDirectory directory;
  const std::string path = directory.File("sort");
  for (const uint64_t memory : {uint64_t{1} << 30, uint64_t{100'000}, uint64_t{5000}, uint64_t{1}}) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", memory " << memory);
    RecordSorter sorter(PosixFileSystem(), path, memory);
    for (int round = 0; round < 2; ++round) {
      Records expected;
      for (int i = 0; i < 1000; ++i) {
        std::string order(random.Below(20), static_cast<char>(random.Below(256)));
        order += std::to_string(i);
        std::string record(random.Below(i % 100 == 0 ? 50'000 : 100), 'r');
        ASSERT_TRUE(sorter.Add(order, record).ok());
        expected.emplace_back(std::move(order), std::move(record));
      }
      std::sort(expected.begin(), expected.end());
      EXPECT_TRUE(Sorted(sorter) == expected);
      EXPECT_TRUE(Sorted(sorter).empty());
    }
  }
  EXPECT_TRUE(PosixFileSystem().List(directory.path())->empty()) << "files stay";
}

TEST(RecordSorterTest, CanBeReadAgainAndHasManyLevels) {
  constexpr uint64_t kSeed = 9;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  SeededRandom random(kSeed);
  testing::TempDirectory directory;
  RecordSorter sorter(PosixFileSystem(), directory.File("sort"), 300);
  Records expected;
  for (int i = 0; i < 12'000; ++i) {  // a few in each spill: three levels
    std::string order = random.Hex(1 + random.Below(12)) + "." + std::to_string(i);
    std::string record = random.Hex(random.Below(40));
    if (i == 77) record.assign(3'000'000, 'x');  // longer than any window
    ASSERT_TRUE(sorter.Add(order, record).ok());
    expected.emplace_back(std::move(order), std::move(record));
  }
  EXPECT_LT(PosixFileSystem().List(directory.path())->size(), 100u);
  std::sort(expected.begin(), expected.end());
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(sorter.Rewind().ok());
    Records records;
    std::string_view order;
    std::string_view record;
    while (true) {
      const auto more = sorter.Next(order, record);
      ASSERT_TRUE(more.ok());
      if (!*more) break;
      records.emplace_back(order, record);
    }
    EXPECT_TRUE(records == expected) << "round " << round;
  }
}

TEST(RecordSorterTest, EqualOrdersComeTogether) {
  testing::TempDirectory directory;
  RecordSorter sorter(PosixFileSystem(), directory.File("sort"), 1);
  for (const char* record : {"1", "2", "3"}) ASSERT_TRUE(sorter.Add("same", record).ok());
  EXPECT_EQ(Sorted(sorter).size(), 3u);
}

TEST(RecordSorterTest, StopsWithTheTakersError) {
  testing::TempDirectory directory;
  for (const uint64_t memory : {1u, 1000u}) {
    RecordSorter sorter(PosixFileSystem(), directory.File("sort"), memory);
    ASSERT_TRUE(sorter.Add("a", "").ok());
    ASSERT_TRUE(sorter.Add("b", "").ok());
    int taken = 0;
    auto drained = sorter.Drain([&](std::string_view, std::string_view) -> Result<void> {
      ++taken;
      return Error{ErrorCode::kAborted, "enough"};
    });
    EXPECT_FALSE(drained.ok());
    EXPECT_EQ(taken, 1);
  }
}

}  // namespace
}  // namespace holdfast
