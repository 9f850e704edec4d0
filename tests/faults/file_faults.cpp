// Preloaded into a server (LD_PRELOAD): records its file calls under one directory, and makes the nth of them fail or
// kill the process. Sees LMDB's own writes, too, which the FileSystem seam does not. What it does by itself goes by
// system calls, past every wrapper of the C library and of sanitizers.
//
//   HOLDFAST_FAULT_ROOT     the directory whose files count; absolute
//   HOLDFAST_FAULT_TRACE    append records here (trace_format.h)
//   HOLDFAST_FAULT_CONTROL  a file with one FaultControl
#include <dirent.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/faults/fault_control.h"
#include "tests/faults/trace_format.h"

namespace holdfast::faults {
namespace {

constexpr int kDescriptors = 1 << 16;

struct Watched {
  std::atomic<bool> open;
  bool durable_writes;  // O_DSYNC
  uint64_t inode;
};

char root[PATH_MAX];
size_t root_size = 0;
int trace = -1;
FaultControl* control = nullptr;
Watched watched[kDescriptors];
std::atomic<uint64_t> next_token{1};

// The C library may call us before constructors have run, and from threads: set up once, by whoever comes first.
void SetUp() {
  const char* directory = getenv("HOLDFAST_FAULT_ROOT");
  if (directory == nullptr) return;
  snprintf(root, sizeof(root), "%s", directory);
  root_size = strlen(root);
  if (const char* path = getenv("HOLDFAST_FAULT_TRACE")) {
    trace = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
  }
  control = MapControl();
}

// Tokens of several processes that append to one trace must differ.
uint64_t NewToken() { return (static_cast<uint64_t>(getpid()) << 32) | next_token.fetch_add(1); }

__attribute__((constructor)) void Begin() { SetUp(); }

bool UnderRoot(const char* path) {
  return root_size != 0 && strncmp(path, root, root_size) == 0 && (path[root_size] == '/' || path[root_size] == 0);
}

// The absolute path of what a call names; empty: not ours.
struct Path {
  char text[PATH_MAX];
  bool ours = false;

  Path(int directory, const char* name) {
    text[0] = 0;
    if (root_size == 0 || name == nullptr) return;
    if (name[0] == '/') {
      snprintf(text, sizeof(text), "%s", name);
    } else {
      char base[PATH_MAX] = "";
      if (directory == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof(base)) < 0) return;
      } else {
        char link[64];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
        const long size = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof(base) - 1);
        if (size < 0) return;
        base[size] = 0;
      }
      if (strlen(base) + strlen(name) + 2 > sizeof(text)) return;
      strcpy(text, base);
      strcat(text, "/");
      strcat(text, name);
    }
    ours = UnderRoot(text);
  }
};

thread_local int unkilled = 0;

// While one exists, the scenario does not kill the process: a record is written whole, and of a call that is recorded
// afterwards the next process never sees what the record lacks.
class Unkilled {
 public:
  Unkilled() {
    if (trace < 0 || control == nullptr || unkilled++ > 0) return;
    while (true) {
      __atomic_add_fetch(&control->inside, 1, __ATOMIC_SEQ_CST);
      if (__atomic_load_n(&control->hold, __ATOMIC_SEQ_CST) == 0) return;
      __atomic_sub_fetch(&control->inside, 1, __ATOMIC_SEQ_CST);
      Wait(1);
    }
  }
  ~Unkilled() {
    if (trace < 0 || control == nullptr || --unkilled > 0) return;
    __atomic_sub_fetch(&control->inside, 1, __ATOMIC_SEQ_CST);
  }
  Unkilled(const Unkilled&) = delete;
  Unkilled& operator=(const Unkilled&) = delete;
};

void Append(TraceRecord record, const char* path, const char* second, const iovec* data, int pieces) {
  if (trace < 0) return;
  const Unkilled whole;
  record.path_size = path == nullptr ? 0 : static_cast<uint32_t>(strlen(path));
  record.second_path_size = second == nullptr ? 0 : static_cast<uint32_t>(strlen(second));
  iovec parts[1024 + 3];
  int count = 0;
  parts[count++] = {&record, sizeof(record)};
  parts[count++] = {const_cast<char*>(path), record.path_size};
  parts[count++] = {const_cast<char*>(second), record.second_path_size};
  for (int i = 0; i < pieces && i < 1021; i++) {
    parts[count++] = data[i];
    record.data_size += data[i].iov_len;
  }
  size_t total = 0;
  for (int i = 0; i < count; i++) total += parts[i].iov_len;
  // A trace with a hole proves nothing: give up loudly.
  if (syscall(SYS_writev, trace, parts, count) != static_cast<long>(total)) abort();
}

uint64_t InodeOf(int fd) {
  struct stat status {};
  return syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) == 0 ? status.st_ino : 0;
}

uint64_t InodeOf(const char* path) {
  struct stat status {};
  return syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status.st_ino : 0;
}

bool IsOurs(int fd) { return fd >= 0 && fd < kDescriptors && watched[fd].open.load(std::memory_order_relaxed); }

uint32_t Happens(Call call) { return Count(control, call); }

bool IsErrno(uint32_t effect) { return effect != 0 && effect < kShort; }

template <typename T>
T Failed(uint32_t effect) {
  errno = static_cast<int>(effect);
  return static_cast<T>(-1);
}

template <typename Real>
long Done(uint32_t effect, Real real) {
  const long outcome = real();
  if (effect == kKillAfter) Die();
  return outcome;
}

// Of a call that is recorded when it is done.
template <typename Real, typename Record>
long Done(uint32_t effect, Real real, Record record) {
  const Unkilled whole;
  const long outcome = real();
  if (outcome >= 0) record(outcome);
  if (effect == kKillAfter) Die();
  return outcome;
}

int Open(int directory, const char* name, int flags, mode_t mode) {
  const auto real = [&] { return syscall(SYS_openat, directory, name, flags, mode); };
  const Path path(directory, name);
  if (!path.ours) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kOpen);
  if (IsErrno(effect)) return Failed<int>(effect);
  const bool existed = (flags & O_CREAT) == 0 || InodeOf(path.text) != 0;
  return static_cast<int>(Done(effect, real, [&](long fd) {
    if (fd >= kDescriptors) return;
    const uint64_t inode = InodeOf(static_cast<int>(fd));
    watched[fd].durable_writes = (flags & O_DSYNC) != 0;
    watched[fd].inode = inode;
    watched[fd].open.store(true, std::memory_order_relaxed);
    if (!existed) Append({.kind = TraceKind::kCreate, .inode = inode}, path.text, nullptr, nullptr, 0);
    if (existed && (flags & O_TRUNC) != 0) {
      Append({.kind = TraceKind::kTruncate, .inode = inode}, nullptr, nullptr, nullptr, 0);
    }
  }));
}

// Of a request, as a short call would leave it: whole sectors if there are some, never nothing.
size_t Half(size_t size) {
  if (size >= 1024) return size / 2 / 512 * 512;
  return size > 1 ? size / 2 : size;
}

bool AllZeros(const iovec* data, int pieces) {
  for (int i = 0; i < pieces; i++) {
    const char* bytes = static_cast<const char*>(data[i].iov_base);
    for (size_t at = 0; at < data[i].iov_len; at++) {
      if (bytes[at] != 0) return false;
    }
  }
  return true;
}

// `real` takes how much to write at most: bytes of a single piece, or how many pieces of several.
template <typename Real>
ssize_t Write(int fd, const iovec* data, int pieces, uint64_t position, Real real) {
  const uint32_t effect = Happens(Call::kWrite);
  if (IsErrno(effect)) return Failed<ssize_t>(effect);
  if (effect == kShort && pieces > 1) pieces /= 2;
  size_t size = 0;
  for (int i = 0; i < pieces; i++) size += data[i].iov_len;
  if (effect == kLie) return static_cast<ssize_t>(size);
  if (effect == kShort && pieces == 1) size = Half(size);
  const uint64_t token = NewToken();
  if (trace >= 0) {
    iovec first = {data[0].iov_base, std::min(size, data[0].iov_len)};
    const iovec* recorded = pieces == 1 ? &first : data;
    const bool zeros = AllZeros(recorded, pieces);
    Append({.kind = TraceKind::kWrite,
            .flags = zeros ? kZeros : 0,
            .inode = watched[fd].inode,
            .position = position,
            .size = size,
            .token = token},
           nullptr, nullptr, recorded, zeros ? 0 : pieces);
  }
  const long written = Done(effect, [&] { return real(pieces == 1 ? size : static_cast<size_t>(pieces)); });
  if (written > 0 && watched[fd].durable_writes) {
    Append({.kind = TraceKind::kWriteDurable, .inode = watched[fd].inode, .token = token}, nullptr, nullptr, nullptr,
           0);
  }
  return written;
}

template <typename Real>
int Sync(int fd, Real real) {
  if (!IsOurs(fd)) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kSync);
  if (IsErrno(effect)) return Failed<int>(effect);
  if (effect == kLie) return 0;
  const uint64_t token = NewToken();
  Append({.kind = TraceKind::kSyncBegin, .inode = watched[fd].inode, .token = token}, nullptr, nullptr, nullptr, 0);
  const int outcome = static_cast<int>(Done(effect, real));
  if (outcome == 0) {
    Append({.kind = TraceKind::kSyncEnd, .inode = watched[fd].inode, .token = token}, nullptr, nullptr, nullptr, 0);
  }
  return outcome;
}

template <typename Real>
ssize_t Read(int fd, size_t size, Real real) {
  if (!IsOurs(fd)) return real(size);
  const uint32_t effect = Happens(Call::kRead);
  if (IsErrno(effect)) return Failed<ssize_t>(effect);
  if (effect == kShort) size = Half(size);
  return Done(effect, [&] { return real(size); });
}

int Rename(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  const auto real = [&] { return syscall(SYS_renameat2, from_directory, from, to_directory, to, flags); };
  const Path source(from_directory, from), target(to_directory, to);
  if (!source.ours && !target.ours) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kRename);
  if (IsErrno(effect)) return Failed<int>(effect);
  return static_cast<int>(
      Done(effect, real, [&](long) { Append({.kind = TraceKind::kRename}, source.text, target.text, nullptr, 0); }));
}

int Remove(int directory, const char* name, int flags) {
  const auto real = [&] { return syscall(SYS_unlinkat, directory, name, flags); };
  const Path path(directory, name);
  if (!path.ours) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kRemove);
  if (IsErrno(effect)) return Failed<int>(effect);
  return static_cast<int>(
      Done(effect, real, [&](long) { Append({.kind = TraceKind::kRemove}, path.text, nullptr, nullptr, 0); }));
}

int MakeDirectory(int directory, const char* name, mode_t mode) {
  const auto real = [&] { return syscall(SYS_mkdirat, directory, name, mode); };
  const Path path(directory, name);
  if (!path.ours) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kMakeDirectory);
  if (IsErrno(effect)) return Failed<int>(effect);
  return static_cast<int>(Done(effect, real, [&](long) {
    Append({.kind = TraceKind::kMakeDirectory, .inode = InodeOf(path.text)}, path.text, nullptr, nullptr, 0);
  }));
}

int Link(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  const auto real = [&] { return syscall(SYS_linkat, from_directory, from, to_directory, to, flags); };
  const Path source(from_directory, from), target(to_directory, to);
  if (!target.ours) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kLink);
  if (IsErrno(effect)) return Failed<int>(effect);
  return static_cast<int>(
      Done(effect, real, [&](long) { Append({.kind = TraceKind::kLink}, source.text, target.text, nullptr, 0); }));
}

int Truncate(int fd, off_t size) {
  const auto real = [&] { return syscall(SYS_ftruncate, fd, size); };
  if (!IsOurs(fd)) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kTruncate);
  if (IsErrno(effect)) return Failed<int>(effect);
  Append({.kind = TraceKind::kTruncate, .inode = watched[fd].inode, .position = static_cast<uint64_t>(size)}, nullptr,
         nullptr, nullptr, 0);
  return static_cast<int>(Done(effect, real));
}

// Unwritten space reads as zeros: it is recorded as the size it gives the file.
int Allocate(int fd, int mode, off_t position, off_t size) {
  const auto real = [&] { return syscall(SYS_fallocate, fd, mode, position, size); };
  if (!IsOurs(fd)) return static_cast<int>(real());
  const uint32_t effect = Happens(Call::kAllocate);
  if (IsErrno(effect)) return Failed<int>(effect);
  struct stat status {};
  syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH);
  if (mode == 0 && position + size > status.st_size) {
    Append(
        {.kind = TraceKind::kTruncate, .inode = watched[fd].inode, .position = static_cast<uint64_t>(position + size)},
        nullptr, nullptr, nullptr, 0);
  }
  return static_cast<int>(Done(effect, real));
}

// The write position of a descriptor, for calls that do not name one.
uint64_t Position(int fd) { return static_cast<uint64_t>(syscall(SYS_lseek, fd, 0, SEEK_CUR)); }

}  // namespace
}  // namespace holdfast::faults

// ---- the calls as the C library names them
// ---------------------------------------------------------------------------

namespace faults = holdfast::faults;

extern "C" {

#define HOLDFAST_OPEN_MODE(flags)                       \
  mode_t mode = 0;                                      \
  if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {         \
    va_list arguments;                                  \
    va_start(arguments, flags);                         \
    mode = static_cast<mode_t>(va_arg(arguments, int)); \
    va_end(arguments);                                  \
  }

int open(const char* path, int flags, ...) {
  HOLDFAST_OPEN_MODE(flags)
  return faults::Open(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  HOLDFAST_OPEN_MODE(flags)
  return faults::Open(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  HOLDFAST_OPEN_MODE(flags)
  return faults::Open(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  HOLDFAST_OPEN_MODE(flags)
  return faults::Open(directory, path, flags, mode);
}

int close(int fd) {
  if (!faults::IsOurs(fd)) return static_cast<int>(syscall(SYS_close, fd));
  const uint32_t effect = faults::Happens(faults::Call::kClose);
  faults::watched[fd].open.store(false);
  const int outcome = static_cast<int>(faults::Done(effect, [&] { return syscall(SYS_close, fd); }));
  // The descriptor is gone either way, as on Linux.
  return faults::IsErrno(effect) ? faults::Failed<int>(effect) : outcome;
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t position) {
  const auto real = [&](size_t count) { return syscall(SYS_pwrite64, fd, data, count, position); };
  if (!faults::IsOurs(fd)) return real(size);
  const iovec piece = {const_cast<void*>(data), size};
  return faults::Write(fd, &piece, 1, static_cast<uint64_t>(position), real);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t position) { return pwrite(fd, data, size, position); }

ssize_t write(int fd, const void* data, size_t size) {
  const auto real = [&](size_t count) { return syscall(SYS_write, fd, data, count); };
  if (!faults::IsOurs(fd)) return real(size);
  const iovec piece = {const_cast<void*>(data), size};
  return faults::Write(fd, &piece, 1, faults::Position(fd), real);
}
ssize_t writev(int fd, const iovec* data, int pieces) {
  const auto real = [&](size_t count) {
    return pieces == 1 ? syscall(SYS_write, fd, data[0].iov_base, count) : syscall(SYS_writev, fd, data, count);
  };
  if (!faults::IsOurs(fd) || pieces < 1) return syscall(SYS_writev, fd, data, pieces);
  return faults::Write(fd, data, pieces, faults::Position(fd), real);
}
ssize_t pwritev(int fd, const iovec* data, int pieces, off_t position) {
  const auto real = [&](size_t count) {
    return pieces == 1 ? syscall(SYS_pwrite64, fd, data[0].iov_base, count, position)
                       : syscall(SYS_pwritev, fd, data, count, position, 0);
  };
  if (!faults::IsOurs(fd) || pieces < 1) return syscall(SYS_pwritev, fd, data, pieces, position, 0);
  return faults::Write(fd, data, pieces, static_cast<uint64_t>(position), real);
}

ssize_t pread(int fd, void* to, size_t size, off_t position) {
  return faults::Read(fd, size, [&](size_t count) { return syscall(SYS_pread64, fd, to, count, position); });
}
ssize_t pread64(int fd, void* to, size_t size, off64_t position) { return pread(fd, to, size, position); }
ssize_t read(int fd, void* to, size_t size) {
  return faults::Read(fd, size, [&](size_t count) { return syscall(SYS_read, fd, to, count); });
}

int fsync(int fd) {
  return faults::Sync(fd, [&] { return syscall(SYS_fsync, fd); });
}
int fdatasync(int fd) {
  return faults::Sync(fd, [&] { return syscall(SYS_fdatasync, fd); });
}

int ftruncate(int fd, off_t size) noexcept { return faults::Truncate(fd, size); }
int ftruncate64(int fd, off64_t size) noexcept { return faults::Truncate(fd, size); }
int fallocate(int fd, int mode, off_t position, off_t size) { return faults::Allocate(fd, mode, position, size); }
int fallocate64(int fd, int mode, off64_t position, off64_t size) { return faults::Allocate(fd, mode, position, size); }
// Answers with the error instead of setting errno.
int posix_fallocate(int fd, off_t position, off_t size) {
  return faults::Allocate(fd, 0, position, size) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off64_t position, off64_t size) { return posix_fallocate(fd, position, size); }

int rename(const char* from, const char* to) noexcept { return faults::Rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  return faults::Rename(from_directory, from, to_directory, to, 0);
}
int unlink(const char* path) noexcept { return faults::Remove(AT_FDCWD, path, 0); }
int unlinkat(int directory, const char* path, int flags) noexcept { return faults::Remove(directory, path, flags); }
int rmdir(const char* path) noexcept { return faults::Remove(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) noexcept {
  const int outcome = faults::Remove(AT_FDCWD, path, 0);
  return outcome != 0 && errno == EISDIR ? faults::Remove(AT_FDCWD, path, AT_REMOVEDIR) : outcome;
}
int mkdir(const char* path, mode_t mode) noexcept { return faults::MakeDirectory(AT_FDCWD, path, mode); }
int mkdirat(int directory, const char* path, mode_t mode) noexcept {
  return faults::MakeDirectory(directory, path, mode);
}
int link(const char* from, const char* to) noexcept { return faults::Link(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) noexcept {
  return faults::Link(from_directory, from, to_directory, to, flags);
}

void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t position) noexcept {
  if (faults::IsOurs(fd)) {
    const uint32_t effect = faults::Happens(faults::Call::kMap);
    if (faults::IsErrno(effect)) return faults::Failed<long>(effect), MAP_FAILED;
  }
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, fd, position));
}
void* mmap64(void* address, size_t size, int protection, int flags, int fd, off64_t position) noexcept {
  return mmap(address, size, protection, flags, fd, position);
}

}  // extern "C"
