#include "tests/support/fault_file_system.h"

#include <gtest/gtest.h>

#include <set>

namespace holdfast::testing {
namespace {

std::string Sectors(std::string_view letters) {
  std::string bytes;
  for (char letter : letters) bytes.append(512, letter);
  return bytes;
}

std::string Letters(std::string_view sectors) {
  std::string letters;
  for (size_t at = 0; at < sectors.size(); at += 512) {
    EXPECT_EQ(sectors.substr(at, 512), std::string(512, sectors[at])) << "a sector is torn inside";
    letters.push_back(sectors[at] == '\0' ? '0' : sectors[at]);
  }
  return letters;
}

// A file with a durable name and the given durable content.
std::unique_ptr<File> DurableFile(FaultFileSystem& fs, const std::string& path, std::string_view bytes) {
  std::unique_ptr<File> file = fs.Open(path, {.mode = OpenMode::kCreate}).value();
  EXPECT_TRUE(file->WriteAt(0, bytes).ok());
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(fs.SyncDirectory("/").ok());
  return file;
}

TEST(FaultFileSystem, CrashKeepsWhatWasSynced) {
  const uint64_t seed = RandomSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  SeededRandom random(seed);
  FaultFileSystem fs;
  DurableFile(fs, "a", Sectors("abcd"));
  for (int i = 0; i < 50; i++) {
    fs.Crash(random);
    ASSERT_EQ(Letters(fs.Content("a")), "abcd");
  }
}

TEST(FaultFileSystem, UnsyncedSectorsAreKeptOrLostOneByOne) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = DurableFile(fs, "a", Sectors("aa"));
  ASSERT_TRUE(file->WriteAt(0, Sectors("bbb")).ok());
  ASSERT_TRUE(file->WriteAt(512, Sectors("c")).ok());
  SeededRandom random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; i++) seen.insert(Letters(fs.CrashedCopy(random)->Content("a")));
  std::set<std::string> expected;
  for (char first : {'a', 'b'}) {
    for (char second : {'a', 'b', 'c'}) {
      for (const char* third : {"", "0", "b"}) expected.insert(std::string{first, second} + third);
    }
  }
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(Letters(fs.Content("a")), "bcb") << "copies leave the original alone";
  fs.CrashLosingAll();
  EXPECT_EQ(Letters(fs.Content("a")), "aa");
}

TEST(FaultFileSystem, KindestCrashKeepsAll) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = fs.Open("a", {.mode = OpenMode::kCreate}).value();
  ASSERT_TRUE(file->WriteAt(0, "abc").ok());
  fs.CrashKeepingAll();
  EXPECT_EQ(fs.Content("a"), "abc");
}

TEST(FaultFileSystem, SyncOfAFileDoesNotSaveItsName) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = fs.Open("a", {.mode = OpenMode::kCreate}).value();
  ASSERT_TRUE(file->WriteAt(0, "abc").ok());
  ASSERT_TRUE(file->Sync().ok());
  SeededRandom random(1);
  int kept = 0;
  for (int i = 0; i < 100; i++) {
    std::unique_ptr<FaultFileSystem> after = fs.CrashedCopy(random);
    if (*after->Exists("a")) {
      kept++;
      ASSERT_EQ(after->Content("a"), "abc");
    }
  }
  EXPECT_GT(kept, 0);
  EXPECT_LT(kept, 100);
  ASSERT_TRUE(fs.SyncDirectory("/").ok());
  fs.CrashLosingAll();
  EXPECT_EQ(fs.Content("a"), "abc");
}

TEST(FaultFileSystem, RenameIsAtomicAndLostWithoutSyncDirectory) {
  FaultFileSystem fs;
  DurableFile(fs, "old", "old");
  DurableFile(fs, "new", "new");
  ASSERT_TRUE(fs.Rename("new", "old").ok());
  SeededRandom random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 100; i++) {
    std::unique_ptr<FaultFileSystem> after = fs.CrashedCopy(random);
    seen.insert(after->Content("old") + (*after->Exists("new") ? "+new" : ""));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"old+new", "new"}));
}

TEST(FaultFileSystem, TruncateMayComeBack) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = DurableFile(fs, "a", Sectors("abcd"));
  ASSERT_TRUE(file->Truncate(512).ok());
  ASSERT_TRUE(file->Truncate(1024).ok());
  EXPECT_EQ(Letters(fs.Content("a")), "a0");
  SeededRandom random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 500; i++) seen.insert(Letters(fs.CrashedCopy(random)->Content("a")));
  EXPECT_TRUE(seen.contains("abcd"));
  EXPECT_TRUE(seen.contains("a"));
  EXPECT_TRUE(seen.contains("a0"));
  ASSERT_TRUE(file->Sync().ok());
  fs.CrashLosingAll();
  EXPECT_EQ(Letters(fs.Content("a")), "a0");
}

TEST(FaultFileSystem, DirectWritesAreDurableOnReturnAndTornWhenThePowerGoes) {
  FaultFileSystem fs;
  DurableFile(fs, "a", Sectors("aaaaaaaa"));
  std::unique_ptr<File> file = fs.Open("a", {.mode = OpenMode::kWrite, .direct_sync = true}).value();
  AlignedBuffer buffer;
  buffer.Append(Sectors("bbbbbbbb"));
  ASSERT_TRUE(file->WriteAt(0, buffer.view()).ok());
  fs.CrashLosingAll();
  EXPECT_EQ(Letters(fs.Content("a")), "bbbbbbbb");

  file = fs.Open("a", {.mode = OpenMode::kWrite, .direct_sync = true}).value();
  buffer.Clear();
  buffer.Append(Sectors("cccccccc"));
  fs.CutPowerAtCall(1);
  EXPECT_EQ(file->WriteAt(0, buffer.view()).error().code, ErrorCode::kIo);
  EXPECT_TRUE(fs.power_is_off());
  EXPECT_FALSE(fs.Exists("a").ok());
  SeededRandom random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 200; i++) seen.insert(Letters(fs.CrashedCopy(random)->Content("a")));
  EXPECT_TRUE(seen.contains("bbbbbbbb"));
  EXPECT_TRUE(seen.contains("cccccccc"));
  EXPECT_GT(seen.size(), 20u);
  fs.Crash(random);
  EXPECT_FALSE(fs.power_is_off());
  EXPECT_FALSE(file->Size().ok()) << "opened before the crash";
}

TEST(FaultFileSystem, EachCallCanFailOnceOrForEver) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = DurableFile(fs, "a", "abc");
  fs.FailCall(2, ErrorCode::kNoSpace, false, FileCall::kWrite);
  EXPECT_TRUE(file->WriteAt(0, "x").ok());
  EXPECT_TRUE(file->Size().ok());
  EXPECT_EQ(file->WriteAt(0, "y").error().code, ErrorCode::kNoSpace);
  EXPECT_TRUE(file->WriteAt(0, "z").ok());
  fs.FailCall(1, ErrorCode::kIo, true);
  EXPECT_EQ(file->Size().error().code, ErrorCode::kIo);
  EXPECT_EQ(fs.List("/").error().code, ErrorCode::kIo);
  fs.ClearFaults();
  EXPECT_TRUE(file->Size().ok());
}

TEST(FaultFileSystem, AFailedWriteLeavesHalf) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = DurableFile(fs, "a", Sectors("aaaa"));
  fs.FailCall(1, ErrorCode::kIo);
  EXPECT_FALSE(file->WriteAt(0, Sectors("bbbb")).ok());
  EXPECT_EQ(Letters(fs.Content("a")), "bbaa");
}

TEST(FaultFileSystem, AfterAFailedSyncTheCacheLies) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = DurableFile(fs, "a", "old");
  ASSERT_TRUE(file->WriteAt(0, "new").ok());
  fs.FailCall(1, ErrorCode::kIo, false, FileCall::kSync);
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_TRUE(file->Sync().ok()) << "the second call says success";
  char to[3];
  ASSERT_EQ(*file->ReadAt(0, to, 3), 3u);
  EXPECT_EQ(std::string_view(to, 3), "new");
  file->DropCache();
  ASSERT_EQ(*file->ReadAt(0, to, 3), 3u);
  EXPECT_EQ(std::string_view(to, 3), "old");
  fs.CrashKeepingAll();
  EXPECT_EQ(fs.Content("a"), "old");
}

TEST(FaultFileSystem, SpaceRunsOutAndComesBack) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = DurableFile(fs, "a", Sectors("a"));
  fs.SetSpaceLimit(4 * 512);
  EXPECT_EQ(fs.Space("/")->free_bytes, 3 * 512u);
  EXPECT_EQ(file->WriteAt(512, Sectors("bbbb")).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(Letters(fs.Content("a")), "abbb");
  EXPECT_TRUE(file->WriteAt(0, Sectors("cccc")).ok()) << "overwriting needs no space";
  EXPECT_EQ(file->Truncate(5 * 512).error().code, ErrorCode::kNoSpace);
  ASSERT_TRUE(fs.Remove("a").ok());
  EXPECT_EQ(fs.Space("/")->free_bytes, 4 * 512u);
}

TEST(FaultFileSystem, CountsAndLogsCalls) {
  FaultFileSystem fs;
  std::unique_ptr<File> file = fs.Open("a", {.mode = OpenMode::kCreate}).value();
  ASSERT_TRUE(file->WriteAt(4, "abc").ok());
  fs.FailCall(1, ErrorCode::kIo);
  ASSERT_FALSE(file->Sync().ok());
  EXPECT_EQ(fs.calls(), 3u);
  EXPECT_EQ(fs.calls(FileCall::kWrite), 1u);
  EXPECT_EQ(fs.CallLog(), (std::vector<std::string>{"open a", "write a 4+3", "sync a -> i/o error"}));
}

TEST(FaultFileSystem, HardLinksSurviveACrashAsLinks) {
  FaultFileSystem fs;
  DurableFile(fs, "a", "abc");
  ASSERT_TRUE(fs.Link("a", "b").ok());
  ASSERT_TRUE(fs.SyncDirectory("/").ok());
  fs.CrashLosingAll();
  std::unique_ptr<File> file = fs.Open("a", {.mode = OpenMode::kWrite}).value();
  EXPECT_EQ(*file->LinkCount(), 2u);
  ASSERT_TRUE(file->WriteAt(0, "x").ok());
  EXPECT_EQ(fs.Content("b"), "xbc");
}

TEST(FaultFileSystem, LocksDieWithTheMachine) {
  FaultFileSystem fs;
  Result<std::unique_ptr<FileLock>> lock = fs.Lock("lock");
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(fs.Lock("lock").error().code, ErrorCode::kBusy);
  fs.CrashKeepingAll();
  Result<std::unique_ptr<FileLock>> again = fs.Lock("lock");
  EXPECT_TRUE(again.ok());
  lock->reset();
  EXPECT_EQ(fs.Lock("lock").error().code, ErrorCode::kBusy) << "the dead lock must not release the new one";
}

TEST(FaultFileSystem, SetContentIsDurableDamage) {
  FaultFileSystem fs;
  DurableFile(fs, "a", "abc");
  fs.SetContent("a", "aXc");
  fs.CrashLosingAll();
  EXPECT_EQ(fs.Content("a"), "aXc");
}

}  // namespace
}  // namespace holdfast::testing
