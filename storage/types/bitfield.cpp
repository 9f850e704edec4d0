#include "storage/types/bitfield.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "storage/types/bits.h"
#include "storage/types/numbers.h"
#include "storage/types/string_value.h"
#include "storage/types/strings.h"
#include "storage/types/type_errors.h"

namespace holdfast::bits {
namespace {

// Wide enough for every sum of two fields.
using Wide = __int128;

Wide FieldMin(FieldType type) { return type.is_signed ? -(Wide{1} << (type.width - 1)) : Wide{0}; }
Wide FieldMax(FieldType type) { return (Wide{1} << (type.is_signed ? type.width - 1 : type.width)) - 1; }

// The bytes that hold [offset, offset + width).
struct Window {
  uint64_t first_byte;
  uint64_t byte_count;
};
Window WindowOf(uint64_t offset, unsigned width) {
  uint64_t first = offset / 8;
  return {first, (offset + width - 1) / 8 - first + 1};
}

int64_t DecodeField(std::string_view window, uint64_t offset, FieldType type) {
  uint64_t value = 0;
  for (unsigned i = 0; i < type.width; ++i) {
    uint64_t bit = offset % 8 + i;
    unsigned byte = static_cast<unsigned char>(window[bit / 8]);
    value = value << 1 | (byte >> (7 - bit % 8) & 1);
  }
  if (type.is_signed && type.width < 64 && (value >> (type.width - 1) & 1) != 0) value |= ~uint64_t{0} << type.width;
  return static_cast<int64_t>(value);
}

void EncodeField(std::string& window, uint64_t offset, FieldType type, int64_t value) {
  for (unsigned i = 0; i < type.width; ++i) {
    uint64_t bit = offset % 8 + i;
    unsigned mask = 0x80u >> (bit % 8);
    bool set = (static_cast<uint64_t>(value) >> (type.width - 1 - i) & 1) != 0;
    unsigned byte = static_cast<unsigned char>(window[bit / 8]);
    window[bit / 8] = static_cast<char>(set ? byte | mask : byte & ~mask);
  }
}

int64_t Wrap(Wide value, FieldType type) {
  auto bits = static_cast<uint64_t>(value);
  if (type.width == 64) return static_cast<int64_t>(bits);
  bits &= (uint64_t{1} << type.width) - 1;
  if (type.is_signed && (bits >> (type.width - 1) & 1) != 0) bits |= ~uint64_t{0} << type.width;
  return static_cast<int64_t>(bits);
}

// The value to be stored, or nothing when it does not fit and must.
std::optional<int64_t> Fit(Wide value, const FieldOperation& operation) {
  const Wide min = FieldMin(operation.type);
  const Wide max = FieldMax(operation.type);
  if (value >= min && value <= max) return static_cast<int64_t>(value);
  if (operation.overflow == FieldOverflow::kFail) return std::nullopt;
  if (operation.overflow == FieldOverflow::kSaturate) return static_cast<int64_t>(value > max ? max : min);
  return Wrap(value, operation.type);
}

// What an unsigned field's SET value means: clients give a signed 64-bit number, its bits count.
Wide WantedValue(const FieldOperation& operation) {
  if (operation.type.is_signed) return operation.value;
  return static_cast<Wide>(static_cast<uint64_t>(operation.value));
}

// The effect that says which fields were written.
class Effect {
 public:
  explicit Effect(std::string_view key) { arguments_ = {"BITFIELD", std::string(key)}; }

  void AddSet(FieldType type, uint64_t offset, int64_t value) {
    arguments_.emplace_back("SET");
    arguments_.push_back((type.is_signed ? "i" : "u") + std::to_string(type.width));
    arguments_.push_back(std::to_string(offset));
    arguments_.push_back(FormatInteger(value));
  }
  void Emit(Transaction& transaction) const {
    transaction.Emit(std::vector<std::string_view>(arguments_.begin(), arguments_.end()));
  }

 private:
  std::vector<std::string> arguments_;
};

Result<std::vector<std::optional<int64_t>>> ReadFields(Transaction& transaction, std::string_view key,
                                                       std::span<const FieldOperation> operations) {
  ASSIGN_OR_RETURN(auto value, strings::Get(transaction, key));
  std::vector<std::optional<int64_t>> answers;
  for (const FieldOperation& operation : operations) {
    Window window = WindowOf(operation.offset, operation.type.width);
    std::string bytes;
    if (value) {
      ASSIGN_OR_RETURN(bytes, value->Read(window.first_byte, window.byte_count));
    }
    bytes.resize(window.byte_count, '\0');
    answers.emplace_back(DecodeField(bytes, operation.offset, operation.type));
  }
  return answers;
}

Result<FieldOverflow> ParseOverflow(std::string_view text) {
  if (EqualsIgnoreCase(text, "WRAP")) return FieldOverflow::kWrap;
  if (EqualsIgnoreCase(text, "SAT")) return FieldOverflow::kSaturate;
  if (EqualsIgnoreCase(text, "FAIL")) return FieldOverflow::kFail;
  return Error{ErrorCode::kInvalidArgument, "Invalid OVERFLOW type specified"};
}

}  // namespace

Result<FieldType> ParseFieldType(std::string_view text) {
  Error invalid{ErrorCode::kInvalidArgument,
                "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."};
  if (!text.starts_with('i') && !text.starts_with('u')) return invalid;
  FieldType type;
  type.is_signed = text.front() == 'i';
  std::optional<int64_t> width = ParseInteger(text.substr(1));
  if (!width || *width < 1 || *width > (type.is_signed ? 64 : 63)) return invalid;
  type.width = static_cast<unsigned>(*width);
  return type;
}

Result<std::vector<FieldOperation>> ParseFieldOperations(const Transaction& transaction,
                                                         std::span<const std::string_view> words) {
  std::vector<FieldOperation> operations;
  FieldOverflow overflow = FieldOverflow::kWrap;
  while (!words.empty()) {
    std::string_view word = words[0];
    const size_t left = words.size() - 1;
    if (EqualsIgnoreCase(word, "OVERFLOW") && left >= 1) {
      ASSIGN_OR_RETURN(overflow, ParseOverflow(words[1]));
      words = words.subspan(2);
      continue;
    }
    FieldOperation operation;
    operation.overflow = overflow;
    size_t taken = 3;
    if (EqualsIgnoreCase(word, "GET") && left >= 2) {
      operation.action = FieldAction::kGet;
    } else if (EqualsIgnoreCase(word, "SET") && left >= 3) {
      operation.action = FieldAction::kSet;
      taken = 4;
    } else if (EqualsIgnoreCase(word, "INCRBY") && left >= 3) {
      operation.action = FieldAction::kIncrementBy;
      taken = 4;
    } else {
      return SyntaxError();
    }
    ASSIGN_OR_RETURN(operation.type, ParseFieldType(words[1]));
    ASSIGN_OR_RETURN(operation.offset, ParseBitOffset(transaction, words[2], operation.type.width));
    if (taken == 4) {
      std::optional<int64_t> value = ParseInteger(words[3]);
      if (!value) return NotAnIntegerError();
      operation.value = *value;
    }
    operations.push_back(operation);
    words = words.subspan(taken);
  }
  return operations;
}

Result<std::vector<std::optional<int64_t>>> BitField(Transaction& transaction, std::string_view key,
                                                     std::span<const FieldOperation> operations) {
  uint64_t length_needed = 0;
  for (const FieldOperation& operation : operations) {
    if (operation.action == FieldAction::kGet) continue;
    Window window = WindowOf(operation.offset, operation.type.width);
    length_needed = std::max(length_needed, window.first_byte + window.byte_count);
  }
  if (length_needed == 0) return ReadFields(transaction, key, operations);

  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  ASSIGN_OR_RETURN(StringEditor editor, StringEditor::Open(transaction, key, found));
  // A field may reach a few bytes beyond the longest string; its offset was bounded when it was parsed.
  if (length_needed > kStringLengthHardMax) return StringTooLongError();
  Effect effect(key);
  // The string grows to the end of the last field to be written even if none of them fits.
  bool changed = editor.Length() < length_needed;
  if (changed) effect.AddSet({false, 8}, (length_needed - 1) * 8, 0);
  editor.Grow(length_needed);
  std::vector<std::optional<int64_t>> answers;
  for (const FieldOperation& operation : operations) {
    Window window = WindowOf(operation.offset, operation.type.width);
    ASSIGN_OR_RETURN(std::string bytes, editor.Read(window.first_byte, window.byte_count));
    const int64_t old_value = DecodeField(bytes, operation.offset, operation.type);
    if (operation.action == FieldAction::kGet) {
      answers.emplace_back(old_value);
      continue;
    }
    const bool increments = operation.action == FieldAction::kIncrementBy;
    Wide wanted = increments ? Wide{old_value} + operation.value : WantedValue(operation);
    std::optional<int64_t> stored = Fit(wanted, operation);
    if (!stored) {
      answers.emplace_back(std::nullopt);
      continue;
    }
    answers.emplace_back(increments ? *stored : old_value);
    if (*stored == old_value) continue;
    EncodeField(bytes, operation.offset, operation.type, *stored);
    RETURN_IF_ERROR(editor.Write(window.first_byte, bytes));
    effect.AddSet(operation.type, operation.offset, *stored);
    changed = true;
  }
  if (changed) {
    editor.Finish("setbit");
    effect.Emit(transaction);
  }
  return answers;
}

}  // namespace holdfast::bits
