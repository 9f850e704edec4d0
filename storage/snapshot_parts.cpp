#include "storage/snapshot_parts.h"

#include <algorithm>
#include <cstring>

#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::snapshot_format {

namespace {

constexpr size_t kScanWindow = 1 << 20;

Error Corrupt(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

}  // namespace

Result<std::unique_ptr<SnapshotParts>> SnapshotParts::Open(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const uint64_t file_bytes, file->Size());
  return std::unique_ptr<SnapshotParts>(new SnapshotParts(std::move(file), file_bytes));
}

// Exactly `size` bytes; the caller bounded it by the file's size.
Result<void> SnapshotParts::Read(uint64_t position, size_t size, std::string& to) {
  to.resize(size);
  ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(position, to.data(), size));
  if (got != size) return Corrupt("the file became shorter while it was read");
  return {};
}

Result<ParsedHeader> SnapshotParts::ReadHeader() {
  RETURN_IF_ERROR(Read(0, static_cast<size_t>(std::min<uint64_t>(file_bytes_, kHeaderSizeMax)), stored_));
  return ParseHeader(stored_);
}

Result<Footer> SnapshotParts::ReadFooter() {
  if (file_bytes_ < kFooterSize) return Corrupt("the file is too short to have a footer");
  RETURN_IF_ERROR(Read(file_bytes_ - kFooterSize, kFooterSize, stored_));
  return ParseFooter(stored_, file_bytes_);
}

Result<std::vector<IndexEntry>> SnapshotParts::ReadIndex(const Footer& footer, uint64_t header_end) {
  const size_t size = static_cast<size_t>(file_bytes_ - kFooterSize - footer.index_position);
  RETURN_IF_ERROR(Read(footer.index_position, size, stored_));
  if (Checksum64(stored_, footer.header_checksum) != footer.index_checksum) {
    return Corrupt("the block index does not match its checksum");
  }
  return ParseIndex(stored_, header_end, footer.index_position);
}

Result<SnapshotParts::RawBlock> SnapshotParts::ReadBlock(uint64_t position, uint64_t end, uint64_t seed,
                                                         std::optional<uint32_t> stored_hint) {
  if (end > file_bytes_ || position > end || end - position < kBlockHeaderSize) {
    return Corrupt("the file ends inside a block header");
  }
  const uint64_t wanted = kBlockHeaderSize + uint64_t{std::min<uint32_t>(stored_hint.value_or(0), kBlockRawMax)};
  RETURN_IF_ERROR(Read(position, static_cast<size_t>(std::min(wanted, end - position)), stored_));
  RawBlock block;
  ASSIGN_OR_RETURN(block.header, ParseBlockHeader(stored_, seed));
  const uint64_t size = kBlockHeaderSize + block.header.stored_length;
  if (size > end - position) return Corrupt("the file ends inside a block");
  if (size != stored_.size()) RETURN_IF_ERROR(Read(position, static_cast<size_t>(size), stored_));
  const std::string_view stored = std::string_view(stored_).substr(kBlockHeaderSize);
  if (Checksum64(stored) != block.header.payload_checksum) return Corrupt("the block does not match its checksum");
  if ((block.header.flags & kBlockZstd) == 0) {
    block.raw = stored;
  } else {
    RETURN_IF_ERROR(zstd_.Decompress(stored, block.header.raw_length, raw_));
    block.raw = raw_;
  }
  return block;
}

Result<std::optional<uint64_t>> SnapshotParts::FindBlock(uint64_t from, uint64_t end, uint64_t seed) {
  end = std::min(end, file_bytes_);
  char magic[4];
  StoreLittle(magic, kBlockMagic);
  while (from < end && end - from >= kBlockHeaderSize) {
    const auto size = static_cast<size_t>(std::min<uint64_t>(kScanWindow, end - from));
    RETURN_IF_ERROR(Read(from, size, stored_));
    const std::string_view window = stored_;
    size_t at = 0;
    while ((at = window.find({magic, sizeof(magic)}, at)) != std::string_view::npos) {
      if (window.size() - at < kBlockHeaderSize) break;
      if (ParseBlockHeader(window.substr(at), seed).ok()) return std::optional<uint64_t>(from + at);
      ++at;
    }
    if (size == end - from) break;
    from += size - (kBlockHeaderSize - 1);  // a header may lie across the border
  }
  return std::optional<uint64_t>();
}

}  // namespace holdfast::snapshot_format
