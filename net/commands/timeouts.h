// What commands that wait for keys share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "net/command.h"

namespace holdfast::net {

// A timeout in seconds, fractions allowed, as a monotonic deadline in ms; 0 for "for ever". Nothing, and the reply is
// written, if it cannot be one.
[[nodiscard]] std::optional<int64_t> ReadDeadline(CommandContext& context, std::string_view timeout);

// The same for a timeout in whole milliseconds.
[[nodiscard]] std::optional<int64_t> ReadDeadlineMs(CommandContext& context, std::string_view timeout);

// Lets the client wait until `serve` does its work on one of the keys (Blocking::KeyWait) or the deadline passes, which
// is answered with a null array. Inside of EXEC nobody waits: what the timeout would answer is the answer. `missing`,
// if given, answers when one of the keys goes.
void WaitForKeys(CommandContext& context, std::span<const std::string_view> keys, int64_t deadline_ms,
                 std::function<bool(Transaction&, std::string_view, Reply&)> serve,
                 std::function<void(Reply&)> missing = {});

}  // namespace holdfast::net
