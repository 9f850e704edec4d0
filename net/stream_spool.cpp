#include "net/stream_spool.h"

#include <algorithm>

namespace holdfast::net {

namespace {

constexpr uint64_t kBytesMax = 16ull << 30;
constexpr uint64_t kFreeBytesMin = 2ull << 30;
constexpr uint64_t kFreeShare = 10;  // of the disk, if that is less

}  // namespace

Result<bool> DiskIsLow(FileSystem& fs, const std::string& directory) {
  ASSIGN_OR_RETURN(const SpaceInfo space, fs.Space(directory));
  return space.free_bytes < std::min(kFreeBytesMin, space.total_bytes / kFreeShare);
}

bool StreamSpool::Full() {
  if (empty() && !low_) return false;
  if (written_ >= kBytesMax) return true;
  if (!low_ && written_ < look_at_) return false;
  const auto low = DiskIsLow(fs_, directory_);
  if (!low.ok()) return low_;  // the next write tells
  look_at_ = written_ + kBytesBetweenLooks;
  low_ = *low;
  return low_;
}

Result<void> StreamSpool::Append(std::string_view bytes) {
  if (!file_) {
    const std::string path = JoinPath(directory_, "replication-stream.tmp");
    ASSIGN_OR_RETURN(file_, fs_.Open(path, {.mode = OpenMode::kCreateOrReplace}));
    RETURN_IF_ERROR(fs_.Remove(path));
  }
  RETURN_IF_ERROR(file_->WriteAt(written_, bytes));
  written_ += bytes.size();
  return {};
}

Result<size_t> StreamSpool::Take(char* to, size_t size) {
  if (empty()) return size_t{0};
  ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(taken_, to, std::min<uint64_t>(size, written_ - taken_)));
  if (got == 0) return Error{ErrorCode::kIo, "the spooled stream has lost its end"};
  taken_ += got;
  if (empty()) {
    written_ = taken_ = look_at_ = 0;
    RETURN_IF_ERROR(file_->Truncate(0));
  }
  return got;
}

}  // namespace holdfast::net
