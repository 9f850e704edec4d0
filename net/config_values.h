// Values of configuration lines, by the rules of redis.conf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::net {

// "64mb", "1g", "100": k m g are powers of 1000, kb mb gb of 1024.
[[nodiscard]] std::optional<uint64_t> ParseMemory(std::string_view text);
// The shortest exact form ("64mb", "1000").
[[nodiscard]] std::string FormatMemory(uint64_t bytes);

[[nodiscard]] std::string LowerCase(std::string_view text);

}  // namespace holdfast::net
