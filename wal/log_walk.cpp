#include "wal/log_walk.h"

#include <algorithm>
#include <cstring>

#include "storage/base/coding.h"

namespace holdfast::wal {
namespace {

constexpr size_t kScanPiece = 1 << 20;
constexpr size_t kWalkWindow = 2 << 20;

Error Broken(const LogFile& file, const std::string& what) {
  return Error{ErrorCode::kCorruption, file.path + " at byte 0: " + what};
}

}  // namespace

Result<std::vector<LogFile>> ListLogFiles(FileSystem& fs, const std::string& directory) {
  std::vector<LogFile> files;
  const Result<std::vector<std::string>> names = fs.List(directory);
  if (!names.ok()) {
    if (names.error().code == ErrorCode::kNotFound) return files;
    return names.error();
  }
  for (const std::string& name : *names) {
    const std::optional<SegmentNumbers> numbers = ParseSegmentName(name);
    if (numbers) files.push_back({*numbers, JoinPath(directory, name)});
  }
  std::sort(files.begin(), files.end(),
            [](const LogFile& a, const LogFile& b) { return a.numbers.sequence < b.numbers.sequence; });
  return files;
}

Result<void> CheckSegmentStart(const SegmentReader& reader, const LogFile& file, const WalkState* before) {
  const SegmentHeader& header = reader.header();
  if (header.sequence != file.numbers.sequence || header.state.end.offset != file.numbers.first_offset) {
    return Broken(file, "the header belongs to segment " + SegmentName(header.sequence, header.state.end.offset));
  }
  if (before == nullptr) return {};
  const HistoryState& history = before->history;
  if (header.state.end.offset != history.end.offset) {
    return Broken(file, "the segment begins at offset " + std::to_string(header.state.end.offset) +
                            ", the one before it ends at " + std::to_string(history.end.offset));
  }
  const bool continues = header.chain == before->chain && header.state.end == history.end &&
                         header.state.inside_unit == history.inside_unit && header.state.lineage == history.lineage &&
                         header.state.role == history.role && header.state.membership == history.membership;
  if (!continues) return Broken(file, "the segment does not continue the one before it");
  return {};
}

Result<WalkEnd> WalkFrames(SegmentReader& reader, uint64_t from, uint64_t limit, WalkState& state,
                           const FrameVisitor& visitor) {
  WalkEnd end;
  end.position = from;
  while (end.position < limit) {
    Result<SegmentReader::Placed> placed = reader.FrameAt(end.position, limit, &end.bad);
    if (!placed.ok()) {
      if (placed.error().code != ErrorCode::kCorruption) return std::move(placed).error();
      end.broken = std::move(placed).error();
      return end;
    }
    const ParsedFrame& frame = placed->frame;
    end.bad = placed->position;
    if (frame.local.chain != state.chain) {
      end.broken = Error{ErrorCode::kCorruption, "the frame does not follow the one before it"};
      return end;
    }
    const StreamPosition before = state.history.end;
    Result<void> followed = state.history.Follow(frame.history);
    if (!followed.ok()) {
      end.broken = std::move(followed).error();
      return end;
    }
    state.chain = frame.header_checksum;
    end.position = placed->position + frame.size_on_disk;
    RETURN_IF_ERROR(visitor(before, frame, placed->position));
  }
  return end;
}

Result<std::optional<uint64_t>> DigestAt(FileSystem& fs, const std::string& directory, uint64_t offset) {
  ASSIGN_OR_RETURN(const std::vector<LogFile> files, ListLogFiles(fs, directory));
  std::optional<uint64_t> found;
  const auto file = std::find_if(files.rbegin(), files.rend(),
                                 [&](const LogFile& each) { return each.numbers.first_offset <= offset; });
  if (file == files.rend()) return found;
  ASSIGN_OR_RETURN(const auto reader, SegmentReader::Open(fs, file->path, false, kWalkWindow));
  WalkState state{.history = reader->header().state, .chain = reader->header_checksum()};
  if (state.history.end.offset == offset) return std::optional<uint64_t>(state.history.end.digest.Value());
  const auto look = [&](const StreamPosition& before, const ParsedFrame& frame, uint64_t) -> Result<void> {
    if (frame.history.EndOffset() < offset || frame.history.kind != FrameKind::kData) return {};
    HistoryDigest digest = before.digest;
    digest.Update(frame.history.payload.substr(0, static_cast<size_t>(offset - before.offset)));
    found = digest.Value();
    return Error{ErrorCode::kAborted, "found"};
  };
  const auto walked = WalkFrames(*reader, kSegmentHeaderSize, reader->file_size(), state, look);
  if (!walked.ok() && !found) return walked.error();
  return found;
}

Result<BehindBreak> LookBehindBreak(SegmentReader& reader, uint64_t bad) {
  BehindBreak found;
  found.torn_end = bad;
  const bool zero_filled = !reader.header().recycled;
  const uint64_t incarnation = reader.header().incarnation;
  for (uint64_t start = bad; start < reader.file_size();) {
    // Not beyond the file: what the walk has read of a short one is still at hand.
    const uint64_t left = reader.file_size() - start;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(left, kScanPiece + kFrameHeaderSize));
    ASSIGN_OR_RETURN(const std::string_view bytes, reader.Bytes(start, wanted));
    const size_t piece = std::min(bytes.size(), kScanPiece);
    if (piece == 0) break;
    // Most of a segment's rest is zeros: skip those at memory speed.
    if (bytes[0] == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, piece - 1) == 0) {
      start += piece;
      continue;
    }
    const size_t last_set = bytes.substr(0, piece).find_last_not_of('\0');
    if (zero_filled) found.torn_end = std::max(found.torn_end, start + last_set + 1);
    for (size_t at = 0; at <= last_set; at += kFrameAlignment) {
      LocalFields local;
      const std::string_view candidate = bytes.substr(at);
      if (!IsFrameHeader(candidate, incarnation, &local)) continue;
      const Result<ParsedFrame> header = ParseFrameHeader(candidate);
      found.torn_end = std::max<uint64_t>(found.torn_end, start + at + header->size_on_disk);
      if (local.durable_mark > found.durable_mark) {
        found.durable_mark = local.durable_mark;
        found.mark_position = start + at;
      }
    }
    start += piece;
  }
  // Over stale bytes the only trace of a torn header is the incarnation it carries.
  ASSIGN_OR_RETURN(const std::string_view head, reader.Bytes(bad, 16));
  if (head.size() == 16 && LoadLittle<uint64_t>(head.data() + 8) == incarnation) {
    found.torn_end = std::max<uint64_t>(found.torn_end, bad + kFrameHeaderSize);
  }
  found.torn_end = std::min(found.torn_end, std::max(reader.file_size(), bad));
  return found;
}

}  // namespace holdfast::wal
