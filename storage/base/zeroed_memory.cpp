#include "storage/base/zeroed_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "storage/base/out_of_memory.h"

namespace holdfast {
namespace {

constexpr size_t kHugePage = 2u << 20;

void* Map(size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// At a multiple of huge pages: what lies around it is given back.
void* MapAligned(size_t bytes) {
  char* memory = static_cast<char*>(Map(bytes + kHugePage));
  if (memory == nullptr) return nullptr;
  const size_t before = -reinterpret_cast<uintptr_t>(memory) % kHugePage;
  if (before > 0) ::munmap(memory, before);
  if (before < kHugePage) ::munmap(memory + before + bytes, kHugePage - before);
  ::madvise(memory + before, bytes, MADV_HUGEPAGE);  // where there are none it is only slower
  return memory + before;
}

}  // namespace

ZeroedMemory::ZeroedMemory(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= kHugePage && bytes % kHugePage == 0;
  data_ = Allocated(huge ? MapAligned(bytes) : Map(bytes));
}

ZeroedMemory::~ZeroedMemory() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

ZeroedMemory::ZeroedMemory(ZeroedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace holdfast
