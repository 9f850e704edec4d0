#include "storage/types/hashes.h"

#include <cmath>
#include <limits>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::hashes {
namespace {

constexpr ValueType kType = ValueType::kHash;

void KeepShape(MemberEditor& editor) {
  if (editor.header().count > kCompactMembersMax) editor.SetLarge();
}

void KeepShape(MemberEditor& editor, std::span<const std::string_view> words) {
  for (const std::string_view word : words) {
    if (word.size() > kCompactBytesMax) editor.SetLarge();
  }
  KeepShape(editor);
}

Result<MemberEditor> Edit(Transaction& transaction, std::string_view key) {
  return MemberEditor::Open(transaction, key, kType);
}

// Writes one field that was looked up before.
void Write(MemberEditor& editor, std::string_view field, std::string_view value, bool known, std::string_view event) {
  if (known) {
    editor.PutOver(field, value);
  } else {
    editor.PutNew(field, value);
  }
  const std::string_view words[] = {field, value};
  KeepShape(editor, words);
  editor.Finish(event);
}

}  // namespace

Result<std::optional<MemberReader>> Open(Transaction& transaction, std::string_view key) {
  return MemberReader::Open(transaction, key, kType);
}

Result<uint64_t> Set(Transaction& transaction, std::string_view key, std::span<const std::string_view> pairs) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::vector<std::string_view> effect = {"HSET", key};
  effect.reserve(2 + pairs.size());
  uint64_t added = 0;
  Result<void> outcome;
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    auto put = editor.Put(pairs[i], pairs[i + 1]);
    if (!put.ok()) {
      outcome = std::move(put).error();
      break;
    }
    if (*put) ++added;
    effect.push_back(pairs[i]);
    effect.push_back(pairs[i + 1]);
  }
  // A damaged row in the middle must not leave fields that the log does not know.
  KeepShape(editor, pairs.first(effect.size() - 2));
  editor.Finish("hset");
  if (effect.size() > 2) transaction.Emit(effect);
  RETURN_IF_ERROR(outcome);
  return added;
}

Result<bool> SetNx(Transaction& transaction, std::string_view key, std::string_view field, std::string_view value) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  if (editor.exists()) {
    ASSIGN_OR_RETURN(const bool known, editor.reader().Has(field));
    if (known) return false;
  }
  Write(editor, field, value, /*known=*/false, "hset");
  transaction.Emit({"HSET", key, field, value});
  return true;
}

Result<std::optional<std::string_view>> Get(Transaction& transaction, std::string_view key, std::string_view field) {
  ASSIGN_OR_RETURN(const auto hash, Open(transaction, key));
  if (!hash) return std::optional<std::string_view>();
  return hash->Get(field);
}

Result<std::vector<std::optional<std::string_view>>> GetMany(Transaction& transaction, std::string_view key,
                                                             std::span<const std::string_view> fields) {
  std::vector<std::optional<std::string_view>> values(fields.size());
  ASSIGN_OR_RETURN(const auto hash, Open(transaction, key));
  if (!hash) return values;
  for (size_t i = 0; i < fields.size(); ++i) {
    ASSIGN_OR_RETURN(values[i], hash->Get(fields[i]));
  }
  return values;
}

Result<uint64_t> Length(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto hash, Open(transaction, key));
  return hash ? hash->count() : uint64_t{0};
}

Result<uint64_t> Delete(Transaction& transaction, std::string_view key, std::span<const std::string_view> fields) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::vector<std::string_view> effect = {"HDEL", key};
  Result<void> outcome;
  for (const std::string_view field : fields) {
    auto erased = editor.Erase(field);
    if (!erased.ok()) {
      outcome = std::move(erased).error();
      break;
    }
    if (*erased) effect.push_back(field);
  }
  editor.Finish("hdel");
  if (effect.size() > 2) transaction.Emit(effect);
  RETURN_IF_ERROR(outcome);
  return uint64_t{effect.size() - 2};
}

Result<int64_t> IncrBy(Transaction& transaction, std::string_view key, std::string_view field, int64_t increment) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::optional<std::string_view> old;
  if (editor.exists()) {
    ASSIGN_OR_RETURN(old, editor.reader().Get(field));
  }
  int64_t value = 0;
  if (old) {
    const auto parsed = ParseInteger(*old);
    if (!parsed) return Error{ErrorCode::kInvalidArgument, "hash value is not an integer"};
    value = *parsed;
  }
  if (__builtin_add_overflow(value, increment, &value)) {
    return Error{ErrorCode::kOutOfRange, "increment or decrement would overflow"};
  }
  Write(editor, field, FormatInteger(value), old.has_value(), "hincrby");
  transaction.Emit({"HINCRBY", key, field, FormatInteger(increment)});
  return value;
}

Result<std::string> IncrByFloat(Transaction& transaction, std::string_view key, std::string_view field,
                                long double increment) {
  if (std::isnan(increment) || std::isinf(increment)) {
    return Error{ErrorCode::kInvalidArgument, "value is NaN or Infinity"};
  }
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::optional<std::string_view> old;
  if (editor.exists()) {
    ASSIGN_OR_RETURN(old, editor.reader().Get(field));
  }
  long double value = 0;
  if (old) {
    const auto parsed = ParseLongDouble(*old);
    if (!parsed) return Error{ErrorCode::kInvalidArgument, "hash value is not a float"};
    value = *parsed;
  }
  value += increment;
  if (std::isnan(value) || std::isinf(value)) {
    return Error{ErrorCode::kOutOfRange, "increment would produce NaN or Infinity"};
  }
  std::string text = FormatLongDouble(value);
  Write(editor, field, text, old.has_value(), "hincrbyfloat");
  transaction.Emit({"HSET", key, field, text});
  return text;
}

}  // namespace holdfast::hashes
