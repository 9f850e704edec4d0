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
  // Looked for from `index` on; the keys are the first half of what follows it. Empty: the keys are at `index`.
  std::string_view keyword = {};
};

[[nodiscard]] std::vector<KeySpecFact> KeySpecsOf(const CommandSpec& spec);
[[nodiscard]] std::span<const std::string_view> TipsOf(std::string_view command);

}  // namespace holdfast::net
