#include "storage/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include "storage/base/out_of_memory.h"

namespace holdfast {
namespace {

Error FromErrno(std::string_view call, std::string_view path, int number) {
  ErrorCode code = ErrorCode::kIo;
  if (number == ENOSPC || number == EDQUOT) code = ErrorCode::kNoSpace;
  if (number == ENOENT) code = ErrorCode::kNotFound;
  if (number == EEXIST) code = ErrorCode::kAlreadyExists;
  return Error{code, std::string(call) + " " + std::string(path) + ": " + std::generic_category().message(number)};
}

// Calls until the outcome is something else than "interrupted".
template <typename Call>
auto Uninterrupted(Call call) {
  auto outcome = call();
  while (outcome < 0 && errno == EINTR) outcome = call();
  return outcome;
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

bool IsAligned(const char* pointer, uint64_t position, size_t size) {
  return reinterpret_cast<uintptr_t>(pointer) % kDirectAlignment == 0 && position % kDirectAlignment == 0 &&
         size % kDirectAlignment == 0;
}

class PosixFile : public File {
 public:
  PosixFile(Descriptor descriptor, std::string path, bool direct_sync, bool direct)
      : descriptor_(std::move(descriptor)), path_(std::move(path)), direct_sync_(direct_sync), direct_(direct) {}

  Result<size_t> ReadAt(uint64_t position, char* to, size_t size) override {
    if (direct_ && !IsAligned(to, position, size)) return ReadThroughBounce(position, to, size);
    return ReadLoop(position, to, size);
  }

  Result<void> WriteAt(uint64_t position, std::string_view bytes) override {
    if (direct_sync_) CHECK_MSG(IsAligned(bytes.data(), position, bytes.size()), path_);
    while (!bytes.empty()) {
      const ssize_t written = Uninterrupted(
          [&] { return ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position)); });
      if (written < 0 && errno == EINVAL && direct_) {
        // Some file systems take the flag and refuse the write. O_DSYNC stays on.
        RETURN_IF_ERROR(LeaveDirect());
        continue;
      }
      if (written < 0) return FromErrno("write", path_, errno);
      if (written == 0) return Error{ErrorCode::kIo, "write " + path_ + ": the file takes no more bytes"};
      bytes.remove_prefix(static_cast<size_t>(written));
      position += static_cast<uint64_t>(written);
      // A short direct write (a disk that fills up) may end between blocks, where direct writes cannot go on.
      if (direct_ && !bytes.empty() && !IsAligned(bytes.data(), position, bytes.size())) {
        RETURN_IF_ERROR(LeaveDirect());
      }
    }
    return {};
  }

  Result<void> Sync() override {
    if (::fdatasync(descriptor_.get()) != 0) return FromErrno("fdatasync", path_, errno);
    return {};
  }

  Result<void> Truncate(uint64_t size) override {
    const int outcome = Uninterrupted([&] { return ::ftruncate(descriptor_.get(), static_cast<off_t>(size)); });
    if (outcome != 0) return FromErrno("ftruncate", path_, errno);
    return {};
  }

  Result<uint64_t> Size() override {
    ASSIGN_OR_RETURN(const struct stat status, Status());
    return static_cast<uint64_t>(status.st_size);
  }

  void DropCache() override { (void)::posix_fadvise(descriptor_.get(), 0, 0, POSIX_FADV_DONTNEED); }

  Result<uint64_t> LinkCount() override {
    ASSIGN_OR_RETURN(const struct stat status, Status());
    return uint64_t{status.st_nlink};
  }

 private:
  Result<struct stat> Status() {
    struct stat status {};
    if (::fstat(descriptor_.get(), &status) != 0) return FromErrno("fstat", path_, errno);
    return status;
  }

  Result<void> LeaveDirect() {
    const int flags = ::fcntl(descriptor_.get(), F_GETFL);
    if (flags < 0 || ::fcntl(descriptor_.get(), F_SETFL, flags & ~O_DIRECT) != 0) {
      return FromErrno("fcntl", path_, errno);
    }
    direct_ = false;
    return {};
  }

  Result<size_t> ReadLoop(uint64_t position, char* to, size_t size) {
    size_t done = 0;
    while (done < size) {
      const ssize_t got = Uninterrupted(
          [&] { return ::pread(descriptor_.get(), to + done, size - done, static_cast<off_t>(position + done)); });
      if (got < 0) return FromErrno("read", path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
      // A direct read that ends inside a block met the end of the file; it could not be continued anyway.
      if (direct_ && done % kDirectAlignment != 0) break;
    }
    return done;
  }

  // Direct reads of unaligned ranges go through an aligned buffer, piece by piece.
  Result<size_t> ReadThroughBounce(uint64_t position, char* to, size_t size) {
    constexpr size_t kPiece = 256 * 1024;
    AlignedBuffer bounce;
    size_t done = 0;
    while (done < size) {
      const uint64_t start = (position + done) / kDirectAlignment * kDirectAlignment;
      const size_t skip = static_cast<size_t>(position + done - start);
      const size_t wanted = std::min(size - done, kPiece - skip);
      bounce.Resize((skip + wanted + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment);
      ASSIGN_OR_RETURN(const size_t got, ReadLoop(start, bounce.data(), bounce.size()));
      if (got <= skip) break;
      const size_t usable = std::min(got - skip, wanted);
      std::memcpy(to + done, bounce.data() + skip, usable);
      done += usable;
      if (usable < wanted) break;
    }
    return done;
  }

  const Descriptor descriptor_;
  const std::string path_;
  const bool direct_sync_;
  bool direct_;  // O_DIRECT is on
};

class PosixLock : public FileLock {
 public:
  explicit PosixLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

 private:
  const Descriptor descriptor_;  // closing it releases the lock
};

int OpenFlags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::kCreateOrReplace:
      return O_RDWR | O_CREAT | O_TRUNC;
  }
  return O_RDONLY;
}

class Posix : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    int flags = OpenFlags(options.mode) | O_CLOEXEC;
    if (options.direct_sync) flags |= O_DSYNC;
    Descriptor descriptor(Uninterrupted([&] { return ::open(path.c_str(), flags, 0644); }));
    if (descriptor.get() < 0) return FromErrno("open", path, errno);
    bool direct = false;
    if (options.direct_sync) {
      // Asked for after opening: an open with O_DIRECT that the file system refuses leaves a created file behind.
      const int now = ::fcntl(descriptor.get(), F_GETFL);
      direct = now >= 0 && ::fcntl(descriptor.get(), F_SETFL, now | O_DIRECT) == 0;
    }
    return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(descriptor), path, options.direct_sync, direct));
  }

  Result<void> Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return FromErrno("rename", from + " to " + to, errno);
    return {};
  }

  Result<void> Remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return FromErrno("unlink", path, errno);
    return {};
  }

  Result<void> Link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) != 0) return FromErrno("link", from + " to " + to, errno);
    return {};
  }

  Result<void> CreateDirectory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0755) == 0) return {};
    const int number = errno;
    struct stat status {};
    if (number == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
    return FromErrno("mkdir", path, number);
  }

  Result<void> RemoveTree(const std::string& path) override {
    std::error_code failure;
    std::filesystem::remove_all(path, failure);
    if (failure) return FromErrno("remove", path, failure.value());
    return {};
  }

  Result<void> SyncDirectory(const std::string& path) override {
    Descriptor descriptor(Uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (descriptor.get() < 0) return FromErrno("open directory", path, errno);
    if (::fsync(descriptor.get()) != 0) return FromErrno("fsync directory", path, errno);
    return {};
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (directory == nullptr) return FromErrno("opendir", path, errno);
    std::vector<std::string> names;
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(directory.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return FromErrno("readdir", path, errno);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<bool> Exists(const std::string& path) override {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return FromErrno("stat", path, errno);
  }

  Result<SpaceInfo> Space(const std::string& path) override {
    struct statvfs status {};
    if (Uninterrupted([&] { return ::statvfs(path.c_str(), &status); }) != 0) return FromErrno("statvfs", path, errno);
    return SpaceInfo{.total_bytes = uint64_t{status.f_blocks} * status.f_frsize,
                     .free_bytes = uint64_t{status.f_bavail} * status.f_frsize};
  }

  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    Descriptor descriptor(Uninterrupted([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644); }));
    if (descriptor.get() < 0) return FromErrno("open", path, errno);
    // The offline tool shares a lock for an instant to see whether anybody holds it.
    constexpr int kTries = 50;
    constexpr auto kPause = std::chrono::milliseconds(2);
    for (int i = 1; Uninterrupted([&] { return ::flock(descriptor.get(), LOCK_EX | LOCK_NB); }) != 0; ++i) {
      if (errno == EWOULDBLOCK && i < kTries) {
        std::this_thread::sleep_for(kPause);
        continue;
      }
      if (errno == EWOULDBLOCK) {
        return Error{ErrorCode::kBusy, "lock " + path + ": another process holds it"};
      }
      return FromErrno("flock", path, errno);
    }
    return std::unique_ptr<FileLock>(std::make_unique<PosixLock>(std::move(descriptor)));
  }
};

size_t RoundUpToAlignment(size_t size) { return (size + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment; }

}  // namespace

FileSystem& PosixFileSystem() {
  static FileSystem& posix = *new Posix;
  return posix;
}

Result<std::string> ReadFile(FileSystem& fs, const std::string& path, uint64_t size_max) {
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > size_max) {
    return Error{ErrorCode::kLimit, "read " + path + ": the file has " + std::to_string(size) +
                                        " bytes, more than the " + std::to_string(size_max) + " allowed"};
  }
  std::string content(static_cast<size_t>(size), '\0');
  ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, content.data(), content.size()));
  content.resize(got);
  return content;
}

Result<void> WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view bytes) {
  const std::string unfinished = path + ".tmp";
  const auto write = [&]() -> Result<void> {
    ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(unfinished, {.mode = OpenMode::kCreateOrReplace}));
    RETURN_IF_ERROR(file->WriteAt(0, bytes));
    RETURN_IF_ERROR(file->Sync());
    return {};
  };
  Result<void> outcome = write();
  if (outcome.ok()) outcome = fs.Rename(unfinished, path);
  if (!outcome.ok()) {
    (void)fs.Remove(unfinished);  // best effort; the next attempt replaces it anyway
    return outcome;
  }
  return fs.SyncDirectory(ParentDirectory(path));
}

std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path.push_back('/');
  path.append(name);
  return path;
}

std::string ParentDirectory(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  path = path.substr(0, slash);
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path.empty() ? "/" : std::string(path);
}

void AlignedBuffer::Free::operator()(char* pointer) const { std::free(pointer); }

void AlignedBuffer::Reserve(size_t capacity) {
  if (capacity <= capacity_) return;
  capacity = RoundUpToAlignment(capacity);
  std::unique_ptr<char, Free> grown(Allocated(static_cast<char*>(std::aligned_alloc(kDirectAlignment, capacity))));
  if (size_ != 0) std::memcpy(grown.get(), data_.get(), size_);
  data_ = std::move(grown);
  capacity_ = capacity;
}

void AlignedBuffer::Resize(size_t size) {
  Reserve(size);
  if (size > size_) std::memset(data_.get() + size_, 0, size - size_);
  size_ = size;
}

void AlignedBuffer::Append(std::string_view bytes) {
  if (bytes.empty()) return;
  if (size_ + bytes.size() > capacity_) Reserve(std::max(size_ + bytes.size(), 2 * capacity_));
  std::memcpy(data_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

}  // namespace holdfast
