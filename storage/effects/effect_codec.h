// Effects as bytes: RESP arrays of bulk strings, the form in which Redis sends commands to replicas. Canonical: decimal
// numbers without leading zeros, nothing between the parts, at least one argument.
//
//   effect   = "*" count CRLF argument ...       count: 1 .. kEffectArgumentsMax
//   argument = "$" length CRLF bytes CRLF        length: 0 .. kEffectArgumentMax
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace holdfast {

inline constexpr uint64_t kEffectArgumentsMax = 1u << 24;
inline constexpr uint64_t kEffectArgumentMax = 1ull << 32;

void AppendEffect(std::string& to, std::span<const std::string_view> arguments);
// How many bytes that appends.
[[nodiscard]] uint64_t EffectSize(std::span<const std::string_view> arguments);

// Takes the effect at the front of `bytes`: fills `arguments` with views into `bytes` and returns how many bytes it
// has; nullopt if its end has not come yet. kCorruption as soon as what is there cannot become an effect. Never
// believes a length before the bytes are there: memory is bounded by the bytes given.
Result<std::optional<size_t>> ParseEffect(std::string_view bytes, std::vector<std::string_view>& arguments);

// The database selected behind these effects, where `db` was selected before them; nullopt if they are no whole
// effects.
[[nodiscard]] std::optional<int> SelectedDbBehind(std::string_view effects, int db);

}  // namespace holdfast
