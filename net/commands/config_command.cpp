// CONFIG GET, SET, RESETSTAT, REWRITE.
#include <fmt/format.h>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/base/diag.h"

namespace holdfast::net {
namespace {

void Get(CommandContext& context) {
  const auto patterns = context.args.subspan(2);
  const auto found = context.server.config().Get({patterns.begin(), patterns.end()});
  context.reply.Map(found.size());
  for (const auto& [name, value] : found) {
    context.reply.Bulk(name);
    context.reply.Bulk(value);
  }
}

void Set(CommandContext& context) {
  if (context.argc() % 2 != 0) return context.reply.Error(kSyntaxError);
  std::vector<std::pair<std::string_view, std::string_view>> values;
  for (size_t i = 2; i + 1 < context.argc(); i += 2) values.emplace_back(context.arg(i), context.arg(i + 1));
  const auto done = context.server.config().Set(values);
  if (!done.ok()) return context.reply.Error(done.error());
  // What other parts took from the settings when they were made.
  const Settings& settings = context.server.config().settings();
  diag::SetLevel(settings.loglevel);
  context.server.engine().SetBacklogBytes(settings.repl_backlog_size);
  context.server.AdoptKeyEvents();
  context.reply.Ok();
}

void ResetStat(CommandContext& context) {
  Monitoring& monitoring = context.server.monitoring();
  const Stats old = monitoring.stats;
  monitoring.stats = Stats{};
  // Not statistics but state.
  monitoring.stats.changes_since_save = old.changes_since_save;
  monitoring.stats.last_save_s = old.last_save_s;
  monitoring.stats.last_save_ok = old.last_save_ok;
  monitoring.stats.last_save_duration_s = old.last_save_duration_s;
  monitoring.stats.saving = old.saving;
  monitoring.stats.save_started_ms = old.save_started_ms;
  monitoring.stats.save_tried_ms = old.save_tried_ms;
  monitoring.turn_us = monitoring.sync_us = monitoring.command_us = DurationHistogram{};
  const auto forget = [](const CommandSpec& spec) {
    spec.calls = spec.usec = spec.rejected = spec.failed = 0;
    spec.latency = {};
  };
  for (const CommandSpec& spec : context.server.commands().all()) {
    forget(spec);
    for (const CommandSpec& sub : spec.subcommands) forget(sub);
  }
  context.reply.Ok();
}

void Rewrite(CommandContext& context) {
  // From now on an empty directory under this configuration is an accident.
  if (context.server.log().DurableOffset() > 0) context.server.config().mutable_settings().expect_data = true;
  const auto done = context.server.config().Rewrite(context.server.fs());
  if (done.ok()) {
    context.server.replication().ConfigRewritten();
    return context.reply.Ok();
  }
  if (context.server.config().file_path().empty()) return context.reply.Error(done.error());
  diag::Warning("CONFIG REWRITE failed: {}", done.error().message);
  context.reply.Error(fmt::format("ERR Rewriting config file: {}", done.error().message));
}

void Help(CommandContext& context) {
  ReplyHelp(context, "CONFIG",
            {"GET <pattern> [<pattern> ...]", "    Lists directives that match, with their values.",
             "SET <directive> <value> [<directive> <value> ...]", "    Changes directives, all or none of them.",
             "RESETSTAT", "    Sets the counters of INFO to zero.", "REWRITE",
             "    Brings the configuration file up to date with what is in force."});
}

}  // namespace

CommandSpec ConfigContainer() {
  constexpr uint32_t kFlags = kAdmin | kNoScript | kLoading | kStale | kNoTransaction;
  return MakeContainer(
      "config", {"Reads and changes the configuration.", "2.0.0", "server", "depends on the subcommand", ""},
      {
          MakeCommand("config|get", -3, kFlags, 0, kNoKeys, Get,
                      {"Lists directives with their values.", "2.0.0", "server", "O(N) with N the directives",
                       "parameter [parameter ...]"}),
          MakeCommand("config|set", -4, kFlags, 0, kNoKeys, Set,
                      {"Changes directives, all or none of them.", "2.0.0", "server", "O(N) with N the directives",
                       "parameter value [parameter value ...]"}),
          MakeCommand("config|resetstat", 2, kFlags, 0, kNoKeys, ResetStat,
                      {"Sets the counters of INFO to zero.", "2.0.0", "server", "O(1)", ""}),
          MakeCommand(
              "config|rewrite", 2, kFlags, 0, kNoKeys, Rewrite,
              {"Brings the configuration file up to date.", "2.8.0", "server", "O(N) with N the directives", ""}),
          MakeCommand("config|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, Help,
                      {"Explains the subcommands.", "5.0.0", "server", "O(1)", ""}),
      });
}

}  // namespace holdfast::net
