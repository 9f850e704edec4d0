// SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, SHUTDOWN.
#include <memory>
#include <optional>
#include <string>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/saving.h"
#include "net/server.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

constexpr std::string_view kSaveRunning = "ERR Background save already in progress";

// What a client waits for that is answered by a callback.
struct Outcome {
  std::optional<Result<void>> result;
};

void ReplyOutcome(Reply& reply, const Result<void>& result) {
  if (result.ok()) return reply.Ok();
  reply.Error(result.error());
}

// Blocks this client, and nobody else, until the outcome is there.
void WaitFor(CommandContext& context, const std::shared_ptr<Outcome>& outcome, Client::Blocked kind) {
  if (outcome->result) return ReplyOutcome(context.reply, *outcome->result);
  context.server.blocking().Block(
      context.client, {.kind = kind,
                       .ready = [outcome] { return outcome->result.has_value(); },
                       .answer =
                           [outcome](Client& client) {
                             Reply reply(client.output.bytes, client.resp);
                             if (outcome->result) return ReplyOutcome(reply, *outcome->result);
                             reply.Error("ERR the wait for the snapshot was ended; it goes on in the background");
                           }});
}

void Save(CommandContext& context) {
  if (context.server.engine().SnapshotRunning()) return context.reply.Error(kSaveRunning);
  auto outcome = std::make_shared<Outcome>();
  const auto started = StartSaving(context.server, [&server = context.server, outcome](Result<void> result) {
    outcome->result = std::move(result);
    server.blocking().Recheck();
  });
  if (!started.ok()) return context.reply.Error(started.error());
  WaitFor(context, outcome, Client::Blocked::kWait);
}

void BgSave(CommandContext& context) {
  if (context.argc() > 2 || (context.argc() == 2 && !EqualsIgnoreCase(context.arg(1), "schedule"))) {
    return context.reply.Error(kSyntaxError);
  }
  if (context.server.engine().SnapshotRunning()) return context.reply.Error(kSaveRunning);
  const auto started = StartSaving(context.server, {});
  if (!started.ok()) return context.reply.Error(started.error());
  context.reply.Status("Background saving started");
}

// There is no file to rewrite; what the command is for, a short log, is a checkpoint's work.
void BgRewriteAof(CommandContext& context) {
  context.server.engine().RequestCheckpoint();
  context.reply.Status("Background append only file rewriting started");
}

void LastSave(CommandContext& context) { context.reply.Integer(context.server.monitoring().stats.last_save_s); }

std::optional<ShutdownOptions> ParseShutdown(CommandContext& context) {
  ShutdownOptions options;
  Arguments arguments(context.args);
  while (arguments.HasNext()) {
    if (arguments.NextIs("NOSAVE")) {
      options.nosave = true;
    } else if (arguments.NextIs("SAVE")) {
      options.save = true;
    } else if (arguments.NextIs("NOW")) {
      options.now = true;
    } else if (arguments.NextIs("FORCE")) {
      options.force = true;
    } else if (arguments.NextIs("ABORT")) {
      options.abort = true;
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  const bool others = options.save || options.nosave || options.now || options.force;
  if ((options.abort && others) || (options.save && options.nosave)) arguments.Fail(kSyntaxError);
  if (arguments.Refused(context.reply)) return std::nullopt;
  return options;
}

void Shutdown(CommandContext& context) {
  const auto options = ParseShutdown(context);
  if (!options) return;
  Server& server = context.server;
  if (options->abort) {
    if (!server.ShuttingDown()) return context.reply.Error("ERR No shutdown in progress.");
    server.AbortShutdown();
    return context.reply.Ok();
  }
  auto outcome = std::make_shared<Outcome>();
  server.RequestShutdown(*options, [&server, outcome](Result<void> result) {
    outcome->result = std::move(result);
    server.blocking().Recheck();
  });
  WaitFor(context, outcome, Client::Blocked::kShutdown);
}

}  // namespace

std::vector<CommandSpec> PersistenceCommands() {
  constexpr uint32_t kSaving = kAdmin | kNoScript | kNoAsyncLoading | kNoTransaction;
  return {
      MakeCommand("save", 1, kSaving | kNoMulti, 0, kNoKeys, Save,
                  {"Makes a snapshot and waits for it; other clients do not wait.", "1.0.0", "server",
                   "O(N) with N the keys", ""}),
      MakeCommand("bgsave", -1, kSaving, 0, kNoKeys, BgSave,
                  {"Makes a snapshot in the background.", "1.0.0", "server", "O(1)", "[SCHEDULE]"}),
      MakeCommand("bgrewriteaof", 1, kSaving, 0, kNoKeys, BgRewriteAof,
                  {"Makes a checkpoint, which keeps the log short.", "1.0.0", "server", "O(1)", ""}),
      MakeCommand("lastsave", 1, kLoading | kStale | kFast | kNoTransaction, kCatAdmin | kCatDangerous, kNoKeys,
                  LastSave, {"Tells when the last snapshot was made, in seconds.", "1.0.0", "server", "O(1)", ""}),
      MakeCommand("shutdown", -1, kAdmin | kNoScript | kLoading | kStale | kNoMulti | kAllowBusy | kNoTransaction, 0,
                  kNoKeys, Shutdown,
                  {"Stops the server once replicas have caught up and the log is on disk.", "1.0.0", "server",
                   "O(N) with N the keys when a snapshot is asked for", "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]"}),
  };
}

}  // namespace holdfast::net
