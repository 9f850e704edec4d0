#include "storage/effects/effect_entries.h"
#include "storage/types/lists.h"
#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

template <typename T>
Result<void> Done(const Result<T>& result) {
  if (!result.ok()) return result.error();
  return {};
}

Result<int64_t> Integer(std::string_view text) {
  const auto parsed = ParseInteger(text);
  if (!parsed) return NotAnIntegerError();
  return *parsed;
}

template <ListEnd end, lists::PushCondition condition>
Result<void> ApplyPush(Transaction& transaction, EffectArguments arguments) {
  return Done(lists::Push(transaction, arguments[1], end, arguments.subspan(2), condition));
}

template <ListEnd end>
Result<void> ApplyPop(Transaction& transaction, EffectArguments arguments) {
  if (arguments.size() == 2) return Done(lists::Pop(transaction, arguments[1], end));
  ASSIGN_OR_RETURN(const int64_t count, Integer(arguments[2]));
  if (count < 0) return NotAnIntegerError();
  return Done(lists::PopSome(transaction, arguments[1], end, static_cast<uint64_t>(count)));
}

Result<void> ApplySet(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const int64_t index, Integer(arguments[2]));
  return lists::Set(transaction, arguments[1], index, arguments[3]);
}

Result<void> ApplyInsert(Transaction& transaction, EffectArguments arguments) {
  const bool before = EqualsIgnoreCase(arguments[2], "BEFORE");
  if (!before && !EqualsIgnoreCase(arguments[2], "AFTER")) return SyntaxError();
  return Done(lists::Insert(transaction, arguments[1], before, arguments[3], arguments[4]));
}

Result<void> ApplyRemove(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const int64_t count, Integer(arguments[2]));
  return Done(lists::Remove(transaction, arguments[1], count, arguments[3]));
}

Result<void> ApplyTrim(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const int64_t start, Integer(arguments[2]));
  ASSIGN_OR_RETURN(const int64_t stop, Integer(arguments[3]));
  return lists::Trim(transaction, arguments[1], start, stop);
}

Result<void> ApplyMove(Transaction& transaction, EffectArguments arguments) {
  const auto from = lists::ParseEnd(arguments[3]);
  const auto to = lists::ParseEnd(arguments[4]);
  if (!from || !to) return SyntaxError();
  return Done(lists::Move(transaction, arguments[1], arguments[2], {*from, *to}));
}

Result<void> ApplyRPopLPush(Transaction& transaction, EffectArguments arguments) {
  return Done(lists::Move(transaction, arguments[1], arguments[2], {ListEnd::kRight, ListEnd::kLeft}));
}

using lists::PushCondition;

// Commands that wait arrive as what they did in the end: LPOP, RPOP, LMOVE, RPOPLPUSH.
constexpr EffectEntry kEntries[] = {
    {"LPUSH", ApplyPush<ListEnd::kLeft, PushCondition::kAlways>, 3, kManyEffectArguments},
    {"RPUSH", ApplyPush<ListEnd::kRight, PushCondition::kAlways>, 3, kManyEffectArguments},
    {"LPUSHX", ApplyPush<ListEnd::kLeft, PushCondition::kIfPresent>, 3, kManyEffectArguments},
    {"RPUSHX", ApplyPush<ListEnd::kRight, PushCondition::kIfPresent>, 3, kManyEffectArguments},
    {"LPOP", ApplyPop<ListEnd::kLeft>, 2, 3},
    {"RPOP", ApplyPop<ListEnd::kRight>, 2, 3},
    {"LSET", ApplySet, 4, 4},
    {"LINSERT", ApplyInsert, 5, 5},
    {"LREM", ApplyRemove, 4, 4},
    {"LTRIM", ApplyTrim, 4, 4},
    {"LMOVE", ApplyMove, 5, 5},
    {"RPOPLPUSH", ApplyRPopLPush, 3, 3},
};

}  // namespace

std::span<const EffectEntry> ListEffects() { return kEntries; }

}  // namespace holdfast
