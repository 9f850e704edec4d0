// VerifySnapshot and CheckPartialSnapshot: readers for files that may be damaged or incomplete.
#include <algorithm>

#include "storage/base/hash.h"
#include "storage/snapshot.h"
#include "storage/snapshot_format.h"
#include "storage/snapshot_parser.h"
#include "storage/snapshot_parts.h"

namespace holdfast {

namespace {

using namespace snapshot_format;  // NOLINT: this file is the format's other half

class NothingVisitor : public SnapshotVisitor {
 public:
  Result<void> Key(const SnapshotKey&) override { return {}; }
  Result<void> Row(const SnapshotRow&) override { return {}; }
};

// Whether an error tells about the file's bytes, not about reading them.
bool IsDamage(const Error& error) { return error.code == ErrorCode::kCorruption; }

class Verifier {
 public:
  Verifier(SnapshotParts& parts, const std::function<void(const SnapshotFinding&)>& finding)
      : parts_(parts), finding_(finding) {}

  Result<void> Run() {
    RETURN_IF_ERROR(VerifyEnds());
    if (!seed_) {
      Report(0, "neither header nor footer is whole: the blocks between them cannot be checked");
      return {};
    }
    // Without a header the number of databases is unknown; the format's own bound has to do.
    RecordParser parser(header_ ? header_->header.databases : uint32_t{INT32_MAX});
    if (index_) {
      RETURN_IF_ERROR(VerifyIndexed(parser));
    } else {
      RETURN_IF_ERROR(VerifyByScan(parser));
    }
    FinishRecords(parser);
    return {};
  }

 private:
  void Report(uint64_t position, std::string message) {
    ++findings_;
    finding_({position, std::move(message)});
  }

  // Header, footer, index; leaves what is good in header_, footer_, index_, seed_.
  Result<void> VerifyEnds() {
    auto header = parts_.ReadHeader();
    if (header.ok()) {
      header_ = std::move(header).value();
      seed_ = header_->checksum;
    } else if (IsDamage(header.error())) {
      Report(0, header.error().message);
    } else if (header.error().code != ErrorCode::kInvalidArgument) {
      return std::move(header).error();
    }
    const uint64_t size = parts_.file_bytes();
    const uint64_t footer_position = size < kFooterSize ? 0 : size - kFooterSize;
    auto footer = parts_.ReadFooter();
    if (footer.ok() && header_ && footer->header_checksum != header_->checksum) {
      footer = Error{ErrorCode::kCorruption, "the footer belongs to another snapshot's header"};
    }
    // Damage of the magic alone is still a snapshot if the other end says so.
    if (!header_ && header.error().code == ErrorCode::kInvalidArgument) {
      if (!footer.ok()) return std::move(header).error();
      Report(0, header.error().message);
    }
    if (!footer.ok()) {
      if (!IsDamage(footer.error())) return std::move(footer).error();
      Report(footer_position, footer.error().message);
      return {};
    }
    footer_ = *footer;
    if (!seed_) seed_ = footer_->header_checksum;
    return VerifyIndex();
  }

  Result<void> VerifyIndex() {
    if (!header_) return {};  // its end is unknown, so is the first block's position: found by scanning
    auto index = parts_.ReadIndex(*footer_, header_->size);
    if (index.ok()) {
      index_ = std::move(index).value();
    } else if (IsDamage(index.error())) {
      Report(footer_->index_position, index.error().message);
    } else {
      return std::move(index).error();
    }
    return {};
  }

  // Reads and parses one block; reports damage. False when it was damaged.
  Result<bool> VerifyBlock(uint64_t position, uint64_t end, const IndexEntry* entry, RecordParser& parser,
                           BlockHeader* seen) {
    const std::string name = "block " + std::to_string(next_number_) + ": ";
    const auto stored = entry != nullptr ? std::optional<uint32_t>(entry->stored_length) : std::nullopt;
    auto block = parts_.ReadBlock(position, end, *seed_, stored);
    if (!block.ok()) {
      if (!IsDamage(block.error())) return std::move(block).error();
      Report(position, name + block.error().message);
      return false;
    }
    *seen = block->header;
    digest_ = NextBlocksDigest(digest_, block->header.header_checksum);
    if (entry != nullptr && (block->header.number != next_number_ || !Agree(block->header, *entry))) {
      Report(position, name + "it is not the one the index describes");
      return false;
    }
    if (entry == nullptr && block->header.number != next_number_) {
      if (block->header.number < next_number_) {
        Report(position, name + "its header says it is block " + std::to_string(block->header.number));
      } else if (!gap_reported_) {
        Report(position, "blocks " + std::to_string(next_number_) + " to " + std::to_string(block->header.number - 1) +
                             " are missing before here");
      }
      parser.SkipGap();
      next_number_ = block->header.number;
    }
    gap_reported_ = false;
    NothingVisitor nothing;
    Result<void> consumed = parser.Consume(block->header, block->raw, nothing);
    if (consumed.ok()) return true;
    Report(position, name + consumed.error().message);
    return false;
  }

  Result<void> VerifyIndexed(RecordParser& parser) {
    digest_ = *seed_;
    for (const IndexEntry& entry : *index_) {
      BlockHeader seen;
      ASSIGN_OR_RETURN(const bool good, VerifyBlock(entry.position, entry.end(), &entry, parser, &seen));
      if (!good) parser.SkipGap();
      ++next_number_;
    }
    return {};
  }

  Result<void> VerifyByScan(RecordParser& parser) {
    digest_ = *seed_;
    const uint64_t end = footer_ ? footer_->index_position : parts_.file_bytes();
    uint64_t position = header_ ? header_->size : 0;
    if (!header_) parser.SkipGap();
    while (position < end) {
      ASSIGN_OR_RETURN(const std::optional<uint64_t> found, parts_.FindBlock(position, end, *seed_));
      if (!found) break;
      if (*found != position && header_ && !gap_reported_) {
        Report(position, std::to_string(*found - position) + " bytes that are no block");
        parser.SkipGap();
        gap_reported_ = true;
      }
      BlockHeader seen;
      ASSIGN_OR_RETURN(const bool good, VerifyBlock(*found, end, nullptr, parser, &seen));
      if (!good) parser.SkipGap();
      ++next_number_;
      // Behind a bad block the next good header is looked for: the bytes skipped were reported with the block.
      position = good ? *found + kBlockHeaderSize + seen.stored_length : *found + kBlockHeaderSize;
      gap_reported_ = gap_reported_ || !good;
    }
    if (footer_ && position < end && header_) Report(position, "no further block before the index");
    return {};
  }

  void FinishRecords(RecordParser& parser) {
    NothingVisitor nothing;
    const uint64_t end = footer_ ? footer_->index_position : parts_.file_bytes();
    Result<void> finished = parser.Finish(nothing);
    if (!finished.ok()) Report(end, finished.error().message);
    if (!footer_ || findings_ != 0) return;  // counts differ of course when blocks are missing
    const SnapshotFooter& seen = parser.counts();
    const SnapshotFooter& told = footer_->counts;
    if (digest_ != footer_->blocks_digest || seen.keys != told.keys || seen.records != told.records ||
        !std::equal(std::begin(seen.keys_by_type), std::end(seen.keys_by_type), std::begin(told.keys_by_type))) {
      Report(parts_.file_bytes() - kFooterSize, "the blocks are not those the footer describes");
    }
  }

  SnapshotParts& parts_;
  const std::function<void(const SnapshotFinding&)>& finding_;
  uint64_t findings_ = 0;
  std::optional<ParsedHeader> header_;
  std::optional<Footer> footer_;
  std::optional<std::vector<IndexEntry>> index_;
  std::optional<uint64_t> seed_;
  uint64_t digest_ = 0;
  uint32_t next_number_ = 0;
  bool gap_reported_ = false;
};

}  // namespace

Result<void> VerifySnapshot(FileSystem& fs, const std::string& path,
                            const std::function<void(const SnapshotFinding&)>& finding) {
  ASSIGN_OR_RETURN(std::unique_ptr<SnapshotParts> parts, SnapshotParts::Open(fs, path));
  Result<void> run = Verifier(*parts, finding).Run();
  if (!run.ok()) return std::move(run).error().WithContext("snapshot " + path);
  return {};
}

Result<PartialSnapshot> CheckPartialSnapshot(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SnapshotParts> parts, SnapshotParts::Open(fs, path));
  PartialSnapshot partial;
  auto header = parts->ReadHeader();
  if (!header.ok()) {
    if (header.error().code == ErrorCode::kIo) return std::move(header).error();
    return partial;
  }
  partial.identity = header->checksum;
  partial.verified_bytes = header->size;
  uint64_t digest = header->checksum;
  while (true) {
    auto block = parts->ReadBlock(partial.verified_bytes, parts->file_bytes(), header->checksum, std::nullopt);
    if (!block.ok()) {
      if (block.error().code == ErrorCode::kIo) return std::move(block).error();
      break;
    }
    if (block->header.number != partial.blocks) break;
    digest = NextBlocksDigest(digest, block->header.header_checksum);
    partial.verified_bytes += kBlockHeaderSize + block->header.stored_length;
    ++partial.blocks;
  }
  const auto footer = parts->ReadFooter();
  if (!footer.ok() && !IsDamage(footer.error())) return footer.error();
  if (!footer.ok() || footer->header_checksum != header->checksum || footer->blocks_digest != digest ||
      footer->index_position != partial.verified_bytes) {
    return partial;
  }
  const auto index = parts->ReadIndex(*footer, header->size);
  if (!index.ok()) return IsDamage(index.error()) ? Result<PartialSnapshot>(partial) : index.error();
  partial.complete = true;
  partial.verified_bytes = parts->file_bytes();
  return partial;
}

}  // namespace holdfast
