#include "wal/frame.h"

#include <string>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/planted_bug.h"

namespace holdfast::wal {
namespace {

// The header as it lies on disk and on the wire; x86-64 and arm64 are little-endian (coding.h asserts it).
struct RawHeader {
  uint64_t header_checksum;   // XXH3-64 of all that follows in the header
  uint64_t incarnation;       // of the segment
  uint64_t chain;             // header checksum of the frame before, or of the segment header
  uint64_t payload_checksum;  // XXH3-64 of the payload
  uint64_t offset;            // stream offset of the payload's first byte
  int64_t time_ms;
  uint64_t digest;        // history digest at the payload's end
  uint64_t durable_mark;  // file position up to which all was durable when this was written
  uint32_t payload_size;
  int16_t selected_db;
  uint8_t kind;
  uint8_t part;
  int16_t selected_db_after;
  uint16_t reserved_short;
  uint32_t reserved_word;
};
static_assert(sizeof(RawHeader) == kFrameHeaderSize);
static_assert(offsetof(RawHeader, incarnation) == 8);
static_assert(offsetof(RawHeader, chain) == 16);
static_assert(offsetof(RawHeader, payload_checksum) == 24);
static_assert(offsetof(RawHeader, offset) == 32);
static_assert(offsetof(RawHeader, time_ms) == 40);
static_assert(offsetof(RawHeader, digest) == 48);
static_assert(offsetof(RawHeader, durable_mark) == 56);
static_assert(offsetof(RawHeader, payload_size) == 64);
static_assert(offsetof(RawHeader, selected_db) == 68);
static_assert(offsetof(RawHeader, kind) == 70);
static_assert(offsetof(RawHeader, part) == 71);
static_assert(offsetof(RawHeader, selected_db_after) == 72);
static_assert(offsetof(RawHeader, reserved_word) == 76);

uint64_t HeaderChecksum(const char* header) { return Checksum64({header + 8, kFrameHeaderSize - 8}); }

Error Broken(std::string what) { return Error{ErrorCode::kCorruption, std::move(what)}; }

}  // namespace

uint64_t WriteFrameHeader(char* to, const HistoryFrame& history, const LocalFields& local) {
  CHECK(history.payload.size() <= kFramePayloadMax);
  RawHeader raw{};
  raw.incarnation = local.incarnation;
  raw.chain = local.chain;
  raw.payload_checksum = Checksum64(history.payload);
  raw.offset = history.offset;
  raw.time_ms = history.time_ms;
  raw.digest = history.digest;
  raw.durable_mark = local.durable_mark;
  raw.payload_size = static_cast<uint32_t>(history.payload.size());
  raw.selected_db = history.selected_db;
  raw.kind = static_cast<uint8_t>(history.kind);
  raw.part = static_cast<uint8_t>(history.part);
  raw.selected_db_after = history.selected_db_after;
  std::memcpy(to, &raw, sizeof(raw));
  const uint64_t checksum = HeaderChecksum(to);
  StoreLittle(to, checksum);
  return checksum;
}

Result<ParsedFrame> ParseFrameHeader(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderSize) {
    return Broken("a frame header needs 80 bytes, there are " + std::to_string(bytes.size()));
  }
  RawHeader raw;
  std::memcpy(&raw, bytes.data(), sizeof(raw));
  if (raw.header_checksum != HeaderChecksum(bytes.data()) && !Planted(PlantedBug::kFrameChecksumIgnored)) {
    return Broken("the frame header's checksum is wrong");
  }
  if (raw.kind < static_cast<uint8_t>(FrameKind::kData) || raw.kind > static_cast<uint8_t>(FrameKind::kDurableMark)) {
    return Broken("frame kind " + std::to_string(raw.kind) + " is unknown");
  }
  if (raw.part > static_cast<uint8_t>(UnitPart::kLast)) {
    return Broken("frame part " + std::to_string(raw.part) + " is unknown");
  }
  if (raw.payload_size > kFramePayloadMax) {
    return Broken("a frame payload of " + std::to_string(raw.payload_size) + " bytes is above the limit");
  }
  if (raw.reserved_short != 0 || raw.reserved_word != 0) return Broken("reserved bytes of the frame header are set");
  const bool data = raw.kind == static_cast<uint8_t>(FrameKind::kData);
  if (data && raw.payload_size == 0) return Broken("a data frame has no payload");
  if (!data && raw.part != 0) return Broken("a control frame cannot be part of a unit");
  if (data && raw.offset + raw.payload_size < raw.offset) return Broken("the frame's offset overflows");
  ParsedFrame frame;
  frame.history.kind = static_cast<FrameKind>(raw.kind);
  frame.history.part = static_cast<UnitPart>(raw.part);
  frame.history.selected_db = raw.selected_db;
  frame.history.selected_db_after = raw.selected_db_after;
  frame.history.offset = raw.offset;
  frame.history.time_ms = raw.time_ms;
  frame.history.digest = raw.digest;
  frame.local = {.incarnation = raw.incarnation, .chain = raw.chain, .durable_mark = raw.durable_mark};
  frame.header_checksum = raw.header_checksum;
  frame.size_on_disk = FrameSizeOnDisk(raw.payload_size);
  return frame;
}

Result<ParsedFrame> ParseFrame(std::string_view bytes) {
  ASSIGN_OR_RETURN(ParsedFrame frame, ParseFrameHeader(bytes));
  const auto payload_size = LoadLittle<uint32_t>(bytes.data() + offsetof(RawHeader, payload_size));
  if (bytes.size() - kFrameHeaderSize < payload_size) {
    return Broken("a frame of " + std::to_string(kFrameHeaderSize + payload_size) + " bytes is cut off after " +
                  std::to_string(bytes.size()));
  }
  frame.history.payload = bytes.substr(kFrameHeaderSize, payload_size);
  if (Checksum64(frame.history.payload) != LoadLittle<uint64_t>(bytes.data() + offsetof(RawHeader, payload_checksum))) {
    return Broken("the frame payload's checksum is wrong");
  }
  return frame;
}

bool IsFrameHeader(std::string_view bytes, uint64_t incarnation, LocalFields* local) {
  if (bytes.size() < kFrameHeaderSize) return false;
  // Cheap test first: a scan calls this at every aligned position.
  if (LoadLittle<uint64_t>(bytes.data() + offsetof(RawHeader, incarnation)) != incarnation) return false;
  const Result<ParsedFrame> frame = ParseFrameHeader(bytes);
  if (!frame.ok()) return false;
  if (local != nullptr) *local = frame->local;
  return true;
}

const char* FrameKindName(FrameKind kind) {
  switch (kind) {
    case FrameKind::kData:
      return "data";
    case FrameKind::kLineage:
      return "lineage";
    case FrameKind::kRole:
      return "role";
    case FrameKind::kMembership:
      return "membership";
    case FrameKind::kDigestMarker:
      return "digest marker";
    case FrameKind::kDurableMark:
      return "durable mark";
  }
  return "unknown";
}

}  // namespace holdfast::wal
