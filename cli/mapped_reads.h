// LMDB reads its file through a memory map, where a disk that fails or goes away, or a file cut under the process,
// answers by SIGBUS. As with memory (cli/memory_shortage.h), the process says so and ends: what it was doing cannot be
// undone.
#pragma once

namespace holdfast::cli {

// From now on the process ends with `exit_code` when a mapped page cannot be read: no destructor runs, `message` goes
// to where messages go. `message` must live as long as the process. Once, before threads start.
void EndWhenMappedReadsFail(const char* message, int exit_code);

}  // namespace holdfast::cli
