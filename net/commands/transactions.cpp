// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
#include <utility>

#include "net/command.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

void ForgetTransaction(CommandContext& context) {
  context.server.watches().Unwatch(context.client);
  context.client.multi = TransactionState{};
}

void Multi(CommandContext& context) {
  if (context.client.multi.active) return context.reply.Error("ERR MULTI calls can not be nested");
  context.client.multi.active = true;
  context.reply.Ok();
}

void Discard(CommandContext& context) {
  if (!context.client.multi.active) return context.reply.Error("ERR DISCARD without MULTI");
  ForgetTransaction(context);
  context.reply.Ok();
}

// A watched key whose time passed while nobody touched it has changed, too: it was there and is hidden now.
Result<bool> WatchedKeyExpired(CommandContext& context) {
  for (const auto& [db, key] : context.client.multi.watched_present) {
    ASSIGN_OR_RETURN(const auto found, context.tx->Peek(db, key));
    if (!found) return true;
  }
  return false;
}

void Exec(CommandContext& context) {
  Client& client = context.client;
  if (!client.multi.active) return context.reply.Error("ERR EXEC without MULTI");
  if (client.multi.dirty_exec) {
    ForgetTransaction(context);
    return context.reply.Error("EXECABORT Transaction discarded because of previous errors.");
  }
  const auto expired = WatchedKeyExpired(context);
  if (!expired.ok() || *expired || client.multi.dirty_cas) {
    ForgetTransaction(context);
    if (!expired.ok()) return context.reply.Error(expired.error());
    // The null reveals that somebody wrote: it waits for that write.
    context.tx->SawEverything();
    return context.reply.NullArray();
  }
  context.server.watches().Unwatch(client);
  const std::vector<QueuedCommand> queue = std::exchange(client.multi.queue, {});
  context.reply.Array(queue.size());
  for (const QueuedCommand& command : queue) context.server.ExecuteQueued(client, command, *context.tx, context.reply);
  client.multi = TransactionState{};
}

void Watch(CommandContext& context) {
  Client& client = context.client;
  if (client.multi.active) return context.reply.Error("ERR WATCH inside MULTI is not allowed");
  if (client.multi.dirty_cas) return context.reply.Ok();  // EXEC will fail anyway
  for (const std::string_view key : context.args.subspan(1)) {
    const auto found = context.tx->Peek(client.db, key);
    if (!found.ok()) return context.reply.Error(found.error());
    context.server.watches().Watch(client, client.db, key, found->has_value());
  }
  context.reply.Ok();
}

void Unwatch(CommandContext& context) {
  context.server.watches().Unwatch(context.client);
  context.client.multi.dirty_cas = false;
  context.reply.Ok();
}

}  // namespace

std::vector<CommandSpec> TransactionCommands() {
  constexpr uint32_t kAlways = kNoScript | kLoading | kStale | kFast | kAllowBusy;
  return {
      MakeCommand("multi", 1, kAlways | kNoTransaction, kCatTransaction, kNoKeys, Multi,
                  {"Begins a transaction: the commands that follow are queued.", "1.2.0", "transactions", "O(1)", ""}),
      MakeCommand("exec", 1, kNoScript | kLoading | kStale | kSkipSlowlog, kCatTransaction, kNoKeys, Exec,
                  {"Runs the queued commands of a transaction as one unit.", "1.2.0", "transactions",
                   "that of the queued commands", ""}),
      MakeCommand("discard", 1, kAlways | kNoTransaction, kCatTransaction, kNoKeys, Discard,
                  {"Drops the queued commands of a transaction.", "2.0.0", "transactions",
                   "O(N) with N the number of queued commands", ""}),
      MakeCommand("watch", -2, kAlways, kCatTransaction, kAllKeys, Watch,
                  {"Makes the next EXEC fail if one of these keys changes before it.", "2.2.0", "transactions",
                   "O(1) for each key", "key [key ...]"}),
      MakeCommand("unwatch", 1, kAlways | kNoTransaction, kCatTransaction, kNoKeys, Unwatch,
                  {"Forgets all watched keys.", "2.2.0", "transactions", "O(1)", ""}),
  };
}

}  // namespace holdfast::net
