// SLOWLOG and LATENCY.
#include <fmt/format.h>

#include <algorithm>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

// ---- SLOWLOG -------------------------------------------------------------------------------------------------------

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

// ---- LATENCY -------------------------------------------------------------------------------------------------------

void Latest(CommandContext& context) {
  const auto& events = context.server.monitoring().latency();
  context.reply.Array(events.size());
  for (const auto& [name, event] : events) {
    context.reply.Array(4);
    context.reply.Bulk(name);
    context.reply.Integer(event.samples.empty() ? 0 : event.samples.back().time_s);
    context.reply.Integer(event.samples.empty() ? 0 : event.samples.back().ms);
    context.reply.Integer(event.max_ms);
  }
}

void History(CommandContext& context) {
  const auto& events = context.server.monitoring().latency();
  const auto found = events.find(std::string(context.arg(2)));
  if (found == events.end()) return context.reply.Array(0);
  context.reply.Array(found->second.samples.size());
  for (const LatencyEvent::Sample& sample : found->second.samples) {
    context.reply.Array(2);
    context.reply.Integer(sample.time_s);
    context.reply.Integer(sample.ms);
  }
}

void Reset(CommandContext& context) {
  auto& events = context.server.monitoring().latency();
  size_t reset = 0;
  if (context.argc() == 2) {
    reset = events.size();
    events.clear();
  }
  for (const std::string_view name : context.args.subspan(2)) reset += events.erase(std::string(name));
  context.reply.Integer(static_cast<int64_t>(reset));
}

// Only buckets that hold something more than the one before, counts cumulated, as Redis prints them.
void ReplyHistogram(Reply& reply, const CommandSpec& spec) {
  std::vector<std::pair<uint64_t, uint64_t>> buckets;
  uint64_t total = 0;
  for (size_t i = 0; i < spec.latency.size(); ++i) {
    total += spec.latency[i];
    if (spec.latency[i] > 0) buckets.emplace_back(uint64_t{1} << i, total);
  }
  reply.Bulk(spec.name);
  reply.Map(2);
  reply.Bulk("calls");
  reply.Integer(static_cast<int64_t>(total));
  reply.Bulk("histogram_usec");
  reply.Map(buckets.size());
  for (const auto& [bound, count] : buckets) {
    reply.Integer(static_cast<int64_t>(bound));
    reply.Integer(static_cast<int64_t>(count));
  }
}

void Histogram(CommandContext& context) {
  std::vector<const CommandSpec*> shown;
  const auto add = [&shown](const CommandSpec& spec) {
    if (spec.calls > 0 && std::find(shown.begin(), shown.end(), &spec) == shown.end()) shown.push_back(&spec);
  };
  const auto add_with_subcommands = [&add](const CommandSpec& spec) {
    add(spec);
    for (const CommandSpec& sub : spec.subcommands) add(sub);
  };
  if (context.argc() == 2) {
    for (const CommandSpec& spec : context.server.commands().all()) add_with_subcommands(spec);
  }
  for (const std::string_view name : context.args.subspan(2)) {
    const size_t bar = name.find('|');
    const CommandSpec* spec = context.server.commands().Find(name.substr(0, bar));
    if (spec == nullptr) continue;
    if (bar == std::string_view::npos) {
      add_with_subcommands(*spec);
    } else if (const CommandSpec* sub = CommandTable::FindSubcommand(*spec, name.substr(bar + 1))) {
      add(*sub);
    }
  }
  context.reply.Map(shown.size());
  for (const CommandSpec* spec : shown) ReplyHistogram(context.reply, *spec);
}

void Doctor(CommandContext& context) {
  const auto& events = context.server.monitoring().latency();
  if (context.server.config().settings().latency_monitor_threshold == 0) {
    return context.reply.Verbatim("txt",
                                  "Latency events are not recorded. \"CONFIG SET latency-monitor-threshold "
                                  "<milliseconds>\" starts it.\n");
  }
  std::string text = events.empty() ? "Nothing took longer than the threshold so far.\n" : "";
  for (const auto& [name, event] : events) {
    int64_t total = 0;
    for (const LatencyEvent::Sample& sample : event.samples) total += sample.ms;
    const auto count = static_cast<int64_t>(event.samples.size());
    fmt::format_to(std::back_inserter(text), "{}: {} times, {} ms on average, {} ms at most.\n", name, count,
                   count == 0 ? 0 : total / count, event.max_ms);
  }
  context.reply.Verbatim("txt", text);
}

void LatencyHelp(CommandContext& context) {
  ReplyHelp(context, "LATENCY",
            {"DOCTOR", "    Sums the recorded events up.", "HISTOGRAM [<command> ...]",
             "    Shows how long commands took.", "HISTORY <event>", "    Shows the samples of an event.", "LATEST",
             "    Shows the newest sample of each event.", "RESET [<event> ...]", "    Forgets samples."});
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

CommandSpec LatencyContainer() {
  constexpr uint32_t kFlags = kAdmin | kNoScript | kLoading | kStale | kNoTransaction;
  return MakeContainer(
      "latency", {"Keeps what took long.", "2.8.13", "server", "depends on the subcommand", ""},
      {
          MakeCommand("latency|doctor", 2, kFlags, 0, kNoKeys, Doctor,
                      {"Sums the recorded events up.", "2.8.13", "server", "O(N) with N the samples", ""}),
          MakeCommand("latency|histogram", -2, kFlags, 0, kNoKeys, Histogram,
                      {"Shows how long commands took.", "7.0.0", "server", "O(N) with N the commands",
                       "[command [command ...]]"}),
          MakeCommand("latency|history", 3, kFlags, 0, kNoKeys, History,
                      {"Shows the samples of an event.", "2.8.13", "server", "O(1)", "event"}),
          MakeCommand("latency|latest", 2, kFlags, 0, kNoKeys, Latest,
                      {"Shows the newest sample of each event.", "2.8.13", "server", "O(1)", ""}),
          MakeCommand("latency|reset", -2, kFlags, 0, kNoKeys, Reset,
                      {"Forgets samples.", "2.8.13", "server", "O(1)", "[event [event ...]]"}),
          MakeCommand("latency|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, LatencyHelp,
                      {"Explains the subcommands.", "2.8.13", "server", "O(1)", ""}),
      });
}

}  // namespace holdfast::net
