// `holdfast repair --current`: names the generation in force again, when CURRENT is damaged or missing.
#pragma once

#include <string>

#include "cli/tool_context.h"

namespace holdfast::cli {

struct RepairCurrentOptions {
  std::string path;        // the data directory of a stopped server
  std::string generation;  // which one; "": the only one that can be read
  bool yes = false;        // do not ask
};
// Other generations, and a damaged CURRENT, are kept as kept-<time>-<name>: the server removes what CURRENT does not
// name.
Result<int> RepairCurrent(const ToolContext& tool, const RepairCurrentOptions& options);

}  // namespace holdfast::cli
