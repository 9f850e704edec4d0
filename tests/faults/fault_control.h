// The page by which a scenario controls faults: a file mapped by the scenario (fault_server.py) and by the libraries
// that are preloaded into a server (file_faults.cpp, allocation_faults.cpp). Only system calls here, past every wrapper
// of the C library and of sanitizers.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace holdfast::faults {

enum class Call : uint32_t {
  kAny = 0,
  kOpen = 1,
  kRead = 2,
  kWrite = 3,
  kSync = 4,
  kTruncate = 5,
  kAllocate = 6,
  kRename = 7,
  kRemove = 8,
  kMakeDirectory = 9,
  kLink = 10,
  kMap = 11,
  kClose = 12,
  // Not of files; of their own library, and not in kAny.
  kNew = 13,     // operator new, of any kind
  kMalloc = 14,  // malloc and its like: LMDB, zstd, the C library, our own
  kLarge = 15,   // either, of at least kLargeBytes
};
inline constexpr uint32_t kCalls = 16;
inline constexpr uint64_t kLargeBytes = 32 * 1024;

// Effects below this are values of errno.
inline constexpr uint32_t kShort = 1000;      // half of the bytes are written or read
inline constexpr uint32_t kKill = 1001;       // SIGKILL before the call
inline constexpr uint32_t kKillAfter = 1002;  // SIGKILL when it is done
inline constexpr uint32_t kLie = 1003;        // reports success, does nothing
inline constexpr uint32_t kDelay = 1004;      // waits `delay_ms` before it

struct FaultControl {
  uint32_t armed;  // counting and firing
  uint32_t call;   // which calls the fault counts
  uint32_t effect;
  uint32_t forever;  // from the nth on, not the nth alone
  uint64_t nth;      // 1 is the next one
  uint32_t fired;
  uint32_t delay_ms;
  uint64_t counts[kCalls];  // since the scenario cleared them; [0]: all
  // How a scenario kills a recorded process: with `hold` set nobody begins a call that must be recorded; at 0 of
  // `inside` nobody is between such a call and its record, or within a record.
  uint32_t hold;
  uint32_t inside;
};

// The page that HOLDFAST_FAULT_CONTROL names; null: none.
inline FaultControl* MapControl() {
  const char* path = getenv("HOLDFAST_FAULT_CONTROL");
  if (path == nullptr) return nullptr;
  const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC));
  if (fd < 0) return nullptr;
  const long mapped = syscall(SYS_mmap, nullptr, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
  syscall(SYS_close, fd);
  // The kernel's errors are the last page of the address space.
  return mapped < -4096 || mapped > 0 ? reinterpret_cast<FaultControl*>(mapped) : nullptr;
}

[[noreturn]] inline void Die() {
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  while (true) syscall(SYS_pause);
}

inline void Wait(uint32_t ms) {
  timespec time{ms / 1000, static_cast<long>(ms % 1000) * 1'000'000};
  syscall(SYS_nanosleep, &time, nullptr);
}

// Counts a call and says what is to happen to it: 0 nothing, else an effect. Kills and delays happen here.
inline uint32_t Count(FaultControl* control, Call call) {
  if (control == nullptr || __atomic_load_n(&control->armed, __ATOMIC_ACQUIRE) == 0) return 0;
  const bool of_files = static_cast<uint32_t>(call) < static_cast<uint32_t>(Call::kNew);
  const uint64_t of_all = of_files ? __atomic_add_fetch(&control->counts[0], 1, __ATOMIC_RELAXED) : 0;
  const uint64_t of_kind = __atomic_add_fetch(&control->counts[static_cast<uint32_t>(call)], 1, __ATOMIC_RELAXED);
  if (control->nth == 0) return 0;
  const bool any = of_files && control->call == static_cast<uint32_t>(Call::kAny);
  if (!any && control->call != static_cast<uint32_t>(call)) return 0;
  const uint64_t now = any ? of_all : of_kind;
  if (now < control->nth || (now > control->nth && control->forever == 0)) return 0;
  __atomic_store_n(&control->fired, 1, __ATOMIC_RELEASE);
  if (control->effect == kKill) Die();
  if (control->effect == kDelay) {
    Wait(control->delay_ms);
    return 0;
  }
  return control->effect;
}

}  // namespace holdfast::faults
