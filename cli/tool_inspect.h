// `holdfast inspect`: what a file or directory is, without reading all of it.
#pragma once

#include <string>
#include <vector>

#include "cli/tool_context.h"

namespace holdfast::cli {

// Also of damaged ones, as much as can be had; kToolDamage then.
int RunInspect(const ToolContext& tool, const std::vector<std::string>& paths);

}  // namespace holdfast::cli
