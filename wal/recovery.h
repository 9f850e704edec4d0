// Recovery: from the files of a log to its end, deciding torn or damaged. docs/recovery.md has the table of cases;
// tests/wal/recovery_table_test.cpp walks all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "wal/frame.h"
#include "wal/log.h"

namespace holdfast::wal {

struct RecoveryInput {
  std::string directory;      // the wal directory
  StreamPosition checkpoint;  // what the store (LMDB and a run) holds: replay starts here
  bool read_only = false;     // offline tool: never cut, never write
  // Rewind (wal/rewind.h): the log ends at this offset, where a frame must end; what lies behind is cut, control frames
  // at the offset itself included. Not below the checkpoint.
  std::optional<uint64_t> cut_at = std::nullopt;
  FileSystem* fs = nullptr;
};

struct RecoveryReport {
  uint64_t frames = 0, units = 0, replayed_bytes = 0;
  uint64_t cut_bytes = 0;  // file bytes of a torn end that were cut, zeros not counted
  uint64_t cut_segment = 0, cut_position = 0;
  uint64_t dropped_unit_bytes = 0;  // stream bytes of an unfinished unit at the end
  bool log_was_empty = false;
};

// Called for every whole unit-bearing data frame (or parts of a unit joined) after the checkpoint, in order, with bytes
// starting at `offset`; and for control frames; then `end`, before anything is cut. `lineage` is called with the id of
// the history that the units after it belong to: before the first ones, and whenever it changes. An error stops
// recovery with that error.
struct ReplayVisitor {
  std::function<Result<void>(uint64_t offset, int16_t selected_db, int64_t time_ms, std::string_view units)> units;
  std::function<Result<void>(const HistoryFrame& control)> control;
  std::function<Result<void>(const std::string& id)> lineage;
  std::function<Result<void>()> end;
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
};

struct RecoveryOutcome {
  LogState state;
  RecoveryReport report;
};

// Reads past the page cache. kCorruption: provably durable bytes are damaged or missing; the message names file, byte
// offset, what proves it, and the command that shows it (holdfast log verify DIR). Else cuts what is torn (truncate,
// sync) and returns where to go on.
Result<RecoveryOutcome> Recover(const RecoveryInput& input, const ReplayVisitor& visitor);

// Checks a log directory without changing it; calls `damage` for each finding. For `holdfast log verify` and tests.
struct Finding {
  std::string file;
  uint64_t position;
  std::string message;
  bool torn;  // a torn end that recovery would cut, not damage
};
Result<RecoveryReport> VerifyLog(FileSystem& fs, const std::string& directory,
                                 const std::function<void(const Finding&)>& finding);

}  // namespace holdfast::wal
