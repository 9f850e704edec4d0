// `holdfast restore`: a new data directory as of any offset or time that a snapshot and the log after it reach.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/tool_context.h"
#include "cli/tool_log_reader.h"
#include "cli/tool_state_builder.h"
#include "storage/snapshot.h"

namespace holdfast::cli {

struct RestoreOptions {
  std::string source;              // backup, data directory, or snapshot file
  std::string target;              // the new data directory
  std::vector<std::string> logs;   // further log directories: of a server, archives
  std::optional<uint64_t> offset;  // up to there; stream offsets as `log print` shows them
  std::string at;                  // up to and with that time
  std::string before_command;      // up to before the last time this command was run
  std::optional<int> databases;
};
int RunRestore(const ToolContext& tool, const RestoreOptions& options);

// What a restore can begin from.
struct RestoreSource {
  std::vector<SnapshotFileName> snapshots;  // by offset
  ToolInput log;                            // log.log empty: none
  bool live = false;
};
Result<RestoreSource> FindRestoreSource(const ToolContext& tool, const std::string& path,
                                        const std::vector<std::string>& logs);

// Where a restore ends, and what lies behind.
struct RestorePoint {
  uint64_t offset = 0;
  wal::Lineage lineage;  // of the whole log; empty if there is none
  uint64_t skipped_units = 0, skipped_bytes = 0;
  std::string first_skipped;  // for people
};
// Reads the log. kNotFound: there is no such command.
Result<RestorePoint> FindRestorePoint(const ToolContext& tool, const RestoreSource& source,
                                      const RestoreOptions& options);

// Brings `builder`, which is empty, to `point`: from the newest snapshot that fits, or from nothing if the log begins
// with the history. Returns the lineage there, and what was the base, for people.
struct Rebuilt {
  wal::Lineage lineage;
  std::string base;
  uint64_t replayed_bytes = 0;
};
Result<Rebuilt> Rebuild(const ToolContext& tool, const RestoreSource& source, const RestorePoint& point,
                        const std::string& generation, std::optional<int> databases,
                        std::unique_ptr<StateBuilder>* builder);

// Applies the log from the builder's position up to `offset`, where a unit must end; the number of bytes. `before` is
// called with what is applied next.
Result<uint64_t> ReplayLog(const ToolContext& tool, LogReader& log, uint64_t offset, StateBuilder& builder,
                           const std::function<Result<void>(const LogUnits&)>& before);

// Content of "PATH@OFFSET": rebuilt in a temporary directory.
Result<std::unique_ptr<ContentSource>> OpenContentAt(const ToolContext& tool, const std::string& path, uint64_t offset);

}  // namespace holdfast::cli
