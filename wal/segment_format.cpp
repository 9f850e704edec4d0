#include "wal/segment_format.h"

#include <cstring>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::wal {
namespace {

constexpr char kMagic[8] = {'H', 'F', 'L', 'O', 'G', '\r', '\n', '\0'};
constexpr size_t kChecksumAt = 8;
constexpr size_t kChecksummedFrom = 16;
constexpr uint32_t kFlagRecycled = 1;
constexpr uint32_t kFlagInsideUnit = 2;
constexpr size_t kOffsetDigits = 20;

// magic[8], checksum, then what AppendFields writes.
static_assert(16 + 4 + 4 + 5 * 8 + 8 + 4 + HistoryDigest::kSerializedSize + 3 * 4 + Lineage::kSerializedSizeMax +
                  2 * kStickyPayloadMax <=
              kSegmentHeaderSize);

void AppendFields(std::string& to, const SegmentHeader& header) {
  const HistoryState& state = header.state;
  AppendLittle(to, kSegmentVersion);
  AppendLittle(to, (header.recycled ? kFlagRecycled : 0) | (state.inside_unit ? kFlagInsideUnit : 0));
  AppendLittle(to, header.sequence);
  AppendLittle(to, header.incarnation);
  AppendLittle(to, header.chain);
  AppendLittle(to, header.previous_end);
  AppendLittle(to, state.end.offset);
  AppendLittle(to, state.end.time_ms);
  AppendLittle(to, static_cast<int32_t>(state.end.selected_db));
  state.end.digest.AppendTo(to);
  std::string lineage;
  state.lineage.AppendTo(lineage);
  AppendLengthPrefixed(to, lineage);
  AppendLengthPrefixed(to, state.role);
  AppendLengthPrefixed(to, state.membership);
}

Error Broken(const std::string& what) { return Error{ErrorCode::kCorruption, what}; }

std::optional<uint64_t> ParseDigits(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (UINT64_MAX - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

std::string PaddedNumber(uint64_t value) {
  std::string digits = std::to_string(value);
  return std::string(kOffsetDigits - digits.size(), '0') + digits;
}

}  // namespace

uint64_t WriteSegmentHeader(char* to, const SegmentHeader& header) {
  CHECK(header.state.role.size() <= kStickyPayloadMax);
  CHECK(header.state.membership.size() <= kStickyPayloadMax);
  std::string bytes(kMagic, sizeof(kMagic));
  AppendLittle<uint64_t>(bytes, 0);
  AppendFields(bytes, header);
  CHECK(bytes.size() <= kSegmentHeaderSize);
  bytes.resize(kSegmentHeaderSize, '\0');
  const uint64_t checksum = Checksum64(std::string_view(bytes).substr(kChecksummedFrom));
  StoreLittle(bytes.data() + kChecksumAt, checksum);
  std::memcpy(to, bytes.data(), bytes.size());
  return checksum;
}

Result<ParsedSegmentHeader> ParseSegmentHeader(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderSize) {
    return Broken("the segment header is cut off: " + std::to_string(bytes.size()) + " bytes of 4096");
  }
  bytes = bytes.substr(0, kSegmentHeaderSize);
  if (std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) return Broken("not a log segment: the magic is wrong");
  ParsedSegmentHeader parsed;
  parsed.checksum = LoadLittle<uint64_t>(bytes.data() + kChecksumAt);
  if (parsed.checksum != Checksum64(bytes.substr(kChecksummedFrom))) {
    return Broken("the segment header's checksum is wrong");
  }
  ByteReader reader(bytes.substr(kChecksummedFrom));
  const auto version = reader.Little<uint32_t>();
  if (version != kSegmentVersion) {
    return Error{ErrorCode::kUnsupported, "log format version " + std::to_string(version) +
                                              "; this server reads version " + std::to_string(kSegmentVersion) +
                                              ": use a newer one"};
  }
  SegmentHeader& header = parsed.header;
  const auto flags = reader.Little<uint32_t>();
  header.recycled = (flags & kFlagRecycled) != 0;
  header.state.inside_unit = (flags & kFlagInsideUnit) != 0;
  header.sequence = reader.Little<uint64_t>();
  header.incarnation = reader.Little<uint64_t>();
  header.chain = reader.Little<uint64_t>();
  header.previous_end = reader.Little<uint64_t>();
  header.state.end.offset = reader.Little<uint64_t>();
  header.state.end.time_ms = reader.Little<int64_t>();
  header.state.end.selected_db = reader.Little<int32_t>();
  ASSIGN_OR_RETURN(header.state.end.digest, HistoryDigest::Parse(reader.Bytes(HistoryDigest::kSerializedSize)));
  ASSIGN_OR_RETURN(header.state.lineage, Lineage::Parse(reader.LengthPrefixed()));
  header.state.role = reader.LengthPrefixed();
  header.state.membership = reader.LengthPrefixed();
  const bool sizes_ok =
      header.state.role.size() <= kStickyPayloadMax && header.state.membership.size() <= kStickyPayloadMax;
  // Frames name databases by 16 bits, and a history in force began at this place or before.
  const StreamPosition& end = header.state.end;
  const auto& lineage = header.state.lineage.entries();
  const bool place_ok = end.selected_db == static_cast<int16_t>(end.selected_db) &&
                        (lineage.empty() || lineage.back().from_offset <= end.offset);
  if (!reader.ok() || !sizes_ok || !place_ok || (flags & ~(kFlagRecycled | kFlagInsideUnit)) != 0) {
    return Broken("the segment header's fields make no sense");
  }
  return parsed;
}

std::string SegmentName(uint64_t sequence, uint64_t first_offset) {
  return PaddedNumber(sequence) + "-" + PaddedNumber(first_offset) + ".log";
}

std::optional<SegmentNumbers> ParseSegmentName(std::string_view name) {
  constexpr std::string_view kSuffix = ".log";
  if (name.size() != 2 * kOffsetDigits + 1 + kSuffix.size()) return std::nullopt;
  if (name[kOffsetDigits] != '-' || !name.ends_with(kSuffix)) return std::nullopt;
  const std::optional<uint64_t> sequence = ParseDigits(name.substr(0, kOffsetDigits));
  const std::optional<uint64_t> first_offset = ParseDigits(name.substr(kOffsetDigits + 1, kOffsetDigits));
  if (!sequence || !first_offset) return std::nullopt;
  return SegmentNumbers{.sequence = *sequence, .first_offset = *first_offset};
}

}  // namespace holdfast::wal
