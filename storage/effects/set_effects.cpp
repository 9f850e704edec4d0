#include "storage/effects/effect_entries.h"
#include "storage/types/sets.h"

namespace holdfast {
namespace {

template <typename T>
Result<void> Done(const Result<T>& result) {
  if (!result.ok()) return result.error();
  return {};
}

Result<void> ApplyAdd(Transaction& transaction, EffectArguments arguments) {
  return Done(sets::Add(transaction, arguments[1], arguments.subspan(2)));
}

Result<void> ApplyRemove(Transaction& transaction, EffectArguments arguments) {
  return Done(sets::Remove(transaction, arguments[1], arguments.subspan(2)));
}

Result<void> ApplyMove(Transaction& transaction, EffectArguments arguments) {
  return Done(sets::Move(transaction, arguments[1], arguments[2], arguments[3]));
}

template <sets::Combination combination>
Result<void> ApplyStore(Transaction& transaction, EffectArguments arguments) {
  return Done(sets::Store(transaction, combination, arguments[1], arguments.subspan(2)));
}

// SPOP arrives as SREM or DEL: what chance decided is in the effect.
constexpr EffectEntry kEntries[] = {
    {"SADD", ApplyAdd, 3, kManyEffectArguments},
    {"SREM", ApplyRemove, 3, kManyEffectArguments},
    {"SMOVE", ApplyMove, 4, 4},
    {"SUNIONSTORE", ApplyStore<sets::Combination::kUnion>, 3, kManyEffectArguments},
    {"SINTERSTORE", ApplyStore<sets::Combination::kIntersection>, 3, kManyEffectArguments},
    {"SDIFFSTORE", ApplyStore<sets::Combination::kDifference>, 3, kManyEffectArguments},
};

}  // namespace

std::span<const EffectEntry> SetEffects() { return kEntries; }

}  // namespace holdfast
