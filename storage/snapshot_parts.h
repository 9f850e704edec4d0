// Reading the parts of a snapshot file: what SnapshotReader, VerifySnapshot and CheckPartialSnapshot share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/file.h"
#include "storage/snapshot_format.h"
#include "storage/zstd_frame.h"

namespace holdfast::snapshot_format {

class SnapshotParts {
 public:
  static Result<std::unique_ptr<SnapshotParts>> Open(FileSystem& fs, const std::string& path);

  [[nodiscard]] uint64_t file_bytes() const { return file_bytes_; }
  Result<ParsedHeader> ReadHeader();
  Result<Footer> ReadFooter();
  // Checks the index checksum, seeded by `footer.header_checksum`, and that the blocks fill `header_end`..index.
  Result<std::vector<IndexEntry>> ReadIndex(const Footer& footer, uint64_t header_end);

  // One block. `raw` lives until the next read.
  struct RawBlock {
    BlockHeader header;
    std::string_view raw;
  };
  // kCorruption says what is wrong, without position. `stored_hint`: its stored length if known, saves a read.
  // The block must end at or before `end`.
  Result<RawBlock> ReadBlock(uint64_t position, uint64_t end, uint64_t seed, std::optional<uint32_t> stored_hint);
  // The first position >= `from` below `end` at which a block header of this file stands.
  Result<std::optional<uint64_t>> FindBlock(uint64_t from, uint64_t end, uint64_t seed);

 private:
  SnapshotParts(std::unique_ptr<File> file, uint64_t file_bytes) : file_(std::move(file)), file_bytes_(file_bytes) {}
  Result<void> Read(uint64_t position, size_t size, std::string& to);

  std::unique_ptr<File> file_;
  const uint64_t file_bytes_;
  ZstdDecompressor zstd_;
  std::string stored_;
  std::string raw_;
};

}  // namespace holdfast::snapshot_format
