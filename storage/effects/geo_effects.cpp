#include "storage/effects/effect_entries.h"
#include "storage/types/geo.h"

namespace holdfast {
namespace {

// Of a Redis master; our own effects say what was found. Forms that do not store are no effects.
template <geo::Command command>
Result<void> ApplySearch(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto set, SortedSetReader::Open(transaction, arguments[geo::SourceIndex(command)]));
  const SortedSetReader* reader = set ? &*set : nullptr;
  ASSIGN_OR_RETURN(const auto query, geo::ParseQuery(arguments, command, true, reader));
  if (!query.target) return {};
  const auto stored = geo::SearchAndStore(transaction, command, reader, query);
  if (!stored.ok()) return stored.error();
  return {};
}

constexpr EffectEntry kEntries[] = {
    {"GEOSEARCHSTORE", ApplySearch<geo::Command::kSearchStore>, 8, kManyEffectArguments},
    {"GEORADIUS", ApplySearch<geo::Command::kRadius>, 6, kManyEffectArguments},
    {"GEORADIUSBYMEMBER", ApplySearch<geo::Command::kRadiusByMember>, 5, kManyEffectArguments},
};

}  // namespace

std::span<const EffectEntry> GeoEffects() { return kEntries; }

}  // namespace holdfast
