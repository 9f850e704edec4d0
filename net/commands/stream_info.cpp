// XINFO: what a stream, its groups and their consumers are.
#include <limits>
#include <string>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/commands/stream_families.h"
#include "net/server.h"
#include "storage/types/stream_groups.h"

namespace holdfast::net {
namespace {

void Named(Reply& reply, std::string_view name, uint64_t value) {
  reply.Bulk(name);
  reply.Integer(static_cast<int64_t>(value));
}
void Named(Reply& reply, std::string_view name, StreamId id) {
  reply.Bulk(name);
  ReplyId(reply, id);
}

// The stream at args[2]. Nothing, and the reply is written, if there is none.
std::optional<StreamReader> Find(CommandContext& context) {
  const auto stream = OpenStream(context, 2);
  if (!stream) return std::nullopt;
  if (!*stream) context.reply.Error("ERR no such key");
  return *stream;
}

void ReplyReads(Reply& reply, const StreamReader& stream, const GroupState& group) {
  reply.Bulk("entries-read");
  group.entries_read == GroupState::kUnknownReads ? reply.Null() : reply.Integer(group.entries_read);
  reply.Bulk("lag");
  const auto lag = stream.Lag(group);
  lag ? reply.Integer(*lag) : reply.Null();
}

// The fields that both forms begin with. Redis tells about its radix tree; here that is a guess at what it would be.
void ReplyCounters(Reply& reply, const StreamHeader& header) {
  constexpr uint64_t kNodeEntries = 100;
  const uint64_t nodes = (header.length + kNodeEntries - 1) / kNodeEntries;
  Named(reply, "length", header.length);
  Named(reply, "radix-tree-keys", nodes);
  Named(reply, "radix-tree-nodes", nodes + 1);
  Named(reply, "last-generated-id", header.last);
  Named(reply, "max-deleted-entry-id", header.max_deleted);
  Named(reply, "entries-added", header.entries_added);
  Named(reply, "recorded-first-entry-id", header.first);
}

Result<void> ReplyEdge(Reply& reply, const StreamReader& stream, std::string_view name, bool last) {
  reply.Bulk(name);
  if (stream.Length() == 0) reply.Null();
  return stream.Visit({}, StreamId::Max(), last, [&reply](StreamId id, const StreamFields& fields) {
    ReplyEntry(reply, id, &fields);
    return false;
  });
}

Result<void> ReplySummary(Reply& reply, const StreamReader& stream) {
  reply.Map(10);
  ReplyCounters(reply, stream.header());
  Named(reply, "groups", stream.header().groups);
  RETURN_IF_ERROR(ReplyEdge(reply, stream, "first-entry", /*last=*/false));
  return ReplyEdge(reply, stream, "last-entry", /*last=*/true);
}

// ---- FULL -----------------------------------------------------------------------------------------------------------

// `count` 0: all.
Result<void> ReplyConsumer(Reply& reply, const StreamReader& stream, const GroupState& group, std::string_view name,
                           const ConsumerState& consumer, uint64_t count) {
  reply.Map(4);
  reply.Bulk("name");
  reply.Bulk(name);
  Named(reply, "seen-time", static_cast<uint64_t>(consumer.seen_ms));
  Named(reply, "pel-count", consumer.pending);
  reply.Bulk("pending");
  GrowingArray entries(reply);
  Result<void> failed;
  RETURN_IF_ERROR(stream.VisitOwned(group, consumer, {}, StreamId::Max(), [&](StreamId id) {
    const auto pending = stream.FindPending(group, id);
    if (!pending.ok()) failed = pending.error();
    if (!pending.ok() || !*pending) return pending.ok();
    Reply& one = entries.Next();
    one.Array(3);
    ReplyId(one, id);
    one.Integer((*pending)->delivered_ms);
    one.Integer(static_cast<int64_t>((*pending)->deliveries));
    return entries.count() != count;
  }));
  RETURN_IF_ERROR(std::move(failed));
  entries.MoveTo(reply);
  return {};
}

Result<void> ReplyGroup(Reply& reply, const StreamReader& stream, std::string_view name, const GroupState& group,
                        uint64_t count) {
  reply.Map(7);
  reply.Bulk("name");
  reply.Bulk(name);
  Named(reply, "last-delivered-id", group.last_delivered);
  ReplyReads(reply, stream, group);
  Named(reply, "pel-count", group.pending);
  reply.Bulk("pending");
  GrowingArray entries(reply);
  RETURN_IF_ERROR(
      stream.VisitPending(group, {}, StreamId::Max(), [&entries, count](StreamId id, const PendingState& pending) {
        Reply& one = entries.Next();
        one.Array(4);
        ReplyId(one, id);
        one.Bulk(pending.consumer);
        one.Integer(pending.delivered_ms);
        one.Integer(static_cast<int64_t>(pending.deliveries));
        return entries.count() != count;
      }));
  entries.MoveTo(reply);
  reply.Bulk("consumers");
  GrowingArray consumers(reply);
  Result<void> failed;
  RETURN_IF_ERROR(stream.VisitConsumers(group, [&](std::string_view consumer, const ConsumerState& state) {
    failed = ReplyConsumer(consumers.Next(), stream, group, consumer, state, count);
    return failed.ok();
  }));
  RETURN_IF_ERROR(std::move(failed));
  consumers.MoveTo(reply);
  return {};
}

Result<void> ReplyFull(Reply& reply, const StreamReader& stream, uint64_t count) {
  reply.Map(9);
  ReplyCounters(reply, stream.header());
  reply.Bulk("entries");
  GrowingArray entries(reply);
  RETURN_IF_ERROR(stream.VisitAll([&entries, count](StreamId id, const StreamFields& fields) {
    ReplyEntry(entries.Next(), id, &fields);
    return entries.count() != count;
  }));
  entries.MoveTo(reply);
  reply.Bulk("groups");
  GrowingArray groups(reply);
  Result<void> failed;
  RETURN_IF_ERROR(stream.VisitGroups([&](std::string_view name, const GroupState& group) {
    failed = ReplyGroup(groups.Next(), stream, name, group, count);
    return failed.ok();
  }));
  RETURN_IF_ERROR(std::move(failed));
  groups.MoveTo(reply);
  return {};
}

// ---- handlers -------------------------------------------------------------------------------------------------------

void InfoStream(CommandContext& context) {
  constexpr int64_t kShownByDefault = 10;
  const auto stream = Find(context);
  if (!stream) return;
  const bool full = context.argc() > 3;
  int64_t count = kShownByDefault;
  const bool has_count = context.argc() == 6 && EqualsIgnoreCase(context.arg(4), "COUNT");
  if (full && (!EqualsIgnoreCase(context.arg(3), "FULL") || (context.argc() != 4 && !has_count))) {
    return context.reply.Error("ERR unknown subcommand or wrong number of arguments for '" +
                               std::string(context.arg(1).substr(0, 128)) + "'. Try XINFO HELP.");
  }
  if (has_count) {
    const auto given = ParseInteger(context.arg(5));
    if (!given) return context.reply.Error(kNotAnInteger);
    if (*given >= 0) count = *given;
  }
  const size_t begin = context.reply.size();
  const auto replied =
      full ? ReplyFull(context.reply, *stream, static_cast<uint64_t>(count)) : ReplySummary(context.reply, *stream);
  if (replied.ok()) return;
  context.reply.out().resize(begin);
  context.reply.Error(replied.error());
}

void InfoGroups(CommandContext& context) {
  const auto stream = Find(context);
  if (!stream) return;
  GrowingArray groups(context.reply);
  const auto visited = stream->VisitGroups([&](std::string_view name, const GroupState& group) {
    Reply& one = groups.Next();
    one.Map(6);
    one.Bulk("name");
    one.Bulk(name);
    Named(one, "consumers", group.consumers);
    Named(one, "pending", group.pending);
    Named(one, "last-delivered-id", group.last_delivered);
    ReplyReads(one, *stream, group);
    return true;
  });
  if (!visited.ok()) return context.reply.Error(visited.error());
  groups.MoveTo(context.reply);
}

void InfoConsumers(CommandContext& context) {
  const auto stream = Find(context);
  if (!stream) return;
  const auto group = stream->FindGroup(context.arg(3));
  if (!group.ok()) return context.reply.Error(group.error());
  if (!*group) return context.reply.Error(streams::NoGroupOfKeyError(context.arg(2), context.arg(3)));
  GrowingArray consumers(context.reply);
  const int64_t now_ms = context.tx->now_ms();
  const auto visited = stream->VisitConsumers(**group, [&](std::string_view name, const ConsumerState& consumer) {
    Reply& one = consumers.Next();
    one.Map(3);
    one.Bulk("name");
    one.Bulk(name);
    Named(one, "pending", consumer.pending);
    Named(one, "idle", static_cast<uint64_t>(std::max<int64_t>(now_ms - consumer.seen_ms, 0)));
    return true;
  });
  if (!visited.ok()) return context.reply.Error(visited.error());
  consumers.MoveTo(context.reply);
}

void Help(CommandContext& context) {
  ReplyHelp(context, "XINFO",
            {"CONSUMERS <key> <group>", "    Tells about the consumers of a group.", "GROUPS <key>",
             "    Tells about the groups of a stream.", "STREAM <key> [FULL [COUNT <count>]]",
             "    Tells about a stream; with FULL about all it has."});
}

}  // namespace

CommandSpec StreamInfoContainer() {
  constexpr std::string_view kGroup = "stream";
  constexpr KeySpec kSecond{2, 2, 1};
  return MakeContainer(
      "xinfo", {"Tells about a stream.", "5.0.0", kGroup, "depends on the subcommand", ""},
      {
          MakeCommand(
              "xinfo|consumers", 4, kReadOnly, kCatStream, kSecond, InfoConsumers,
              {"Tells about the consumers of a group.", "5.0.0", kGroup, "O(N) with N the consumers", "key group"}),
          MakeCommand("xinfo|groups", 3, kReadOnly, kCatStream, kSecond, InfoGroups,
                      {"Tells about the groups of a stream.", "5.0.0", kGroup, "O(N) with N the groups", "key"}),
          MakeCommand("xinfo|help", 2, kLoading | kStale | kNoTransaction, kCatStream, kNoKeys, Help,
                      {"Explains the subcommands.", "5.0.0", kGroup, "O(1)", ""}),
          MakeCommand("xinfo|stream", -3, kReadOnly, kCatStream, kSecond, InfoStream,
                      {"Tells about a stream.", "5.0.0", kGroup, "O(1), or O(N) with N what FULL shows",
                       "key [FULL [COUNT count]]"}),
      });
}

}  // namespace holdfast::net
