#include "storage/rdb/rdb_output.h"

#include <limits>
#include <optional>

#include "storage/rdb/crc64.h"
#include "storage/rdb/lzf.h"
#include "storage/rdb/rdb_format.h"
#include "storage/types/numbers.h"

namespace holdfast::rdb {
namespace {

constexpr size_t kChunk = 64 * 1024;        // the sink gets pieces of about this size
constexpr size_t kCompressMin = 21;         // shorter strings are not worth it
constexpr size_t kCompressMax = 64u << 20;  // longer ones would stand in memory twice
constexpr size_t kIntegerTextMax = 11;      // "-2147483648"

}  // namespace

uint64_t Output::Checksum() {
  if (summed_ < buffer_.size()) checksum_ = Crc64(std::string_view(buffer_).substr(summed_), checksum_);
  summed_ = buffer_.size();
  return checksum_;
}

Result<void> Output::Flush() {
  (void)Checksum();
  if (buffer_.empty()) return {};
  RETURN_IF_ERROR(sink_.Write(buffer_));
  flushed_ += buffer_.size();
  buffer_.clear();
  summed_ = 0;
  return {};
}

Result<void> Output::Bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, kChunk);
    buffer_ += part;
    bytes.remove_prefix(part.size());
    if (buffer_.size() >= kChunk) RETURN_IF_ERROR(Flush());
  }
  return {};
}

Result<void> Output::Byte(uint8_t byte) {
  const char c = static_cast<char>(byte);
  return Bytes({&c, 1});
}

Result<void> Output::Length(uint64_t value) {
  std::string bytes;
  if (value < 1u << 6) {
    AppendLittle<uint8_t>(bytes, static_cast<uint8_t>(value));
  } else if (value < 1u << 14) {
    AppendBig<uint16_t>(bytes, static_cast<uint16_t>(value | kLength14 << 14));
  } else if (value <= std::numeric_limits<uint32_t>::max()) {
    AppendLittle<uint8_t>(bytes, kLength32);
    AppendBig<uint32_t>(bytes, static_cast<uint32_t>(value));
  } else {
    AppendLittle<uint8_t>(bytes, kLength64);
    AppendBig<uint64_t>(bytes, value);
  }
  return Bytes(bytes);
}

Result<void> Output::String(std::string_view bytes) {
  constexpr uint8_t kEncoded = kLengthEncoded << 6;
  if (bytes.size() <= kIntegerTextMax) {
    const std::optional<int64_t> number = ParseInteger(bytes);
    if (number && *number >= INT8_MIN && *number <= INT8_MAX) {
      RETURN_IF_ERROR(Byte(kEncoded | kEncodedInt8));
      return Little<int8_t>(static_cast<int8_t>(*number));
    }
    if (number && *number >= INT16_MIN && *number <= INT16_MAX) {
      RETURN_IF_ERROR(Byte(kEncoded | kEncodedInt16));
      return Little<int16_t>(static_cast<int16_t>(*number));
    }
    if (number && *number >= INT32_MIN && *number <= INT32_MAX) {
      RETURN_IF_ERROR(Byte(kEncoded | kEncodedInt32));
      return Little<int32_t>(static_cast<int32_t>(*number));
    }
  }
  if (compress_ && bytes.size() >= kCompressMin && bytes.size() <= kCompressMax && LzfCompress(bytes, compressed_)) {
    RETURN_IF_ERROR(Byte(kEncoded | kEncodedLzf));
    RETURN_IF_ERROR(Length(compressed_.size()));
    RETURN_IF_ERROR(Length(bytes.size()));
    return Bytes(compressed_);
  }
  RETURN_IF_ERROR(Length(bytes.size()));
  return Bytes(bytes);
}

}  // namespace holdfast::rdb
