// What a master sends faster than it can be taken, in a file without a name: it is gone with the process. A Redis
// master drops a replica that does not read. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::net {

// Whether the disk's free space comes near the mark below which writes are refused.
Result<bool> DiskIsLow(FileSystem& fs, const std::string& directory);
// Who writes much looks again after so many bytes.
inline constexpr uint64_t kBytesBetweenLooks = 64ull << 20;

class StreamSpool {
 public:
  StreamSpool(FileSystem& fs, std::string directory) : fs_(fs), directory_(std::move(directory)) {}

  [[nodiscard]] bool empty() const { return taken_ == written_; }
  // Whether it should not grow any more: its own bound is reached, or the disk is low.
  [[nodiscard]] bool Full();
  Result<void> Append(std::string_view bytes);
  // The oldest bytes, at most `size`; fewer only at the end.
  Result<size_t> Take(char* to, size_t size);

 private:
  FileSystem& fs_;
  const std::string directory_;
  std::unique_ptr<File> file_;
  uint64_t written_ = 0, taken_ = 0;
  uint64_t look_at_ = 0;  // look at the disk when so much was written
  bool low_ = false;
};

}  // namespace holdfast::net
