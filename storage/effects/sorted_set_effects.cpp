#include "storage/effects/effect_entries.h"
#include "storage/types/numbers.h"
#include "storage/types/sorted_set_words.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

using sorted_sets::Combination;
using sorted_sets::ScoreEnd;
using By = SortedSetRange::By;

template <typename T>
Result<void> Done(const Result<T>& result) {
  if (!result.ok()) return result.error();
  return {};
}

Result<void> ApplyAdd(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto words, sorted_sets::ParseAdd(arguments));
  return Done(sorted_sets::Add(transaction, arguments[1], words.options, words.pairs));
}

Result<void> ApplyIncrement(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto words, sorted_sets::ParseIncrement(arguments));
  return Done(sorted_sets::Add(transaction, arguments[1], words.options, words.pairs));
}

Result<void> ApplyRemove(Transaction& transaction, EffectArguments arguments) {
  return Done(sorted_sets::Remove(transaction, arguments[1], arguments.subspan(2)));
}

template <By by>
Result<void> ApplyRemoveRange(Transaction& transaction, EffectArguments arguments) {
  sorted_sets::RangeForm form;
  form.by = by;
  form.options_allowed = false;
  ASSIGN_OR_RETURN(const auto words, sorted_sets::ParseRange(arguments.subspan(2), form));
  return Done(sorted_sets::RemoveRange(transaction, arguments[1], words.range, arguments));
}

template <ScoreEnd end>
Result<void> ApplyPop(Transaction& transaction, EffectArguments arguments) {
  uint64_t count = 1;
  if (arguments.size() > 2) {
    const auto given = ParseInteger(arguments[2]);
    if (!given || *given < 0) return NotAnIntegerError();
    count = static_cast<uint64_t>(*given);
  }
  return Done(sorted_sets::Pop(transaction, arguments[1], end, count));
}

Result<void> ApplyStoreRange(Transaction& transaction, EffectArguments arguments) {
  sorted_sets::RangeForm form;
  form.choice = true;
  ASSIGN_OR_RETURN(const auto words, sorted_sets::ParseRange(arguments.subspan(3), form));
  return Done(sorted_sets::StoreRange(transaction, arguments[1], arguments[2], words.range, arguments));
}

template <Combination combination>
Result<void> ApplyStore(Transaction& transaction, EffectArguments arguments) {
  sorted_sets::CombinationForm form;
  form.combination = combination;
  form.command = arguments[0];
  const auto given = arguments.subspan(2);
  ASSIGN_OR_RETURN(const auto keys, sorted_sets::ParseCombinationKeys(given, form));
  ASSIGN_OR_RETURN(const auto words, sorted_sets::ParseCombinationOptions(given, keys, form));
  return Done(sorted_sets::Store(transaction, words.options, arguments[1], arguments));
}

// ZMPOP and the commands that wait arrive as ZPOPMIN or ZPOPMAX; of our own master no ZADD has options.
constexpr EffectEntry kEntries[] = {
    {"ZADD", ApplyAdd, 4, kManyEffectArguments},
    {"ZINCRBY", ApplyIncrement, 4, 4},
    {"ZREM", ApplyRemove, 3, kManyEffectArguments},
    {"ZREMRANGEBYRANK", ApplyRemoveRange<By::kRank>, 4, 4},
    {"ZREMRANGEBYSCORE", ApplyRemoveRange<By::kScore>, 4, 4},
    {"ZREMRANGEBYLEX", ApplyRemoveRange<By::kLex>, 4, 4},
    {"ZPOPMIN", ApplyPop<ScoreEnd::kMin>, 2, 3},
    {"ZPOPMAX", ApplyPop<ScoreEnd::kMax>, 2, 3},
    {"ZRANGESTORE", ApplyStoreRange, 5, kManyEffectArguments},
    {"ZUNIONSTORE", ApplyStore<Combination::kUnion>, 4, kManyEffectArguments},
    {"ZINTERSTORE", ApplyStore<Combination::kIntersection>, 4, kManyEffectArguments},
    {"ZDIFFSTORE", ApplyStore<Combination::kDifference>, 4, kManyEffectArguments},
};

}  // namespace

std::span<const EffectEntry> SortedSetEffects() { return kEntries; }

}  // namespace holdfast
