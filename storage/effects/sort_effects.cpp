#include "storage/effects/effect_entries.h"
#include "storage/types/sorting.h"

namespace holdfast {
namespace {

// Of a Redis master; our own effects say what came out.
Result<void> ApplySort(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto options, sorting::Parse(arguments.subspan(2), true));
  if (!options.target) return {};
  const auto stored = sorting::SortAndStore(transaction, arguments[1], options);
  if (!stored.ok()) return stored.error();
  return {};
}

constexpr EffectEntry kEntries[] = {{"SORT", ApplySort, 2, kManyEffectArguments}};

}  // namespace

std::span<const EffectEntry> SortEffects() { return kEntries; }

}  // namespace holdfast
