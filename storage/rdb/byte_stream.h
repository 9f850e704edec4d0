// Where streams of bytes come from and go to: files, memory, sockets (their owners implement these). One thread at a
// time; calls may block, which is how the slower side holds the faster one back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::rdb {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills up to `size` > 0 bytes; waits until there is at least one. 0 is the end. Errors are final.
  virtual Result<size_t> Read(char* to, size_t size) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Takes all of `bytes`, waiting for room if it must. Errors are final.
  virtual Result<void> Write(std::string_view bytes) = 0;
};

// A file from `position` on.
class FileSource : public ByteSource {
 public:
  explicit FileSource(File& file, uint64_t position = 0) : file_(file), position_(position) {}
  Result<size_t> Read(char* to, size_t size) override {
    ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(position_, to, size));
    position_ += count;
    return count;
  }

 private:
  File& file_;
  uint64_t position_;
};

// Appends to a file from `position` on. Does not sync.
class FileSink : public ByteSink {
 public:
  explicit FileSink(File& file, uint64_t position = 0) : file_(file), position_(position) {}
  Result<void> Write(std::string_view bytes) override {
    RETURN_IF_ERROR(file_.WriteAt(position_, bytes));
    position_ += bytes.size();
    return {};
  }
  [[nodiscard]] uint64_t position() const { return position_; }

 private:
  File& file_;
  uint64_t position_;
};

class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : rest_(bytes) {}
  Result<size_t> Read(char* to, size_t size) override {
    const size_t count = std::min(size, rest_.size());
    std::memcpy(to, rest_.data(), count);
    rest_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view rest_;
};

class MemorySink : public ByteSink {
 public:
  Result<void> Write(std::string_view bytes) override {
    bytes_ += bytes;
    return {};
  }
  [[nodiscard]] const std::string& bytes() const& { return bytes_; }
  [[nodiscard]] std::string&& bytes() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

}  // namespace holdfast::rdb
