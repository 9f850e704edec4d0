// List commands: words to store operations (storage/types/lists.h) and back. Those that wait: blocking_lists.cpp.
#include "storage/types/lists.h"

#include <iterator>
#include <limits>
#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/list_pops.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

using lists::PushCondition;

// The list as a reading command finds it. Nothing, and the reply is written, if it cannot be read.
std::optional<std::optional<ListValue>> Read(CommandContext& context) {
  const auto list = lists::Open(*context.tx, context.arg(1));
  if (!list.ok()) {
    context.reply.Error(list.error());
    return std::nullopt;
  }
  Stats& stats = context.server.monitoring().stats;
  ++(list->has_value() ? stats.keyspace_hits : stats.keyspace_misses);
  return *list;
}

template <ListEnd end, PushCondition condition>
void Push(CommandContext& context) {
  const auto length = lists::Push(*context.tx, context.arg(1), end, context.args.subspan(2), condition);
  if (!length.ok()) return context.reply.Error(length.error());
  context.reply.Integer(static_cast<int64_t>(*length));
}

void PopMany(CommandContext& context, ListEnd end) {
  constexpr std::string_view kNotPositive = "ERR value is out of range, must be positive";
  Arguments arguments(context.args, 2);
  const int64_t count = arguments.NextInteger(0, std::numeric_limits<int64_t>::max(), kNotPositive, kNotPositive);
  if (arguments.Refused(context.reply)) return;
  const auto items = lists::PopSome(*context.tx, context.arg(1), end, static_cast<uint64_t>(count));
  if (!items.ok()) return context.reply.Error(items.error());
  if (!items->has_value()) return context.reply.NullArray();
  context.reply.Array((*items)->size());
  for (const std::string& item : **items) context.reply.Bulk(item);
}

template <ListEnd end>
void Pop(CommandContext& context) {
  if (context.argc() > 3) {
    return context.reply.Error("ERR wrong number of arguments for '" + std::string(context.spec.name) + "' command");
  }
  if (context.argc() == 3) return PopMany(context, end);
  const auto item = lists::Pop(*context.tx, context.arg(1), end);
  if (!item.ok()) return context.reply.Error(item.error());
  if (!item->has_value()) return context.reply.Null();
  context.reply.Bulk(**item);
}

void Length(CommandContext& context) {
  const auto list = Read(context);
  if (!list) return;
  context.reply.Integer(list->has_value() ? static_cast<int64_t>((*list)->Length()) : 0);
}

void Range(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t start = arguments.NextInteger();
  const int64_t stop = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto list = Read(context);
  if (!list) return;
  Reply& reply = context.reply;
  if (!list->has_value()) return reply.Array(0);
  const lists::ListRange range = lists::ResolveRange((*list)->Length(), start, stop);
  const size_t begin = reply.size();
  reply.Array(range.count);
  const auto visited = (*list)->Visit(range.first, range.count, [&reply](uint64_t, std::string_view item) {
    reply.Bulk(item);
    return true;
  });
  if (visited.ok()) return;
  reply.out().resize(begin);
  reply.Error(visited.error());
}

void Index(CommandContext& context) {
  const auto list = Read(context);
  if (!list) return;
  if (!list->has_value()) return context.reply.Null();
  Arguments arguments(context.args, 2);
  const int64_t index = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto place = lists::ResolveIndex((*list)->Length(), index);
  if (!place) return context.reply.Null();
  const auto item = (*list)->At(*place);
  if (!item.ok()) return context.reply.Error(item.error());
  context.reply.Bulk(*item);
}

void Set(CommandContext& context) {
  const auto found = lists::Open(*context.tx, context.arg(1));  // comes before what is wrong with the index
  if (!found.ok()) return context.reply.Error(found.error());
  if (!found->has_value()) return context.reply.Error("ERR no such key");
  Arguments arguments(context.args, 2);
  const int64_t index = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto set = lists::Set(*context.tx, context.arg(1), index, context.arg(3));
  if (!set.ok()) return context.reply.Error(set.error());
  context.reply.Ok();
}

void Insert(CommandContext& context) {
  const bool before = EqualsIgnoreCase(context.arg(2), "BEFORE");
  if (!before && !EqualsIgnoreCase(context.arg(2), "AFTER")) return context.reply.Error(kSyntaxError);
  const auto length = lists::Insert(*context.tx, context.arg(1), before, context.arg(3), context.arg(4));
  if (!length.ok()) return context.reply.Error(length.error());
  context.reply.Integer(*length);
}

void Remove(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t count = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto removed = lists::Remove(*context.tx, context.arg(1), count, context.arg(3));
  if (!removed.ok()) return context.reply.Error(removed.error());
  context.reply.Integer(static_cast<int64_t>(*removed));
}

void Trim(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t start = arguments.NextInteger();
  const int64_t stop = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto trimmed = lists::Trim(*context.tx, context.arg(1), start, stop);
  if (!trimmed.ok()) return context.reply.Error(trimmed.error());
  context.reply.Ok();
}

void Position(CommandContext& context) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr std::string_view kCount = "ERR COUNT can't be negative";
  constexpr std::string_view kLength = "ERR MAXLEN can't be negative";
  Arguments arguments(context.args, 3);
  lists::PositionOptions options;
  bool many = false;
  while (arguments.HasNext()) {
    if (arguments.NextIs("RANK", 1)) {
      options.rank = arguments.NextInteger();
      if (options.rank == 0) {
        arguments.Fail(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to "
            "start from the end of the list");
      }
    } else if (arguments.NextIs("COUNT", 1)) {
      many = true;
      options.count = static_cast<uint64_t>(arguments.NextInteger(0, kMax, kCount, kCount));
    } else if (arguments.NextIs("MAXLEN", 1)) {
      options.length_max = static_cast<uint64_t>(arguments.NextInteger(0, kMax, kLength, kLength));
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  if (options.rank == std::numeric_limits<int64_t>::min()) {
    // Its magnitude overflows in Redis, which then reports from the first match from the end, and all of them.
    options.rank = -1;
    if (many) options.count = 0;
  }
  const auto list = Read(context);
  if (!list) return;
  std::vector<uint64_t> found;
  if (list->has_value()) {
    auto positions = lists::Positions(**list, context.arg(2), options);
    if (!positions.ok()) return context.reply.Error(positions.error());
    found = *std::move(positions);
  }
  if (!many && found.empty()) return context.reply.Null();
  if (many) context.reply.Array(found.size());
  for (const uint64_t position : found) context.reply.Integer(static_cast<int64_t>(position));
}

void MoveItem(CommandContext& context, lists::Ends ends) {
  const auto moved = lists::Move(*context.tx, context.arg(1), context.arg(2), ends);
  if (!moved.ok()) return context.reply.Error(moved.error());
  if (!moved->has_value()) return context.reply.Null();
  context.reply.Bulk(**moved);
}

void Move(CommandContext& context) {
  const auto from = lists::ParseEnd(context.arg(3));
  const auto to = lists::ParseEnd(context.arg(4));
  if (!from || !to) return context.reply.Error(kSyntaxError);
  MoveItem(context, {*from, *to});
}

void RPopLPush(CommandContext& context) { MoveItem(context, {ListEnd::kRight, ListEnd::kLeft}); }

void MultiPop(CommandContext& context) {
  Arguments arguments(context.args, 1);
  const MultiPopWords words = ReadMultiPop(arguments, context.args, 1);
  if (arguments.Refused(context.reply)) return;
  for (const std::string_view key : words.keys) {
    if (PopFromKey(*context.tx, key, words.end, words.count, context.reply)) return;
  }
  context.reply.NullArray();
}

}  // namespace

MultiPopWords ReadMultiPop(Arguments& arguments, std::span<const std::string_view> args, size_t numkeys_at) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr std::string_view kKeys = "ERR numkeys should be greater than 0";
  constexpr std::string_view kCount = "ERR count should be greater than 0";
  MultiPopWords words;
  const auto count = static_cast<uint64_t>(arguments.NextInteger(1, kMax, kKeys, kKeys));
  if (arguments.failed()) return words;
  if (count >= args.size() - numkeys_at - 1) {
    arguments.Fail(kSyntaxError);
    return words;
  }
  words.keys = args.subspan(numkeys_at + 1, count);
  for (size_t i = 0; i < words.keys.size(); ++i) arguments.Next();
  const auto end = lists::ParseEnd(arguments.Next());
  if (!end) arguments.Fail(kSyntaxError);
  words.end = end.value_or(ListEnd::kLeft);
  if (arguments.NextIs("COUNT", 1)) {
    words.count = static_cast<uint64_t>(arguments.NextInteger(1, kMax, kCount, kCount));
  }
  if (arguments.HasNext()) arguments.Fail(kSyntaxError);
  return words;
}

bool PopFromKey(Transaction& tx, std::string_view key, ListEnd end, uint64_t count, Reply& reply) {
  const auto items = lists::PopSome(tx, key, end, count);
  if (!items.ok()) {
    reply.Error(items.error());
    return true;
  }
  if (!items->has_value()) return false;
  reply.Array(2);
  reply.Bulk(key);
  reply.Array((*items)->size());
  for (const std::string& item : **items) reply.Bulk(item);
  return true;
}

std::vector<CommandSpec> ListCommands() {
  constexpr uint32_t kPush = kWrite | kDenyOom | kFast;
  constexpr uint32_t kPop = kWrite | kFast | kFreesSpace;
  constexpr auto kAlways = PushCondition::kAlways;
  constexpr auto kIfPresent = PushCondition::kIfPresent;
  std::vector<CommandSpec> specs = {
      MakeCommand("lpush", -3, kPush, kCatList, kOneKey, Push<ListEnd::kLeft, kAlways>,
                  {"Puts items in front of a list, one after the other.", "1.0.0", "list", "O(1) for each item",
                   "key element [element ...]"}),
      MakeCommand(
          "rpush", -3, kPush, kCatList, kOneKey, Push<ListEnd::kRight, kAlways>,
          {"Puts items at the end of a list.", "1.0.0", "list", "O(1) for each item", "key element [element ...]"}),
      MakeCommand("lpushx", -3, kPush, kCatList, kOneKey, Push<ListEnd::kLeft, kIfPresent>,
                  {"Puts items in front of a list that exists.", "2.2.0", "list", "O(1) for each item",
                   "key element [element ...]"}),
      MakeCommand("rpushx", -3, kPush, kCatList, kOneKey, Push<ListEnd::kRight, kIfPresent>,
                  {"Puts items at the end of a list that exists.", "2.2.0", "list", "O(1) for each item",
                   "key element [element ...]"}),
      MakeCommand("lpop", -2, kPop, kCatList, kOneKey, Pop<ListEnd::kLeft>,
                  {"Takes items from the front of a list.", "1.0.0", "list", "O(N) with N the number of items taken",
                   "key [count]"}),
      MakeCommand("rpop", -2, kPop, kCatList, kOneKey, Pop<ListEnd::kRight>,
                  {"Takes items from the end of a list.", "1.0.0", "list", "O(N) with N the number of items taken",
                   "key [count]"}),
      MakeCommand("llen", 2, kReadOnly | kFast, kCatList, kOneKey, Length,
                  {"Tells how many items a list has.", "1.0.0", "list", "O(1)", "key"}),
      MakeCommand(
          "lrange", 4, kReadOnly, kCatList, kOneKey, Range,
          {"Reads a part of a list.", "1.0.0", "list", "O(N) with N the number of items read", "key start stop"}),
      MakeCommand("lindex", 3, kReadOnly, kCatList, kOneKey, Index,
                  {"Reads one item of a list.", "1.0.0", "list", "O(1)", "key index"}),
      MakeCommand("lset", 4, kWrite | kDenyOom, kCatList, kOneKey, Set,
                  {"Replaces one item of a list.", "1.0.0", "list", "O(1)", "key index element"}),
      MakeCommand("linsert", 5, kWrite | kDenyOom, kCatList, kOneKey, Insert,
                  {"Puts an item beside another one.", "2.2.0", "list",
                   "O(N) with N the distance of the other one from the front", "key BEFORE|AFTER pivot element"}),
      MakeCommand("lrem", 4, kWrite | kFreesSpace, kCatList, kOneKey, Remove,
                  {"Removes items that equal a value.", "1.0.0", "list", "O(N) with N the length of the list",
                   "key count element"}),
      MakeCommand("ltrim", 4, kWrite | kFreesSpace, kCatList, kOneKey, Trim,
                  {"Keeps a part of a list and removes the rest.", "1.0.0", "list",
                   "O(N) with N the smaller of what stays and what goes", "key start stop"}),
      MakeCommand("lpos", -3, kReadOnly, kCatList, kOneKey, Position,
                  {"Finds items that equal a value.", "6.0.6", "list", "O(N) with N the number of items looked at",
                   "key element [RANK rank] [COUNT num-matches] [MAXLEN len]"}),
      MakeCommand("lmove", 5, kWrite | kDenyOom, kCatList, kTwoKeys, Move,
                  {"Takes an item from one list and puts it into another one.", "6.2.0", "list", "O(1)",
                   "source destination LEFT|RIGHT LEFT|RIGHT"}),
      MakeCommand("rpoplpush", 3, kWrite | kDenyOom, kCatList, kTwoKeys, RPopLPush,
                  {"Takes the last item of a list and puts it in front of another one.", "1.2.0", "list", "O(1)",
                   "source destination"}),
      MakeCommand(
          "lmpop", -4, kWrite | kMovableKeys | kFreesSpace, kCatList, kNoKeys, MultiPop,
          {"Takes items from the first of several lists that is not empty.", "7.0.0", "list",
           "O(N+M) with N the number of keys and M of items taken", "numkeys key [key ...] LEFT|RIGHT [COUNT count]"}),
  };
  specs.back().get_keys = [](std::span<const std::string_view> args) { return CountedKeys(args, 1); };
  std::vector<CommandSpec> blocking = BlockingListCommands();
  specs.insert(specs.end(), std::make_move_iterator(blocking.begin()), std::make_move_iterator(blocking.end()));
  return specs;
}

}  // namespace holdfast::net
