#include "cli/tool_sorter.h"

#include <gtest/gtest.h>

#include <map>

#include "storage/base/clock.h"
#include "tests/support/fault_file_system.h"

namespace holdfast::cli {
namespace {

std::multimap<std::string, std::string> Drain(ExternalSorter& sorter) {
  std::multimap<std::string, std::string> records;
  EXPECT_TRUE(sorter.Rewind().ok());
  std::string_view key;
  std::string_view value;
  std::string last;
  while (true) {
    const auto more = sorter.Next(key, value);
    EXPECT_TRUE(more.ok());
    if (!more.ok() || !*more) return records;
    EXPECT_LE(last, key);
    last = key;
    records.emplace(key, value);
  }
}

TEST(ToolSorterTest, RecordsComeInOrderHoweverMuchIsSpilled) {
  for (const uint64_t memory : {uint64_t{1} << 10, uint64_t{1} << 14, uint64_t{1} << 30}) {
    testing::FaultFileSystem fs;
    ASSERT_TRUE(fs.CreateDirectory("/tmp").ok());
    setenv("TMPDIR", "/tmp", 1);
    SeededRandom random(7);
    std::multimap<std::string, std::string> expected;
    {
      ExternalSorter sorter(fs, memory);
      for (int i = 0; i < 5000; ++i) {
        std::string key = random.Hex(random.Below(12));
        std::string value = random.Hex(random.Below(40));
        if (i == 77) value.assign(3'000'000, 'x');  // longer than the window of a spill
        ASSERT_TRUE(sorter.Add(key, value).ok());
        expected.emplace(std::move(key), std::move(value));
      }
      for (int round = 0; round < 2; ++round) {
        const auto records = Drain(sorter);
        ASSERT_EQ(records.size(), expected.size());
        for (const auto& wanted : expected) {
          const auto [from, to] = records.equal_range(wanted.first);
          ASSERT_TRUE(std::any_of(from, to, [&](const auto& each) { return each.second == wanted.second; }))
              << wanted.first;
        }
      }
    }
    EXPECT_EQ(fs.List("/tmp").value().size(), 0u) << "temporary files are left";
  }
}

}  // namespace
}  // namespace holdfast::cli
