// SLOWLOG.
#include <algorithm>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

void SlowlogGet(CommandContext& context) {
  if (context.argc() > 3) {
    return context.reply.Error("ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
  }
  const auto& entries = context.server.monitoring().slowlog();
  int64_t wanted = 10;
  if (context.argc() == 3) {
    Arguments arguments(context.args, 2);
    constexpr std::string_view kBad = "ERR count should be greater than or equal to -1";
    wanted = arguments.NextInteger(-1, INT64_MAX, kBad, kBad);
    if (arguments.Refused(context.reply)) return;
  }
  size_t count = entries.size();
  if (wanted >= 0) count = std::min(count, static_cast<size_t>(wanted));
  context.reply.Array(count);
  for (size_t i = 0; i < count; ++i) {
    const SlowLogEntry& entry = entries[i];
    context.reply.Array(6);
    context.reply.Integer(static_cast<int64_t>(entry.id));
    context.reply.Integer(entry.time_s);
    context.reply.Integer(entry.duration_us);
    context.reply.Array(entry.arguments.size());
    for (const std::string& argument : entry.arguments) context.reply.Bulk(argument);
    context.reply.Bulk(entry.peer);
    context.reply.Bulk(entry.name);
  }
}

void SlowlogLen(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.server.monitoring().slowlog().size()));
}

void SlowlogReset(CommandContext& context) {
  context.server.monitoring().ResetSlowlog();
  context.reply.Ok();
}

void SlowlogHelp(CommandContext& context) {
  ReplyHelp(context, "SLOWLOG",
            {"GET [<count>]", "    Shows the newest slow commands (10, or -1 for all).", "LEN",
             "    Counts the slow commands kept.", "RESET", "    Forgets them."});
}

}  // namespace

CommandSpec SlowlogContainer() {
  constexpr uint32_t kFlags = kAdmin | kLoading | kStale | kNoTransaction;
  return MakeContainer(
      "slowlog", {"Keeps the slowest commands.", "2.2.12", "server", "depends on the subcommand", ""},
      {
          MakeCommand(
              "slowlog|get", -2, kFlags, 0, kNoKeys, SlowlogGet,
              {"Shows the newest slow commands.", "2.2.12", "server", "O(N) with N the entries shown", "[count]"}),
          MakeCommand("slowlog|len", 2, kFlags, 0, kNoKeys, SlowlogLen,
                      {"Counts the slow commands kept.", "2.2.12", "server", "O(1)", ""}),
          MakeCommand("slowlog|reset", 2, kFlags, 0, kNoKeys, SlowlogReset,
                      {"Forgets the slow commands kept.", "2.2.12", "server", "O(N) with N the entries", ""}),
          MakeCommand("slowlog|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, SlowlogHelp,
                      {"Explains the subcommands.", "6.2.0", "server", "O(1)", ""}),
      });
}

}  // namespace holdfast::net
