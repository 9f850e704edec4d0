// Bit operations on strings. Bit 0 is the most significant bit of the first byte. Big strings are read and written by
// chunks. Effects as named; database: the transaction's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast::bits {

// The bit offset in a client's text; with `width` > 0 a leading '#' multiplies it by that (BITFIELD).
Result<uint64_t> ParseBitOffset(const Transaction& transaction, std::string_view text, unsigned width = 0);

// Returns the bit that was there. Effect: SETBIT key offset bit, if anything changed.
Result<bool> SetBit(Transaction& transaction, std::string_view key, uint64_t offset, bool bit);
Result<bool> GetBit(Transaction& transaction, std::string_view key, uint64_t offset);

enum class RangeUnit { kByte, kBit };
// Both ends inclusive; negative ones count from the end.
struct BitRange {
  int64_t start = 0;
  std::optional<int64_t> end;  // the string's end when not given
  RangeUnit unit = RangeUnit::kByte;
};
Result<uint64_t> BitCount(Transaction& transaction, std::string_view key, const std::optional<BitRange>& range);
// -1 if there is none. A clear bit is found behind the string's end unless the range has an explicit end.
Result<int64_t> BitPos(Transaction& transaction, std::string_view key, bool bit, const BitRange& range);

enum class BitOperation { kAnd, kOr, kXor, kNot };
[[nodiscard]] std::optional<BitOperation> ParseBitOperation(std::string_view name);
// Returns the length of the result. Effect: BITOP operation destination source ...
Result<uint64_t> BitOp(Transaction& transaction, BitOperation operation, std::string_view destination,
                       std::span<const std::string_view> sources);

}  // namespace holdfast::bits
