// holdfast: the offline tool.
#include <iostream>

#include "cli/mapped_reads.h"
#include "cli/memory_shortage.h"
#include "cli/tool_command_line.h"
#include "storage/base/diag.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // Results go to standard output alone.
  holdfast::diag::SetLevel(holdfast::diag::Level::kWarning);
  (void)holdfast::diag::OpenFile("/dev/stderr");
  holdfast::cli::EndWhenMemoryRunsOut("Out of memory: the command did not come to its end",
                                      holdfast::cli::kToolTrouble);
  holdfast::cli::EndWhenMappedReadsFail(
      "A page of the data file cannot be read (SIGBUS): the command did not come to its end. Check the disk (dmesg)",
      holdfast::cli::kToolTrouble);
  const holdfast::cli::ToolStreams streams{std::cout, std::cerr, &std::cin};
  const int status = holdfast::cli::RunTool(argc, argv, holdfast::PosixFileSystem(), streams);
  std::cout.flush();
  return std::cout ? status : holdfast::cli::kToolTrouble;
}
