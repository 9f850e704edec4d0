// The family of server commands, and the small ones among them: TIME, MONITOR, LOLWUT.
#include "net/server.h"

#include <fmt/format.h>

#include <iterator>

#include "net/command.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"

namespace holdfast::net {
namespace {

void Time(CommandContext& context) {
  // Redis has microseconds; the clock here has milliseconds, refined by how far the monotonic clock is within one.
  const int64_t wall_ms = context.server.clock().WallMs();
  context.reply.Array(2);
  context.reply.Bulk(fmt::format("{}", wall_ms / 1000));
  context.reply.Bulk(fmt::format("{}", wall_ms % 1000 * 1000 + context.server.clock().MonotonicUs() % 1000));
}

void Monitor(CommandContext& context) {
  if (context.in_exec) return context.reply.Error("ERR MONITOR isn't allowed for DENY BLOCKING client");
  Client& client = context.client;
  if (!client.monitor && client.kind != ClientKind::kReplica) {
    client.monitor = true;
    context.server.monitoring().AddMonitor(client.id);
  }
  context.reply.Ok();
}

void Lolwut(CommandContext& context) {
  context.reply.Verbatim("txt", fmt::format("Holdfast ver. {}\n", HOLDFAST_VERSION));
}

}  // namespace

std::vector<CommandSpec> ServerCommands() {
  std::vector<CommandSpec> rows = PersistenceCommands();
  rows.push_back(InfoCommand());
  rows.push_back(ConfigContainer());
  rows.push_back(CommandContainer());
  rows.push_back(DebugCommand());
  rows.push_back(MemoryContainer());
  rows.push_back(SlowlogContainer());
  rows.push_back(LatencyContainer());
  rows.push_back(MakeCommand("time", 1, kLoading | kStale | kFast | kNoTransaction, 0, kNoKeys, Time,
                             {"Tells the time.", "2.6.0", "server", "O(1)", ""}));
  rows.push_back(MakeCommand("monitor", 1, kAdmin | kNoScript | kLoading | kStale | kNoTransaction, 0, kNoKeys, Monitor,
                             {"Shows all commands as they come.", "1.0.0", "server", "O(1)", ""}));
  rows.push_back(MakeCommand("lolwut", -1, kReadOnly | kFast | kNoTransaction, 0, kNoKeys, Lolwut,
                             {"Tells the version.", "5.0.0", "server", "O(1)", "[VERSION version]"}));
  return rows;
}

}  // namespace holdfast::net
