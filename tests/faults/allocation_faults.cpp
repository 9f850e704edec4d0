// Preloaded into a server (LD_PRELOAD): makes the nth of its allocations fail, of operator new as the standard has it
// (the new handler is asked), of malloc by a null pointer. Memory comes from and goes back to the allocator behind,
// which the server brings along. Not for servers with a sanitizer, whose allocator wants to be the first.
//
//   HOLDFAST_FAULT_CONTROL  a file with one FaultControl
#include <dlfcn.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "tests/faults/fault_control.h"

namespace holdfast::faults {
namespace {

FaultControl* control = nullptr;

__attribute__((constructor)) void Begin() { control = MapControl(); }

bool Fails(Call call, size_t size) {
  if (control == nullptr) return false;
  uint32_t effect = Count(control, call);
  if (size >= kLargeBytes && effect == 0) effect = Count(control, Call::kLarge);
  return effect != 0;
}

bool MallocFails(size_t size) {
  if (!Fails(Call::kMalloc, size)) return false;
  errno = ENOMEM;
  return true;
}

template <typename Function>
Function Behind(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

void* New(size_t size, size_t alignment) {
  using Plain = void* (*)(size_t);
  using Aligned = void* (*)(size_t, size_t);
  static const Plain plain = Behind<Plain>("malloc");
  static const Aligned aligned = Behind<Aligned>("aligned_alloc");
  const bool fails = Fails(Call::kNew, size);
  while (true) {
    if (!fails) {
      void* place = alignment == 0 ? plain(size == 0 ? 1 : size) : aligned(alignment, size);
      if (place != nullptr) return place;
    }
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

}  // namespace
}  // namespace holdfast::faults

namespace faults = holdfast::faults;

// Each form that is not here calls one of these, by the standard. What is freed goes past this library.
void* operator new(size_t size) { return faults::New(size, 0); }
void* operator new[](size_t size) { return faults::New(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) {
  return faults::New(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return faults::New(size, static_cast<size_t>(alignment));
}

extern "C" {

void* malloc(size_t size) {
  using Function = void* (*)(size_t);
  static const Function real = faults::Behind<Function>("malloc");
  return faults::MallocFails(size) ? nullptr : real(size);
}

void* calloc(size_t count, size_t size) {
  using Function = void* (*)(size_t, size_t);
  static const Function real = faults::Behind<Function>("calloc");
  return faults::MallocFails(count * size) ? nullptr : real(count, size);
}

void* realloc(void* place, size_t size) {
  using Function = void* (*)(void*, size_t);
  static const Function real = faults::Behind<Function>("realloc");
  return faults::MallocFails(size) ? nullptr : real(place, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  using Function = void* (*)(size_t, size_t);
  static const Function real = faults::Behind<Function>("aligned_alloc");
  return faults::MallocFails(size) ? nullptr : real(alignment, size);
}

int posix_memalign(void** place, size_t alignment, size_t size) {
  using Function = int (*)(void**, size_t, size_t);
  static const Function real = faults::Behind<Function>("posix_memalign");
  return faults::MallocFails(size) ? ENOMEM : real(place, alignment, size);
}

}  // extern "C"
