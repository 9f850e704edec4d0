// Parts of the table of effects, by type. effect_table.cpp joins them.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <string_view>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast {

using EffectArguments = std::span<const std::string_view>;

struct EffectEntry {
  std::string_view name;  // upper case
  Result<void> (*apply)(Transaction&, EffectArguments);
  size_t arguments_min;  // the name included
  size_t arguments_max;
};

inline constexpr size_t kManyEffectArguments = std::numeric_limits<size_t>::max();

std::span<const EffectEntry> HashEffects();         // hash_effects.cpp
std::span<const EffectEntry> SetEffects();          // set_effects.cpp
std::span<const EffectEntry> ListEffects();         // list_effects.cpp
std::span<const EffectEntry> SortedSetEffects();    // sorted_set_effects.cpp
std::span<const EffectEntry> GeoEffects();          // geo_effects.cpp
std::span<const EffectEntry> SortEffects();         // sort_effects.cpp
std::span<const EffectEntry> HyperLogLogEffects();  // hyperloglog_effects.cpp
std::span<const EffectEntry> StreamEffects();       // stream_effects.cpp
std::span<const EffectEntry> PayloadEffects();      // payload_effects.cpp

}  // namespace holdfast
