#include "storage/base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "storage/base/clock.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

// Every promise of the interface, on the operating system's files and on the model that other tests use instead.
class FileSystemContract : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      fs_ = &PosixFileSystem();
      base_ = temp_.path();
    } else {
      fs_ = &model_;
      base_ = "/data";
      ASSERT_TRUE(model_.CreateDirectory(base_).ok());
    }
  }
  std::string At(const std::string& name) { return JoinPath(base_, name); }
  std::unique_ptr<File> MustOpen(const std::string& name, OpenOptions options) {
    Result<std::unique_ptr<File>> file = fs_->Open(At(name), options);
    EXPECT_TRUE(file.ok()) << file.error().message;
    return std::move(file).value();
  }
  void MustWrite(const std::string& name, std::string_view bytes) {
    ASSERT_TRUE(MustOpen(name, {.mode = OpenMode::kCreateOrReplace})->WriteAt(0, bytes).ok());
  }
  std::string MustRead(const std::string& name) { return ReadFile(*fs_, At(name), 1 << 24).value(); }

  testing::TempDirectory temp_;
  testing::FaultFileSystem model_;
  FileSystem* fs_ = nullptr;
  std::string base_;
};

TEST_P(FileSystemContract, OpenModes) {
  EXPECT_EQ(fs_->Open(At("a"), {.mode = OpenMode::kRead}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(fs_->Open(At("a"), {.mode = OpenMode::kWrite}).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(*fs_->Exists(At("a")));
  MustOpen("a", {.mode = OpenMode::kCreate});
  EXPECT_TRUE(*fs_->Exists(At("a")));
  const Error exists = fs_->Open(At("a"), {.mode = OpenMode::kCreate}).error();
  EXPECT_EQ(exists.code, ErrorCode::kAlreadyExists);
  EXPECT_NE(exists.message.find(At("a")), std::string::npos);
  MustWrite("a", "hello");
  EXPECT_EQ(*MustOpen("a", {.mode = OpenMode::kWrite})->Size(), 5u);
  EXPECT_FALSE(MustOpen("a", {.mode = OpenMode::kRead})->WriteAt(0, "x").ok());
  EXPECT_EQ(*MustOpen("a", {.mode = OpenMode::kCreateOrReplace})->Size(), 0u);
  EXPECT_EQ(fs_->Open(At("no/such"), {.mode = OpenMode::kCreate}).error().code, ErrorCode::kNotFound);
}

TEST_P(FileSystemContract, ReadsAreShortOnlyAtTheEnd) {
  MustWrite("a", "0123456789");
  std::unique_ptr<File> file = MustOpen("a", {});
  char to[20];
  EXPECT_EQ(*file->ReadAt(2, to, 3), 3u);
  EXPECT_EQ(std::string_view(to, 3), "234");
  EXPECT_EQ(*file->ReadAt(8, to, 20), 2u);
  EXPECT_EQ(*file->ReadAt(10, to, 20), 0u);
  EXPECT_EQ(*file->ReadAt(99, to, 20), 0u);
}

TEST_P(FileSystemContract, WritesBeyondTheEndAndTruncateFillWithZeros) {
  std::unique_ptr<File> file = MustOpen("a", {.mode = OpenMode::kCreate});
  ASSERT_TRUE(file->WriteAt(4, "abcd").ok());
  EXPECT_EQ(MustRead("a"), std::string(4, '\0') + "abcd");
  ASSERT_TRUE(file->Truncate(6).ok());
  ASSERT_TRUE(file->Truncate(8).ok());
  EXPECT_EQ(MustRead("a"), std::string(4, '\0') + "ab" + std::string(2, '\0'));
  EXPECT_TRUE(file->Sync().ok());
}

TEST_P(FileSystemContract, DirectWritesAndUnalignedDirectReads) {
  const uint64_t seed = RandomSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  SeededRandom random(seed);
  std::unique_ptr<File> file = MustOpen("a", {.mode = OpenMode::kCreate, .direct_sync = true});
  AlignedBuffer buffer;
  buffer.Resize(80 * kDirectAlignment);
  for (size_t i = 0; i < buffer.size(); i++) buffer.data()[i] = static_cast<char>(random.Below(256));
  ASSERT_TRUE(file->WriteAt(0, buffer.view()).ok());
  const std::string expected(buffer.view());
  EXPECT_EQ(MustRead("a"), expected);
  for (int round = 0; round < 100; round++) {
    const size_t position = random.Below(expected.size() + 100);
    std::string to(random.Below(expected.size()) + 1, '\0');
    Result<size_t> got = file->ReadAt(position, to.data(), to.size());
    ASSERT_TRUE(got.ok()) << got.error().message;
    to.resize(*got);
    ASSERT_EQ(to, position < expected.size() ? expected.substr(position, to.capacity()).substr(0, to.size()) : "");
    ASSERT_EQ(*got, position >= expected.size() ? 0 : std::min(expected.size() - position, to.size()));
  }
  // A file whose end is not aligned can be read past the cache as well.
  MustWrite("odd", expected.substr(0, 10'000));
  std::unique_ptr<File> odd = MustOpen("odd", {.mode = OpenMode::kRead, .direct_sync = true});
  std::string to(20'000, '\0');
  ASSERT_EQ(*odd->ReadAt(1, to.data(), to.size()), 9'999u);
  EXPECT_EQ(to.substr(0, 9'999), expected.substr(1, 9'999));
  AlignedBuffer aligned;
  aligned.Resize(5 * kDirectAlignment);
  ASSERT_EQ(*odd->ReadAt(0, aligned.data(), aligned.size()), 10'000u);
}

TEST_P(FileSystemContract, RenameReplacesAndLinksCount) {
  MustWrite("a", "new");
  MustWrite("b", "old");
  ASSERT_TRUE(fs_->Rename(At("a"), At("b")).ok());
  EXPECT_FALSE(*fs_->Exists(At("a")));
  EXPECT_EQ(MustRead("b"), "new");
  EXPECT_EQ(fs_->Rename(At("a"), At("c")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(*MustOpen("b", {})->LinkCount(), 1u);
  ASSERT_TRUE(fs_->Link(At("b"), At("c")).ok());
  EXPECT_EQ(*MustOpen("b", {})->LinkCount(), 2u);
  EXPECT_EQ(fs_->Link(At("b"), At("c")).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(fs_->Link(At("x"), At("y")).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(fs_->Remove(At("b")).ok());
  EXPECT_EQ(MustRead("c"), "new");
  EXPECT_EQ(*MustOpen("c", {})->LinkCount(), 1u);
  EXPECT_EQ(fs_->Remove(At("b")).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(fs_->SyncDirectory(base_).ok());
}

TEST_P(FileSystemContract, DirectoriesAndLists) {
  ASSERT_TRUE(fs_->CreateDirectory(At("d")).ok());
  ASSERT_TRUE(fs_->CreateDirectory(At("d")).ok());
  MustWrite("f", "");
  EXPECT_EQ(fs_->CreateDirectory(At("f")).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(fs_->CreateDirectory(At("no/such")).error().code, ErrorCode::kNotFound);
  MustWrite("d/2", "x");
  MustWrite("d/1", "x");
  ASSERT_TRUE(fs_->CreateDirectory(At("d/3")).ok());
  MustWrite("d/3/deep", "x");
  EXPECT_EQ(*fs_->List(At("d")), (std::vector<std::string>{"1", "2", "3"}));
  EXPECT_EQ(fs_->List(At("none")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(fs_->SyncDirectory(At("none")).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(fs_->RemoveTree(At("d")).ok());
  EXPECT_FALSE(*fs_->Exists(At("d")));
  EXPECT_TRUE(fs_->RemoveTree(At("d")).ok());
}

TEST_P(FileSystemContract, LockIsExclusiveAndEndsWithItsObject) {
  Result<std::unique_ptr<FileLock>> first = fs_->Lock(At("lock"));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(fs_->Lock(At("lock")).error().code, ErrorCode::kBusy);
  first->reset();
  EXPECT_TRUE(fs_->Lock(At("lock")).ok());
}

TEST_P(FileSystemContract, SpaceIsPlausible) {
  Result<SpaceInfo> space = fs_->Space(base_);
  ASSERT_TRUE(space.ok());
  EXPECT_GT(space->total_bytes, 0u);
  EXPECT_LE(space->free_bytes, space->total_bytes);
}

TEST_P(FileSystemContract, WholeFiles) {
  ASSERT_TRUE(WriteFileAtomically(*fs_, At("a"), "one").ok());
  ASSERT_TRUE(WriteFileAtomically(*fs_, At("a"), "two").ok());
  EXPECT_EQ(MustRead("a"), "two");
  EXPECT_EQ(*fs_->List(base_), std::vector<std::string>{"a"});
  EXPECT_EQ(ReadFile(*fs_, At("a"), 2).error().code, ErrorCode::kLimit);
  EXPECT_EQ(*ReadFile(*fs_, At("a"), 3), "two");
  EXPECT_EQ(ReadFile(*fs_, At("b"), 3).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(*fs_, At("empty"), "").ok());
  EXPECT_EQ(MustRead("empty"), "");
}

INSTANTIATE_TEST_SUITE_P(All, FileSystemContract, ::testing::Values(true, false),
                         [](const auto& tested) { return tested.param ? "Posix" : "Model"; });

TEST(WriteFileAtomically, OldOrNewAfterACrashAtEveryCall) {
  SeededRandom random(3);
  bool done = false;
  for (uint64_t nth = 1; !done; nth++) {
    for (int state = 0; state < 20; state++) {
      testing::FaultFileSystem fs;
      ASSERT_TRUE(WriteFileAtomically(fs, "CURRENT", "old").ok());
      fs.CutPowerAtCall(nth);
      const bool written = WriteFileAtomically(fs, "CURRENT", "new").ok();
      done = !fs.power_is_off();
      fs.Crash(random);
      const std::string content = ReadFile(fs, "CURRENT", 100).value();
      ASSERT_TRUE(content == "new" || (!written && content == "old")) << "call " << nth << ": " << content;
    }
  }
}

TEST(WriteFileAtomically, AFailureAtAnyCallLeavesTheOldContent) {
  for (uint64_t nth = 1;; nth++) {
    testing::FaultFileSystem fs;
    ASSERT_TRUE(WriteFileAtomically(fs, "CURRENT", "old").ok());
    const uint64_t before = fs.calls();
    fs.FailCall(nth, ErrorCode::kNoSpace);
    const Result<void> written = WriteFileAtomically(fs, "CURRENT", "new");
    if (fs.calls() - before < nth) {
      EXPECT_TRUE(written.ok());
      break;
    }
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::kNoSpace);
    const bool renamed = fs.CallLog().back().starts_with("sync directory");
    EXPECT_EQ(fs.Content("CURRENT"), renamed ? "new" : "old");
    EXPECT_FALSE(*fs.Exists("CURRENT.tmp"));
  }
}

TEST(Paths, JoinAndParent) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(ParentDirectory("a/b"), "a");
  EXPECT_EQ(ParentDirectory("a"), ".");
  EXPECT_EQ(ParentDirectory("/a"), "/");
  EXPECT_EQ(ParentDirectory("/a//b/"), "/a");
}

// The offline tool shares the lock for an instant to see whether anybody holds it: no start fails for that.
TEST(PosixFileLock, WaitsForWhoSharesItForAnInstant) {
  const testing::TempDirectory directory;
  const std::string path = directory.File("lock");
  ASSERT_TRUE(PosixFileSystem().Lock(path).ok());
  const int sharing = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(sharing, 0);
  ASSERT_EQ(::flock(sharing, LOCK_SH | LOCK_NB), 0);
  std::atomic<bool> begun{false};
  std::thread other([&] {
    while (!begun) std::this_thread::yield();
    ::close(sharing);
  });
  begun = true;
  EXPECT_TRUE(PosixFileSystem().Lock(path).ok());
  other.join();
}

TEST(AlignedBuffer, KeepsContentAndAlignmentWhileGrowing) {
  AlignedBuffer buffer;
  EXPECT_EQ(buffer.view(), "");
  std::string expected;
  for (int i = 0; i < 3000; i++) {
    buffer.Append("0123456789");
    expected += "0123456789";
    ASSERT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kDirectAlignment, 0u);
  }
  EXPECT_EQ(buffer.view(), expected);
  EXPECT_EQ(buffer.capacity() % kDirectAlignment, 0u);
  buffer.Resize(5);
  buffer.Resize(8);
  EXPECT_EQ(buffer.view(), std::string("01234\0\0\0", 8));
  buffer.Clear();
  EXPECT_EQ(buffer.size(), 0u);
}

}  // namespace
}  // namespace holdfast
