#include "net/commands/memory_figures.h"

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "net/server.h"

// jemalloc is linked in where there is one; without it the symbol is null.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value, size_t new_size)
    __attribute__((weak));

namespace holdfast::net {
namespace {

uint64_t JemallocNumber(const char* name) {
  size_t value = 0, size = sizeof value;
  return mallctl(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

void ReadAllocator(MemoryFigures& figures) {
  if (mallctl == nullptr) {
    const struct mallinfo2 info = ::mallinfo2();
    figures.used = info.uordblks + info.hblkhd;
    figures.active = figures.allocator_resident = info.arena + info.hblkhd;
    figures.allocator = "libc";
    return;
  }
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  mallctl("epoch", &epoch, &size, &epoch, size);
  figures.used = JemallocNumber("stats.allocated");
  figures.active = JemallocNumber("stats.active");
  figures.allocator_resident = JemallocNumber("stats.resident");
  unsigned arenas = 0;
  size = sizeof arenas;
  if (mallctl("opt.narenas", &arenas, &size, nullptr, 0) == 0) figures.arenas = arenas;
  const char* version = nullptr;
  size = sizeof version;
  mallctl("version", static_cast<void*>(&version), &size, nullptr, 0);
  const std::string text = version != nullptr ? version : "";
  figures.allocator = "jemalloc-" + text.substr(0, text.find('-'));
}

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

MemoryFigures ReadMemoryFigures(Server& server) {
  static uint64_t peak = 0, startup = 0;  // of the process
  MemoryFigures figures;
  ReadAllocator(figures);
  figures.resident = ResidentBytes();
  if (startup == 0) startup = figures.used;
  peak = std::max(peak, figures.used);
  figures.peak = peak;
  figures.startup = startup;
  figures.system = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  server.clients().ForEach([&figures](Client& client) {
    figures.clients += sizeof(Client) + client.query_buffer_capacity + client.output.bytes.capacity();
  });
  const StoreStats store = server.store().Stats();
  const uint64_t rows =
      store.active_bytes + store.frozen_bytes + store.merged_bytes + store.cache_bytes + store.index_bytes;
  figures.overhead = figures.used > rows ? figures.used - rows : 0;
  return figures;
}

std::string HumanBytes(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1024) return fmt::format("{}B", bytes);
  if (bytes < 1ull << 20) return fmt::format("{:.2f}K", value / 1024);
  if (bytes < 1ull << 30) return fmt::format("{:.2f}M", value / (1024.0 * 1024));
  if (bytes < 1ull << 40) return fmt::format("{:.2f}G", value / (1024.0 * 1024 * 1024));
  return fmt::format("{:.2f}T", value / (1024.0 * 1024 * 1024 * 1024));
}

}  // namespace holdfast::net
