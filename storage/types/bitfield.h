// BITFIELD: integers of any width up to 64 bits at any bit offset of a string.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast::bits {

// "i1".."i64" and "u1".."u63".
struct FieldType {
  bool is_signed = false;
  unsigned width = 0;
};
Result<FieldType> ParseFieldType(std::string_view text);

enum class FieldOverflow { kWrap, kSaturate, kFail };
enum class FieldAction { kGet, kSet, kIncrementBy };

struct FieldOperation {
  FieldAction action = FieldAction::kGet;
  FieldType type;
  uint64_t offset = 0;  // in bits
  int64_t value = 0;    // of kSet and kIncrementBy
  FieldOverflow overflow = FieldOverflow::kWrap;
};

// From "GET type offset", "SET type offset value", "INCRBY type offset increment", "OVERFLOW WRAP|SAT|FAIL" in a row.
Result<std::vector<FieldOperation>> ParseFieldOperations(const Transaction& transaction,
                                                         std::span<const std::string_view> words);

// One answer an operation, in order: the field (kGet), its old value (kSet), its new value (kIncrementBy), or nothing
// when kFail met an overflow. Effect, if anything changed: BITFIELD key SET type offset value ..., what was written.
Result<std::vector<std::optional<int64_t>>> BitField(Transaction& transaction, std::string_view key,
                                                     std::span<const FieldOperation> operations);

}  // namespace holdfast::bits
