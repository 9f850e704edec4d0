// Frames: the unit of the log and of native replication. docs/formats-log.md has the bytes.
//
// A frame starts at an 8-byte aligned position of its segment and certifies itself: checksum of its own header, of its
// payload, the previous frame's header checksum (chain) and the segment's incarnation.
// History fields (kind, part, offset, time, selected db, digest, payload) travel to other nodes unchanged. Local fields
// (incarnation, chain, durable mark) are made by the node that appends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast::wal {

inline constexpr size_t kFramePayloadMax = 1 << 20;
inline constexpr size_t kFrameHeaderSize = 80;
inline constexpr size_t kFrameAlignment = 8;

enum class FrameKind : uint8_t {
  kData = 1,     // RESP effects; counts its payload in the stream
  kLineage = 2,  // the rest are control frames: count 0 bytes, outside the digest
  kRole = 3,
  kMembership = 4,
  kDigestMarker = 5,
  kDurableMark = 6,  // says only that everything before it was durable; never leaves the node
};

// selected_db of a frame that was cut at the front (LogCursor::Seek): "whatever the receiver has selected there".
inline constexpr int16_t kSelectedDbUnknown = -2;

// Position of a frame's payload in a unit. Small units share a frame (kWhole: starts and ends at unit ends).
enum class UnitPart : uint8_t { kWhole = 0, kFirst = 1, kMiddle = 2, kLast = 3 };

// What a frame says about history: equal on every node. All units of one frame have the frame's time.
struct HistoryFrame {
  FrameKind kind = FrameKind::kData;
  UnitPart part = UnitPart::kWhole;
  int16_t selected_db = -1;  // database selected where the payload starts; in parts of a unit: where the unit starts
  int16_t selected_db_after = -1;  // ... where it ends; in kFirst and kMiddle the same as selected_db
  uint64_t offset = 0;             // stream offset of the payload's first byte
  int64_t time_ms = 0;             // wall clock of the writer; never goes back in a log
  uint64_t digest = 0;             // history digest at the payload's end
  std::string_view payload;        // view

  [[nodiscard]] uint64_t EndOffset() const { return kind == FrameKind::kData ? offset + payload.size() : offset; }
  [[nodiscard]] bool EndsUnit() const { return part == UnitPart::kWhole || part == UnitPart::kLast; }
};

// What the appending node adds.
struct LocalFields {
  uint64_t incarnation = 0;
  uint64_t chain = 0;         // header checksum of the frame before, or of the segment header
  uint64_t durable_mark = 0;  // file position in this segment up to which all was durable when this frame was written
};

struct ParsedFrame {
  HistoryFrame history;
  LocalFields local;
  uint64_t header_checksum = 0;
  size_t size_on_disk = 0;  // header, payload and padding
};

[[nodiscard]] constexpr size_t FrameSizeOnDisk(size_t payload_size) {
  return (kFrameHeaderSize + payload_size + kFrameAlignment - 1) & ~(kFrameAlignment - 1);
}

// Writes the header (kFrameHeaderSize bytes) for a payload that follows it. Returns the header checksum.
uint64_t WriteFrameHeader(char* to, const HistoryFrame& history, const LocalFields& local);

// Parses and verifies the header at the start of `bytes`; the payload stays empty, size_on_disk is known.
// kCorruption says which rule broke.
Result<ParsedFrame> ParseFrameHeader(std::string_view bytes);
// Parses and verifies the whole frame at the start of `bytes`; `payload` views `bytes`.
Result<ParsedFrame> ParseFrame(std::string_view bytes);
// Verifies the header alone (for scanning): true if 80 bytes at `bytes` are a valid header of `incarnation`.
bool IsFrameHeader(std::string_view bytes, uint64_t incarnation, LocalFields* local);

// "data", "lineage", ...: for messages.
[[nodiscard]] const char* FrameKindName(FrameKind kind);

}  // namespace holdfast::wal
