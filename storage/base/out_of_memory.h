// Memory that is asked for without operator new, from malloc or from a C library: when there is none, what happens is
// what operator new does. Both executables install a new handler that says so and ends the process
// (cli/memory_shortage.h): what is acknowledged is on disk, and nothing that is half done is gone on with.
#pragma once

namespace holdfast {

// Calls the new handler; throws std::bad_alloc where none is installed. Any thread.
[[noreturn]] void OutOfMemory();

// What an allocation returned, if it returned something.
template <typename T>
T* Allocated(T* pointer) {
  if (__builtin_expect(pointer == nullptr, 0)) OutOfMemory();
  return pointer;
}

}  // namespace holdfast
