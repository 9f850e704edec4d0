// `holdfast compact`: the store's LMDB file without free pages, in a new generation that one rename puts in force.
#pragma once

#include <string>

#include "cli/tool_context.h"

namespace holdfast::cli {

// `path`: the data directory of a stopped server.
int RunCompact(const ToolContext& tool, const std::string& path);

}  // namespace holdfast::cli
