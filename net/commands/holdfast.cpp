// HOLDFAST: what Redis has no command for. docs/replication.md "Semi-synchronous commit".
#include <charconv>
#include <string>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "wal/lineage.h"

namespace holdfast::net {
namespace {

constexpr int64_t kMembersMax = 64;

void AnswerOutcome(CommandContext& context, const Result<void>& outcome) {
  if (!outcome.ok()) return context.reply.Error("ERR " + outcome.error().message);
  context.reply.Ok();
}

void Members(CommandContext& context) {
  ReplicationService& replication = context.server.replication();
  if (context.argc() == 2) return replication.WriteMembers(context.reply);
  if (!EqualsIgnoreCase(context.arg(2), "set")) return context.reply.Error(kSyntaxError);
  AnswerOutcome(context, replication.SetMembers(context.args.subspan(3)));
}

void Durable(CommandContext& context) {
  Client& client = context.client;
  if (context.argc() > 3) return context.reply.Error(kSyntaxError);
  if (context.argc() == 2) return context.reply.Integer(context.server.MembersFor(client));
  if (EqualsIgnoreCase(context.arg(2), "default")) {
    client.durable_members = -1;
    return context.reply.Ok();
  }
  Arguments arguments(context.args, 2);
  const int64_t members = arguments.NextInteger(0, kMembersMax, "ERR value is out of range, must be from 0 to 64");
  if (arguments.Refused(context.reply)) return;
  client.durable_members = static_cast<int>(members);
  context.reply.Ok();
}

void PromiseTo(CommandContext& context) {
  const std::string_view text = context.arg(2), candidate = context.arg(3);
  uint64_t epoch = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
  if (error != std::errc() || end != text.data() + text.size() || epoch == 0 || epoch == UINT64_MAX) {
    return context.reply.Error("ERR epoch is not an integer or out of range");
  }
  if (candidate.size() != wal::kLineageIdSize ||
      candidate.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return context.reply.Error("ERR the candidate is not named by a node id");
  }
  context.server.replication().HandlePromise(context.client, epoch, candidate, context.reply);
}

void Promote(CommandContext& context) {
  if (!EqualsIgnoreCase(context.arg(2), "force")) return context.reply.Error(kSyntaxError);
  if (context.server.replication().FailingOver()) {
    return context.reply.Error("ERR HOLDFAST PROMOTE not allowed while failing over.");
  }
  const auto promoted = context.server.replication().PromoteByForce();
  context.server.HoldForRole(context.client);
  AnswerOutcome(context, promoted);
}

void Help(CommandContext& context) {
  ReplyHelp(context, "HOLDFAST",
            {"MEMBERS", "    Shows the members of the replication group: id, address, state, acknowledged offset.",
             "MEMBERS SET [<host:port>|<id> ...]", "    Names the members, to the master; none: no group.",
             "DURABLE [<members>|DEFAULT]",
             "    How many members must have what this connection writes and reads, instead of min-replicas-durable.",
             "PROMOTE FORCE", "    Makes this replica a master without asking the group. May lose confirmed writes.",
             "PROMISE <epoch> <candidate>", "    Sent by a member that is to become master."});
}

}  // namespace

CommandSpec HoldfastContainer() {
  constexpr uint32_t kFlags = kAdmin | kNoScript | kLoading | kStale | kNoTransaction;
  return MakeContainer(
      "holdfast", {"What Redis has no command for.", "7.0.0", "server", "depends on the subcommand", ""},
      {
          MakeCommand("holdfast|members", -2, kFlags, kCatDangerous, kNoKeys, Members,
                      {"Shows or names the members of the replication group.", "7.0.0", "server", "O(N)",
                       "[SET [host:port|id ...]]"}),
          MakeCommand("holdfast|durable", -2, kNoScript | kLoading | kStale | kFast | kNoTransaction, kCatConnection,
                      kNoKeys, Durable,
                      {"How many members must have what this connection writes and reads.", "7.0.0", "connection",
                       "O(1)", "[members|DEFAULT]"}),
          MakeCommand("holdfast|promise", 4, kFlags | kNoMulti, kCatDangerous, kNoKeys, PromiseTo,
                      {"Sent by a member that is to become master.", "7.0.0", "server", "O(1)", "epoch candidate"}),
          MakeCommand("holdfast|promote", 3, kFlags, kCatDangerous, kNoKeys, Promote,
                      {"Makes a replica a master without asking the group.", "7.0.0", "server", "O(1)", "FORCE"}),
          MakeCommand("holdfast|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, Help,
                      {"Explains the subcommands.", "7.0.0", "server", "O(1)", ""}),
      });
}

}  // namespace holdfast::net
