// The command line of the offline tool `holdfast`.
#pragma once

#include "cli/tool_context.h"

namespace holdfast::cli {

// Parses the command line and runs the command. Returns the exit status (ToolExit); --help and --version are clean.
int RunTool(int argc, const char* const* argv, FileSystem& fs, const ToolStreams& streams);

}  // namespace holdfast::cli
