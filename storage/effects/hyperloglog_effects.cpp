#include "storage/effects/effect_entries.h"
#include "storage/types/hyperloglogs.h"
#include "storage/types/numbers.h"

namespace holdfast {
namespace {

constexpr uint64_t kSparseMax = HyperLogLog::kSparseMaxOfEffects;

Result<void> ApplyAdd(Transaction& transaction, EffectArguments arguments) {
  const auto added = hyperloglogs::Add(transaction, arguments[1], arguments.subspan(2), kSparseMax);
  if (!added.ok()) return added.error();
  return {};
}

Result<void> ApplyMerge(Transaction& transaction, EffectArguments arguments) {
  return hyperloglogs::Merge(transaction, arguments[1], arguments.subspan(2), kSparseMax);
}

// A Redis master sends PFCOUNT when it has written the count into the value.
Result<void> ApplyCount(Transaction& transaction, EffectArguments arguments) {
  if (arguments.size() > 2) return {};
  return hyperloglogs::RememberCount(transaction, arguments[1]);
}

// Of its forms only those that make the value dense reach a log.
Result<void> ApplyDebug(Transaction& transaction, EffectArguments arguments) {
  const auto made = hyperloglogs::ToDense(transaction, arguments[2]);
  if (!made.ok()) return made.error();
  return {};
}

constexpr EffectEntry kEntries[] = {
    {"PFADD", ApplyAdd, 2, kManyEffectArguments},
    {"PFMERGE", ApplyMerge, 2, kManyEffectArguments},
    {"PFCOUNT", ApplyCount, 2, kManyEffectArguments},
    {"PFDEBUG", ApplyDebug, 3, 3},
};

}  // namespace

std::span<const EffectEntry> HyperLogLogEffects() { return kEntries; }

}  // namespace holdfast
