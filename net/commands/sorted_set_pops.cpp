// ZPOPMIN, ZPOPMAX, ZMPOP and those that wait: BZPOPMIN, BZPOPMAX, BZMPOP. One that finds nothing waits for its keys
// (net/blocking.h); it is done later by the same operation, so the log knows ZPOPMIN and ZPOPMAX only.
#include <limits>
#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/commands/sorted_set_families.h"
#include "net/commands/timeouts.h"
#include "storage/types/sorted_sets.h"

namespace holdfast::net {
namespace {

using sorted_sets::ScoreEnd;

// Whether pairs stand in arrays of their own, and the key in front of them.
struct PopForm {
  ScoreEnd end = ScoreEnd::kMin;
  uint64_t count = 1;
  bool nested = false;
  bool with_key = false;
};

// Takes members and writes the reply, or an error. False, and nothing is written, if there is no such sorted set.
bool PopFromKey(Transaction& tx, std::string_view key, const PopForm& form, Reply& reply) {
  const auto popped = sorted_sets::Pop(tx, key, form.end, form.count);
  if (!popped.ok()) {
    reply.Error(popped.error());
    return true;
  }
  if (!popped->has_value()) return false;
  const size_t size = (*popped)->size();
  if (form.nested) {
    if (form.with_key) reply.Array(2);
    if (form.with_key) reply.Bulk(key);
    reply.Array(size);
  } else {
    reply.Array(size * 2 + (form.with_key ? 1 : 0));
    if (form.with_key) reply.Bulk(key);
  }
  for (const ScoredMember& one : **popped) {
    if (form.nested) reply.Array(2);
    reply.Bulk(one.member);
    reply.Double(one.score);
  }
  return true;
}

template <ScoreEnd end>
void Pop(CommandContext& context) {
  if (context.argc() > 3) return context.reply.Error(kSyntaxError);
  PopForm form;
  form.end = end;
  if (context.argc() == 3) {
    constexpr std::string_view kNotPositive = "ERR value is out of range, must be positive";
    Arguments arguments(context.args, 2);
    form.count = static_cast<uint64_t>(
        arguments.NextInteger(0, std::numeric_limits<int64_t>::max(), kNotPositive, kNotPositive));
    if (arguments.Refused(context.reply)) return;
    form.nested = context.reply.resp() > 2;
  }
  if (!PopFromKey(*context.tx, context.arg(1), form, context.reply)) context.reply.Array(0);
}

struct MultiPopWords {
  std::span<const std::string_view> keys;
  PopForm form;
};

// numkeys key [key ...] MIN|MAX [COUNT count], from args[numkeys_at] on. Nothing, and the reply is written, if that is
// wrong.
std::optional<MultiPopWords> ReadMultiPop(CommandContext& context, size_t numkeys_at) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr std::string_view kKeys = "ERR numkeys should be greater than 0";
  constexpr std::string_view kCount = "ERR count should be greater than 0";
  Arguments arguments(context.args, numkeys_at);
  MultiPopWords words;
  words.form.nested = words.form.with_key = true;
  const auto count = static_cast<uint64_t>(arguments.NextInteger(1, kMax, kKeys, kKeys));
  if (!arguments.failed() && count >= context.argc() - numkeys_at - 1) arguments.Fail(kSyntaxError);
  if (arguments.Refused(context.reply)) return std::nullopt;
  words.keys = context.args.subspan(numkeys_at + 1, count);
  for (uint64_t i = 0; i < count; ++i) arguments.Next();
  if (arguments.NextIs("MAX")) {
    words.form.end = ScoreEnd::kMax;
  } else if (!arguments.NextIs("MIN")) {
    arguments.Fail(kSyntaxError);
  }
  if (arguments.NextIs("COUNT", 1)) {
    words.form.count = static_cast<uint64_t>(arguments.NextInteger(1, kMax, kCount, kCount));
  }
  if (arguments.HasNext()) arguments.Fail(kSyntaxError);
  if (arguments.Refused(context.reply)) return std::nullopt;
  return words;
}

void MultiPop(CommandContext& context) {
  const auto words = ReadMultiPop(context, 1);
  if (!words) return;
  for (const std::string_view key : words->keys) {
    if (PopFromKey(*context.tx, key, words->form, context.reply)) return;
  }
  context.reply.NullArray();
}

bool HoldsSortedSet(Transaction& tx, std::string_view key) {
  const auto found = tx.Find(key);
  return found.ok() && found->has_value() && (*found)->type == ValueType::kSortedSet;
}

void PopOrWait(CommandContext& context, std::span<const std::string_view> keys, std::string_view timeout,
               const PopForm& form) {
  const auto deadline_ms = ReadDeadline(context, timeout);
  if (!deadline_ms) return;
  for (const std::string_view key : keys) {
    if (PopFromKey(*context.tx, key, form, context.reply)) return;
  }
  WaitForKeys(context, keys, *deadline_ms, [form](Transaction& tx, std::string_view key, Reply& reply) {
    return HoldsSortedSet(tx, key) && PopFromKey(tx, key, form, reply);
  });
}

template <ScoreEnd end>
void BlockingPop(CommandContext& context) {
  PopForm form;
  form.end = end;
  form.with_key = true;
  PopOrWait(context, context.args.subspan(1, context.argc() - 2), context.arg(context.argc() - 1), form);
}

void BlockingMultiPop(CommandContext& context) {
  const auto words = ReadMultiPop(context, 2);
  if (words) PopOrWait(context, words->keys, context.arg(1), words->form);
}

}  // namespace

std::vector<CommandSpec> SortedSetPopCommands() {
  constexpr uint32_t kPop = kWrite | kFast | kFreesSpace;
  constexpr uint32_t kWaitingPop = kWrite | kNoScript | kFast | kBlocking | kFreesSpace;
  constexpr KeySpec kAllButLast{1, -2, 1};
  constexpr std::string_view kGroup = "sorted-set";
  constexpr std::string_view kCost = "O(N) with N the members taken";
  constexpr std::string_view kKeysCost = "O(N+M) with N the number of keys and M of members taken";
  CommandSpec multi = MakeCommand("zmpop", -4, kWrite | kMovableKeys | kFreesSpace, kCatSortedSet, kNoKeys, MultiPop,
                                  {"Takes members from the first of several sorted sets that has one.", "7.0.0", kGroup,
                                   kKeysCost, "numkeys key [key ...] MIN|MAX [COUNT count]"});
  multi.get_keys = [](std::span<const std::string_view> args) { return CountedKeys(args, 1); };
  CommandSpec waiting = MakeCommand(
      "bzmpop", -5, kWrite | kBlocking | kMovableKeys | kFreesSpace, kCatSortedSet, kNoKeys, BlockingMultiPop,
      {"Takes members from the first of several sorted sets that has one, or waits until one has.", "7.0.0", kGroup,
       kKeysCost, "timeout numkeys key [key ...] MIN|MAX [COUNT count]"});
  waiting.get_keys = [](std::span<const std::string_view> args) { return CountedKeys(args, 2); };
  return {
      MakeCommand("zpopmin", -2, kPop, kCatSortedSet, kOneKey, Pop<ScoreEnd::kMin>,
                  {"Takes the members with the lowest scores.", "5.0.0", kGroup, kCost, "key [count]"}),
      MakeCommand("zpopmax", -2, kPop, kCatSortedSet, kOneKey, Pop<ScoreEnd::kMax>,
                  {"Takes the members with the highest scores.", "5.0.0", kGroup, kCost, "key [count]"}),
      MakeCommand("bzpopmin", -3, kWaitingPop, kCatSortedSet, kAllButLast, BlockingPop<ScoreEnd::kMin>,
                  {"Takes the member with the lowest score of one of several sorted sets, or waits until there is one.",
                   "5.0.0", kGroup, "O(N) with N the number of keys", "key [key ...] timeout"}),
      MakeCommand(
          "bzpopmax", -3, kWaitingPop, kCatSortedSet, kAllButLast, BlockingPop<ScoreEnd::kMax>,
          {"Takes the member with the highest score of one of several sorted sets, or waits until there is one.",
           "5.0.0", kGroup, "O(N) with N the number of keys", "key [key ...] timeout"}),
      std::move(multi),
      std::move(waiting),
  };
}

}  // namespace holdfast::net
