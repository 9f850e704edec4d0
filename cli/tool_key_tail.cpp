#include "cli/tool_key_tail.h"

#include <algorithm>

#include "cli/tool_log.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

// More keys than this were not asked for by anybody: reading everything is not dearer then.
constexpr size_t kKeysMax = 10'000;

}  // namespace

Result<void> KeyTail::Add(const EffectUnits& given) {
  LogUnits units;
  units.offset = given.offset;
  units.selected_db = given.selected_db;
  units.time_ms = given.time_ms;
  units.bytes = given.bytes;
  Result<void> added;
  ASSIGN_OR_RETURN(const bool whole, VisitEffects(units, [&](const LogEffect& effect) -> Result<bool> {
                     const size_t at = static_cast<size_t>(effect.offset - units.offset);
                     added = AddOne(effect, units.bytes.substr(at, effect.bytes));
                     return added.ok();
                   }));
  (void)whole;
  return added;
}

Result<void> KeyTail::AddOne(const LogEffect& effect, std::string_view bytes) {
  const std::vector<std::string_view>& arguments = *effect.arguments;
  const std::string_view name = arguments.front();
  const auto refuse = [&]() -> Result<void> {
    refused_ = true;
    return Error{ErrorCode::kUnsupported, "what " + std::string(name.substr(0, 32)) + " reads cannot be told from it"};
  };
  bool whole = false;
  bool known = true;
  const std::vector<std::string_view> touched = KeysOfEffect(arguments, &whole, &known);
  if (!known && !IsFunctionCommand(name)) return refuse();
  if (EqualsIgnoreCase(name, "SORT")) {
    // BY and GET name keys by patterns.
    const bool wanted = std::any_of(arguments.begin() + 1, arguments.end(), [&](auto word) { return Has(word); });
    return wanted ? refuse() : Result<void>();
  }
  if (!whole && std::none_of(touched.begin(), touched.end(), [&](std::string_view key) { return Has(key); })) return {};
  for (const std::string_view key : touched) grew_ |= keys_.emplace(key).second;
  if (keys_.size() > kKeysMax) return refuse();
  if (!grew_) kept_.push_back({effect.offset, effect.db, effect.time_ms, std::string(bytes)});
  return {};
}

Result<void> KeyTail::Apply(Applier& applier) const {
  for (const Kept& kept : kept_) RETURN_IF_ERROR(applier.Apply({kept.offset, kept.db, kept.time_ms, kept.bytes}));
  return {};
}

}  // namespace holdfast::cli
