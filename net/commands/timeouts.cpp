#include "net/commands/timeouts.h"

#include <cmath>
#include <limits>
#include <utility>

#include "net/server.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

// 0: for ever.
int64_t DeadlineAfter(CommandContext& context, int64_t delay_ms) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (delay_ms == 0) return 0;
  const int64_t now_ms = context.server.MonotonicMs();
  return delay_ms > kMax - now_ms ? kMax : now_ms + delay_ms;
}

}  // namespace

std::optional<int64_t> ReadDeadline(CommandContext& context, std::string_view timeout) {
  const auto seconds = ParseLongDouble(timeout);
  if (!seconds) {
    context.reply.Error("ERR timeout is not a float or out of range");
    return std::nullopt;
  }
  const long double wait_ms = std::ceil(*seconds * 1000.0L);
  // Beyond what 64 bits hold it counts as negative, as in Redis.
  if (wait_ms < 0 || wait_ms >= 9223372036854775808.0L) {
    context.reply.Error("ERR timeout is negative");
    return std::nullopt;
  }
  return DeadlineAfter(context, static_cast<int64_t>(wait_ms));
}

std::optional<int64_t> ReadDeadlineMs(CommandContext& context, std::string_view timeout) {
  const auto delay_ms = ParseInteger(timeout);
  if (!delay_ms) {
    context.reply.Error("ERR timeout is not an integer or out of range");
    return std::nullopt;
  }
  if (*delay_ms < 0) {
    context.reply.Error("ERR timeout is negative");
    return std::nullopt;
  }
  return DeadlineAfter(context, *delay_ms);
}

void WaitForKeys(CommandContext& context, std::span<const std::string_view> keys, int64_t deadline_ms,
                 std::function<bool(Transaction&, std::string_view, Reply&)> serve,
                 std::function<void(Reply&)> missing) {
  if (context.in_exec) return context.reply.NullArray();
  Blocking::KeyWait wait;
  wait.db = context.client.db;
  wait.keys.assign(keys.begin(), keys.end());
  wait.deadline_ms = deadline_ms;
  wait.serve = std::move(serve);
  wait.missing = std::move(missing);
  wait.timed_out = [](Reply& reply) { reply.NullArray(); };
  context.server.blocking().BlockOnKeys(context.client, std::move(wait));
}

}  // namespace holdfast::net
