// Segment files: names and headers. docs/formats-log.md has the bytes.
//
// A segment is <sequence, 20 digits>-<first offset, 20 digits>.log. It gets that name only after its header is durable
// and everything before it in the log is durable. Hence a damaged header is damage, never a torn write, and a segment
// proves that its predecessor is whole up to `previous_end`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "wal/history_state.h"

namespace holdfast::wal {

inline constexpr size_t kSegmentHeaderSize = 4096;
inline constexpr uint32_t kSegmentVersion = 1;

struct SegmentHeader {
  uint64_t sequence = 0;
  uint64_t incarnation = 0;
  uint64_t chain = 0;         // header checksum of the last frame before, 0 at the very start
  uint64_t previous_end = 0;  // file position where the frames of the segment before end, 0 at the very start
  bool recycled = false;      // stale bytes of an earlier life may follow the frames (else zeros)
  HistoryState state;         // where the segment starts
};

// kSegmentHeaderSize bytes. Returns the header's checksum, the chain of the segment's first frame.
uint64_t WriteSegmentHeader(char* to, const SegmentHeader& header);

struct ParsedSegmentHeader {
  SegmentHeader header;
  uint64_t checksum = 0;
};
// kCorruption: says which rule broke. kUnsupported: a newer format version.
Result<ParsedSegmentHeader> ParseSegmentHeader(std::string_view bytes);

[[nodiscard]] std::string SegmentName(uint64_t sequence, uint64_t first_offset);

struct SegmentNumbers {
  uint64_t sequence = 0;
  uint64_t first_offset = 0;
};
// nullopt: not a segment's name.
[[nodiscard]] std::optional<SegmentNumbers> ParseSegmentName(std::string_view name);

// Files being prepared; never part of the log.
inline constexpr std::string_view kSpareName = "spare.tmp";
inline constexpr std::string_view kUnfinishedName = "segment.tmp";

}  // namespace holdfast::wal
