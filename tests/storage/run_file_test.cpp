#include "storage/run_file.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <map>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "tests/storage/memtable_rows.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

using testing::Rows;
using testing::RowsOf;

StoreMeta SomeMeta() {
  StoreMeta meta = EmptyStoreMeta(3);
  meta.checkpoint = 7;
  meta.position.offset = 4711;
  meta.position.selected_db = 2;
  meta.position.time_ms = 1234567;
  meta.position.digest.Update("some history that is longer than one stripe of 32 bytes");
  meta.position.lineage_id = std::string(40, 'f');
  meta.next_collection = 99;
  meta.databases[1].keys = 5;
  return meta;
}

void Fill(Memtable& memtable, SeededRandom& random) {
  for (int i = 0; i < 400; ++i) {
    const std::string key = "key" + std::to_string(i);
    const size_t size = i == 13 ? 200'000 : random.Below(900);
    char* to = memtable.Put(*memtable.KeyTable(1), random.Next() | 1, key, size, 5);
    std::memset(to, 'x', size);
    memtable.Erase(*memtable.MemberTable(3), random.Next() | 1, key, 5);
    memtable.PutOrdered(CollectionRowKey(4, CollectionKind::kItem, key), 0, 5);
  }
  memtable.AddDeadCollection(50);
  memtable.AddDeadKeyspace(2);
}

class RunFileTest : public ::testing::Test {
 protected:
  RunFileTest() {
    EXPECT_TRUE(fs_.CreateDirectory("run").ok());
    EXPECT_TRUE(fs_.SyncDirectory("").ok());
    Fill(memtable_, random_);
  }

  testing::FaultFileSystem fs_;
  SeededRandom random_{3};
  Memtable memtable_;
};

TEST_F(RunFileTest, ReadsBackWhatWasWritten) {
  auto path = WriteRun(fs_, "run", SomeMeta(), memtable_);
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(*path, "run/00000000000000004711.run");
  auto run = ReadRun(fs_, *path);
  ASSERT_TRUE(run.ok()) << run.error().message;
  EXPECT_EQ(run->meta, SomeMeta());
  EXPECT_EQ(RowsOf(*run->rows), RowsOf(memtable_));
}

TEST_F(RunFileTest, EachFailingCallLeavesNoRunOrAWholeOne) {
  for (uint64_t nth = 1;; ++nth) {
    fs_.FailCall(nth, ErrorCode::kNoSpace);
    auto path = WriteRun(fs_, "run", SomeMeta(), memtable_);
    fs_.ClearFaults();
    auto runs = ListRuns(fs_, "run", false);
    ASSERT_TRUE(runs.ok());
    for (const std::string& name : *runs) {
      EXPECT_TRUE(ReadRun(fs_, name).ok());
      ASSERT_TRUE(fs_.Remove(name).ok());
    }
    if (path.ok()) break;
    EXPECT_EQ(path.error().code, ErrorCode::kNoSpace);
    ASSERT_LT(nth, 100u);
  }
}

TEST_F(RunFileTest, EachPowerCutLeavesNoRunOrAWholeOne) {
  bool finished = false;
  for (uint64_t nth = 1; !finished; ++nth) {
    ASSERT_LT(nth, 100u);
    fs_.CutPowerAtCall(nth);
    finished = WriteRun(fs_, "run", SomeMeta(), memtable_).ok();
    fs_.Crash(random_);
    auto runs = ListRuns(fs_, "run", false);
    ASSERT_TRUE(runs.ok());
    EXPECT_TRUE(!finished || runs->size() == 1);
    for (const std::string& name : *runs) {
      auto run = ReadRun(fs_, name);
      EXPECT_TRUE(run.ok()) << run.error().message;
      ASSERT_TRUE(fs_.Remove(name).ok());
      ASSERT_TRUE(fs_.SyncDirectory("run").ok());
    }
  }
}

TEST_F(RunFileTest, EachTruncationIsCorruptionWithPathAndByte) {
  auto path = WriteRun(fs_, "run", SomeMeta(), memtable_);
  ASSERT_TRUE(path.ok());
  const std::string whole = fs_.Content(*path);
  for (size_t size = 0; size < whole.size(); size += 997) {
    fs_.SetContent(*path, std::string_view(whole).substr(0, size));
    auto run = ReadRun(fs_, *path);
    ASSERT_FALSE(run.ok());
    EXPECT_EQ(run.error().code, ErrorCode::kCorruption);
    EXPECT_NE(run.error().message.find(*path + ": at byte "), std::string::npos) << run.error().message;
  }
  fs_.SetContent(*path, whole + "x");
  EXPECT_EQ(ReadRun(fs_, *path).error().code, ErrorCode::kCorruption);
}

TEST_F(RunFileTest, NewerVersionIsRefusedByName) {
  auto path = WriteRun(fs_, "run", SomeMeta(), memtable_);
  ASSERT_TRUE(path.ok());
  std::string whole = fs_.Content(*path);
  StoreLittle<uint32_t>(whole.data() + 8, 3);
  fs_.SetContent(*path, whole);
  auto run = ReadRun(fs_, *path);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code, ErrorCode::kUnsupported);
}

// The run is read before the server answers. Rows come in order: put one by one into a table that has yet to grow they
// crowd its first slots, and half a million of them take minutes.
TEST_F(RunFileTest, ReadingTakesAboutAsLongAsWriting) {
  Memtable many;
  RowTable& keys = *many.KeyTable(1);
  RowTable& members = *many.MemberTable(7);
  for (int i = 0; i < 300'000; ++i) {
    RowTable& table = i % 3 == 0 ? members : keys;
    std::memset(many.Put(table, random_.Next() | 1, "key" + std::to_string(i), 8, 5), 'x', 8);
  }
  const auto begun = std::chrono::steady_clock::now();
  auto path = WriteRun(fs_, "run", SomeMeta(), many);
  ASSERT_TRUE(path.ok());
  const auto written = std::chrono::steady_clock::now();
  auto run = ReadRun(fs_, *path);
  const auto read = std::chrono::steady_clock::now();
  ASSERT_TRUE(run.ok()) << run.error().message;
  EXPECT_EQ(run->rows->rows(), many.rows());
  EXPECT_EQ(run->rows->KeyTable(1)->size(), 200'000u);
  EXPECT_EQ(RowsOf(*run->rows), RowsOf(many));
  EXPECT_LT(read - written, 10 * (written - begun) + std::chrono::milliseconds(300));
}

}  // namespace
}  // namespace holdfast
