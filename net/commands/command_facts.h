// What COMMAND INFO says beyond the command table: tips for clients and what is done to the keys.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "net/command.h"

namespace holdfast::net {

// A range of key arguments. `flags` are words: what is done to them.
struct KeySpecFact {
  std::string_view flags;
  int index;  // of the first
  int last;   // relative to the first; negative: from the end
  int step;
  std::string_view notes;
  bool counted = false;  // at `index` stands the number of keys, which follow it
  // Looked for from `index` on (negative: backwards, from the end); the keys follow it. Empty: the keys are at `index`.
  std::string_view keyword = {};
  int limit = 0;         // 2: the keys are the first half of what follows
  bool unknown = false;  // which keys these are no rule says
};

[[nodiscard]] std::vector<KeySpecFact> KeySpecsOf(const CommandSpec& spec);
// Whether any of the arguments that key specifications speak of are keys, and not channels.
[[nodiscard]] bool HasKeys(const CommandSpec& spec);
// What is done to the key at this index of these arguments, in words as in KeySpecFact.
[[nodiscard]] std::string_view UseOfKey(const CommandSpec& spec, std::span<const std::string_view> args, int index);
[[nodiscard]] std::span<const std::string_view> TipsOf(std::string_view command);

}  // namespace holdfast::net
