// XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID. Words to store operations and back. The rest of the family:
// stream_families.h.
#include "storage/types/streams.h"

#include <iterator>
#include <limits>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/commands/stream_families.h"
#include "net/server.h"
#include "storage/types/stream_words.h"

namespace holdfast::net {
namespace {

using streams::WordsFrom;

void Add(CommandContext& context) {
  const auto words = streams::ParseAdd(context.args, WordsFrom::kClient);
  if (!words.ok()) return context.reply.Error(words.error());
  if (words->fields.empty() || words->fields.size() % 2 != 0) {
    return context.reply.Error("ERR wrong number of arguments for 'xadd' command");
  }
  const auto id = streams::Add(*context.tx, context.arg(1), words->options, words->fields);
  if (!id.ok()) return context.reply.Error(id.error());
  if (!*id) return context.reply.Null();
  ReplyId(context.reply, **id);
}

void Length(CommandContext& context) {
  const auto stream = OpenStream(context, 1);
  if (!stream) return;
  context.reply.Integer(*stream ? static_cast<int64_t>((*stream)->Length()) : 0);
}

template <bool reverse>
void Range(CommandContext& context) {
  const auto low = ParseRangeStart(context.arg(reverse ? 3 : 2));
  if (!low.ok()) return context.reply.Error(low.error());
  const auto high = ParseRangeEnd(context.arg(reverse ? 2 : 3));
  if (!high.ok()) return context.reply.Error(high.error());
  Arguments arguments(context.args, 4);
  int64_t count = -1;
  while (arguments.HasNext()) {
    if (arguments.NextIs("COUNT", 1)) {
      count = std::max<int64_t>(arguments.NextInteger(), 0);
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  const auto stream = OpenStream(context, 1);
  if (!stream) return;
  if (!*stream) return context.reply.Array(0);
  if (count == 0) return context.reply.NullArray();
  GrowingArray entries(context.reply);
  const auto visited = (*stream)->Visit(*low, *high, reverse, [&](StreamId id, const StreamFields& fields) {
    ReplyEntry(entries.Next(), id, &fields);
    return entries.count() != static_cast<uint64_t>(count);
  });
  if (!visited.ok()) return context.reply.Error(visited.error());
  entries.MoveTo(context.reply);
}

void Delete(CommandContext& context) {
  const auto removed = streams::Remove(*context.tx, context.arg(1), context.args.subspan(2));
  if (!removed.ok()) return context.reply.Error(removed.error());
  context.reply.Integer(static_cast<int64_t>(*removed));
}

void TrimFront(CommandContext& context) {
  const auto trim = streams::ParseTrim(context.args, WordsFrom::kClient);
  if (!trim.ok()) return context.reply.Error(trim.error());
  const auto removed = streams::TrimFront(*context.tx, context.arg(1), *trim);
  if (!removed.ok()) return context.reply.Error(removed.error());
  context.reply.Integer(static_cast<int64_t>(*removed));
}

void SetId(CommandContext& context) {
  const auto options = streams::ParseSetId(context.args);
  if (!options.ok()) return context.reply.Error(options.error());
  const auto set = streams::SetId(*context.tx, context.arg(1), *options);
  if (!set.ok()) return context.reply.Error(set.error());
  context.reply.Ok();
}

}  // namespace

void ReplyId(Reply& reply, StreamId id) { reply.Bulk(id.Text()); }

void ReplyEntry(Reply& reply, StreamId id, const StreamFields* fields) {
  reply.Array(2);
  ReplyId(reply, id);
  if (fields == nullptr) return reply.NullArray();
  reply.Array(fields->size());
  for (const std::string_view field : *fields) reply.Bulk(field);
}

std::optional<std::optional<StreamReader>> OpenStream(CommandContext& context, size_t at) {
  const auto stream = StreamReader::Open(*context.tx, context.arg(at));
  if (!stream.ok()) {
    context.reply.Error(stream.error());
    return std::nullopt;
  }
  Stats& stats = context.server.monitoring().stats;
  ++(stream->has_value() ? stats.keyspace_hits : stats.keyspace_misses);
  return *stream;
}

std::vector<CommandSpec> StreamCommands() {
  constexpr std::string_view kGroup = "stream";
  constexpr std::string_view kRangeCost = "O(N) with N the entries read";
  std::vector<CommandSpec> specs = {
      MakeCommand("xadd", -5, kWrite | kDenyOom | kFast, kCatStream, kOneKey, Add,
                  {"Adds an entry to a stream.", "5.0.0", kGroup, "O(1), and O(N) with N the entries trimmed",
                   "key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value ...]"}),
      MakeCommand("xlen", 2, kReadOnly | kFast, kCatStream, kOneKey, Length,
                  {"Counts the entries of a stream.", "5.0.0", kGroup, "O(1)", "key"}),
      MakeCommand("xrange", -4, kReadOnly, kCatStream, kOneKey, Range<false>,
                  {"Lists a range of entries.", "5.0.0", kGroup, kRangeCost, "key start end [COUNT count]"}),
      MakeCommand("xrevrange", -4, kReadOnly, kCatStream, kOneKey, Range<true>,
                  {"Lists a range of entries, the last one first.", "5.0.0", kGroup, kRangeCost,
                   "key end start [COUNT count]"}),
      MakeCommand("xdel", -3, kWrite | kFast | kFreesSpace, kCatStream, kOneKey, Delete,
                  {"Deletes entries.", "5.0.0", kGroup, "O(1) for each entry", "key id [id ...]"}),
      MakeCommand(
          "xtrim", -4, kWrite | kFreesSpace, kCatStream, kOneKey, TrimFront,
          {"Deletes the first entries of a stream.", "5.0.0", kGroup,
           "O(N) with N the smaller of what stays and what goes", "key MAXLEN|MINID [=|~] threshold [LIMIT count]"}),
      MakeCommand("xsetid", -3, kWrite | kDenyOom | kFast, kCatStream, kOneKey, SetId,
                  {"Sets the last id of a stream, for replication.", "5.0.0", kGroup, "O(1)",
                   "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]"}),
      StreamInfoContainer(),
  };
  for (auto family : {StreamReadCommands(), StreamGroupCommands()}) {
    specs.insert(specs.end(), std::make_move_iterator(family.begin()), std::make_move_iterator(family.end()));
  }
  return specs;
}

}  // namespace holdfast::net
