// BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH. One that finds nothing waits for its keys (net/blocking.h); it is done
// later by the same operations, in a unit of its own, so the log knows LPOP, RPOP, LMOVE and RPOPLPUSH only.
#include <string>
#include <utility>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/list_pops.h"
#include "net/commands/rows.h"
#include "net/commands/timeouts.h"
#include "net/server.h"
#include "storage/types/lists.h"

namespace holdfast::net {
namespace {

bool HoldsList(Transaction& tx, std::string_view key) {
  const auto found = tx.Find(key);
  return found.ok() && found->has_value() && (*found)->type == ValueType::kList;
}

// Takes one item and writes [key, item], or an error. False, and nothing is written, if there is no such list.
bool PopOne(Transaction& tx, std::string_view key, ListEnd end, Reply& reply) {
  const auto item = lists::Pop(tx, key, end);
  if (!item.ok()) {
    reply.Error(item.error());
    return true;
  }
  if (!item->has_value()) return false;
  reply.Array(2);
  reply.Bulk(key);
  reply.Bulk(**item);
  return true;
}

template <ListEnd end>
void Pop(CommandContext& context) {
  const auto deadline_ms = ReadDeadline(context, context.arg(context.argc() - 1));
  if (!deadline_ms) return;
  const auto keys = context.args.subspan(1, context.argc() - 2);
  for (const std::string_view key : keys) {
    if (PopOne(*context.tx, key, end, context.reply)) return;
  }
  WaitForKeys(context, keys, *deadline_ms, [](Transaction& tx, std::string_view key, Reply& reply) {
    return HoldsList(tx, key) && PopOne(tx, key, end, reply);
  });
}

void MultiPop(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const MultiPopWords words = ReadMultiPop(arguments, context.args, 2);
  if (arguments.Refused(context.reply)) return;
  const auto deadline_ms = ReadDeadline(context, context.arg(1));
  if (!deadline_ms) return;
  for (const std::string_view key : words.keys) {
    if (PopFromKey(*context.tx, key, words.end, words.count, context.reply)) return;
  }
  WaitForKeys(context, words.keys, *deadline_ms,
              [end = words.end, count = words.count](Transaction& tx, std::string_view key, Reply& reply) {
                return HoldsList(tx, key) && PopFromKey(tx, key, end, count, reply);
              });
}

// Writes the item, or the error if the destination is no list. False if there is no source.
bool MoveOne(Transaction& tx, std::string_view source, std::string_view destination, lists::Ends ends, Reply& reply) {
  const auto moved = lists::Move(tx, source, destination, ends);
  if (!moved.ok()) {
    reply.Error(moved.error());
    return true;
  }
  if (!moved->has_value()) return false;
  reply.Bulk(**moved);
  return true;
}

void MoveItem(CommandContext& context, lists::Ends ends, std::string_view timeout) {
  const auto deadline_ms = ReadDeadline(context, timeout);
  if (!deadline_ms) return;
  const std::string_view source = context.arg(1);
  if (MoveOne(*context.tx, source, context.arg(2), ends, context.reply)) return;
  if (context.in_exec) return context.reply.Null();
  WaitForKeys(context, {&source, 1}, *deadline_ms,
              [destination = std::string(context.arg(2)), ends](Transaction& tx, std::string_view key, Reply& reply) {
                return HoldsList(tx, key) && MoveOne(tx, key, destination, ends, reply);
              });
}

void Move(CommandContext& context) {
  const auto from = lists::ParseEnd(context.arg(3));
  const auto to = lists::ParseEnd(context.arg(4));
  if (!from || !to) return context.reply.Error(kSyntaxError);
  MoveItem(context, {*from, *to}, context.arg(5));
}

void RPopLPush(CommandContext& context) { MoveItem(context, {ListEnd::kRight, ListEnd::kLeft}, context.arg(3)); }

}  // namespace

std::vector<CommandSpec> BlockingListCommands() {
  constexpr uint32_t kPop = kWrite | kNoScript | kBlocking | kFreesSpace;
  constexpr uint32_t kMove = kWrite | kDenyOom | kNoScript | kBlocking;
  constexpr KeySpec kAllButLast{1, -2, 1};
  std::vector<CommandSpec> specs = {
      MakeCommand("blpop", -3, kPop, kCatList, kAllButLast, Pop<ListEnd::kLeft>,
                  {"Takes the first item of one of several lists, or waits until there is one.", "2.0.0", "list",
                   "O(N) with N the number of keys", "key [key ...] timeout"}),
      MakeCommand("brpop", -3, kPop, kCatList, kAllButLast, Pop<ListEnd::kRight>,
                  {"Takes the last item of one of several lists, or waits until there is one.", "2.0.0", "list",
                   "O(N) with N the number of keys", "key [key ...] timeout"}),
      MakeCommand("blmove", 6, kMove, kCatList, kTwoKeys, Move,
                  {"Moves an item from one list into another one, or waits until there is one.", "6.2.0", "list",
                   "O(1)", "source destination LEFT|RIGHT LEFT|RIGHT timeout"}),
      MakeCommand("brpoplpush", 4, kMove, kCatList, kTwoKeys, RPopLPush,
                  {"Moves the last item of a list in front of another one, or waits until there is one.", "2.2.0",
                   "list", "O(1)", "source destination timeout"}),
      MakeCommand("blmpop", -5, kWrite | kBlocking | kMovableKeys | kFreesSpace, kCatList, kNoKeys, MultiPop,
                  {"Takes items from the first of several lists that has one, or waits until one has.", "7.0.0", "list",
                   "O(N+M) with N the number of keys and M of items taken",
                   "timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]"}),
  };
  specs.back().get_keys = [](std::span<const std::string_view> args) { return CountedKeys(args, 2); };
  return specs;
}

}  // namespace holdfast::net
