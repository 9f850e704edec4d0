// Where the memory goes: for INFO and MEMORY.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast::net {

class Server;

struct MemoryFigures {  // bytes
  uint64_t used = 0;    // handed out by the allocator
  uint64_t active = 0;  // in pages with something handed out
  uint64_t allocator_resident = 0;
  uint64_t resident = 0;  // of the process, clean pages of mapped files included
  uint64_t peak = 0;      // largest `used` seen
  uint64_t startup = 0;   // first `used` seen
  uint64_t overhead = 0;  // not rows: buffers, caches of code, client state
  uint64_t clients = 0;
  uint64_t system = 0;
  std::string allocator;
  uint64_t arenas = 0;  // at most, that threads share when they are more; 0: not known
};

[[nodiscard]] MemoryFigures ReadMemoryFigures(Server& server);

// "1.50M", as INFO's _human fields.
[[nodiscard]] std::string HumanBytes(uint64_t bytes);

}  // namespace holdfast::net
