// What a process does when an allocation fails: it says so and ends at once, by an exit code of its own. Going on would
// mean to undo whatever was under way in any place at which memory may be missing; for the server an end is what a
// power cut is to it, and safe by the same means.
#pragma once

namespace holdfast::cli {

// From now on the process ends with `exit_code` when operator new, holdfast::OutOfMemory() or the start of a thread
// fails for want of memory: no destructor runs, `message` goes to where messages go, without any memory. Other uncaught
// exceptions abort as before. `message` must live as long as the process. Once, before threads start.
void EndWhenMemoryRunsOut(const char* message, int exit_code);

}  // namespace holdfast::cli
