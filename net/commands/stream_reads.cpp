// XREAD and XREADGROUP. One that finds nothing and may wait does so for its keys (net/blocking.h); it is served later
// by the same operations in a unit of its own, so the log knows XCLAIM and XGROUP only.
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/commands/stream_families.h"
#include "net/commands/timeouts.h"
#include "net/server.h"
#include "storage/types/stream_groups.h"

namespace holdfast::net {
namespace {

constexpr uint64_t kWaitingCount = 1000;  // entries at most for who waited and did not say

// What a command asks of its streams. Owns its words: it may outlive them.
struct ReadRequest {
  bool in_group = false;
  std::string group, consumer;
  bool acknowledged = false;
  uint64_t count = 0;
  std::map<std::string, StreamId, std::less<>> after;  // by key, while it waits
};

struct ReadWords {
  ReadRequest request;
  std::optional<int64_t> deadline_ms;  // with BLOCK
  std::span<const std::string_view> keys;
  std::span<const std::string_view> ids;
};

// Nothing, and the reply is written, if the words are wrong. In Redis' order: the first thing that is wrong counts.
std::optional<ReadWords> ParseRead(CommandContext& context, bool in_group) {
  ReadWords words;
  words.request.in_group = in_group;
  Arguments arguments(context.args, 1);
  bool any_group = false;
  size_t streams_at = 0;
  while (arguments.HasNext() && streams_at == 0) {
    if (arguments.NextIs("BLOCK", 1)) {
      words.deadline_ms = ReadDeadlineMs(context, arguments.Next());
      if (!words.deadline_ms) return std::nullopt;
    } else if (arguments.NextIs("COUNT", 1)) {
      words.request.count = static_cast<uint64_t>(std::max<int64_t>(arguments.NextInteger(), 0));
    } else if (arguments.NextIs("STREAMS", 1)) {
      streams_at = context.argc() - arguments.left();
    } else if (arguments.NextIs("GROUP", 2)) {
      any_group = true;
      words.request.group = arguments.Next();
      words.request.consumer = arguments.Next();
      if (!in_group) arguments.Fail("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
    } else if (arguments.NextIs("NOACK")) {
      words.request.acknowledged = true;
      if (!in_group) arguments.Fail("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  const size_t names = context.argc() - streams_at;
  if (streams_at == 0) {
    arguments.Fail(kSyntaxError);
  } else if (names % 2 != 0) {
    arguments.Fail("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.");
  } else if (in_group && !any_group) {
    arguments.Fail("ERR Missing GROUP option for XREADGROUP");
  }
  if (arguments.Refused(context.reply)) return std::nullopt;
  words.keys = context.args.subspan(streams_at, names / 2);
  words.ids = context.args.subspan(streams_at + names / 2);
  return words;
}

// Where to read on in one stream: behind an id, or, in a group, behind what the group was given (nullopt).
struct Place {
  std::optional<StreamId> after;
};

Result<Place> FindPlace(Transaction& tx, const ReadRequest& request, std::string_view key, std::string_view id) {
  ASSIGN_OR_RETURN(const auto stream, StreamReader::Open(tx, key));
  if (request.in_group) {
    std::optional<GroupState> group;
    if (stream) {
      ASSIGN_OR_RETURN(group, stream->FindGroup(request.group));
    }
    if (!group) return streams::NoGroupError(key, request.group, "XREADGROUP with GROUP option");
  }
  const std::string_view visible = id.substr(0, id.find('\0'));
  if (visible == "$") {
    if (!request.in_group) return Place{stream ? stream->header().last : StreamId{}};
    return Error{ErrorCode::kInvalidArgument,
                 "The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer "
                 "by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty "
                 "result set."};
  }
  if (visible == ">") {
    if (request.in_group) return Place{};
    return Error{ErrorCode::kInvalidArgument,
                 "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."};
  }
  ASSIGN_OR_RETURN(const StreamId after, ParseStreamId(id, 0));
  // Redis has no other word for ">".
  if (request.in_group && after == StreamId::Max()) return Place{};
  return Place{after};
}

// Whether there was anything to read. Entries go to `entries`.
Result<bool> ReadStream(Transaction& tx, const ReadRequest& request, std::string_view key, StreamId after,
                        GrowingArray& entries) {
  ASSIGN_OR_RETURN(const auto stream, StreamReader::Open(tx, key));
  const auto first = after.Next();
  if (!stream || !first) return false;
  RETURN_IF_ERROR(
      stream->Visit(*first, StreamId::Max(), /*reverse=*/false, [&](StreamId id, const StreamFields& fields) {
        ReplyEntry(entries.Next(), id, &fields);
        return entries.count() != request.count;
      }));
  return entries.count() > 0;
}

Result<bool> ReadGroup(Transaction& tx, const ReadRequest& request, std::string_view key, const Place& place,
                       GrowingArray& entries) {
  const auto visit = [&entries](StreamId id, const StreamFields* fields) { ReplyEntry(entries.Next(), id, fields); };
  if (place.after) {
    const auto read = streams::ReadAgain(tx, key, request.group, request.consumer, *place.after, request.count, visit);
    if (!read.ok()) return read.error();
    return true;  // an empty history is an answer
  }
  const streams::ReadOptions options{request.count, request.acknowledged};
  ASSIGN_OR_RETURN(const uint64_t read, streams::ReadNew(tx, key, request.group, request.consumer, options, visit));
  return read > 0;
}

// One stream of the answer: [key, entries], or a pair of a map.
void ReplyStream(Reply& reply, std::string_view key, const GrowingArray& entries) {
  if (reply.resp() == 2) reply.Array(2);
  reply.Bulk(key);
  entries.MoveTo(reply);
}
void ReplyStreams(Reply& reply, uint64_t count, std::string_view bytes) {
  reply.resp() == 2 ? reply.Array(count) : reply.Map(count);
  reply.Raw(bytes);
}

// Does the work of a client that waits. False: there is nothing for it yet.
bool ServeWaiting(const ReadRequest& request, Transaction& tx, std::string_view key, Reply& reply) {
  const auto found = tx.Find(key);
  const bool is_stream = found.ok() && found->has_value() && (*found)->type == ValueType::kStream;
  if (!is_stream && !request.in_group) return false;
  GrowingArray entries(reply);
  Result<bool> read = false;
  if (!request.in_group) {
    read = ReadStream(tx, request, key, request.after.find(key)->second, entries);
  } else if (!is_stream) {
    reply.Error("UNBLOCKED the stream key no longer exists");
    return true;
  } else {
    read = ReadGroup(tx, request, key, Place{}, entries);
    if (!read.ok() && read.error().code == ErrorCode::kNotFound) {
      reply.Error("NOGROUP the consumer group this client was blocked on no longer exists");
      return true;
    }
  }
  if (!read.ok()) {
    reply.Error(read.error());
    return true;
  }
  if (!*read) return false;
  std::string bytes;
  Reply inner(bytes, reply.resp());
  ReplyStream(inner, key, entries);
  ReplyStreams(reply, 1, bytes);
  return true;
}

void Wait(CommandContext& context, ReadWords words, const std::vector<Place>& places) {
  ReadRequest& request = words.request;
  if (request.count == 0) request.count = kWaitingCount;
  // Of a key that is named twice the first id counts.
  for (size_t i = 0; i < words.keys.size(); ++i) {
    request.after.emplace(words.keys[i], places[i].after.value_or(StreamId{}));
  }
  const bool in_group = request.in_group;
  WaitForKeys(
      context, words.keys, *words.deadline_ms,
      [request](Transaction& tx, std::string_view key, Reply& reply) { return ServeWaiting(request, tx, key, reply); },
      in_group ? [](Reply& reply) { reply.Error("UNBLOCKED the stream key no longer exists"); }
               : std::function<void(Reply&)>());
}

template <bool in_group>
void Read(CommandContext& context) {
  auto words = ParseRead(context, in_group);
  if (!words) return;
  std::vector<Place> places;
  for (size_t i = 0; i < words->keys.size(); ++i) {
    const auto place = FindPlace(*context.tx, words->request, words->keys[i], words->ids[i]);
    if (!place.ok()) return context.reply.Error(place.error());
    places.push_back(*place);
  }
  std::string bytes;
  Reply answer(bytes, context.reply.resp());
  uint64_t streams = 0;
  for (size_t i = 0; i < words->keys.size(); ++i) {
    GrowingArray entries(context.reply);
    const std::string_view key = words->keys[i];
    const auto read = in_group ? ReadGroup(*context.tx, words->request, key, places[i], entries)
                               : ReadStream(*context.tx, words->request, key, *places[i].after, entries);
    if (!read.ok()) return context.reply.Error(read.error());
    if (!*read) continue;
    ++streams;
    ReplyStream(answer, key, entries);
  }
  if (streams > 0) return ReplyStreams(context.reply, streams, bytes);
  if (!words->deadline_ms) return context.reply.NullArray();
  Wait(context, *std::move(words), places);
}

// Positions of the keys: the first half of what follows the first STREAMS from `from` on.
template <size_t from>
std::vector<int> StreamKeys(std::span<const std::string_view> args) {
  std::vector<int> indexes;
  size_t at = from;
  while (at < args.size() && !EqualsIgnoreCase(args[at], "STREAMS")) ++at;
  if (at == args.size()) return indexes;
  const size_t keys = (args.size() - at - 1) / 2;
  for (size_t key = 0; key < keys; ++key) indexes.push_back(static_cast<int>(at + 1 + key));
  return indexes;
}

}  // namespace

std::vector<CommandSpec> StreamReadCommands() {
  std::vector<CommandSpec> specs = {
      MakeCommand(
          "xread", -4, kReadOnly | kBlocking | kMovableKeys, kCatStream, kNoKeys, Read<false>,
          {"Reads the entries behind an id of each of several streams, or waits for one.", "5.0.0", "stream",
           "O(N) with N the entries read", "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]"}),
      MakeCommand(
          "xreadgroup", -7, kWrite | kBlocking | kMovableKeys, kCatStream, kNoKeys, Read<true>,
          {"Reads entries that nobody of a group was given, or waits for one; or the consumer's own again.", "5.0.0",
           "stream", "O(N) with N the entries read",
           "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]"}),
  };
  specs[0].get_keys = StreamKeys<1>;
  specs[1].get_keys = StreamKeys<4>;
  return specs;
}

}  // namespace holdfast::net
