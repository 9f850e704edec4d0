// `holdfast check`: what a stopped server has, each part by itself and all against each other, and what would help.
#pragma once

#include <string>
#include <vector>

#include "cli/tool_context.h"

namespace holdfast::cli {

struct CheckOptions {
  std::string path;               // data directory or generation
  bool quick = false;             // without building the store anew
  std::vector<std::string> logs;  // further log directories
};
// kToolDamage: something is damaged or does not fit together.
int RunCheck(const ToolContext& tool, const CheckOptions& options);

}  // namespace holdfast::cli
