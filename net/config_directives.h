// One row a directive: how its words become a setting and back. net/config_table.cpp has those with a meaning here, of
// which net/config_special.cpp keeps those with rules of their own; net/config_ignored.cpp has those of Redis without
// one.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/config.h"
#include "storage/base/result.h"

namespace holdfast::net {

enum DirectiveFlag : uint32_t {
  kImmutable = 1u << 0,    // not by CONFIG SET
  kProtected = 1u << 1,    // by CONFIG SET only with enable-protected-configs
  kManyWords = 1u << 2,    // takes the rest of the line
  kIgnored = 1u << 3,      // Redis knows it, it means nothing here
  kHidden = 1u << 4,       // not in CONFIG GET (rename-command)
  kAccumulates = 1u << 5,  // several lines add up (save, rename-command, client-output-buffer-limit)
};

struct Directive {
  std::string_view name;
  std::string_view alias;  // the older spelling, or empty
  uint32_t flags = 0;
  // Applies the words behind the name. `first`: the first line of this directive in this load, or a CONFIG SET.
  std::function<Result<void>(Settings&, std::span<const std::string> words, bool first)> set;
  // As CONFIG GET prints it.
  std::function<std::string(const Settings&)> get;
  // Lines for CONFIG REWRITE, without the name; none: the directive is left out.
  std::function<std::vector<std::string>(const Settings&)> lines;
};

// All directives, sorted by name.
[[nodiscard]] const std::vector<Directive>& Directives();
// By name or alias, in any case; null if unknown.
[[nodiscard]] const Directive* FindDirective(std::string_view name);

// Rows of config_ignored.cpp, and of config_special.cpp.
[[nodiscard]] std::vector<Directive> IgnoredDirectives();
[[nodiscard]] std::vector<Directive> SpecialDirectives();

// Building blocks of both tables. The texts are Redis'.
namespace directive {
Result<bool> ParseBool(std::string_view text);
Result<int64_t> ParseNumber(std::string_view text, int64_t low, int64_t high);
Result<uint64_t> ParseBytes(std::string_view text, uint64_t low, uint64_t high);
Result<std::string> ParseChoice(std::string_view text, std::span<const std::string_view> choices);
Error Bad(std::string message);
// What CONFIG REWRITE writes for most.
std::vector<std::string> OneLine(std::string line);
}  // namespace directive

}  // namespace holdfast::net
