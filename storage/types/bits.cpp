#include "storage/types/bits.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "storage/base/coding.h"
#include "storage/types/numbers.h"
#include "storage/types/string_value.h"
#include "storage/types/strings.h"
#include "storage/types/type_errors.h"

namespace holdfast::bits {
namespace {

unsigned char BitMask(uint64_t offset) { return static_cast<unsigned char>(0x80u >> (offset & 7)); }

// A range in bits, [first, end), inside of the string.
struct BitSpan {
  uint64_t first = 0;
  uint64_t end = 0;
};

// nullopt if the range is empty.
std::optional<BitSpan> Resolve(const BitRange& range, uint64_t length_bytes) {
  const int64_t unit_bits = range.unit == RangeUnit::kBit ? 1 : 8;
  const int64_t total = static_cast<int64_t>(length_bytes) * 8 / unit_bits;
  int64_t start = range.start;
  int64_t end = range.end.value_or(total - 1);
  if (start < 0) start = std::max<int64_t>(total + start, 0);
  if (end < 0) end = std::max<int64_t>(total + end, 0);
  end = std::min(end, total - 1);
  if (start > end) return std::nullopt;
  return BitSpan{static_cast<uint64_t>(start * unit_bits), static_cast<uint64_t>((end + 1) * unit_bits)};
}

uint64_t PopulationOf(std::string_view bytes) {
  uint64_t count = 0;
  while (bytes.size() >= 8) {
    count += static_cast<uint64_t>(std::popcount(LoadLittle<uint64_t>(bytes.data())));
    bytes.remove_prefix(8);
  }
  for (char c : bytes) count += static_cast<uint64_t>(std::popcount(static_cast<unsigned char>(c)));
  return count;
}

// The byte at `offset` of the string with the bits outside of `span` replaced by `outside`.
unsigned char Masked(char byte, uint64_t offset, const BitSpan& span, bool outside) {
  auto value = static_cast<unsigned>(static_cast<unsigned char>(byte));
  unsigned keep = 0xff;
  if (offset * 8 < span.first) keep &= 0xffu >> (span.first - offset * 8);
  if ((offset + 1) * 8 > span.end) keep &= 0xffu << ((offset + 1) * 8 - span.end);
  return static_cast<unsigned char>(outside ? (value | ~keep) : (value & keep));
}

// Position of the first `bit` in `piece`, which starts at byte `offset`, inside of `span`.
std::optional<uint64_t> FirstBit(std::string_view piece, uint64_t offset, const BitSpan& span, bool bit) {
  const unsigned char skip = bit ? 0x00 : 0xff;
  for (size_t i = 0; i < piece.size();) {
    uint64_t skip_word = bit ? 0 : ~uint64_t{0};
    if (i > 0 && i + 9 <= piece.size() && LoadLittle<uint64_t>(piece.data() + i) == skip_word) {
      i += 8;
      continue;
    }
    unsigned char byte = Masked(piece[i], offset + i, span, !bit);
    if (byte != skip) {
      auto found = static_cast<unsigned char>(bit ? byte : ~byte);
      return (offset + i) * 8 + static_cast<uint64_t>(std::countl_zero(found));
    }
    ++i;
  }
  return std::nullopt;
}

// A source of BITOP. A string in its row is copied, because writes end the life of views.
struct Source {
  std::string inline_bytes;
  std::optional<StringValue> value;

  [[nodiscard]] uint64_t Length() const { return value ? value->Length() : inline_bytes.size(); }
  Result<std::string> Read(uint64_t offset, uint64_t count) const {
    if (value) return value->Read(offset, count);
    if (offset >= inline_bytes.size()) return std::string();
    return inline_bytes.substr(offset, count);
  }
};

Result<std::string> CombinePiece(BitOperation operation, const std::vector<Source>& sources, uint64_t offset,
                                 size_t size) {
  ASSIGN_OR_RETURN(std::string result, sources[0].Read(offset, size));
  result.resize(size, '\0');
  if (operation == BitOperation::kNot) {
    for (char& c : result) c = static_cast<char>(~c);
    return result;
  }
  for (size_t s = 1; s < sources.size(); ++s) {
    ASSIGN_OR_RETURN(std::string other, sources[s].Read(offset, size));
    other.resize(size, '\0');
    for (size_t i = 0; i < size; ++i) {
      char& to = result[i];
      if (operation == BitOperation::kAnd) to = static_cast<char>(to & other[i]);
      if (operation == BitOperation::kOr) to = static_cast<char>(to | other[i]);
      if (operation == BitOperation::kXor) to = static_cast<char>(to ^ other[i]);
    }
  }
  return result;
}

std::string_view OperationName(BitOperation operation) {
  switch (operation) {
    case BitOperation::kAnd:
      return "AND";
    case BitOperation::kOr:
      return "OR";
    case BitOperation::kXor:
      return "XOR";
    case BitOperation::kNot:
      break;
  }
  return "NOT";
}

// Chunk rows of the result, under a fresh id that no key names before all of them are there.
Result<CollectionId> WriteChunks(Transaction& transaction, BitOperation operation, const std::vector<Source>& sources,
                                 uint64_t length) {
  CollectionId id = transaction.NewCollectionId();
  for (uint64_t offset = 0; offset < length; offset += kChunkSize) {
    auto size = static_cast<size_t>(std::min<uint64_t>(kChunkSize, length - offset));
    ASSIGN_OR_RETURN(std::string piece, CombinePiece(operation, sources, offset, size));
    if (piece.find_first_not_of('\0') == std::string::npos) continue;
    transaction.PutRow(id, CollectionKind::kChunk, ChunkSuffix(offset / kChunkSize), piece);
  }
  return id;
}

}  // namespace

Result<uint64_t> ParseBitOffset(const Transaction& transaction, std::string_view text, unsigned width) {
  Error invalid{ErrorCode::kOutOfRange, "bit offset is not an integer or out of range"};
  const bool multiplied = width > 0 && text.starts_with('#');
  if (multiplied) text.remove_prefix(1);
  std::optional<int64_t> parsed = ParseInteger(text);
  if (!parsed || *parsed < 0) return invalid;
  uint64_t offset = static_cast<uint64_t>(*parsed);
  if (multiplied && __builtin_mul_overflow(offset, uint64_t{width}, &offset)) return invalid;
  if (offset / 8 >= StringLengthMax(transaction)) return invalid;
  return offset;
}

Result<bool> SetBit(Transaction& transaction, std::string_view key, uint64_t offset, bool bit) {
  const uint64_t byte_offset = offset / 8;
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  ASSIGN_OR_RETURN(StringEditor editor, StringEditor::Open(transaction, key, found));
  RETURN_IF_ERROR(CheckStringLength(transaction, byte_offset, 1));
  ASSIGN_OR_RETURN(std::string byte, editor.Read(byte_offset, 1));
  auto value = static_cast<unsigned char>(byte[0]);
  const bool old_bit = (value & BitMask(offset)) != 0;
  if (found && editor.Length() > byte_offset && old_bit == bit) return old_bit;
  value = static_cast<unsigned char>(bit ? value | BitMask(offset) : value & ~BitMask(offset));
  byte[0] = static_cast<char>(value);
  RETURN_IF_ERROR(editor.Write(byte_offset, byte));
  editor.Finish("setbit");
  transaction.Emit({"SETBIT", key, FormatInteger(static_cast<int64_t>(offset)), bit ? "1" : "0"});
  return old_bit;
}

Result<bool> GetBit(Transaction& transaction, std::string_view key, uint64_t offset) {
  ASSIGN_OR_RETURN(auto value, strings::Get(transaction, key));
  if (!value) return false;
  ASSIGN_OR_RETURN(std::string byte, value->Read(offset / 8, 1));
  return !byte.empty() && (static_cast<unsigned char>(byte[0]) & BitMask(offset)) != 0;
}

Result<uint64_t> BitCount(Transaction& transaction, std::string_view key, const std::optional<BitRange>& range) {
  ASSIGN_OR_RETURN(auto value, strings::Get(transaction, key));
  if (!value) return uint64_t{0};
  const BitRange wanted = range.value_or(BitRange{});
  // Redis looks at the order of two negative ends before it bounds them by the string's length.
  if (wanted.start < 0 && wanted.end && *wanted.end < 0 && wanted.start > *wanted.end) return uint64_t{0};
  std::optional<BitSpan> span = Resolve(wanted, value->Length());
  if (!span) return uint64_t{0};
  const uint64_t first_byte = span->first / 8;
  const uint64_t end_byte = (span->end + 7) / 8;
  uint64_t count = 0;
  RETURN_IF_ERROR(value->VisitPieces(first_byte, end_byte - first_byte, [&](uint64_t offset, std::string_view piece) {
    count += PopulationOf(piece);
    // Take back what the first and the last byte have outside of the range.
    auto outside = [&](char byte, uint64_t at) {
      return std::popcount(static_cast<unsigned char>(byte)) - std::popcount(Masked(byte, at, *span, false));
    };
    uint64_t last = offset + piece.size() - 1;
    count -= static_cast<uint64_t>(outside(piece.front(), offset));
    if (last != offset) count -= static_cast<uint64_t>(outside(piece.back(), last));
    return true;
  }));
  return count;
}

Result<int64_t> BitPos(Transaction& transaction, std::string_view key, bool bit, const BitRange& range) {
  ASSIGN_OR_RETURN(auto value, strings::Get(transaction, key));
  if (!value) return int64_t{bit ? -1 : 0};
  std::optional<BitSpan> span = Resolve(range, value->Length());
  if (!span) return int64_t{-1};
  const uint64_t first_byte = span->first / 8;
  const uint64_t end_byte = (span->end + 7) / 8;
  std::optional<uint64_t> position;
  RETURN_IF_ERROR(value->VisitPieces(first_byte, end_byte - first_byte, [&](uint64_t offset, std::string_view piece) {
    position = FirstBit(piece, offset, *span, bit);
    return !position.has_value();
  }));
  if (position) return static_cast<int64_t>(*position);
  if (bit || range.end) return int64_t{-1};
  return static_cast<int64_t>(span->end);
}

std::optional<BitOperation> ParseBitOperation(std::string_view name) {
  for (BitOperation operation : {BitOperation::kAnd, BitOperation::kOr, BitOperation::kXor, BitOperation::kNot}) {
    if (EqualsIgnoreCase(name, OperationName(operation))) return operation;
  }
  return std::nullopt;
}

Result<uint64_t> BitOp(Transaction& transaction, BitOperation operation, std::string_view destination,
                       std::span<const std::string_view> keys) {
  CHECK(!keys.empty());
  if (operation == BitOperation::kNot && keys.size() != 1) {
    return Error{ErrorCode::kInvalidArgument, "BITOP NOT must be called with a single source key."};
  }
  // An expired source is deleted in this unit: replay has no clock and would read it.
  std::vector<Source> sources;
  sources.reserve(keys.size());
  uint64_t length = 0;
  for (std::string_view key : keys) {
    ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
    if (!found) transaction.Notify(KeyEventClass::kMiss, "keymiss", key);
    Source& source = sources.emplace_back();
    if (!found) continue;
    ASSIGN_OR_RETURN(StringValue value, StringValue::From(transaction, *found));
    if (auto bytes = value.Inline()) {
      source.inline_bytes = *bytes;
    } else {
      source.value = value;
    }
    length = std::max(length, source.Length());
  }
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(destination));
  FoundKey old(found);
  std::vector<std::string_view> effect = {"BITOP", OperationName(operation), destination};
  effect.insert(effect.end(), keys.begin(), keys.end());
  if (length == 0) {
    if (!old.exists()) return uint64_t{0};
    transaction.Erase(transaction.db(), destination, *old.value());
  } else if (length <= kInlineStringMax) {
    ASSIGN_OR_RETURN(std::string bytes, CombinePiece(operation, sources, 0, length));
    PutString(transaction, transaction.db(), destination, bytes, kNoExpiry, old.value());
  } else {
    ASSIGN_OR_RETURN(CollectionId id, WriteChunks(transaction, operation, sources, length));
    std::string body = ChunkedBody{length, id}.Encode();
    KeyValue value;
    value.chunked = true;
    value.body = body;
    transaction.Put(transaction.db(), destination, value, old.value());
  }
  if (length == 0) {
    transaction.Notify(KeyEventClass::kGeneric, "del", destination);
  } else {
    transaction.Notify(KeyEventClass::kString, "set", destination);
  }
  transaction.Emit(effect);
  return length;
}

}  // namespace holdfast::bits
