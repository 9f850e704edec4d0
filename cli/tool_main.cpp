// holdfast: the offline tool.
#include <iostream>

#include "cli/tool_command_line.h"

int main(int argc, char** argv) {
  const holdfast::cli::ToolStreams streams{std::cout, std::cerr};
  const int status = holdfast::cli::RunTool(argc, argv, holdfast::PosixFileSystem(), streams);
  std::cout.flush();
  return std::cout ? status : holdfast::cli::kToolTrouble;
}
