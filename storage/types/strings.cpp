#include "storage/types/strings.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::strings {
namespace {

// A number is at most this long as text; longer strings need not be read to know that they are none.
constexpr uint64_t kNumberCharsMax = 5 * 1024;

Result<std::optional<std::string>> WholeOf(Transaction& transaction, const std::optional<KeyValue>& found) {
  if (!found) return std::optional<std::string>();
  ASSIGN_OR_RETURN(StringValue value, StringValue::From(transaction, *found));
  ASSIGN_OR_RETURN(std::string whole, value.Whole());
  return std::optional<std::string>(std::move(whole));
}

void EmitSet(Transaction& transaction, std::string_view key, std::string_view value, int64_t expire_at_ms,
             bool keep_ttl) {
  if (keep_ttl) {
    transaction.Emit({"SET", key, value, "KEEPTTL"});
  } else if (expire_at_ms != kNoExpiry) {
    transaction.Emit({"SET", key, value, "PXAT", FormatInteger(expire_at_ms)});
  } else {
    transaction.Emit({"SET", key, value});
  }
}

Result<void> WritePairs(Transaction& transaction, std::span<const std::string_view> pairs) {
  std::vector<std::string_view> effect;
  effect.reserve(pairs.size() + 1);
  effect.push_back("MSET");
  Result<void> outcome;
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    auto found = transaction.FindForReplace(transaction.db(), pairs[i]);
    if (!found.ok()) {
      outcome = std::move(found).error();
      break;
    }
    PutString(transaction, transaction.db(), pairs[i], pairs[i + 1], kNoExpiry, *found);
    transaction.Notify(KeyEventClass::kString, "set", pairs[i]);
    effect.push_back(pairs[i]);
    effect.push_back(pairs[i + 1]);
  }
  // A damaged row in the middle must not leave rows that the log does not know.
  if (effect.size() > 1) transaction.Emit(effect);
  return outcome;
}

Result<void> CheckPairs(Transaction& transaction, std::span<const std::string_view> pairs) {
  CHECK(!pairs.empty());
  CHECK(pairs.size() % 2 == 0);
  for (size_t i = 1; i < pairs.size(); i += 2) RETURN_IF_ERROR(CheckStringLength(transaction, pairs[i].size(), 0));
  return {};
}

// The string as a short text, or nullopt if it is too long to be a number.
Result<std::optional<std::string_view>> NumberText(Transaction& transaction, const KeyValue& found) {
  ASSIGN_OR_RETURN(StringValue value, StringValue::From(transaction, found));
  if (value.Length() >= kNumberCharsMax) return std::optional<std::string_view>();
  return value.Inline();
}

}  // namespace

Result<std::optional<StringValue>> Get(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.Find(key));
  if (!found) return std::optional<StringValue>();
  ASSIGN_OR_RETURN(StringValue value, StringValue::From(transaction, *found));
  return std::optional<StringValue>(value);
}

Result<SetOutcome> Set(Transaction& transaction, std::string_view key, std::string_view value,
                       const SetOptions& options) {
  SetOutcome outcome;
  RETURN_IF_ERROR(CheckStringLength(transaction, value.size(), 0));
  ASSIGN_OR_RETURN(auto found,
                   options.get ? transaction.FindForWrite(key) : transaction.FindForReplace(transaction.db(), key));
  if (options.get) {
    ASSIGN_OR_RETURN(outcome.previous, WholeOf(transaction, found));
  }
  if (options.condition == SetCondition::kIfAbsent && found) return outcome;
  if (options.condition == SetCondition::kIfPresent && !found) return outcome;
  int64_t expire_at_ms = options.expire_at_ms;
  if (options.keep_ttl && found) expire_at_ms = found->expire_at_ms;
  PutString(transaction, transaction.db(), key, value, expire_at_ms, found);
  transaction.Notify(KeyEventClass::kString, "set", key);
  if (options.expire_at_ms != kNoExpiry) transaction.Notify(KeyEventClass::kGeneric, "expire", key);
  EmitSet(transaction, key, value, expire_at_ms, options.keep_ttl);
  outcome.written = true;
  return outcome;
}

Result<std::optional<std::string>> GetDel(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  ASSIGN_OR_RETURN(auto previous, WholeOf(transaction, found));
  if (!found) return previous;
  transaction.Erase(transaction.db(), key, *found);
  transaction.Notify(KeyEventClass::kGeneric, "del", key);
  transaction.Emit({"DEL", key});
  return previous;
}

Result<std::optional<std::string>> GetEx(Transaction& transaction, std::string_view key, const GetExOptions& options) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  ASSIGN_OR_RETURN(auto whole, WholeOf(transaction, found));
  if (!found) return whole;
  FoundKey old(found);
  KeyValue value = *old.value();
  const bool live = transaction.mode() == TransactionMode::kLive;
  if (options.expire_at_ms != kNoExpiry && live && options.expire_at_ms <= transaction.now_ms()) {
    transaction.Erase(transaction.db(), key, *old.value());
    transaction.Notify(KeyEventClass::kGeneric, "del", key);
    transaction.Emit({"DEL", key});
  } else if (options.expire_at_ms != kNoExpiry) {
    value.expire_at_ms = options.expire_at_ms;
    transaction.Put(transaction.db(), key, value, old.value());
    transaction.Notify(KeyEventClass::kGeneric, "expire", key);
    transaction.Emit({"PEXPIREAT", key, FormatInteger(options.expire_at_ms)});
  } else if (options.persist && value.HasExpiry()) {
    value.expire_at_ms = kNoExpiry;
    transaction.Put(transaction.db(), key, value, old.value());
    transaction.Notify(KeyEventClass::kGeneric, "persist", key);
    transaction.Emit({"PERSIST", key});
  }
  return whole;
}

Result<void> MSet(Transaction& transaction, std::span<const std::string_view> pairs) {
  RETURN_IF_ERROR(CheckPairs(transaction, pairs));
  return WritePairs(transaction, pairs);
}

Result<bool> MSetNx(Transaction& transaction, std::span<const std::string_view> pairs) {
  RETURN_IF_ERROR(CheckPairs(transaction, pairs));
  for (size_t i = 0; i < pairs.size(); i += 2) {
    ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(pairs[i]));
    if (found) return false;
  }
  RETURN_IF_ERROR(WritePairs(transaction, pairs));
  return true;
}

Result<uint64_t> Append(Transaction& transaction, std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  ASSIGN_OR_RETURN(StringEditor editor, StringEditor::Open(transaction, key, found));
  RETURN_IF_ERROR(CheckStringLength(transaction, editor.Length(), value.size()));
  RETURN_IF_ERROR(editor.Write(editor.Length(), value));
  editor.Finish("append");
  transaction.Emit({"APPEND", key, value});
  return editor.Length();
}

Result<uint64_t> SetRange(Transaction& transaction, std::string_view key, int64_t offset, std::string_view value) {
  if (offset < 0) return Error{ErrorCode::kOutOfRange, "offset is out of range"};
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  ASSIGN_OR_RETURN(StringEditor editor, StringEditor::Open(transaction, key, found));
  if (value.empty()) return editor.Length();
  RETURN_IF_ERROR(CheckStringLength(transaction, static_cast<uint64_t>(offset), value.size()));
  RETURN_IF_ERROR(editor.Write(static_cast<uint64_t>(offset), value));
  editor.Finish("setrange");
  transaction.Emit({"SETRANGE", key, FormatInteger(offset), value});
  return editor.Length();
}

Result<uint64_t> StrLen(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto value, Get(transaction, key));
  return value ? value->Length() : uint64_t{0};
}

Result<std::string> GetRange(Transaction& transaction, std::string_view key, int64_t start, int64_t end) {
  ASSIGN_OR_RETURN(auto value, Get(transaction, key));
  if (!value || value->Length() == 0) return std::string();
  const auto length = static_cast<int64_t>(value->Length());
  if (start < 0 && end < 0 && start > end) return std::string();
  if (start < 0) start = std::max<int64_t>(length + start, 0);
  if (end < 0) end = std::max<int64_t>(length + end, 0);
  end = std::min(end, length - 1);
  if (start > end) return std::string();
  return value->Read(static_cast<uint64_t>(start), static_cast<uint64_t>(end - start + 1));
}

Result<int64_t> IncrBy(Transaction& transaction, std::string_view key, int64_t increment) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  int64_t number = 0;
  if (found) {
    ASSIGN_OR_RETURN(auto text, NumberText(transaction, *found));
    auto parsed = text ? ParseInteger(*text) : std::nullopt;
    if (!parsed) return NotAnIntegerError();
    number = *parsed;
  }
  if (__builtin_add_overflow(number, increment, &number)) {
    return Error{ErrorCode::kOutOfRange, "increment or decrement would overflow"};
  }
  PutString(transaction, transaction.db(), key, FormatInteger(number), found ? found->expire_at_ms : kNoExpiry, found);
  transaction.Notify(KeyEventClass::kString, "incrby", key);
  transaction.Emit({"INCRBY", key, FormatInteger(increment)});
  return number;
}

Result<std::string> IncrByFloat(Transaction& transaction, std::string_view key, long double increment) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  long double number = 0;
  if (found) {
    ASSIGN_OR_RETURN(auto text, NumberText(transaction, *found));
    auto parsed = text ? ParseLongDouble(*text) : std::nullopt;
    if (!parsed) return NotAFloatError();
    number = *parsed;
  }
  number += increment;
  if (std::isnan(number) || std::isinf(number)) {
    return Error{ErrorCode::kOutOfRange, "increment would produce NaN or Infinity"};
  }
  std::string text = FormatLongDouble(number);
  PutString(transaction, transaction.db(), key, text, found ? found->expire_at_ms : kNoExpiry, found);
  transaction.Notify(KeyEventClass::kString, "incrbyfloat", key);
  EmitSet(transaction, key, text, kNoExpiry, /*keep_ttl=*/true);
  return text;
}

Result<std::string_view> Encoding(const StringValue& value) {
  constexpr uint64_t kEmbeddedMax = 44;
  auto bytes = value.Inline();
  if (bytes && ParseInteger(*bytes)) return std::string_view("int");
  return std::string_view(value.Length() <= kEmbeddedMax ? "embstr" : "raw");
}

}  // namespace holdfast::strings
