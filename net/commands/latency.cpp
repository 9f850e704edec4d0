// LATENCY: events that took longer than latency-monitor-threshold, and histograms of commands.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

using Samples = std::deque<LatencyEvent::Sample>;

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

// ---- GRAPH ---------------------------------------------------------------------------------------------------------

constexpr size_t kGraphColumns = 80;
constexpr int kGraphRows = 4;

// "17s", "3m", "2h" or "5d" ago.
std::string Age(int64_t seconds) {
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  return seconds < 86400 ? fmt::format("{}h", seconds / 3600) : fmt::format("{}d", seconds / 86400);
}

// Draws samples as columns of characters, each with its age below, read downwards.
void AppendColumns(std::string& text, const Samples& samples, size_t from, size_t count, int64_t low, int64_t high,
                   int64_t now_s) {
  constexpr std::string_view kTops = "_o#";  // of a column: low, middle and high part of a line
  constexpr auto kParts = static_cast<int64_t>(kTops.size());
  constexpr int64_t kSteps = kParts * kGraphRows;
  const int64_t range = std::max<int64_t>(high - low, 1);
  for (int row = 0; row < kGraphRows; ++row) {
    for (size_t i = from; i < from + count; ++i) {
      const int64_t step = std::min((samples[i].ms - low) * kSteps / range, kSteps - 1);
      const int64_t part = step - (kGraphRows - 1 - row) * kParts;
      text += part < 0 ? ' ' : part < kParts ? kTops[static_cast<size_t>(part)] : '|';
    }
    text += '\n';
  }
  text.append(count, ' ');
  text += '\n';
  std::vector<std::string> ages;
  size_t longest = 0;
  for (size_t i = from; i < from + count; ++i) {
    ages.push_back(Age(now_s - samples[i].time_s));
    longest = std::max(longest, ages.back().size());
  }
  for (size_t line = 0; line < longest; ++line) {
    for (const std::string& age : ages) text += line < age.size() ? age[line] : ' ';
    text += '\n';
  }
}

void Graph(CommandContext& context) {
  const auto& events = context.server.monitoring().latency();
  const auto found = events.find(std::string(context.arg(2)));
  if (found == events.end()) {
    return context.reply.Error(fmt::format("ERR No samples available for event '{}'", context.arg(2)));
  }
  const Samples& samples = found->second.samples;
  const auto less = [](const LatencyEvent::Sample& a, const LatencyEvent::Sample& b) { return a.ms < b.ms; };
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end(), less);
  std::string text = fmt::format("{} - high {} ms, low {} ms (all time high {} ms)\n", found->first, high->ms, low->ms,
                                 found->second.max_ms);
  text.append(kGraphColumns, '-');
  text += '\n';
  const int64_t now_s = context.server.clock().WallMs() / 1000;
  for (size_t from = 0; from < samples.size(); from += kGraphColumns) {
    if (from > 0) text += '\n';
    AppendColumns(text, samples, from, std::min(kGraphColumns, samples.size() - from), low->ms, high->ms, now_s);
  }
  context.reply.Verbatim("txt", text);
}

// ---- DOCTOR --------------------------------------------------------------------------------------------------------

struct Advice {
  std::string_view event, text;
};
constexpr Advice kAdvice[] = {
    {"command", "SLOWLOG GET names the commands. Those that are O(N) on large values are better split or avoided."},
    {"fast-command",
     "Fast commands were slow: the machine is short of processor time or memory. Look at its load, at swapping and at "
     "INFO's holdfast_turn_usec_histogram."},
    {"log-sync",
     "The disk was slow to sync. Look for other writers on it; a disk of its own for the log, or appendfsync everysec, "
     "helps."},
};

void AppendDiagnosis(std::string& text, size_t number, const std::string& name, const LatencyEvent& event,
                     int64_t now_s) {
  const Samples& samples = event.samples;
  const auto count = static_cast<int64_t>(samples.size());
  int64_t total = 0;
  for (const LatencyEvent::Sample& sample : samples) total += sample.ms;
  const int64_t average = total / count;
  int64_t deviation = 0;
  for (const LatencyEvent::Sample& sample : samples) deviation += std::abs(sample.ms - average);
  const double period = static_cast<double>(now_s - samples.front().time_s) / static_cast<double>(count);
  fmt::format_to(
      std::back_inserter(text),
      "{}. {}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2f} sec). Worst all time event "
      "{}ms.\n",
      number, name, count, average, deviation / count, period, event.max_ms);
}

void Doctor(CommandContext& context) {
  const auto& events = context.server.monitoring().latency();
  if (context.server.config().settings().latency_monitor_threshold == 0 && events.empty()) {
    return context.reply.Verbatim("txt",
                                  "Latency events are not recorded. \"CONFIG SET latency-monitor-threshold "
                                  "<milliseconds>\" starts it.\n");
  }
  const int64_t now_s = context.server.clock().WallMs() / 1000;
  std::string text = events.empty() ? "Nothing took longer than the threshold so far.\n" : "";
  std::string advice;
  size_t number = 0;
  for (const auto& [name, event] : events) {
    AppendDiagnosis(text, ++number, name, event, now_s);
    for (const Advice& one : kAdvice) {
      if (one.event == name) fmt::format_to(std::back_inserter(advice), "- {}\n", one.text);
    }
  }
  if (!advice.empty()) text += "\n" + advice;
  context.reply.Verbatim("txt", text);
}

void LatencyHelp(CommandContext& context) {
  ReplyHelp(context, "LATENCY",
            {"DOCTOR", "    Sums the recorded events up.", "GRAPH <event>", "    Draws the samples of an event.",
             "HISTOGRAM [<command> ...]", "    Shows how long commands took.", "HISTORY <event>",
             "    Shows the samples of an event.", "LATEST", "    Shows the newest sample of each event.",
             "RESET [<event> ...]", "    Forgets samples."});
}

}  // namespace

CommandSpec LatencyContainer() {
  constexpr uint32_t kFlags = kAdmin | kNoScript | kLoading | kStale | kNoTransaction;
  return MakeContainer(
      "latency", {"Keeps what took long.", "2.8.13", "server", "depends on the subcommand", ""},
      {
          MakeCommand("latency|doctor", 2, kFlags, 0, kNoKeys, Doctor,
                      {"Sums the recorded events up.", "2.8.13", "server", "O(N) with N the samples", ""}),
          MakeCommand("latency|graph", 3, kFlags, 0, kNoKeys, Graph,
                      {"Draws the samples of an event.", "2.8.13", "server", "O(1)", "event"}),
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
