// The seam to the file system. Everything that reads or writes files goes through FileSystem, so that tests can lose
// unsynced writes, tear sectors and fail the Nth call (tests/support/fault_file_system.h). LMDB is the one exception:
// it does its own I/O inside storage/lmdb_env.
//
// All paths are absolute or relative to the working directory. Errors carry the path, the call and errno's text;
// ENOSPC and EDQUOT are kNoSpace, ENOENT is kNotFound, EEXIST is kAlreadyExists, all else kIo.
// EINTR and short writes are continued inside. A FileSystem may be used from any thread; a File from one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace holdfast {

// Direct I/O alignment of buffers, positions and lengths.
inline constexpr size_t kDirectAlignment = 4096;

enum class OpenMode {
  kRead,             // must exist
  kWrite,            // read and write; must exist
  kCreate,           // read and write; must not exist
  kCreateOrReplace,  // read and write; truncated if it exists
};

struct OpenOptions {
  OpenMode mode = OpenMode::kRead;
  // Write past the page cache, each write durable on return (O_DIRECT | O_DSYNC). Falls back to plain writes plus
  // fdatasync inside WriteAt where the file system has no O_DIRECT (tmpfs, overlayfs): durable on return either way.
  bool direct_sync = false;
};

class File {
 public:
  virtual ~File() = default;

  // Reads up to `size` bytes at `position` into `to`; fewer only at the end of the file. Returns the count.
  virtual Result<size_t> ReadAt(uint64_t position, char* to, size_t size) = 0;
  // Writes all bytes or fails. With direct_sync: `bytes` and `position` aligned to kDirectAlignment.
  virtual Result<void> WriteAt(uint64_t position, std::string_view bytes) = 0;
  // fdatasync. A failure is final for the file's content: never retry (the page cache lies afterwards).
  virtual Result<void> Sync() = 0;
  virtual Result<void> Truncate(uint64_t size) = 0;
  [[nodiscard]] virtual Result<uint64_t> Size() = 0;
  // Hint: drop this file's clean pages, so that the next read comes from the disk.
  virtual void DropCache() = 0;
  // Number of names this file has (st_nlink); a segment with more than one must not be recycled.
  virtual Result<uint64_t> LinkCount() = 0;
};

// An exclusive lock on a file, held until destruction.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct SpaceInfo {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // available to us
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) = 0;
  // Atomic replace. Durable only after SyncDirectory of both parents.
  virtual Result<void> Rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> Remove(const std::string& path) = 0;
  virtual Result<void> Link(const std::string& from, const std::string& to) = 0;
  // Creates one directory; an existing one is fine.
  virtual Result<void> CreateDirectory(const std::string& path) = 0;
  // Removes a directory and everything in it; a missing one is fine.
  virtual Result<void> RemoveTree(const std::string& path) = 0;
  virtual Result<void> SyncDirectory(const std::string& path) = 0;
  // Names (not paths) in a directory, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  virtual Result<bool> Exists(const std::string& path) = 0;
  virtual Result<SpaceInfo> Space(const std::string& path) = 0;
  // Creates the file if missing and locks it (flock, exclusive, non-blocking). kBusy if somebody else holds it.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
};

// The operating system's files. One instance a process, never destroyed.
FileSystem& PosixFileSystem();

// Composites used by all formats.

// Whole file into memory; kLimit above `size_max`.
Result<std::string> ReadFile(FileSystem& fs, const std::string& path, uint64_t size_max);
// Born complete: writes `path`.tmp, syncs, renames to `path`, syncs the directory.
Result<void> WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view bytes);

[[nodiscard]] std::string JoinPath(std::string_view directory, std::string_view name);
[[nodiscard]] std::string ParentDirectory(std::string_view path);

// A growable byte buffer whose start is aligned for direct I/O.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t capacity) { Reserve(capacity); }

  void Reserve(size_t capacity);  // keeps the content; capacity is rounded up to kDirectAlignment
  void Resize(size_t size);       // new bytes are zero
  void Append(std::string_view bytes);
  void Clear() { size_ = 0; }

  [[nodiscard]] char* data() { return data_.get(); }
  [[nodiscard]] const char* data() const { return data_.get(); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }
  [[nodiscard]] std::string_view view() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(char* pointer) const;
  };
  std::unique_ptr<char, Free> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace holdfast
