// Going back to a fork: a node whose log ends differently from its master's cuts the part that is not shared, keeps it
// in a file (wal/diverged_tail.h), and goes on from the fork. docs/replication.md "Rewind".
//
// Steps, each durable before the next:
//   1. the tail's file;
//   2. the order `gen-<n>/rewind`: from here on the rewind happens, whatever comes in between;
//   3. recovery with RecoveryInput::cut_at: later segments removed, the fork's segment truncated, replay up to the
//   fork;
//   4. a new segment with the agreed lineage and this node's role; the order is removed.
// A crash before 2 leaves the log as it was, one after it is completed by the next start, which does 3 and 4 again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "wal/lineage.h"
#include "wal/log.h"

namespace holdfast::wal {

struct RewindOrder {
  uint64_t offset = 0;    // the fork; a frame of the log ends there, and no checkpoint is past it
  Lineage lineage;        // in force afterwards: the master's up to the fork
  std::string role;       // payload of the role frame in force afterwards
  std::string tail_path;  // where the cut part is kept
};

// Step 2. The engine of the generation must be closed, or not be written to until it is opened again.
Result<void> WriteRewindOrder(FileSystem& fs, const std::string& generation_path, const RewindOrder& order);
// nullopt: there is none. kCorruption: it is damaged.
Result<std::optional<RewindOrder>> ReadRewindOrder(FileSystem& fs, const std::string& generation_path);
// Step 4, on the log as it was opened after the cut.
Result<void> CompleteRewind(FileSystem& fs, const std::string& generation_path, const RewindOrder& order, Log& log);

}  // namespace holdfast::wal
