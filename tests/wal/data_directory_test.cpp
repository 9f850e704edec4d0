#include "wal/data_directory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/fault_file_system.h"
#include "tests/support/temp_directory.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::FaultFileSystem;
using holdfast::testing::TempDirectory;

TEST(DataDirectoryTest, FirstStartIsFreshUntilCommitted) {
  TempDirectory temp;
  SeededRandom random(1);
  const std::string path = temp.File("data");
  std::string node_id;
  for (int start = 0; start < 3; start++) {
    auto directory = DataDirectory::Open(PosixFileSystem(), path, random);
    ASSERT_TRUE(directory.ok()) << directory.error().message;
    EXPECT_EQ((*directory)->fresh(), start < 2);
    EXPECT_EQ((*directory)->generation_path(), path + "/gen-1");
    EXPECT_EQ((*directory)->identity().node_id.size(), 40u);
    EXPECT_FALSE((*directory)->identity().copied);
    if (start == 0) node_id = (*directory)->identity().node_id;
    EXPECT_EQ((*directory)->identity().node_id, node_id);
    if (start != 1) continue;
    ASSERT_TRUE((*directory)->Commit((*directory)->generation_path()).ok());
  }
}

TEST(DataDirectoryTest, WhatACrashLeftUnfinishedIsRemoved) {
  TempDirectory temp;
  SeededRandom random(1);
  ASSERT_TRUE(DataDirectory::Open(PosixFileSystem(), temp.path(), random).ok());
  std::filesystem::create_directory(temp.File("diverged"));
  const char* unfinished[] = {"CURRENT.tmp", "full-sync.tmp", "diverged/tail.tmp", "gen-1/rewind.tmp"};
  for (const char* name : unfinished) {
    ASSERT_TRUE(PosixFileSystem().Open(temp.File(name), {.mode = OpenMode::kCreate}).ok()) << name;
  }
  ASSERT_TRUE(PosixFileSystem().Open(temp.File("mine.tmp"), {.mode = OpenMode::kCreate}).ok());
  auto directory = DataDirectory::Open(PosixFileSystem(), temp.path(), random);
  ASSERT_TRUE(directory.ok());
  ASSERT_TRUE((*directory)->Commit((*directory)->generation_path()).ok());
  directory->reset();
  for (const char* name : unfinished) {
    ASSERT_TRUE(PosixFileSystem().Open(temp.File(name), {.mode = OpenMode::kCreateOrReplace}).ok()) << name;
  }
  ASSERT_TRUE(DataDirectory::Open(PosixFileSystem(), temp.path(), random).ok());
  for (const char* name : unfinished) EXPECT_FALSE(std::filesystem::exists(temp.File(name))) << name;
  EXPECT_TRUE(std::filesystem::exists(temp.File("mine.tmp")));
}

TEST(DataDirectoryTest, SecondOpenerIsRefused) {
  TempDirectory temp;
  SeededRandom random(1);
  auto first = DataDirectory::Open(PosixFileSystem(), temp.path(), random);
  ASSERT_TRUE(first.ok());
  const auto second = DataDirectory::Open(PosixFileSystem(), temp.path(), random);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_NE(second.error().message.find("in use by another process"), std::string::npos);
  first->reset();
  EXPECT_TRUE(DataDirectory::Open(PosixFileSystem(), temp.path(), random).ok());
}

TEST(DataDirectoryTest, CopyGetsAnotherIdOnce) {
  TempDirectory temp;
  SeededRandom random(1);
  std::string node_id;
  {
    auto directory = DataDirectory::Open(PosixFileSystem(), temp.File("a"), random);
    ASSERT_TRUE(directory.ok());
    ASSERT_TRUE((*directory)->Commit((*directory)->generation_path()).ok());
    node_id = (*directory)->identity().node_id;
  }
  std::filesystem::copy(temp.File("a"), temp.File("b"), std::filesystem::copy_options::recursive);
  for (int start = 0; start < 2; start++) {
    auto copy = DataDirectory::Open(PosixFileSystem(), temp.File("b"), random);
    ASSERT_TRUE(copy.ok()) << copy.error().message;
    EXPECT_EQ((*copy)->identity().copied, start == 0);
    EXPECT_NE((*copy)->identity().node_id, node_id);
    EXPECT_FALSE((*copy)->fresh());
  }
}

TEST(DataDirectoryTest, DamagedOrMissingCurrentIsRefused) {
  for (int damage = 0; damage < 4; damage++) {
    FaultFileSystem fs;
    SeededRandom random(1);
    {
      auto directory = DataDirectory::Open(fs, "data", random);
      ASSERT_TRUE(directory.ok()) << directory.error().message;
      ASSERT_TRUE((*directory)->Commit((*directory)->generation_path()).ok());
    }
    std::string bytes = fs.Content("data/CURRENT");
    if (damage == 0) fs.SetContent("data/CURRENT", "gen-2" + bytes.substr(5));
    if (damage == 1) fs.SetContent("data/CURRENT", bytes.substr(0, bytes.size() - 2));
    Result<void> removed;
    if (damage == 2) removed = fs.Remove("data/CURRENT");
    if (damage == 3) removed = fs.RemoveTree("data/gen-1");
    ASSERT_TRUE(removed.ok());
    const auto refused = DataDirectory::Open(fs, "data", random);
    ASSERT_FALSE(refused.ok()) << damage;
    EXPECT_EQ(refused.error().code, ErrorCode::kCorruption);
    EXPECT_NE(refused.error().message.find("CURRENT"), std::string::npos);
    EXPECT_EQ(fs.Exists("data/gen-1").value(), damage != 3);
  }
}

// Power cuts at every call of a switch to another generation: afterwards one of the two is in force, whole.
TEST(DataDirectoryTest, SwitchIsAtomic) {
  for (uint64_t call = 1;; call++) {
    SCOPED_TRACE(call);
    FaultFileSystem fs;
    SeededRandom random(call);
    bool done = false;
    {
      auto directory = DataDirectory::Open(fs, "data", random);
      ASSERT_TRUE(directory.ok());
      ASSERT_TRUE(WriteFileAtomically(fs, "data/gen-1/content", "old").ok());
      ASSERT_TRUE((*directory)->Commit("data/gen-1").ok());
      fs.CutPowerAtCall(call);
      const auto next = (*directory)->NewGeneration();
      if (next.ok()) {
        EXPECT_EQ(*next, "data/gen-2");
        if (WriteFileAtomically(fs, "data/gen-2/content", "new").ok() && (*directory)->Commit(*next).ok()) {
          done = true;
          (void)(*directory)->RemoveOldGenerations();
        }
      }
    }
    const bool fired = fs.power_is_off();
    fs.Crash(random);
    auto again = DataDirectory::Open(fs, "data", random);
    ASSERT_TRUE(again.ok()) << again.error().message;
    const std::string content = fs.Content((*again)->generation_path() + "/content");
    EXPECT_EQ(content, (*again)->generation_path() == "data/gen-1" ? "old" : "new");
    EXPECT_TRUE(!done || content == "new");
    EXPECT_EQ(fs.Exists("data/gen-1").value() && fs.Exists("data/gen-2").value(), false);
    if (!fired) return;
  }
}

// Somebody copied the generation alone, or a repair of the file system took the small files away.
TEST(DataDirectoryTest, DataWithoutLockAndCurrentIsNotTakenForTheRestOfAFirstStart) {
  for (const bool damaged : {true, false}) {
    FaultFileSystem fs;
    SeededRandom random(1);
    {
      auto directory = DataDirectory::Open(fs, "data", random);
      ASSERT_TRUE(directory.ok()) << directory.error().message;
      ASSERT_TRUE(WriteFileAtomically(fs, "data/gen-1/content", "data").ok());
      ASSERT_TRUE((*directory)->Commit("data/gen-1").ok());
    }
    ASSERT_TRUE(fs.Remove("data/CURRENT").ok());
    if (damaged) {
      fs.SetContent("data/LOCK", "?");
    } else {
      ASSERT_TRUE(fs.Remove("data/LOCK").ok());
    }
    for (int start = 0; start < 2; ++start) {
      const auto refused = DataDirectory::Open(fs, "data", random);
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().code, ErrorCode::kCorruption);
      EXPECT_NE(refused.error().message.find("repair"), std::string::npos) << refused.error().message;
      EXPECT_EQ(fs.Content("data/gen-1/content"), "data");
    }
  }
}

// Who is told that a switch failed goes on with the old data, whatever the call was; a start must find those.
TEST(DataDirectoryTest, AfterASwitchThatFailedTheOldDataAreInForce) {
  for (uint64_t call = 1;; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    FaultFileSystem fs;
    SeededRandom random(call);
    auto directory = DataDirectory::Open(fs, "data", random);
    ASSERT_TRUE(directory.ok());
    ASSERT_TRUE((*directory)->Commit("data/gen-1").ok());
    const auto next = (*directory)->NewGeneration();
    ASSERT_TRUE(next.ok());
    fs.FailCall(call, ErrorCode::kIo);
    const Result<void> switched = (*directory)->Commit(*next);
    fs.ClearFaults();
    EXPECT_EQ((*directory)->generation_path(), switched.ok() ? "data/gen-2" : "data/gen-1");
    const auto current = ReadCurrentGeneration(fs, "data");
    ASSERT_TRUE(current.ok()) << current.error().message;
    EXPECT_EQ(*current, (*directory)->generation_path());
    if (switched.ok()) break;
  }
}

// The file calls of LOCK, CURRENT and generations: an error is told, and what is in force stays in force, whole.
TEST(DataDirectoryTest, EachCallThatFailsIsToldAndTheNextStartIsWhole) {
  const auto work = [](FaultFileSystem& fs, Random& random) -> Result<void> {
    ASSIGN_OR_RETURN(const auto directory, DataDirectory::Open(fs, "data", random));
    ASSIGN_OR_RETURN(const std::string next, directory->NewGeneration());
    RETURN_IF_ERROR(WriteFileAtomically(fs, JoinPath(next, "content"), "new"));
    RETURN_IF_ERROR(directory->Commit(next));
    RETURN_IF_ERROR(directory->RemoveOldGenerations());
    ASSIGN_OR_RETURN([[maybe_unused]] const std::string current, ReadCurrentGeneration(fs, "data"));
    return {};
  };
  for (const bool first : {true, false}) {
    for (uint64_t call = 1;; call++) {
      SCOPED_TRACE((first ? "first start, call " : "later start, call ") + std::to_string(call));
      FaultFileSystem fs;
      SeededRandom random(call);
      if (!first) {
        auto directory = DataDirectory::Open(fs, "data", random);
        ASSERT_TRUE(directory.ok());
        ASSERT_TRUE(WriteFileAtomically(fs, "data/gen-1/content", "old").ok());
        ASSERT_TRUE((*directory)->Commit("data/gen-1").ok());
        // What a crash left is removed by the start.
        ASSERT_TRUE(fs.CreateDirectory("data/gen-7").ok());
        ASSERT_TRUE(fs.Open("data/CURRENT.tmp", {.mode = OpenMode::kCreate}).ok());
      }
      const uint64_t before = fs.calls();
      fs.FailCall(call, ErrorCode::kIo);
      const Result<void> outcome = work(fs, random);
      const bool fired = fs.calls() - before >= call;
      fs.ClearFaults();
      if (!outcome.ok()) {
        EXPECT_EQ(outcome.error().code, ErrorCode::kIo) << outcome.error().message;
      }
      auto again = DataDirectory::Open(fs, "data", random);
      ASSERT_TRUE(again.ok()) << again.error().message;
      if (!(*again)->fresh()) {
        const std::string content = fs.Content((*again)->generation_path() + "/content");
        EXPECT_TRUE(content == "new" || (content == "old" && !outcome.ok() && !first)) << content;
      } else {
        EXPECT_TRUE(first && !outcome.ok());
      }
      if (HasFailure()) return;
      if (!fired) {
        EXPECT_TRUE(outcome.ok());
        break;
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::wal
