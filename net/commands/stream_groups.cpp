// XGROUP, XACK, XCLAIM, XAUTOCLAIM, XPENDING.
#include "storage/types/stream_groups.h"

#include <limits>
#include <string>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/commands/stream_families.h"
#include "net/server.h"
#include "storage/types/stream_words.h"

namespace holdfast::net {
namespace {

// ---- XGROUP ---------------------------------------------------------------------------------------------------------

template <bool creates>
void SetGroup(CommandContext& context) {
  const std::string_view key = context.arg(2), group = context.arg(3), id = context.arg(4);
  const auto options = streams::ParseGroupOptions(context.args.subspan(5), context.arg(1), creates);
  if (!options.ok()) return context.reply.Error(options.error());
  const auto done =
      creates ? streams::CreateGroup(*context.tx, key, group, {id, options->make_stream, options->entries_read})
              : streams::SetGroupId(*context.tx, key, group, id, options->entries_read);
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Ok();
}

void DestroyGroup(CommandContext& context) {
  const auto destroyed = streams::DestroyGroup(*context.tx, context.arg(2), context.arg(3));
  if (!destroyed.ok()) return context.reply.Error(destroyed.error());
  context.reply.Integer(*destroyed ? 1 : 0);
}

void CreateConsumer(CommandContext& context) {
  const auto created = streams::CreateConsumer(*context.tx, context.arg(2), context.arg(3), context.arg(4));
  if (!created.ok()) return context.reply.Error(created.error());
  context.reply.Integer(*created ? 1 : 0);
}

void DeleteConsumer(CommandContext& context) {
  const auto pending = streams::DeleteConsumer(*context.tx, context.arg(2), context.arg(3), context.arg(4));
  if (!pending.ok()) return context.reply.Error(pending.error());
  context.reply.Integer(static_cast<int64_t>(*pending));
}

void GroupHelp(CommandContext& context) {
  ReplyHelp(
      context, "XGROUP",
      {"CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <entries-read>]",
       "    Makes a group that reads on behind an id.", "CREATECONSUMER <key> <group> <consumer>",
       "    Makes a consumer.", "DELCONSUMER <key> <group> <consumer>",
       "    Deletes a consumer with what it has not acknowledged.", "DESTROY <key> <group>", "    Deletes a group.",
       "SETID <key> <group> <id|$> [ENTRIESREAD <entries-read>]", "    Lets a group read on behind another id."});
}

// ---- pending entries ------------------------------------------------------------------------------------------------

void Acknowledge(CommandContext& context) {
  const auto count = streams::Acknowledge(*context.tx, context.arg(1), context.arg(2), context.args.subspan(3));
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

// An entry that was claimed: with its fields, or its id alone.
streams::DeliveryVisitor ClaimedInto(GrowingArray& entries) {
  return [&entries](StreamId id, const StreamFields* fields) {
    fields == nullptr ? ReplyId(entries.Next(), id) : ReplyEntry(entries.Next(), id, fields);
  };
}

// The group that args[1] and args[2] name. Nothing, and the reply is written, if there is none.
struct FoundGroup {
  StreamReader stream;
  GroupState group;
};
std::optional<FoundGroup> FindGroup(CommandContext& context) {
  const auto stream = OpenStream(context, 1);
  if (!stream) return std::nullopt;
  const auto group = *stream ? (*stream)->FindGroup(context.arg(2)) : Result<std::optional<GroupState>>(std::nullopt);
  if (group.ok() && *group) return FoundGroup{**stream, **group};
  context.reply.Error(group.ok() ? streams::NoGroupError(context.arg(1), context.arg(2)) : group.error());
  return std::nullopt;
}

void Claim(CommandContext& context) {
  if (!FindGroup(context)) return;  // comes before what is wrong with the words
  const auto words = streams::ParseClaim(context.args);
  if (!words.ok()) return context.reply.Error(words.error());
  GrowingArray entries(context.reply);
  const auto claimed = streams::Claim(*context.tx, context.arg(1), context.arg(2), context.arg(3), words->options,
                                      words->ids, ClaimedInto(entries));
  if (!claimed.ok()) return context.reply.Error(claimed.error());
  entries.MoveTo(context.reply);
}

void AutoClaim(CommandContext& context) {
  const auto options = streams::ParseAutoClaim(context.args);
  if (!options.ok()) return context.reply.Error(options.error());
  GrowingArray entries(context.reply);
  const auto result =
      streams::AutoClaim(*context.tx, context.arg(1), context.arg(2), context.arg(3), *options, ClaimedInto(entries));
  if (!result.ok()) return context.reply.Error(result.error());
  context.reply.Array(3);
  ReplyId(context.reply, result->next);
  entries.MoveTo(context.reply);
  context.reply.Array(result->dropped.size());
  for (const StreamId id : result->dropped) ReplyId(context.reply, id);
}

// [count, first id, last id, [[consumer, count] ...]]
void PendingSummary(CommandContext& context) {
  const auto found = FindGroup(context);
  if (!found) return;
  Reply& reply = context.reply;
  if (found->group.pending == 0) {
    reply.Array(4);
    reply.Integer(0);
    reply.Null();
    reply.Null();
    return reply.NullArray();
  }
  StreamId first;
  const auto visited =
      found->stream.VisitPending(found->group, {}, StreamId::Max(), [&first](StreamId id, const PendingState&) {
        first = id;
        return false;
      });
  const auto last = found->stream.LastPending(found->group);
  GrowingArray consumers(reply);
  const auto named =
      found->stream.VisitConsumers(found->group, [&consumers](std::string_view name, const ConsumerState& consumer) {
        if (consumer.pending == 0) return true;
        Reply& one = consumers.Next();
        one.Array(2);
        one.Bulk(name);
        one.BulkInteger(static_cast<int64_t>(consumer.pending));
        return true;
      });
  for (const Result<void>& read : {visited, named}) {
    if (!read.ok()) return reply.Error(read.error());
  }
  if (!last.ok()) return reply.Error(last.error());
  reply.Array(4);
  reply.Integer(static_cast<int64_t>(found->group.pending));
  ReplyId(reply, first);
  ReplyId(reply, last->value_or(first));
  consumers.MoveTo(reply);
}

struct PendingWords {
  int64_t idle_min_ms = 0;
  StreamId low, high;
  uint64_t count = 0;
  std::optional<std::string_view> consumer;
};

// [IDLE ms] start end count [consumer]
Result<PendingWords> ParsePending(std::span<const std::string_view> args) {
  const Error syntax{ErrorCode::kInvalidArgument, "syntax error"};
  const Error number{ErrorCode::kInvalidArgument, "value is not an integer or out of range"};
  if (args.size() < 6 || args.size() > 9) return syntax;
  PendingWords words;
  size_t at = 3;
  if (EqualsIgnoreCase(args[3], "IDLE")) {
    const auto idle = ParseInteger(args[4]);
    if (!idle) return number;
    if (args.size() < 8) return syntax;
    words.idle_min_ms = *idle;
    at = 5;
  }
  const auto count = ParseInteger(args[at + 2]);
  if (!count) return number;
  words.count = static_cast<uint64_t>(std::max<int64_t>(*count, 0));
  ASSIGN_OR_RETURN(words.low, ParseRangeStart(args[at]));
  ASSIGN_OR_RETURN(words.high, ParseRangeEnd(args[at + 1]));
  if (at + 3 < args.size()) words.consumer = args[at + 3];
  return words;
}

// Those of the range that are idle long enough, with what is pending of each.
Result<void> VisitPendingOf(const FoundGroup& found, const PendingWords& words,
                            const StreamReader::PendingVisitor& visit) {
  if (!words.consumer) return found.stream.VisitPending(found.group, words.low, words.high, visit);
  ASSIGN_OR_RETURN(const auto consumer, found.stream.FindConsumer(found.group, *words.consumer));
  if (!consumer) return {};
  Result<void> failed;
  RETURN_IF_ERROR(found.stream.VisitOwned(found.group, *consumer, words.low, words.high, [&](StreamId id) {
    const auto pending = found.stream.FindPending(found.group, id);
    if (!pending.ok()) failed = pending.error();
    return pending.ok() && (!*pending || visit(id, **pending));
  }));
  return failed;
}

void Pending(CommandContext& context) {
  if (context.argc() == 3) return PendingSummary(context);
  const auto words = ParsePending(context.args);
  if (!words.ok()) return context.reply.Error(words.error());
  const auto found = FindGroup(context);
  if (!found) return;
  GrowingArray entries(context.reply);
  const int64_t now_ms = context.tx->now_ms();
  const auto take = [&](StreamId id, const PendingState& pending) {
    const int64_t idle_ms = std::max<int64_t>(now_ms - pending.delivered_ms, 0);
    if (idle_ms < words->idle_min_ms) return true;
    Reply& one = entries.Next();
    one.Array(4);
    ReplyId(one, id);
    one.Bulk(pending.consumer);
    one.Integer(idle_ms);
    one.Integer(static_cast<int64_t>(pending.deliveries));
    return entries.count() < words->count;
  };
  if (words->count > 0) {
    const auto visited = VisitPendingOf(*found, *words, take);
    if (!visited.ok()) return context.reply.Error(visited.error());
  }
  entries.MoveTo(context.reply);
}

CommandSpec GroupContainer() {
  constexpr std::string_view kGroup = "stream";
  constexpr KeySpec kSecond{2, 2, 1};
  return MakeContainer(
      "xgroup", {"Changes the groups of a stream.", "5.0.0", kGroup, "depends on the subcommand", ""},
      {
          MakeCommand(
              "xgroup|create", -5, kWrite | kDenyOom, kCatStream, kSecond, SetGroup<true>,
              {"Makes a group.", "5.0.0", kGroup, "O(1)", "key group id|$ [MKSTREAM] [ENTRIESREAD entries-read]"}),
          MakeCommand("xgroup|createconsumer", 5, kWrite | kDenyOom, kCatStream, kSecond, CreateConsumer,
                      {"Makes a consumer.", "6.2.0", kGroup, "O(1)", "key group consumer"}),
          MakeCommand(
              "xgroup|delconsumer", 5, kWrite | kFreesSpace, kCatStream, kSecond, DeleteConsumer,
              {"Deletes a consumer.", "5.0.0", kGroup, "O(N) with N its pending entries", "key group consumer"}),
          MakeCommand("xgroup|destroy", 4, kWrite | kFreesSpace, kCatStream, kSecond, DestroyGroup,
                      {"Deletes a group.", "5.0.0", kGroup, "O(N) with N its pending entries", "key group"}),
          MakeCommand("xgroup|help", 2, kLoading | kStale | kNoTransaction, kCatStream, kNoKeys, GroupHelp,
                      {"Explains the subcommands.", "5.0.0", kGroup, "O(1)", ""}),
          MakeCommand("xgroup|setid", -5, kWrite, kCatStream, kSecond, SetGroup<false>,
                      {"Sets what a group was given last.", "5.0.0", kGroup, "O(1)",
                       "key group id|$ [ENTRIESREAD entries-read]"}),
      });
}

}  // namespace

std::vector<CommandSpec> StreamGroupCommands() {
  constexpr std::string_view kGroup = "stream";
  return {
      GroupContainer(),
      MakeCommand("xack", -4, kWrite | kFast | kFreesSpace, kCatStream, kOneKey, Acknowledge,
                  {"Acknowledges entries that a group was given.", "5.0.0", kGroup, "O(1) for each entry",
                   "key group id [id ...]"}),
      MakeCommand("xclaim", -6, kWrite | kFast, kCatStream, kOneKey, Claim,
                  {"Makes pending entries those of another consumer.", "5.0.0", kGroup, "O(1) for each entry",
                   "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT "
                   "count] [FORCE] [JUSTID] [LASTID lastid]"}),
      MakeCommand(
          "xautoclaim", -6, kWrite | kFast, kCatStream, kOneKey, AutoClaim,
          {"Makes entries that are pending for long those of another consumer.", "6.2.0", kGroup,
           "O(N) with N the entries looked at", "key group consumer min-idle-time start [COUNT count] [JUSTID]"}),
      MakeCommand("xpending", -3, kReadOnly, kCatStream, kOneKey, Pending,
                  {"Tells what a group was given and has not acknowledged.", "5.0.0", kGroup,
                   "O(N) with N the entries looked at, or the consumers",
                   "key group [[IDLE min-idle-time] start end count [consumer]]"}),
  };
}

}  // namespace holdfast::net
