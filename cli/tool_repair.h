// `holdfast repair`: a new generation from what a stopped server's directory still holds; the old one is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/tool_context.h"

namespace holdfast::cli {

struct RepairOptions {
  std::string path;                 // the data directory of a stopped server
  bool rebuild = false;             // the store anew, from a snapshot and the log
  std::optional<uint64_t> cut_log;  // the log ends there
  bool drop_damaged = false;        // what is left of the store, without keys that lost a part
  bool current = false;             // CURRENT alone, which is damaged or missing (tool_repair_current.h) ...
  std::string generation;           // ... names this one
  bool yes = false;                 // do not ask
  std::vector<std::string> logs;    // further log directories: archives, of a server
};
int RunRepair(const ToolContext& tool, const RepairOptions& options);

// Where a repair may begin, and how far the log leads from there.
struct RepairBase {
  enum class Kind { kStore, kSnapshot, kNothing } kind = Kind::kNothing;
  std::string path;     // generation, or snapshot
  uint64_t offset = 0;  // where it stands
  uint64_t end = 0;     // the last unit's end that can be reached, not above the bound that was given
  uint64_t behind_units = 0, behind_bytes = 0;  // readable behind it
  std::string broken;                           // why the log cannot be read further; "" its end
};
// The base from which most can be had. `bound`: the newest offset wanted. kNotFound: there is none. With `with_store`
// the store of `generation`, which must be good, is one.
Result<RepairBase> FindRepairBase(const ToolContext& tool, const std::string& data_directory,
                                  const std::string& generation, const std::vector<std::string>& logs, uint64_t bound,
                                  bool with_store);

}  // namespace holdfast::cli
