#include <string>
#include <vector>

#include "cli/mapped_reads.h"
#include "cli/memory_shortage.h"
#include "cli/process.h"
#include "cli/server_app.h"

// Read by jemalloc, if that is linked in. By default there are four arenas for each processor, and threads beyond that
// share: the executor then waits for the lock of one that another thread holds, which may have lost its processor to
// somebody else meanwhile. With as many as this each thread has its own.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:64";
}

int main(int argc, char** argv) {
  holdfast::cli::EndWhenMemoryRunsOut(
      "Out of memory: the server stops. Everything acknowledged is on disk; start it again when there is more memory "
      "(see ulimit -v, the limit of its container), or with a smaller maxmemory",
      holdfast::cli::kExitNoMemory);
  holdfast::cli::EndWhenMappedReadsFail(
      "FATAL: a page of the data file cannot be read (SIGBUS): the server stops. Nothing acknowledged is given up. "
      "Check "
      "the disk (dmesg), then start the server again; 'holdfast verify' says whether something is damaged",
      holdfast::cli::kExitLogFailure);
  return holdfast::cli::RunServer(std::vector<std::string>(argv + 1, argv + argc));
}
