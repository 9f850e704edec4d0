#include "cli/tool_log_jump.h"

#include <algorithm>

#include "storage/base/coding.h"

namespace holdfast::cli {

namespace {

// A chain of frames longer than this does not fit into a payload.
constexpr uint64_t kProof = wal::kFramePayloadMax + kDirectAlignment;

constexpr uint64_t RoundUp(uint64_t position) {
  return (position + wal::kFrameAlignment - 1) / wal::kFrameAlignment * wal::kFrameAlignment;
}

struct FoundFrame {
  uint64_t position = 0;
  uint64_t offset = 0;
};

// Without the zeros at the end, but for fewer than a word of them: by words, since most of what is searched is zeros.
std::string_view WithoutZeros(std::string_view bytes) {
  constexpr size_t kWord = sizeof(uint64_t);
  while (bytes.size() >= kWord && LoadLittle<uint64_t>(bytes.data() + bytes.size() - kWord) == 0) {
    bytes.remove_suffix(kWord);
  }
  return bytes.size() < kWord && bytes.find_first_not_of('\0') == std::string_view::npos ? std::string_view() : bytes;
}

// The first thing in [from, to) that looks like a frame's header. Gives up at a whole window of zeros.
Result<std::optional<FoundFrame>> FirstFrame(wal::SegmentReader& search, uint64_t from, uint64_t to) {
  const uint64_t incarnation = search.header().incarnation;
  for (uint64_t start = RoundUp(from); start < to; start += kSearchWindow) {
    ASSIGN_OR_RETURN(const std::string_view bytes, search.Bytes(start, kSearchWindow + wal::kFrameHeaderSize));
    const size_t set = WithoutZeros(bytes).size();
    if (set == 0) break;
    const auto piece = static_cast<size_t>(std::min<uint64_t>({kSearchWindow, to - start, set}));
    for (size_t at = 0; at < piece; at += wal::kFrameAlignment) {
      if (!wal::IsFrameHeader(bytes.substr(at), incarnation, nullptr)) continue;
      ASSIGN_OR_RETURN(const wal::ParsedFrame frame, wal::ParseFrameHeader(bytes.substr(at)));
      return std::optional<FoundFrame>({start + at, frame.history.offset});
    }
  }
  return std::optional<FoundFrame>();
}

// A frame that begins before the offset, not far before the last one that does; the end of the header if there is none.
// What is found may be wrong where user data looks like frames.
Result<uint64_t> SearchByHalves(wal::SegmentReader& search, uint64_t offset) {
  uint64_t low = wal::kSegmentHeaderSize;
  uint64_t high = search.file_size();
  while (high - low > kProof) {
    const uint64_t middle = RoundUp(low + (high - low) / 2);
    ASSIGN_OR_RETURN(const auto found, FirstFrame(search, middle, std::min(high, middle + kProof)));
    if (found && found->offset < offset) {
      low = found->position;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace

Result<std::optional<LogPlace>> FindPlace(wal::SegmentReader& search, wal::SegmentReader& reader,
                                          const StreamPosition& wanted) {
  const std::optional<LogPlace> none;
  const wal::HistoryState& begin = reader.header().state;
  LogPlace place{wal::kSegmentHeaderSize, reader.header_checksum(), begin.end.time_ms, begin.end.selected_db};
  if (begin.end.offset == wanted.offset) {
    if (begin.inside_unit || !(begin.end.digest == wanted.digest)) return none;
    return std::optional<LogPlace>(place);
  }
  if (search.file_size() <= wal::kSegmentHeaderSize) return none;
  ASSIGN_OR_RETURN(const uint64_t near, SearchByHalves(search, wanted.offset));
  bool chained = near < wal::kSegmentHeaderSize + 2 * kProof;  // to the segment's header, which proves it
  bool proven = chained;
  if (!chained) {
    ASSIGN_OR_RETURN(const auto found, FirstFrame(search, near - 2 * kProof, near));
    if (!found) return none;
    place.position = found->position;
  }
  const uint64_t first = place.position;
  while (true) {
    uint64_t bad = 0;
    const auto placed = reader.FrameAt(place.position, reader.file_size(), &bad);
    if (!placed.ok() && placed.error().code != ErrorCode::kCorruption) return placed.error();
    if (!placed.ok() || (chained && placed->frame.local.chain != place.chain)) return none;
    const wal::HistoryFrame& history = placed->frame.history;
    if (history.EndOffset() > wanted.offset) return none;
    chained = true;
    place = {placed->position + placed->frame.size_on_disk, placed->frame.header_checksum, history.time_ms,
             history.selected_db_after};
    proven = proven || place.position - first > kProof;
    if (history.kind != wal::FrameKind::kData || history.EndOffset() != wanted.offset) continue;
    if (!proven || !history.EndsUnit() || history.digest != wanted.digest.Value()) return none;
    return std::optional<LogPlace>(place);
  }
}

Result<bool> FramesBehind(wal::SegmentReader& search, uint64_t end) {
  const uint64_t near = std::min(search.file_size(), end + 2 * kProof);
  for (uint64_t start = end; start < near; start += kSearchWindow) {
    ASSIGN_OR_RETURN(const auto found, FirstFrame(search, start, std::min(near, start + kSearchWindow)));
    if (found) return true;
  }
  for (uint64_t far = 2 * kProof; end + far < search.file_size(); far *= 2) {
    const uint64_t start = end + far;
    ASSIGN_OR_RETURN(const auto found, FirstFrame(search, start, std::min(search.file_size(), start + kSearchWindow)));
    if (found) return true;
  }
  return false;
}

}  // namespace holdfast::cli
