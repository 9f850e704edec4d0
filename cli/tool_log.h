// `holdfast log list`, `print`, `tail` and `stats`: what happened, in order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/tool_context.h"
#include "cli/tool_log_reader.h"

namespace holdfast::cli {

struct LogOptions {
  std::string path;
  std::vector<std::string> archives;
  // Which effects. FLUSHALL, FLUSHDB and SWAPDB change every key they reach, and are shown for `keys`, too.
  std::vector<std::string> keys, match, commands;
  std::optional<int> db;
  std::optional<uint64_t> from_offset, to_offset;
  std::string since, until;  // times
  uint64_t limit = 0;        // effects; 0: all
  bool frames = false;       // list: every frame, not only segments
  bool full = false;         // arguments uncut
  bool follow = false;       // tail: go on
  size_t last = 10;          // tail: so many of the newest
  size_t top = 20;           // stats
};

int RunLogList(const ToolContext& tool, const LogOptions& options);
int RunLogPrint(const ToolContext& tool, const LogOptions& options);
int RunLogTail(const ToolContext& tool, const LogOptions& options);
int RunLogStats(const ToolContext& tool, const LogOptions& options);

// The log of an input, live if a server runs on it. kUnsupported if it has none.
Result<std::unique_ptr<LogReader>> OpenLog(const ToolContext& tool, const std::string& path,
                                           const std::vector<std::string>& archives);

// The keys an effect changes, by the server's command table; for all keys of a database (FLUSHDB ...) `whole` is set.
// `known`, if not null, is set to false for commands of another version, whose keys are a guess.
[[nodiscard]] std::vector<std::string_view> KeysOfEffect(const std::vector<std::string_view>& arguments, bool* whole,
                                                         bool* known = nullptr);

}  // namespace holdfast::cli
