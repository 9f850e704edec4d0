#include "storage/rdb/rdb_input.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "storage/rdb/crc64.h"
#include "storage/rdb/lzf.h"
#include "storage/rdb/rdb_format.h"
#include "storage/types/numbers.h"

namespace holdfast::rdb {
namespace {

constexpr size_t kBufferSize = 256 * 1024;
constexpr size_t kGrowth = 1 << 20;  // a long string is believed in steps of this size

}  // namespace

Input::Input(ByteSource& source) : source_(&source), buffer_(std::make_unique<char[]>(kBufferSize)) {}

Error Input::DamageAt(uint64_t position, const std::string& what) {
  return Error{ErrorCode::kCorruption, "byte " + std::to_string(position) + ": " + what};
}

uint64_t Input::Checksum() {
  if (checksum_wanted_ && summed_ < at_) checksum_ = Crc64(window_.substr(summed_, at_ - summed_), checksum_);
  summed_ = at_;
  return checksum_;
}

Result<bool> Input::Refill() {
  if (source_ == nullptr) return false;
  (void)Checksum();
  window_start_ += window_.size();
  window_ = {};
  at_ = summed_ = 0;
  ASSIGN_OR_RETURN(const size_t count, source_->Read(buffer_.get(), kBufferSize));
  window_ = {buffer_.get(), count};
  return count != 0;
}

Result<bool> Input::AtEnd() {
  if (at_ < window_.size()) return false;
  ASSIGN_OR_RETURN(const bool more, Refill());
  return !more;
}

Result<uint8_t> Input::Byte() {
  if (at_ == window_.size()) {
    ASSIGN_OR_RETURN(const bool more, Refill());
    if (!more) return Damage("the data ends here, but must go on");
  }
  return static_cast<uint8_t>(window_[at_++]);
}

Result<void> Input::Bytes(char* to, size_t size) {
  while (size > 0) {
    if (at_ == window_.size()) {
      ASSIGN_OR_RETURN(const bool more, Refill());
      if (!more) return Damage("the data ends here, but must go on for at least " + std::to_string(size) + " bytes");
    }
    const size_t count = std::min(size, window_.size() - at_);
    std::memcpy(to, window_.data() + at_, count);
    at_ += count;
    to += count;
    size -= count;
  }
  return {};
}

Result<void> Input::Skip(uint64_t size) {
  while (size > 0) {
    if (at_ == window_.size()) {
      ASSIGN_OR_RETURN(const bool more, Refill());
      if (!more) return Damage("the data ends here, but must go on for at least " + std::to_string(size) + " bytes");
    }
    const size_t count = static_cast<size_t>(std::min<uint64_t>(size, window_.size() - at_));
    at_ += count;
    size -= count;
  }
  return {};
}

Result<Input::StringHead> Input::Head() {
  const uint64_t start = position();
  ASSIGN_OR_RETURN(const uint8_t first, Byte());
  const uint8_t low = first & 0x3f;
  switch (first >> 6) {
    case kLength6:
      return StringHead{false, low};
    case kLength14: {
      ASSIGN_OR_RETURN(const uint8_t second, Byte());
      return StringHead{false, static_cast<uint64_t>(low) << 8 | second};
    }
    case kLengthLong:
      break;
    default:
      return StringHead{true, low};
  }
  if (first == kLength32) {
    ASSIGN_OR_RETURN(const auto value, Little<uint32_t>());
    return StringHead{false, SwapBytes(value)};
  }
  if (first == kLength64) {
    ASSIGN_OR_RETURN(const auto value, Little<uint64_t>());
    return StringHead{false, SwapBytes(value)};
  }
  return DamageAt(start, "a length that begins with byte " + std::to_string(first));
}

Result<uint64_t> Input::Length() {
  const uint64_t start = position();
  ASSIGN_OR_RETURN(const StringHead head, Head());
  if (head.encoded) return DamageAt(start, "a string where a length must be");
  return head.value;
}

Result<double> Input::Double() {
  ASSIGN_OR_RETURN(const auto bits, Little<uint64_t>());
  return std::bit_cast<double>(bits);
}

Result<double> Input::TextDouble() {
  const uint64_t start = position();
  ASSIGN_OR_RETURN(const uint8_t size, Byte());
  if (size == kScoreNan) return std::numeric_limits<double>::quiet_NaN();
  if (size == kScoreInfinity) return std::numeric_limits<double>::infinity();
  if (size == kScoreMinusInfinity) return -std::numeric_limits<double>::infinity();
  char text[256] = {};
  RETURN_IF_ERROR(Bytes(text, size));
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (size == 0 || end != text + size) return DamageAt(start, "a score that is no number");
  return value;
}

Result<void> Input::Whole(uint64_t size, std::string& to) {
  if (size > kWholeStringMax) {
    return Error{ErrorCode::kLimit, "byte " + std::to_string(position()) + ": a string of " + std::to_string(size) +
                                        " bytes, the limit is " + std::to_string(kWholeStringMax)};
  }
  to.clear();
  while (to.size() < size) {
    const size_t known = to.size();
    const size_t step = static_cast<size_t>(std::min<uint64_t>(size - known, kGrowth));
    to.resize(known + step);
    RETURN_IF_ERROR(Bytes(to.data() + known, step));
  }
  return {};
}

Result<void> Input::Compressed(std::string& to) {
  const uint64_t start = position();
  ASSIGN_OR_RETURN(const uint64_t size, Length());
  ASSIGN_OR_RETURN(const uint64_t raw_size, Length());
  if (size > kWholeStringMax || raw_size > kWholeStringMax) {
    return Error{ErrorCode::kLimit, "byte " + std::to_string(start) + ": a compressed string of " +
                                        std::to_string(raw_size) + " bytes, the limit is " +
                                        std::to_string(kWholeStringMax)};
  }
  if (raw_size > LzfRawMax(size)) {
    return DamageAt(start, std::to_string(size) + " compressed bytes cannot be " + std::to_string(raw_size));
  }
  RETURN_IF_ERROR(Whole(size, compressed_));
  auto raw = LzfDecompress(compressed_, static_cast<size_t>(raw_size), to);
  if (compressed_.capacity() > kGrowth) compressed_ = std::string();
  if (!raw.ok()) return DamageAt(start, raw.error().message);
  return {};
}

Result<void> Input::Encoded(uint64_t encoding, std::string& to) {
  switch (encoding) {
    case kEncodedInt8: {
      ASSIGN_OR_RETURN(const auto value, Little<int8_t>());
      to = FormatInteger(value);
      return {};
    }
    case kEncodedInt16: {
      ASSIGN_OR_RETURN(const auto value, Little<int16_t>());
      to = FormatInteger(value);
      return {};
    }
    case kEncodedInt32: {
      ASSIGN_OR_RETURN(const auto value, Little<int32_t>());
      to = FormatInteger(value);
      return {};
    }
    case kEncodedLzf:
      return Compressed(to);
    default:
      return Damage("unknown encoding " + std::to_string(encoding) + " of a string");
  }
}

Result<void> Input::String(std::string& to) {
  ASSIGN_OR_RETURN(const StringHead head, Head());
  return head.encoded ? Encoded(head.value, to) : Whole(head.value, to);
}

Result<void> Input::StringPieces(const std::function<Result<void>(uint64_t length)>& begin, const PieceVisitor& piece) {
  ASSIGN_OR_RETURN(const StringHead head, Head());
  std::string bytes;
  if (head.encoded) {
    RETURN_IF_ERROR(Encoded(head.value, bytes));
    RETURN_IF_ERROR(begin(bytes.size()));
    for (std::string_view rest = bytes; !rest.empty(); rest.remove_prefix(std::min(kPieceSize, rest.size()))) {
      RETURN_IF_ERROR(piece(rest.substr(0, kPieceSize)));
    }
    return {};
  }
  RETURN_IF_ERROR(begin(head.value));
  for (uint64_t left = head.value; left > 0; left -= bytes.size()) {
    bytes.resize(static_cast<size_t>(std::min<uint64_t>(left, kPieceSize)));
    RETURN_IF_ERROR(Bytes(bytes.data(), bytes.size()));
    RETURN_IF_ERROR(piece(bytes));
  }
  return {};
}

Result<void> Input::SkipString() {
  ASSIGN_OR_RETURN(const StringHead head, Head());
  if (!head.encoded) return Skip(head.value);
  switch (head.value) {
    case kEncodedInt8:
      return Skip(1);
    case kEncodedInt16:
      return Skip(2);
    case kEncodedInt32:
      return Skip(4);
    case kEncodedLzf: {
      ASSIGN_OR_RETURN(const uint64_t size, Length());
      ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t raw_size, Length());
      return Skip(size);
    }
    default:
      return Damage("unknown encoding " + std::to_string(head.value) + " of a string");
  }
}

}  // namespace holdfast::rdb
