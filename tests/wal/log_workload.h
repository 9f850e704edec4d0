// Work for a small log that meets everything: shared frames, spanning units, rotations, a recycled segment, control
// frames, parts from a peer, an abandoned unit. Ends at the first failure of the log itself.
#pragma once

#include "tests/support/fault_file_system.h"
#include "tests/wal/log_driver.h"

namespace holdfast::wal::testing {

// What a node that creates its own history does. Background work may fail without ending the work.
inline Result<void> RunMaster(LogDriver& driver) {
  RETURN_IF_ERROR(driver.Create());
  for (int i = 0; i < 14; i++) {
    driver.Append(static_cast<size_t>(30 + i * 701 % 3000));
    driver.Append(200);
    if (i % 2 == 0) driver.clock.AdvanceMs(1);
    if (i == 4) driver.Append(30'000);
    if (i == 6) driver.log->StartLineage(std::string(40, 'd'), driver.clock.WallMs());
    if (i == 8) driver.log->AppendControl(FrameKind::kRole, "master", driver.clock.WallMs());
    RETURN_IF_ERROR(driver.Commit());
    if (i % 4 == 2) (void)driver.log->PrepareSpare();
    if (i == 5 || i == 10) driver.checkpoint = driver.log->EndPosition();
    (void)driver.log->Trim(driver.checkpoint.offset, 0);
    if (i == 9 && driver.log->AppendDurableMark()) RETURN_IF_ERROR(driver.Commit());
  }
  return {};
}

// A replica of a master that dies inside a unit; then the replica goes on by itself.
inline Result<void> RunReplica(LogDriver& driver) {
  holdfast::testing::FaultFileSystem master_fs;
  LogDriver master(master_fs, 77);
  CHECK(master.Create().ok());
  master.Append(500);
  master.clock.AdvanceMs(1);
  master.Append(30'000);
  master.Append(700);
  CHECK(master.Commit().ok());
  const std::unique_ptr<LogCursor> feed = OpenCursor(*master.log);
  CHECK(feed->Seek(0).ok());
  LogState state;
  state.lineage = master.log->lineage();
  RETURN_IF_ERROR(driver.OpenAt(state));
  driver.clock.AdvanceMs(5);
  for (int round = 0; round < 2; round++) {
    // In round 0 the link breaks after two parts; in round 1 all arrives.
    CHECK(feed->Seek(driver.log->DurableOffset()).ok());
    for (int frames = 0; round == 1 || frames < 3; frames++) {
      const auto frame = feed->Next();
      CHECK(frame.ok());
      if (*frame == nullptr) break;
      CHECK(driver.log->AppendFrame((*frame)->history).ok());
      driver.stream = master.stream.substr(0, driver.log->AppendedOffset());
      driver.unit_ends = master.unit_ends;
      RETURN_IF_ERROR(driver.Commit());
    }
    if (driver.log->InsideUnit()) {
      driver.log->AbandonUnit();
      driver.stream.resize(driver.log->AppendedOffset());
    }
  }
  driver.unit_ends.erase(driver.unit_ends.upper_bound(driver.stream.size()), driver.unit_ends.end());
  driver.log->StartLineage(std::string(40, 'e'), driver.clock.WallMs());
  driver.Append(9'000);
  RETURN_IF_ERROR(driver.Commit());
  return {};
}

using Workload = Result<void> (*)(LogDriver&);

// Everything that must hold once a machine or process came up again on `fs`. Returns what does not, or "".
inline std::string CheckAfterRestart(holdfast::testing::FaultFileSystem& fs, const LogDriver& before) {
  LogDriver after(fs, 5);
  after.options.segment_bytes = before.options.segment_bytes;
  after.options.tail_rewrite = before.options.tail_rewrite;
  after.checkpoint = before.checkpoint;
  after.clock.SetWallMs(const_cast<LogDriver&>(before).clock.WallMs());
  auto first = after.Replay(false);
  if (!first.ok()) return "refused: " + first.error().message;
  const uint64_t end = first->state.end.offset;
  if (end < before.acked) return "acknowledged " + std::to_string(before.acked) + ", found " + std::to_string(end);
  if (end > before.stream.size()) return "found more than was appended";
  if (!before.unit_ends.contains(end)) return "found a part of a unit, up to " + std::to_string(end);
  const uint64_t from = before.checkpoint.offset;
  if (after.replayed != before.stream.substr(from, end - from)) return "replayed other bytes";
  auto second = after.Replay(false);
  if (!second.ok()) return "second recovery refused: " + second.error().message;
  if (!(second->state.end == first->state.end)) return "the second recovery ends elsewhere";
  if (!(second->state.lineage == first->state.lineage)) return "the second recovery has another lineage";
  if (second->report.cut_bytes != 0) return "the second recovery cut again";
  if (first->report.log_was_empty) return "";
  const auto opened = after.OpenAt(second->state);
  if (!opened.ok()) return "cannot open: " + opened.error().message;
  after.stream = before.stream.substr(0, end);
  after.Append(100);
  if (!after.Commit().ok()) return "cannot go on";
  // What this start found and built on is on the disk, and not only in the page cache.
  SeededRandom random(end);
  const std::unique_ptr<holdfast::testing::FaultFileSystem> cut = fs.CrashedCopy(random);
  LogDriver last(*cut, 7);
  last.checkpoint = after.checkpoint;
  const auto found = last.Replay(true);
  if (!found.ok()) return "refused after going on and a power cut: " + found.error().message;
  if (last.replayed != after.stream.substr(from)) return "after going on and a power cut: replayed other bytes";
  const auto third = after.Reopen();
  if (!third.ok()) return "refused after going on: " + third.error().message;
  if (after.replayed != after.stream.substr(from)) return "after going on: replayed other bytes";
  return "";
}

}  // namespace holdfast::wal::testing
