#include "wal/log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/support/temp_directory.h"
#include "tests/wal/log_driver.h"
#include "wal/segment_format.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::CheckedLog;
using holdfast::testing::CheckLog;
using holdfast::testing::FaultFileSystem;
using holdfast::testing::FileCall;
using holdfast::testing::Problems;
using testing::kTestDirectory;
using testing::LogDriver;
using testing::ReadAll;

#define ASSERT_OK(expression)                               \
  do {                                                      \
    const auto outcome_ = (expression);                     \
    ASSERT_TRUE(outcome_.ok()) << outcome_.error().message; \
  } while (false)

void ExpectStream(LogDriver& driver) {
  const CheckedLog checked = CheckLog(driver.fs, kTestDirectory, true);
  EXPECT_EQ(Problems(checked), "");
  ASSERT_LE(checked.first_offset, driver.stream.size());
  EXPECT_EQ(checked.unit_end_offset, driver.stream.size());
  EXPECT_TRUE(checked.stream == driver.stream.substr(checked.first_offset));
}

TEST(LogTest, UnitsShareAFrameAndBecomeDurableTogether) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(30);
  driver.Append(40);
  EXPECT_EQ(driver.log->AppendedOffset(), 70u);
  EXPECT_EQ(driver.log->DurableOffset(), 0u);
  ASSERT_OK(driver.Commit());
  EXPECT_EQ(driver.log->DurableOffset(), 70u);
  fs.CrashLosingAll();
  const CheckedLog checked = CheckLog(fs, kTestDirectory);
  EXPECT_EQ(Problems(checked), "");
  ASSERT_EQ(checked.frames.size(), 1u);
  EXPECT_EQ(checked.frames[0].payload, driver.stream);
}

TEST(LogTest, UnitsOfDifferentTimesAreInDifferentFrames) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(30);
  driver.clock.AdvanceMs(1);
  driver.Append(30);
  driver.clock.SetWallMs(5);  // the clock goes back, the log's time does not
  driver.Append(30);
  ASSERT_OK(driver.Commit());
  const CheckedLog checked = CheckLog(fs, kTestDirectory, true);
  EXPECT_EQ(Problems(checked), "");
  ASSERT_EQ(checked.frames.size(), 2u);
  EXPECT_EQ(checked.frames[1].time_ms, checked.frames[0].time_ms + 1);
  EXPECT_EQ(checked.frames[1].payload.size(), 60u);
}

TEST(LogTest, LongHistoryRotatesAndKeepsAllRules) {
  for (const bool tail_rewrite : {true, false}) {
    FaultFileSystem fs;
    LogDriver driver(fs);
    driver.options.tail_rewrite = tail_rewrite;
    ASSERT_OK(driver.Create());
    for (int i = 0; i < 200; i++) {
      driver.Append(static_cast<size_t>(20 + i * 13 % 900));
      driver.clock.AdvanceMs(i % 2);
      if (i % 3 == 0) ASSERT_OK(driver.Commit());
      if (i % 50 == 0) ASSERT_OK(driver.log->PrepareSpare());
    }
    ASSERT_OK(driver.Commit());
    EXPECT_GT(driver.log->Stats().segments, 3u);
    ExpectStream(driver);
    ASSERT_OK(driver.Reopen());
    EXPECT_EQ(driver.replayed, driver.stream);
    driver.Append(100);
    ASSERT_OK(driver.Commit());
    ExpectStream(driver);
  }
}

TEST(LogTest, UnitLargerThanSegmentsSpansThem) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(10);
  driver.Append(60'000);
  driver.Append(10);
  ASSERT_OK(driver.Commit());
  EXPECT_EQ(driver.acked, driver.stream.size());
  ExpectStream(driver);
  ASSERT_OK(driver.Reopen());
  EXPECT_EQ(driver.replayed, driver.stream);
}

TEST(LogTest, CursorGivesTheSameFromRingAndFiles) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  const std::unique_ptr<LogCursor> live = OpenCursor(*driver.log);
  ASSERT_OK(live->Seek(0));
  std::string from_ring;
  for (int i = 0; i < 100; i++) {
    driver.Append(static_cast<size_t>(50 + i * 31 % 700));
    if (i == 50) driver.Append(40'000);
    driver.clock.AdvanceMs(1);
    ASSERT_OK(driver.Commit());
    const auto frames = ReadAll(*live);
    ASSERT_OK(frames);
    for (const auto& frame : *frames) from_ring += frame->bytes;
    EXPECT_EQ(live->NextOffset(), driver.acked);
    if (i % 10 == 0) (void)driver.log->AppendDurableMark();
  }
  EXPECT_TRUE(from_ring == driver.stream);
  driver.options.ring_bytes = 0;
  for (uint64_t offset = 0; offset <= driver.stream.size(); offset += 997) {
    const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
    ASSERT_OK(cursor->Seek(offset));
    const auto frames = ReadAll(*cursor);
    ASSERT_OK(frames);
    std::string rest;
    for (const auto& frame : *frames) {
      EXPECT_EQ(frame->history.offset, offset + rest.size());
      rest += frame->bytes;
    }
    EXPECT_TRUE(rest == driver.stream.substr(offset)) << offset;
  }
}

TEST(LogTest, CursorReadsFilesOfAReopenedLog) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  for (int i = 0; i < 60; i++) {
    driver.Append(700);
    ASSERT_OK(driver.Commit());
  }
  ASSERT_OK(driver.Reopen());
  driver.Append(100);
  ASSERT_OK(driver.Commit());
  const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
  ASSERT_OK(cursor->Seek(1400));
  const auto frames = ReadAll(*cursor);
  ASSERT_OK(frames);
  std::string rest;
  for (const auto& frame : *frames) rest += frame->bytes;
  EXPECT_TRUE(rest == driver.stream.substr(1400));
  EXPECT_EQ(cursor->Seek(driver.stream.size() + 1).error().code, ErrorCode::kOutOfRange);
}

TEST(LogTest, CursorGivesControlFramesAtItsOffset) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(50);
  driver.log->StartLineage(std::string(40, 'b'), driver.clock.WallMs());
  driver.log->AppendControl(FrameKind::kRole, "master", driver.clock.WallMs());
  driver.Append(50);
  ASSERT_OK(driver.Commit());
  for (int attempt = 0; attempt < 2; attempt++) {
    const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
    ASSERT_OK(cursor->Seek(50));
    const auto frames = ReadAll(*cursor);
    ASSERT_OK(frames);
    ASSERT_EQ(frames->size(), 3u);
    EXPECT_EQ((*frames)[0]->history.kind, FrameKind::kLineage);
    EXPECT_EQ((*frames)[1]->bytes, "master");
    EXPECT_EQ((*frames)[2]->history.offset, 50u);
  }
}

TEST(LogTest, TrimRecyclesAndRespectsPinsBacklogAndLinks) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  const auto fill = [&](int count) {
    for (int i = 0; i < count; i++) {
      driver.Append(1000);
      ASSERT_OK(driver.Commit());
    }
  };
  fill(60);
  driver.Checkpoint();
  const uint64_t before = driver.log->Stats().segments;
  ASSERT_GT(before, 3u);
  std::unique_ptr<Log::Pin> pin = driver.log->PinFrom(100);
  ASSERT_OK(driver.log->Trim(driver.checkpoint.offset, 0));
  EXPECT_EQ(driver.log->Stats().segments, before);
  pin.reset();
  ASSERT_OK(driver.log->Trim(driver.checkpoint.offset, 1 << 30));
  EXPECT_EQ(driver.log->Stats().segments, before);
  const std::string first = CheckLog(fs, kTestDirectory, true).files.at(0);
  const std::string archived = fs.Content(first);
  ASSERT_OK(fs.Link(first, "archive"));
  ASSERT_OK(driver.log->Trim(driver.checkpoint.offset, 0));
  EXPECT_EQ(driver.log->Stats().segments, 1u);
  EXPECT_TRUE(driver.log->SpareReady());
  EXPECT_GT(driver.log->FirstOffset(), 0u);
  fill(60);
  EXPECT_EQ(fs.Content("archive"), archived);
  ExpectStream(driver);
  ASSERT_OK(driver.Reopen());
  EXPECT_TRUE(driver.replayed == driver.stream.substr(driver.checkpoint.offset));
  const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
  EXPECT_EQ(cursor->Seek(0).error().code, ErrorCode::kNotFound);
}

TEST(LogTest, SegmentThatACursorReadsIsNotRecycled) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  for (int i = 0; i < 40; i++) {
    driver.Append(1000);
    driver.clock.AdvanceMs(1);
    ASSERT_OK(driver.Commit());
  }
  const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
  ASSERT_OK(cursor->Seek(0));
  ASSERT_OK(cursor->Next());
  const uint64_t segments = driver.log->Stats().segments;
  driver.Checkpoint();
  ASSERT_OK(driver.log->Trim(driver.checkpoint.offset, 0));
  ASSERT_EQ(driver.log->Stats().segments, 1u);
  ASSERT_GT(segments, 2u);
  // The file goes on to exist for the cursor, or the cursor says that it is gone; never other bytes.
  std::string rest;
  while (true) {
    const auto frame = cursor->Next();
    if (!frame.ok()) {
      EXPECT_EQ(frame.error().code, ErrorCode::kNotFound);
      break;
    }
    ASSERT_NE(*frame, nullptr);
    EXPECT_TRUE((*frame)->bytes == driver.stream.substr((*frame)->history.offset, (*frame)->bytes.size()));
  }
}

TEST(LogTest, ReplicaLogHasTheMastersHistory) {
  FaultFileSystem fs;
  LogDriver master(fs, 1);
  ASSERT_OK(master.Create());
  FaultFileSystem replica_fs;
  LogDriver replica(replica_fs, 2);
  LogState state;
  state.lineage = master.log->lineage();
  ASSERT_OK(replica.OpenAt(state));
  const std::unique_ptr<LogCursor> feed = OpenCursor(*master.log);
  ASSERT_OK(feed->Seek(0));
  for (int i = 0; i < 50; i++) {
    master.Append(static_cast<size_t>(20 + i * 113 % 2000), i % 3);
    if (i == 20) master.Append(50'000);
    if (i == 30) master.log->StartLineage(std::string(40, 'c'), master.clock.WallMs());
    master.clock.AdvanceMs(1);
    if (i % 4 != 0) continue;
    ASSERT_OK(master.Commit());
    const auto frames = ReadAll(*feed);
    ASSERT_OK(frames);
    for (const auto& frame : *frames) {
      ASSERT_OK(replica.log->AppendFrame(frame->history));
      if (frame->history.offset % 3 == 0) ASSERT_OK(replica.Commit());
    }
    ASSERT_OK(replica.Commit());
    EXPECT_EQ(replica.log->DurableOffset(), master.log->DurableOffset());
  }
  const CheckedLog a = CheckLog(fs, kTestDirectory, true);
  const CheckedLog b = CheckLog(replica_fs, kTestDirectory, true);
  EXPECT_EQ(Problems(a) + Problems(b), "");
  ASSERT_LE(b.frames.size(), a.frames.size());
  for (size_t i = 0; i < b.frames.size(); i++) {
    EXPECT_EQ(a.frames[i].offset, b.frames[i].offset);
    EXPECT_EQ(a.frames[i].digest, b.frames[i].digest);
    EXPECT_EQ(a.frames[i].time_ms, b.frames[i].time_ms);
    EXPECT_EQ(a.frames[i].part, b.frames[i].part);
    EXPECT_EQ(a.frames[i].payload, b.frames[i].payload);
  }
  EXPECT_EQ(replica.log->lineage(), master.log->lineage());
  ASSERT_OK(replica.Reopen());
  EXPECT_EQ(replica.log->lineage().current_id(), std::string(40, 'c'));
}

TEST(LogTest, FrameThatDoesNotContinueIsRefusedAndNothingIsAppended) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(100);
  HistoryFrame good;
  good.offset = 100;
  good.time_ms = driver.clock.WallMs();
  good.selected_db = good.selected_db_after = 0;
  good.payload = "payload";
  HistoryDigest digest = driver.log->EndPosition().digest;
  digest.Update(good.payload);
  good.digest = digest.Value();
  for (int broken = 0; broken < 7; broken++) {
    HistoryFrame frame = good;
    if (broken == 0) frame.offset = 99;
    if (broken == 1) frame.digest++;
    if (broken == 2) frame.selected_db = 1;
    if (broken == 3) frame.part = UnitPart::kLast;
    if (broken == 4) frame.time_ms--;
    if (broken == 5) frame.payload = "Payload";
    if (broken == 6) frame.kind = FrameKind::kDurableMark;
    const Result<void> refused = driver.log->AppendFrame(frame);
    ASSERT_FALSE(refused.ok()) << broken;
    EXPECT_EQ(refused.error().code, ErrorCode::kCorruption);
    EXPECT_EQ(driver.log->AppendedOffset(), 100u);
  }
  ASSERT_OK(driver.log->AppendFrame(good));
  EXPECT_EQ(driver.log->AppendedOffset(), 107u);
}

// Parts of a unit whose end never comes, already on disk, in every stage; then another history of the same offsets.
TEST(LogTest, CursorAtTheEndOfATrimmedSegmentGoesOn) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  driver.options.ring_bytes = 0;  // from files
  ASSERT_OK(driver.Create());
  while (driver.log->Stats().segments < 3) {
    driver.Append(500);
    ASSERT_OK(driver.Commit());
  }
  const auto names = fs.List(kTestDirectory);
  ASSERT_OK(names);
  uint64_t second = 0;
  for (const std::string& name : *names) {
    const auto parsed = ParseSegmentName(name);
    if (parsed && parsed->first_offset > 0 && (second == 0 || parsed->first_offset < second))
      second = parsed->first_offset;
  }
  ASSERT_GT(second, 0u);
  const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
  ASSERT_OK(cursor->Seek(0));
  std::string seen;
  while (seen.size() < second) {
    const auto frame = cursor->Next();
    ASSERT_OK(frame);
    seen += (*frame)->bytes;
  }
  ASSERT_EQ(seen.size(), second);
  const std::unique_ptr<Log::Pin> pin = driver.log->PinFrom(second);
  ASSERT_OK(driver.log->Trim(driver.log->DurableOffset(), 0));
  ASSERT_EQ(driver.log->FirstOffset(), second);
  const auto next = cursor->Next();
  ASSERT_OK(next);
  ASSERT_NE(*next, nullptr);
  EXPECT_EQ((*next)->history.offset, second);
}

TEST(LogTest, AbandonedUnitLeavesNoTrace) {
  for (int stage = 0; stage < 6; stage++) {
    FaultFileSystem fs;
    LogDriver master(fs, 1);
    ASSERT_OK(master.Create());
    FaultFileSystem replica_fs;
    LogDriver replica(replica_fs, 2);
    LogState state;
    state.lineage = master.log->lineage();
    ASSERT_OK(replica.OpenAt(state));
    std::unique_ptr<LogCursor> sub_feed = OpenCursor(*replica.log);
    ASSERT_OK(sub_feed->Seek(0));
    master.Append(200);
    master.clock.AdvanceMs(1);
    master.Append(60'000);
    ASSERT_OK(master.Commit());
    const std::unique_ptr<LogCursor> feed = OpenCursor(*master.log);
    ASSERT_OK(feed->Seek(0));
    for (int i = 0; i <= stage; i++) {
      const auto frame = feed->Next();
      ASSERT_OK(frame);
      ASSERT_NE(*frame, nullptr);
      ASSERT_OK(replica.log->AppendFrame((*frame)->history));
      if (i != 2) ASSERT_OK(replica.Commit());
    }
    ASSERT_EQ(replica.log->InsideUnit(), stage != 0 && stage != 5) << stage;
    ASSERT_EQ(replica.log->UnitsEnd(), replica.log->InsideUnit() ? 200u : replica.log->AppendedOffset()) << stage;
    if (!replica.log->InsideUnit()) continue;
    EXPECT_EQ(replica.log->DurableOffset(), 200u);
    replica.log->AbandonUnit();
    EXPECT_EQ(replica.log->AppendedOffset(), 200u);
    EXPECT_EQ(replica.log->EndPosition().offset, 200u);
    replica.stream = master.stream.substr(0, 200);
    replica.Append(3'000);
    replica.Append(40'000);
    ASSERT_OK(replica.Commit());
    ExpectStream(replica);
    const auto frames = ReadAll(*sub_feed);
    ASSERT_OK(frames);
    std::string fed;
    for (const auto& frame : *frames) fed += frame->bytes;
    EXPECT_TRUE(fed == replica.stream) << stage;
    sub_feed.reset();  // no cursor outlives its log
    ASSERT_OK(replica.Reopen());
    EXPECT_TRUE(replica.replayed == replica.stream) << stage;
  }
}

// Each abandoned unit that began a segment leaves it empty; readers pass over any number of them.
TEST(LogTest, ACursorPassesEmptySegments) {
  FaultFileSystem fs;
  LogDriver replica(fs);
  ASSERT_OK(replica.Create());
  HistoryFrame part;
  part.part = UnitPart::kFirst;
  part.time_ms = 1;
  part.payload = "the first part";
  HistoryDigest digest;
  digest.Update(part.payload);
  part.digest = digest.Value();
  for (int i = 0; i < 4; i++) {
    ASSERT_OK(replica.log->AppendFrame(part));
    ASSERT_OK(replica.Commit());
    replica.log->AbandonUnit();
    ASSERT_OK(replica.Commit());
  }
  replica.Append(300);
  ASSERT_OK(replica.Commit());
  const std::unique_ptr<LogCursor> cursor = OpenCursor(*replica.log);
  ASSERT_OK(cursor->Seek(0));
  const auto frames = ReadAll(*cursor);
  ASSERT_OK(frames);
  ASSERT_EQ(frames->size(), 1u);
  EXPECT_EQ(frames->front()->bytes, replica.stream);
}

// Promoted, then told to follow its old master, of which it lacks nothing: that one's next frame is older.
TEST(LogTest, ANewNameDoesNotMoveTheTimeOfTheStream) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(100);
  ASSERT_OK(driver.Commit());
  HistoryFrame next;
  next.offset = driver.log->AppendedOffset();
  next.selected_db = next.selected_db_after = 0;
  next.time_ms = driver.clock.WallMs() + 10;
  next.payload = "written by the old master meanwhile";
  HistoryDigest digest = driver.log->EndPosition().digest;
  digest.Update(next.payload);
  next.digest = digest.Value();
  driver.clock.AdvanceMs(1000);
  driver.log->StartLineage(std::string(40, 'b'), driver.clock.WallMs());
  EXPECT_EQ(driver.log->lineage().entries().back().time_ms, driver.clock.WallMs());
  ASSERT_OK(driver.log->AppendFrame(next));
}

TEST(LogTest, FailedBatchIsFinal) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(100);
  ASSERT_OK(driver.Commit());
  driver.Append(100);
  fs.FailCall(1, ErrorCode::kIo, false, holdfast::testing::FileCall::kWrite);
  EXPECT_FALSE(driver.Commit().ok());
  EXPECT_TRUE(driver.log->InFlight());
  EXPECT_FALSE(driver.log->WriteBatch().ok());
  EXPECT_EQ(driver.log->DurableOffset(), 100u);
  EXPECT_DEATH(driver.log->FinishBatch(), "FinishBatch without");
}

TEST(LogTest, DurableMarkIsWrittenOnceWhenIdle) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  EXPECT_FALSE(driver.log->AppendDurableMark());
  driver.Append(10);
  EXPECT_FALSE(driver.log->AppendDurableMark());
  ASSERT_OK(driver.Commit());
  EXPECT_TRUE(driver.log->AppendDurableMark());
  ASSERT_OK(driver.Commit());
  EXPECT_FALSE(driver.log->AppendDurableMark());
  EXPECT_EQ(driver.log->AppendedOffset(), 10u);
  ExpectStream(driver);
}

TEST(LogTest, RestartsOfAnIdleServerPileUpNothing) {
  FaultFileSystem fs;
  LogDriver driver(fs);
  ASSERT_OK(driver.Create());
  driver.Append(10);
  driver.log->AppendControl(FrameKind::kRole, "replica of 10.0.0.1", driver.clock.WallMs());
  ASSERT_OK(driver.Commit());
  for (int i = 0; i < 5; i++) {
    ASSERT_OK(driver.Reopen());
    EXPECT_EQ(driver.log->role(), "replica of 10.0.0.1");
    EXPECT_EQ(driver.log->Stats().segments, 2u);
  }
  ExpectStream(driver);
}

TEST(LogTest, SmallDiskGetsSmallSegments) {
  FaultFileSystem fs;
  fs.SetSpaceLimit(100 << 20);
  LogDriver driver(fs);
  driver.options.segment_bytes = 64 << 20;
  ASSERT_OK(driver.Create());
  ASSERT_OK(driver.log->PrepareSpare());
  EXPECT_LE(fs.UsedBytes(), 3u << 20);
}

// On the real file system: a second thread writes the batches, a third reads, a fourth trims.
TEST(LogThreadTest, GroupCommitCursorAndTrimRunTogether) {
  holdfast::testing::TempDirectory directory;
  LogDriver driver(PosixFileSystem());
  driver.options.directory = directory.File("wal");
  driver.options.segment_bytes = 64 << 10;
  driver.options.ring_bytes = 32 << 10;
  ASSERT_OK(driver.Create());
  constexpr uint64_t kEnd = 2 << 20;
  std::atomic<bool> write_due = false;
  std::atomic<bool> written = false;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> checkpoint = 0;
  std::thread writer([&] {
    while (!stop) {
      if (!write_due.exchange(false)) {
        std::this_thread::yield();
        continue;
      }
      ASSERT_OK(driver.log->WriteBatch());
      written = true;
    }
  });
  std::string seen;
  std::thread reader([&] {
    const std::unique_ptr<Log::Pin> pin = driver.log->PinFrom(0);
    const std::unique_ptr<LogCursor> cursor = OpenCursor(*driver.log);
    ASSERT_OK(cursor->Seek(0));
    while (seen.size() < kEnd) {
      const auto frame = cursor->Next();
      ASSERT_OK(frame);
      if (*frame == nullptr) {
        std::this_thread::yield();
        continue;
      }
      seen += (*frame)->bytes;
      pin->MoveTo(seen.size());
      EXPECT_LE(seen.size(), driver.log->DurableOffset());
    }
  });
  std::thread background([&] {
    while (!stop) {
      ASSERT_OK(driver.log->PrepareSpare());
      ASSERT_OK(driver.log->Trim(checkpoint, 0));
      std::this_thread::yield();
    }
  });
  while (driver.log->DurableOffset() < kEnd) {
    if (driver.stream.size() < kEnd)
      driver.Append(std::min<size_t>(100 + driver.stream.size() % 3000, kEnd - driver.stream.size()));
    if (driver.log->InFlight() && written.exchange(false)) {
      driver.log->FinishBatch();
      checkpoint = driver.log->DurableOffset();
    }
    if (driver.log->HasPending() && !driver.log->InFlight()) {
      driver.log->Seal();
      write_due = true;
    }
    driver.clock.AdvanceMs(1);
  }
  reader.join();
  stop = true;
  writer.join();
  background.join();
  EXPECT_TRUE(seen == driver.stream);
  const CheckedLog checked = CheckLog(driver.fs, driver.options.directory, true);
  EXPECT_EQ(Problems(checked), "");
  EXPECT_EQ(checked.unit_end_offset, kEnd);
}

}  // namespace
}  // namespace holdfast::wal
