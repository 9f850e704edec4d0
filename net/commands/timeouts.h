// Timeouts of commands that wait for keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "net/command.h"

namespace holdfast::net {

// A timeout in seconds, fractions allowed, as a monotonic deadline in ms; 0 for "for ever". Nothing, and the reply is
// written, if it cannot be one.
[[nodiscard]] std::optional<int64_t> ReadDeadline(CommandContext& context, std::string_view timeout);

}  // namespace holdfast::net
