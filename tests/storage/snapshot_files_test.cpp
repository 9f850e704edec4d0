#include <gtest/gtest.h>

#include "storage/snapshot.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

using testing::FaultFileSystem;

void Touch(FileSystem& fs, const std::string& path) {
  auto file = fs.Open(path, {.mode = OpenMode::kCreateOrReplace});
  ASSERT_TRUE(file.ok()) << file.error().message;
}

TEST(SnapshotFilesTest, NameTellsOffsetAndTime) {
  EXPECT_EQ(SnapshotPath("data", 123456, 1'700'000'001'023),
            "data/snapshots/00000000000000123456-20231114T221321.023Z.hfs");
}

TEST(SnapshotFilesTest, MissingDirectoryIsEmpty) {
  FaultFileSystem fs;
  auto files = ListSnapshots(fs, "data");
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_TRUE(files->empty());
  auto removed = RemoveUnfinishedSnapshots(fs, "data");
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(*removed, 0u);
}

TEST(SnapshotFilesTest, NewestByTimeAreKeptAndOtherFilesLeftAlone) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectory("data").ok());
  ASSERT_TRUE(fs.CreateDirectory("data/snapshots").ok());
  // A new history may begin at a smaller offset: age goes by time.
  const std::string oldest = SnapshotPath("data", 900, 1'000'000);
  const std::string middle = SnapshotPath("data", 950, 2'000'000);
  const std::string newest = SnapshotPath("data", 10, 3'000'000);
  for (const std::string& path : {newest, oldest, middle}) Touch(fs, path);
  Touch(fs, "data/snapshots/notes.txt");
  Touch(fs, "data/snapshots/00000000000000000010-20231399T221321.023Z.hfs");
  Touch(fs, newest + ".tmp");
  auto files = ListSnapshots(fs, "data");
  ASSERT_TRUE(files.ok());
  ASSERT_EQ(files->size(), 3u);
  EXPECT_EQ((*files)[0].path, oldest);
  EXPECT_EQ((*files)[0].offset, 900u);
  EXPECT_EQ((*files)[0].created_ms, 1'000'000);
  EXPECT_EQ((*files)[2].path, newest);

  auto removed = KeepNewestSnapshots(fs, "data", 2);
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(*removed, 1u);
  EXPECT_FALSE(*fs.Exists(oldest));
  EXPECT_TRUE(*fs.Exists(middle));
  EXPECT_TRUE(*fs.Exists(newest));
  EXPECT_EQ(*KeepNewestSnapshots(fs, "data", 2), 0u);

  EXPECT_EQ(*RemoveUnfinishedSnapshots(fs, "data"), 1u);
  EXPECT_FALSE(*fs.Exists(newest + ".tmp"));
  EXPECT_TRUE(*fs.Exists("data/snapshots/notes.txt"));
}

}  // namespace
}  // namespace holdfast
