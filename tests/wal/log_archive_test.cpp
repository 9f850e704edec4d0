#include "wal/log_archive.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/wal/log_driver.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::CheckedLog;
using holdfast::testing::CheckLog;
using holdfast::testing::FaultFileSystem;
using holdfast::testing::FileCall;
using holdfast::testing::Problems;
using testing::LogDriver;

constexpr const char* kGeneration = "gen";

class LogArchiveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fs_.CreateDirectory(kGeneration).ok());
    ASSERT_TRUE(driver_.Create().ok());
    LogArchive::Hold(*driver_.log);
  }
  void Fill(int units) {
    for (int i = 0; i < units; i++) {
      driver_.Append(1000);
      ASSERT_TRUE(driver_.Commit().ok());
    }
    driver_.Checkpoint();
  }
  void Trim() { ASSERT_TRUE(driver_.log->Trim(driver_.checkpoint.offset, 0).ok()); }
  std::string Directory() {
    const auto list = ReadArchiveList(fs_, kGeneration);
    EXPECT_TRUE(list.ok() && !list->empty());
    return list.ok() && !list->empty() ? list->front() : "";
  }
  std::map<std::string, std::string> Archived() {
    std::map<std::string, std::string> files;
    const std::string directory = Directory();
    const auto names = fs_.List(directory);
    EXPECT_TRUE(names.ok());
    for (const std::string& name : *names) files[name] = fs_.Content(JoinPath(directory, name));
    return files;
  }
  LogArchive Open(bool begin_anew = false) {
    return LogArchive(fs_, driver_.clock, {"archive", kGeneration, driver_.random.Hex(16), begin_anew});
  }

  FaultFileSystem fs_;
  LogDriver driver_{fs_};
};

// The segment may be trimmed as soon as it is archived: its place there must be on the disk by then, whoever put it
// there.
TEST_F(LogArchiveTest, WhatAFailedTryHasLinkedIsMadeDurableByTheNext) {
  Fill(60);
  LogArchive archive = Open();
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  const std::string first = Directory();
  Fill(60);
  for (uint64_t sync = 1; sync <= 3; sync++) {
    fs_.FailCall(sync, ErrorCode::kIo, false, FileCall::kSyncDirectory);
    const bool failed = !archive.Run(*driver_.log).ok();
    fs_.ClearFaults();
    EXPECT_TRUE(failed) << sync;
  }
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  EXPECT_EQ(Directory(), first);
  const auto before = Archived();
  Trim();
  fs_.CrashLosingAll();
  EXPECT_EQ(Archived(), before);
}

TEST_F(LogArchiveTest, FinishedSegmentsGoThereBeforeTheyAreTrimmed) {
  LogArchive archive = Open();
  Fill(60);
  const uint64_t segments = driver_.log->Stats().segments;
  ASSERT_GT(segments, 3u);
  Trim();  // nothing is archived yet
  EXPECT_EQ(driver_.log->Stats().segments, segments);
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  EXPECT_EQ(Archived().size(), segments - 1);  // all but the one that is written to
  EXPECT_EQ(archive.CurrentState().segments, segments - 1);
  Trim();
  EXPECT_EQ(driver_.log->Stats().segments, 1u);
  EXPECT_EQ(driver_.log->FirstOffset(), archive.CurrentState().end_offset);
  const CheckedLog checked = CheckLog(fs_, Directory(), true);
  EXPECT_EQ(Problems(checked), "");
  EXPECT_EQ(checked.first_offset, 0u);
  EXPECT_TRUE(checked.stream == driver_.stream.substr(0, checked.stream.size()));
  EXPECT_EQ(checked.stream.size(), archive.CurrentState().end_offset);
}

TEST_F(LogArchiveTest, WhatIsThereNeverChanges) {
  LogArchive archive = Open();
  Fill(60);
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  const auto before = Archived();
  Trim();
  ASSERT_TRUE(driver_.log->PrepareSpare().ok());
  for (int i = 0; i < 4; i++) {
    Fill(60);
    ASSERT_TRUE(archive.Run(*driver_.log).ok());
    Trim();
  }
  ASSERT_TRUE(driver_.Reopen().ok());
  Fill(5);
  const auto after = Archived();
  for (const auto& [name, bytes] : before) EXPECT_TRUE(after.at(name) == bytes) << name;
  EXPECT_GT(after.size(), before.size());
}

TEST_F(LogArchiveTest, APartOfAUnitThatMayBeTakenBackStaysOut) {
  LogArchive archive = Open();
  Fill(5);
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  // A replica receives the first parts of a long unit, over several segments.
  HistoryFrame frame;
  frame.kind = FrameKind::kData;
  frame.part = UnitPart::kFirst;
  frame.selected_db = frame.selected_db_after = 0;
  HistoryDigest digest = driver_.log->EndPosition().digest;
  for (int i = 0; i < 8; i++) {
    const std::string bytes(8000, 'x');
    digest.Update(bytes);
    frame.offset = driver_.log->AppendedOffset();
    frame.payload = bytes;
    frame.digest = digest.Value();
    frame.time_ms = driver_.clock.WallMs();
    const auto appended = driver_.log->AppendFrame(frame);
    ASSERT_TRUE(appended.ok()) << appended.error().message;
    ASSERT_TRUE(driver_.Commit().ok());
    frame.part = UnitPart::kMiddle;
  }
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  ASSERT_GT(driver_.log->Stats().segments, 4u);
  EXPECT_LE(Archived().size(), 1u);  // at most the segment before the unit
  EXPECT_LE(archive.CurrentState().end_offset, driver_.stream.size());
  driver_.log->AbandonUnit();
  Fill(60);
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  const CheckedLog checked = CheckLog(fs_, Directory(), true);
  EXPECT_EQ(Problems(checked), "");
  EXPECT_TRUE(checked.stream == driver_.stream.substr(0, checked.stream.size()));
}

TEST_F(LogArchiveTest, ARestartGoesOnInTheSameDirectory) {
  Fill(60);
  {
    LogArchive archive = Open();
    ASSERT_TRUE(archive.Run(*driver_.log).ok());
  }
  const auto before = Archived();
  const std::string directory = Directory();
  ASSERT_TRUE(driver_.Reopen().ok());
  LogArchive::Hold(*driver_.log);
  LogArchive archive = Open();
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  EXPECT_EQ(Directory(), directory);
  EXPECT_EQ(Archived().size(), before.size() + 1);  // the one that was written to is finished now
  // A log that was cut begins another directory.
  LogArchive other = Open(true);
  ASSERT_TRUE(other.Run(*driver_.log).ok());
  EXPECT_NE(Directory(), directory);
  EXPECT_EQ(ReadArchiveList(fs_, kGeneration)->size(), 2u);
}

// The start that cut the log lost power before it had begun a directory for it, and the next knows nothing of the cut.
TEST_F(LogArchiveTest, ALogThatWasCutUnawaresBeginsAnotherDirectory) {
  Fill(60);
  const uint64_t fork = driver_.stream.size();
  Fill(60);
  {
    LogArchive archive = Open();
    ASSERT_TRUE(archive.Run(*driver_.log).ok());
  }
  const std::string first = Directory();
  const auto before = Archived();
  driver_.log.reset();
  const auto cut =
      Recover({.directory = driver_.options.directory, .checkpoint = {}, .cut_at = fork, .fs = &fs_}, ReplayVisitor());
  ASSERT_TRUE(cut.ok()) << cut.error().message;
  ASSERT_TRUE(driver_.OpenAt(cut->state).ok());
  LogArchive::Hold(*driver_.log);
  driver_.stream.resize(fork);
  LogArchive archive = Open();
  for (int i = 0; i < 4; ++i) {
    Fill(30);
    const auto archived = archive.Run(*driver_.log);
    ASSERT_TRUE(archived.ok()) << archived.error().message;
  }
  const std::string second = Directory();
  ASSERT_NE(second, first);
  EXPECT_EQ(ReadArchiveList(fs_, kGeneration)->size(), 2u);
  const auto after = Archived();
  EXPECT_TRUE(after.begin()->first.starts_with("00000000000000000001-")) << after.begin()->first;
  const CheckedLog checked = CheckLog(fs_, second);
  EXPECT_EQ(Problems(checked), "");
  EXPECT_EQ(archive.CurrentState().end_offset, checked.first_offset + checked.stream.size());
  EXPECT_EQ(fs_.List(first)->size(), before.size());
}

TEST_F(LogArchiveTest, AFailureIsTriedAgainAndLosesNothing) {
  LogArchive archive = Open();
  Fill(60);
  const uint64_t segments = driver_.log->Stats().segments;
  ASSERT_TRUE(WriteFileAtomically(fs_, "archive", "a file is in the way").ok());
  EXPECT_FALSE(archive.Run(*driver_.log).ok());
  EXPECT_NE(archive.CurrentState().failure, "");
  Trim();
  EXPECT_EQ(driver_.log->Stats().segments, segments);
  ASSERT_TRUE(fs_.Remove("archive").ok());
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  EXPECT_EQ(archive.CurrentState().failure, "");
  EXPECT_EQ(Archived().size(), segments - 1);
  // Another file of that name is not touched.
  Fill(60);
  const std::string last = JoinPath(Directory(), std::prev(Archived().end())->first);
  driver_.log.reset();
  ASSERT_TRUE(fs_.Remove(last).ok());  // the segment itself has it as a second name
  ASSERT_TRUE(WriteFileAtomically(fs_, last, std::string(5000, 'y')).ok());
  ASSERT_TRUE(driver_.Reopen().ok());
  LogArchive again = Open();
  EXPECT_FALSE(again.Run(*driver_.log).ok());
  EXPECT_EQ(fs_.Content(last), std::string(5000, 'y'));
}

// Linked, or copied as to another disk.
TEST_F(LogArchiveTest, EachCallThatFailsIsToldAndMadeUpForByTheNextTry) {
  for (const bool copies : {false, true}) {
    for (uint64_t call = 1;; call++) {
      SCOPED_TRACE(std::string(copies ? "copied" : "linked") + ", call " + std::to_string(call));
      FaultFileSystem fs;
      LogDriver driver(fs);
      ASSERT_TRUE(fs.CreateDirectory(kGeneration).ok());
      ASSERT_TRUE(driver.Create().ok());
      LogArchive::Hold(*driver.log);
      for (int i = 0; i < 40; i++) {
        driver.Append(1000);
        ASSERT_TRUE(driver.Commit().ok());
      }
      driver.Checkpoint();
      const uint64_t segments = driver.log->Stats().segments;
      LogArchive archive(fs, driver.clock, {"archive", kGeneration, driver.random.Hex(16), false});
      if (copies) fs.FailCall(1, ErrorCode::kIo, true, FileCall::kLink);
      const uint64_t before = fs.calls();
      fs.FailCall(call, ErrorCode::kIo);
      const bool done = archive.Run(*driver.log).ok();
      const bool fired = fs.calls() - before >= call;
      fs.ClearFaults();
      EXPECT_EQ(archive.CurrentState().failure.empty(), done);
      if (!done) {
        ASSERT_TRUE(driver.log->Trim(driver.checkpoint.offset, 0).ok());
        EXPECT_GT(driver.log->Stats().segments, 1u) << "what is not archived stays";
      }
      ASSERT_TRUE(archive.Run(*driver.log).ok()) << archive.CurrentState().failure;
      ASSERT_TRUE(driver.log->Trim(driver.checkpoint.offset, 0).ok());
      EXPECT_EQ(driver.log->Stats().segments, 1u);
      const auto list = ReadArchiveList(fs, kGeneration);
      ASSERT_TRUE(list.ok() && !list->empty());
      EXPECT_EQ(fs.List(list->front())->size(), segments - 1);
      EXPECT_EQ(Problems(CheckLog(fs, list->front(), true)), "");
      if (HasFailure()) return;
      if (!fired) break;
    }
  }
}

TEST_F(LogArchiveTest, LettingGoFreesTheLogAndBeginsAnotherDirectory) {
  LogArchive archive = Open();
  Fill(60);
  ASSERT_TRUE(archive.Run(*driver_.log).ok());
  const std::string first = Directory();
  for (const bool restart : {false, true}) {
    const std::string before = Directory();
    Fill(60);
    LogArchive::LetGo(*driver_.log);
    Trim();
    EXPECT_EQ(driver_.log->Stats().segments, 1u);
    Fill(60);
    driver_.clock.AdvanceMs(1);
    if (restart) {
      LogArchive other = Open();
      ASSERT_TRUE(other.Run(*driver_.log).ok());
    } else {
      ASSERT_TRUE(archive.Run(*driver_.log).ok());
    }
    EXPECT_NE(Directory(), before);
    EXPECT_EQ(Problems(CheckLog(fs_, Directory(), true)), "");
  }
  EXPECT_EQ(Problems(CheckLog(fs_, first, true)), "");
}

}  // namespace
}  // namespace holdfast::wal
