// A server trims its log while the tool looks at it: a segment that was listed is gone when it is opened.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "cli/tool_context.h"
#include "cli/tool_input.h"
#include "cli/tool_log_reader.h"
#include "tests/cli/tool_test_files.h"

namespace holdfast::cli {
namespace {

using testing::FaultFileSystem;
using testing::Resp;
using testing::RunHoldfast;

// Key 0 to 19, in several segments.
void WriteSomeSegments(FaultFileSystem& fs) {
  std::vector<std::string> units;
  for (int i = 0; i < 20; ++i) {
    units.push_back(Resp({"SET", "key" + std::to_string(i), std::string(400'000, 'x')}));
  }
  (void)testing::WriteSmallLog(fs, "wal", units);
}

// After each of the next `trims` listings of the log the oldest segment goes.
class TrimmedFileSystem : public FaultFileSystem {
 public:
  Result<std::vector<std::string>> List(const std::string& path) override {
    auto names = FaultFileSystem::List(path);
    if (trims == 0 || !names.ok() || names->size() < 2) return names;
    --trims;
    EXPECT_TRUE(Remove(JoinPath(path, *std::min_element(names->begin(), names->end()))).ok());
    return names;
  }
  int trims = 0;
};

class ToolTrimmedLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteSomeSegments(fs_);
    const auto names = fs_.List("wal");
    ASSERT_TRUE(names.ok());
    ASSERT_GE(names->size(), 5U);
    fs_.trims = 2;  // recognising the directory lists it, too
  }
  TrimmedFileSystem fs_;
};

TEST_F(ToolTrimmedLogTest, InspectLooksAgain) {
  const auto outcome = RunHoldfast(fs_, {"inspect", "wal"});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.out.find("No such file"), std::string::npos) << outcome.out;
  EXPECT_EQ(fs_.trims, 0);
}

TEST_F(ToolTrimmedLogTest, SegmentsAreListedWithoutTheOneThatWent) {
  const auto outcome = RunHoldfast(fs_, {"log", "list", "wal"});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.out.find("No such file"), std::string::npos) << outcome.out;
  EXPECT_EQ(fs_.trims, 0);
}

TEST_F(ToolTrimmedLogTest, FramesBeginWithTheOldestSegmentThere) {
  const auto outcome = RunHoldfast(fs_, {"log", "list", "--frames", "wal"});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("durable mark"), std::string::npos) << outcome.out;
}

TEST_F(ToolTrimmedLogTest, EffectsBeginWithTheOldestSegmentThere) {
  const auto outcome = RunHoldfast(fs_, {"log", "print", "wal"});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.err;
  EXPECT_EQ(outcome.out.find("key0"), std::string::npos);
  EXPECT_NE(outcome.out.find("key19"), std::string::npos) << outcome.err;
}

// While a segment is being read the server removes it and the one behind it.
class OvertakenFileSystem : public FaultFileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    auto file = FaultFileSystem::Open(path, options);
    if (path == overtaken_at && --opens_left == 0) {
      for (const std::string& gone : going) EXPECT_TRUE(Remove(gone).ok());
    }
    return file;
  }
  std::string overtaken_at;
  int opens_left = 0;
  std::vector<std::string> going;
};

TEST(ToolOvertakenLogTest, TheTailIsLookedForAgain) {
  OvertakenFileSystem fs;
  WriteSomeSegments(fs);
  auto names = fs.List("wal");
  ASSERT_TRUE(names.ok());
  ASSERT_GE(names->size(), 5U);
  std::sort(names->begin(), names->end());
  fs.going = {JoinPath("wal", (*names)[0]), JoinPath("wal", (*names)[1]), JoinPath("wal", (*names)[2])};
  // Looked at for its size and read; for its size once more, and then for where the segment before it ends, which is
  // read up to there before this one is opened again.
  fs.overtaken_at = fs.going[2];
  fs.opens_left = 4;
  const auto outcome = RunHoldfast(fs, {"log", "tail", "-n", "1000", "wal"});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.err;
  EXPECT_LE(fs.opens_left, 0);
  EXPECT_EQ(outcome.out.find("key0"), std::string::npos);
  EXPECT_NE(outcome.out.find("key19"), std::string::npos) << outcome.err;
}

// The server begins another segment right after the first look: the mark that says what is durable is in there.
class RotatedFileSystem : public FaultFileSystem {
 public:
  Result<std::vector<std::string>> List(const std::string& path) override {
    auto names = FaultFileSystem::List(path);
    if (!names.ok() || !std::exchange(hide_newest, false)) return names;
    names->erase(std::max_element(names->begin(), names->end()));
    return names;
  }
  bool hide_newest = false;
};

TEST(ToolRotatedLogTest, WhatWasThereIsReadToTheEnd) {
  RotatedFileSystem fs;
  WriteSomeSegments(fs);
  fs.hide_newest = true;
  const auto log = LogReader::Open(fs, {InputKind::kLogDirectory, "wal", "", "wal", {}}, true);
  ASSERT_TRUE(log.ok()) << log.error().message;
  UnitReader reader(**log);
  std::string last;
  while (true) {
    const auto next = reader.Next();
    ASSERT_TRUE(next.ok()) << next.error().message;
    if (!*next) break;
    if ((*next)->kind == wal::FrameKind::kData) last = (*next)->bytes;
  }
  EXPECT_NE(last.find("key19"), std::string::npos) << last.substr(0, 40);
}

}  // namespace
}  // namespace holdfast::cli
