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
constexpr int64_t kCompareMs = 600'000;

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

bool IsNodeId(std::string_view text) {
  return text.size() == wal::kLineageIdSize && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

void PromiseTo(CommandContext& context) {
  const std::string_view text = context.arg(2), candidate = context.arg(3), member = context.arg(4);
  uint64_t epoch = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
  if (error != std::errc() || end != text.data() + text.size() || epoch == 0 || epoch == UINT64_MAX) {
    return context.reply.Error("ERR epoch is not an integer or out of range");
  }
  if (!IsNodeId(candidate) || !IsNodeId(member)) {
    return context.reply.Error("ERR candidate and member are not named by their node ids");
  }
  context.server.replication().HandlePromise(context.client, {epoch, candidate, member}, context.reply);
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

using ComparisonResult = ReplicationService::ComparisonResult;

void WriteComparison(Reply reply, const ComparisonResult& result) {
  if (!result.failure.empty()) return reply.Error("ERR " + result.failure);
  reply.Array(2 + result.nodes.size());
  reply.Bulk("offset " + std::to_string(result.offset));
  reply.Bulk("digest " + result.digest);
  for (const auto& node : result.nodes) {
    reply.Array(5);
    for (const std::string* text : {&node.id, &node.address, &node.outcome}) reply.Bulk(*text);
    reply.Integer(static_cast<int64_t>(node.offset));
    reply.Bulk(node.detail);
  }
}

void Compare(CommandContext& context) {
  if (context.in_exec) return context.reply.Error("ERR HOLDFAST COMPARE is not allowed in a transaction");
  Server& server = context.server;
  Arguments arguments(context.args, 2);
  int64_t timeout_ms = kCompareMs;
  if (arguments.NextIs("TIMEOUT", 1)) {
    timeout_ms = arguments.NextInteger(1, 24 * 3600 * 1000, "ERR timeout is out of range");
  }
  if (arguments.HasNext()) arguments.Fail(kSyntaxError);
  if (arguments.Refused(context.reply)) return;
  auto started = server.replication().StartComparison(timeout_ms);
  if (!started.ok()) return context.reply.Error("ERR " + started.error().message);
  Blocking::Wait wait;
  wait.kind = Client::Blocked::kCompare;
  wait.ready = [result = *started] { return result->done; };
  wait.answer = [result = *started](Client& client) {
    if (!result->done) return Reply(client.output.bytes, client.resp).Error("ERR the comparison goes on, unseen");
    WriteComparison(Reply(client.output.bytes, client.resp), *result);
  };
  server.blocking().Block(context.client, std::move(wait));
}

void Digest(CommandContext& context) {
  context.server.replication().AnswerDigest(context.arg(2), context.args.subspan(3), context.reply);
}

void Verdict(CommandContext& context) {
  context.server.replication().TakeVerdict(context.arg(2), context.arg(3));
  context.reply.Ok();
}

void Resync(CommandContext& context) { AnswerOutcome(context, context.server.replication().Resync()); }

void Help(CommandContext& context) {
  ReplyHelp(
      context, "HOLDFAST",
      {"COMPARE [TIMEOUT <ms>]",
       "    Lets this master and its replicas digest their content at the same offset, and tells who differs where.",
       "RESYNC", "    Makes this replica copy everything from its master anew.", "MEMBERS",
       "    Shows the members of the replication group: id, address, state, acknowledged offset.",
       "MEMBERS SET [<host:port>|<id> ...]", "    Names the members, to the master; none: no group.",
       "DURABLE [<members>|DEFAULT]",
       "    How many members must have what this connection writes and reads, instead of min-replicas-durable.",
       "PROMOTE FORCE", "    Makes this replica a master without asking the group. May lose confirmed writes.",
       "PROMISE <epoch> <candidate> <member>", "    Sent by a member that is to become master.",
       "DIGEST <comparison> PREPARE|[<db> [<ranges>]]", "    Sent by a master that compares.",
       "VERDICT <comparison> <text>", "    Sent by a master that has compared."});
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
          MakeCommand(
              "holdfast|promise", 5, kFlags | kNoMulti, kCatDangerous, kNoKeys, PromiseTo,
              {"Sent by a member that is to become master.", "7.0.0", "server", "O(1)", "epoch candidate member"}),
          MakeCommand("holdfast|promote", 3, kFlags, kCatDangerous, kNoKeys, Promote,
                      {"Makes a replica a master without asking the group.", "7.0.0", "server", "O(1)", "FORCE"}),
          MakeCommand("holdfast|compare", -2, kFlags | kBlocking | kNoMulti, kCatDangerous, kNoKeys, Compare,
                      {"Compares the content of this master and its replicas.", "7.0.0", "server",
                       "O(N) with N all keys, in the background", "[TIMEOUT milliseconds]"}),
          MakeCommand(
              "holdfast|digest", -3, kFlags, kCatDangerous, kNoKeys, Digest,
              {"Sent by a master that compares.", "7.0.0", "server", "O(1)", "comparison [PREPARE|db [ranges]]"}),
          MakeCommand("holdfast|verdict", 4, kFlags, kCatDangerous, kNoKeys, Verdict,
                      {"Sent by a master that has compared.", "7.0.0", "server", "O(1)", "comparison text"}),
          MakeCommand("holdfast|resync", 2, kFlags, kCatDangerous, kNoKeys, Resync,
                      {"Makes a replica copy everything anew.", "7.0.0", "server", "O(1)", ""}),
          MakeCommand("holdfast|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, Help,
                      {"Explains the subcommands.", "7.0.0", "server", "O(1)", ""}),
      });
}

}  // namespace holdfast::net
