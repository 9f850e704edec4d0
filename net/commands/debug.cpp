// DEBUG: what tests and operators look at. Guarded by enable-debug-command.
#include <fmt/format.h>
#include <time.h>

#include <cmath>
#include <string>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/redis_digest.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/base/diag.h"
#include "storage/types/encoding.h"
#include "storage/types/keys.h"
#include "storage/types/list_value.h"
#include "storage/types/members.h"
#include "storage/types/numbers.h"
#include "storage/types/scores.h"
#include "storage/types/stream_value.h"
#include "storage/types/string_value.h"
#include "storage/types/value_bytes.h"

namespace holdfast::net {
namespace {

constexpr double kSleepMax = 24 * 3600;  // seconds

bool IsLocal(const Client& client) {
  return client.is_unix_socket || client.peer_address.starts_with("127.") || client.peer_address.starts_with("::1:") ||
         client.peer_address.starts_with("[::1]");
}

// ---- digests -------------------------------------------------------------------------------------------------------

void Digest(CommandContext& context) {
  context.tx->SawEverything();
  const auto digest = RedisDigest(*context.tx);
  if (!digest.ok()) return context.reply.Error(digest.error());
  context.reply.Status(*digest);
}

void DigestValue(CommandContext& context) {
  std::vector<std::string> digests;
  for (const std::string_view key : context.args.subspan(2)) {
    const auto found = context.tx->Find(key);
    if (!found.ok()) return context.reply.Error(found.error());
    auto digest = found->has_value() ? RedisDigestOfValue(*context.tx, **found) : std::string(40, '0');
    if (!digest.ok()) return context.reply.Error(digest.error());
    digests.push_back(std::move(digest).value());
  }
  context.reply.Array(digests.size());
  for (const std::string& digest : digests) context.reply.Status(digest);
}

// ---- the rest ------------------------------------------------------------------------------------------------------

// Holds everything up, as in Redis: that is what it is for.
void Sleep(CommandContext& context) {
  const double seconds = std::min(ParseDouble(context.arg(2)).value_or(0), kSleepMax);
  if (seconds > 0) {
    timespec left{};
    left.tv_sec = static_cast<time_t>(seconds);
    left.tv_nsec = static_cast<long>((seconds - std::floor(seconds)) * 1e9);
    while (::nanosleep(&left, &left) != 0) {
    }
  }
  context.reply.Ok();
}

void Object(CommandContext& context) {
  const auto found = context.tx->Find(context.arg(2));
  if (!found.ok()) return context.reply.Error(found.error());
  if (!found->has_value()) return context.reply.Error("ERR no such key");
  const auto encoding = RedisEncoding(*context.tx, **found);
  if (!encoding.ok()) return context.reply.Error(encoding.error());
  const auto length = ValueBytes(*context.tx, **found, kSampledMembers);
  if (!length.ok()) return context.reply.Error(length.error());
  context.reply.Status(fmt::format("Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:0 lru_seconds_idle:0",
                                   *encoding, *length + 1));
}

void SetActiveExpire(CommandContext& context) {
  context.server.config().mutable_settings().active_expire = ParseInteger(context.arg(2)).value_or(0) != 0;
  context.reply.Ok();
}

// DEBUG CHECKPOINT, DEBUG RELOAD: everything written until now goes to LMDB, and is read from there afterwards.
void Checkpoint(CommandContext& context) {
  if (context.in_exec) return context.reply.Error("ERR DEBUG CHECKPOINT is not allowed in a transaction");
  Server& server = context.server;
  const uint64_t wanted = server.log().AppendedOffset();
  const auto ready = [&server, wanted] { return server.store().CheckpointPosition().offset >= wanted; };
  if (ready()) return context.reply.Ok();
  server.engine().RequestCheckpoint();
  server.SyncSoon();
  server.blocking().Block(context.client,
                          {.kind = Client::Blocked::kWait,
                           .ready =
                               [&server, ready] {
                                 // One that was already running ends below the offset asked for: another one follows.
                                 if (!ready() && !server.engine().CheckpointRunning()) {
                                   server.engine().RequestCheckpoint();
                                 }
                                 return ready();
                               },
                           .answer = [](Client& client) { Reply(client.output.bytes, client.resp).Ok(); }});
}

// DEBUG FORGET: deletes a key in this node's data and not in its log, so that it differs from all others. To try what
// HOLDFAST COMPARE finds.
void Forget(CommandContext& context) {
  Server& server = context.server;
  // Behind the transaction that is open now.
  server.executor().Post([&server, db = context.client.db, key = std::string(context.arg(2))] {
    Transaction& tx = server.store().Begin(TransactionMode::kApply, db, server.NowMs());
    const std::string_view name = key;
    const auto deleted = keys::Delete(tx, {&name, 1});
    tx.Commit();
    diag::Warning("DEBUG FORGET: {} key deleted in this node's data alone", deleted.ok() ? *deleted : 0);
  });
  context.reply.Ok();
}

void Help(CommandContext& context) {
  ReplyHelp(context, "DEBUG",
            {"CHECKPOINT", "    Writes everything to the store and waits for it.", "DIGEST",
             "    Digests all databases, as Redis does.", "DIGEST-VALUE <key> [<key> ...]",
             "    Digests what keys hold, as Redis does.", "FORGET <key>",
             "    Deletes a key here alone, past the log.", "OBJECT <key>", "    Tells how a value is held.", "RELOAD",
             "    The same as CHECKPOINT: what is read afterwards comes from disk.", "SET-ACTIVE-EXPIRE <0|1>",
             "    Stops and starts the deletion of expired keys in the background.", "SLEEP <seconds>",
             "    Stops the server for some time."});
}

bool Allowed(CommandContext& context) {
  const std::string& setting = context.server.config().settings().enable_debug_command;
  if (setting == "yes" || (setting == "local" && IsLocal(context.client))) return true;
  context.reply.Error(
      "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a "
      "local connection, otherwise you need to set this option in the configuration file, and then restart the "
      "server.");
  return false;
}

void Debug(CommandContext& context) {
  if (!Allowed(context)) return;
  struct Row {
    std::string_view name;
    size_t low, high;  // arguments
    Handler handler;
  };
  static constexpr Row kRows[] = {
      {"checkpoint", 2, 2, Checkpoint},
      {"digest", 2, 2, Digest},
      {"digest-value", 2, SIZE_MAX, DigestValue},
      {"forget", 3, 3, Forget},
      {"help", 2, 2, Help},
      {"object", 3, 4, Object},
      {"reload", 2, SIZE_MAX, Checkpoint},
      {"set-active-expire", 3, 3, SetActiveExpire},
      {"sleep", 3, 3, Sleep},
  };
  for (const Row& row : kRows) {
    if (!EqualsIgnoreCase(context.arg(1), row.name)) continue;
    if (context.argc() < row.low || context.argc() > row.high) break;
    return row.handler(context);
  }
  context.reply.Error(fmt::format("ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
                                  context.arg(1).substr(0, 128)));
}

}  // namespace

CommandSpec DebugCommand() {
  return MakeCommand("debug", -2, kAdmin | kNoScript | kLoading | kStale, 0, kNoKeys, Debug,
                     {"Tools for tests and for looking inside.", "1.0.0", "server", "depends on the subcommand",
                      "subcommand [arg ...]"});
}

}  // namespace holdfast::net
