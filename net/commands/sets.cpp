// Set commands: words to store operations (storage/types/sets.h) and back.
#include "storage/types/sets.h"

#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/collection_replies.h"
#include "net/commands/rows.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

using sets::Combination;

void ReplyCount(CommandContext& context, const Result<uint64_t>& count) {
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

// Nothing, and the error is the reply, if the key holds something else.
std::optional<std::optional<MemberReader>> OpenSet(CommandContext& context) {
  const auto set = sets::Open(*context.tx, context.arg(1));
  if (!set.ok()) {
    context.reply.Error(set.error());
    return std::nullopt;
  }
  CountLookup(context, set->has_value());
  return *set;
}

void SAdd(CommandContext& context) {
  ReplyCount(context, sets::Add(*context.tx, context.arg(1), context.args.subspan(2)));
}

void SRem(CommandContext& context) {
  ReplyCount(context, sets::Remove(*context.tx, context.arg(1), context.args.subspan(2)));
}

void SMove(CommandContext& context) {
  const auto moved = sets::Move(*context.tx, context.arg(1), context.arg(2), context.arg(3));
  if (!moved.ok()) return context.reply.Error(moved.error());
  context.reply.Integer(*moved ? 1 : 0);
}

void SCard(CommandContext& context) {
  const auto set = OpenSet(context);
  if (!set) return;
  context.reply.Integer(*set ? static_cast<int64_t>((*set)->count()) : 0);
}

void SIsMember(CommandContext& context) {
  const auto set = OpenSet(context);
  if (!set) return;
  if (!*set) return context.reply.Integer(0);
  const auto known = (*set)->Has(context.arg(2));
  if (!known.ok()) return context.reply.Error(known.error());
  context.reply.Integer(*known ? 1 : 0);
}

void SMIsMember(CommandContext& context) {
  const auto answers = sets::AreMembers(*context.tx, context.arg(1), context.args.subspan(2));
  if (!answers.ok()) return context.reply.Error(answers.error());
  context.reply.Array(answers->size());
  for (const bool known : *answers) context.reply.Integer(known ? 1 : 0);
}

// ---- random members ------------------------------------------------------------------------------------------------

void SPop(CommandContext& context) {
  if (context.argc() == 2) {
    const auto popped = sets::Pop(*context.tx, context.arg(1), 1);
    if (!popped.ok()) return context.reply.Error(popped.error());
    if (popped->empty()) return context.reply.Null();
    return context.reply.Bulk(popped->front());
  }
  Arguments arguments(context.args, 2);
  constexpr std::string_view kNotPositive = "ERR value is out of range, must be positive";
  if (context.argc() > 3) arguments.Fail(kSyntaxError);
  const int64_t count = arguments.NextInteger(0, INT64_MAX, kNotPositive, kNotPositive);
  if (arguments.Refused(context.reply)) return;
  const auto popped = sets::Pop(*context.tx, context.arg(1), static_cast<uint64_t>(count));
  if (!popped.ok()) return context.reply.Error(popped.error());
  context.reply.Set(popped->size());
  for (const std::string& member : *popped) context.reply.Bulk(member);
}

void SRandMember(CommandContext& context) {
  const bool counted = context.argc() > 2;
  int64_t count = 0;
  if (counted) {
    Arguments arguments(context.args, 2);
    if (context.argc() > 3) arguments.Fail(kSyntaxError);
    count = arguments.NextInteger(
        -INT64_MAX, INT64_MAX,
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    if (arguments.Refused(context.reply)) return;
  }
  const auto set = OpenSet(context);
  if (!set) return;
  if (!counted) {
    if (!*set) return context.reply.Null();
    const auto picked = (*set)->Pick();
    if (!picked.ok()) return context.reply.Error(picked.error());
    return context.reply.Bulk(picked->member);
  }
  if (!*set || count == 0) return context.reply.Array(0);
  if (count < 0) {
    const uint64_t wanted = uint64_t{0} - static_cast<uint64_t>(count);
    return ReplyRepeatedPicks(
        context, **set, wanted, [wanted](Reply& reply) { reply.Array(wanted); },
        [](Reply& reply, const MemberReader::Member& one) { reply.Bulk(one.member); });
  }
  const auto picked = (*set)->PickDistinct(static_cast<uint64_t>(count));
  if (!picked.ok()) return context.reply.Error(picked.error());
  context.reply.Array(picked->size());
  for (const MemberReader::Member& one : *picked) context.reply.Bulk(one.member);
}

// ---- several sets --------------------------------------------------------------------------------------------------

void ReplyCombination(CommandContext& context, Combination combination, std::span<const std::string_view> keys) {
  ReplyCounted(
      context,
      [&](Reply& elements) -> Result<uint64_t> {
        uint64_t count = 0;
        RETURN_IF_ERROR(sets::Combine(*context.tx, combination, keys, [&](std::string_view member) {
          elements.Bulk(member);
          ++count;
          return true;
        }));
        return count;
      },
      [](Reply& reply, uint64_t count) { reply.Set(count); });
}

template <Combination combination>
void Combine(CommandContext& context) {
  ReplyCombination(context, combination, context.args.subspan(1));
}

template <Combination combination>
void CombineAndStore(CommandContext& context) {
  ReplyCount(context, sets::Store(*context.tx, combination, context.arg(1), context.args.subspan(2)));
}

void SInterCard(CommandContext& context) {
  Arguments arguments(context.args, 1);
  constexpr std::string_view kNoKeysGiven = "ERR numkeys should be greater than 0";
  const int64_t keys = arguments.NextInteger(1, INT64_MAX, kNoKeysGiven, kNoKeysGiven);
  if (!arguments.failed() && static_cast<uint64_t>(keys) > context.argc() - 2) {
    arguments.Fail("ERR Number of keys can't be greater than number of args");
  }
  for (int64_t i = 0; i < keys && !arguments.failed(); ++i) arguments.Next();
  uint64_t limit = 0;
  while (arguments.HasNext()) {
    if (arguments.NextIs("LIMIT", 1)) {
      constexpr std::string_view kNegative = "ERR LIMIT can't be negative";
      limit = static_cast<uint64_t>(arguments.NextInteger(0, INT64_MAX, kNegative, kNegative));
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  uint64_t count = 0;
  const auto done = sets::Combine(*context.tx, Combination::kIntersection,
                                  context.args.subspan(2, static_cast<size_t>(keys)), [&](std::string_view) {
                                    ++count;
                                    return limit == 0 || count < limit;
                                  });
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Integer(static_cast<int64_t>(count));
}

std::vector<int> KeysOfSInterCard(std::span<const std::string_view> args) {
  std::vector<int> indexes;
  const auto count = args.size() < 2 ? std::nullopt : ParseInteger(args[1]);
  if (!count || *count < 1 || static_cast<uint64_t>(*count) > args.size() - 2) return indexes;
  for (int64_t i = 0; i < *count; ++i) indexes.push_back(static_cast<int>(2 + i));
  return indexes;
}

void SScan(CommandContext& context) { ReplyScan(context, sets::Open, ScanValues::kNone); }

// ---- rows ----------------------------------------------------------------------------------------------------------

void AddReads(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kQuick = kReadOnly | kFast;
  rows.push_back(MakeCommand("scard", 2, kQuick, kCatSet, kOneKey, SCard,
                             {"Counts the members of a set.", "1.0.0", "set", "O(1)", "key"}));
  rows.push_back(MakeCommand("sismember", 3, kQuick, kCatSet, kOneKey, SIsMember,
                             {"Tells whether a set has a member.", "1.0.0", "set", "O(1)", "key member"}));
  rows.push_back(MakeCommand("smismember", -3, kQuick, kCatSet, kOneKey, SMIsMember,
                             {"Tells for several members whether a set has them.", "6.2.0", "set",
                              "O(N) with N the members asked for", "key member [member ...]"}));
  rows.push_back(MakeCommand("smembers", 2, kReadOnly, kCatSet, kOneKey, Combine<Combination::kUnion>,
                             {"Lists all members.", "1.0.0", "set", "O(N) with N the members", "key"}));
  rows.push_back(
      MakeCommand("srandmember", -2, kReadOnly, kCatSet, kOneKey, SRandMember,
                  {"Picks random members.", "1.0.0", "set", "O(N) with N the members picked", "key [count]"}));
  rows.push_back(MakeCommand("sscan", -3, kReadOnly, kCatSet, kOneKey, SScan,
                             {"Lists members page by page.", "2.8.0", "set", "O(1) a page, O(N) for all of the members",
                              "key cursor [MATCH pattern] [COUNT count]"}));
}

void AddWrites(std::vector<CommandSpec>& rows) {
  rows.push_back(MakeCommand("sadd", -3, kWrite | kDenyOom | kFast, kCatSet, kOneKey, SAdd,
                             {"Adds members.", "1.0.0", "set", "O(N) with N the members", "key member [member ...]"}));
  rows.push_back(
      MakeCommand("srem", -3, kWrite | kFast | kFreesSpace, kCatSet, kOneKey, SRem,
                  {"Deletes members.", "1.0.0", "set", "O(N) with N the members", "key member [member ...]"}));
  rows.push_back(MakeCommand("smove", 4, kWrite | kFast, kCatSet, kTwoKeys, SMove,
                             {"Moves a member to another set.", "1.0.0", "set", "O(1)", "source destination member"}));
  rows.push_back(MakeCommand(
      "spop", -2, kWrite | kFast | kFreesSpace, kCatSet, kOneKey, SPop,
      {"Takes random members out of a set.", "1.0.0", "set", "O(N) with N the members taken", "key [count]"}));
}

void AddCombinations(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kStore = kWrite | kDenyOom;
  rows.push_back(MakeCommand(
      "sunion", -2, kReadOnly, kCatSet, kAllKeys, Combine<Combination::kUnion>,
      {"Lists what is in any of the sets.", "1.0.0", "set", "O(N*K) with N the members of K sets", "key [key ...]"}));
  rows.push_back(MakeCommand("sinter", -2, kReadOnly, kCatSet, kAllKeys, Combine<Combination::kIntersection>,
                             {"Lists what is in all of the sets.", "1.0.0", "set",
                              "O(N*K) with N the members of the smallest of K sets", "key [key ...]"}));
  rows.push_back(MakeCommand("sdiff", -2, kReadOnly, kCatSet, kAllKeys, Combine<Combination::kDifference>,
                             {"Lists what is in the first set alone.", "1.0.0", "set",
                              "O(N*K) with N the members of the first of K sets", "key [key ...]"}));
  CommandSpec card =
      MakeCommand("sintercard", -3, kReadOnly | kMovableKeys, kCatSet, kNoKeys, SInterCard,
                  {"Counts what is in all of the sets.", "7.0.0", "set",
                   "O(N*K) with N the members of the smallest of K sets", "numkeys key [key ...] [LIMIT limit]"});
  card.get_keys = KeysOfSInterCard;
  rows.push_back(std::move(card));
  rows.push_back(MakeCommand("sunionstore", -3, kStore, kCatSet, kAllKeys, CombineAndStore<Combination::kUnion>,
                             {"Keeps what is in any of the sets.", "1.0.0", "set",
                              "O(N*K) with N the members of K sets", "destination key [key ...]"}));
  rows.push_back(MakeCommand("sinterstore", -3, kStore, kCatSet, kAllKeys, CombineAndStore<Combination::kIntersection>,
                             {"Keeps what is in all of the sets.", "1.0.0", "set",
                              "O(N*K) with N the members of the smallest of K sets", "destination key [key ...]"}));
  rows.push_back(MakeCommand("sdiffstore", -3, kStore, kCatSet, kAllKeys, CombineAndStore<Combination::kDifference>,
                             {"Keeps what is in the first set alone.", "1.0.0", "set",
                              "O(N*K) with N the members of the first of K sets", "destination key [key ...]"}));
}

}  // namespace

std::vector<CommandSpec> SetCommands() {
  std::vector<CommandSpec> rows;
  AddReads(rows);
  AddWrites(rows);
  AddCombinations(rows);
  return rows;
}

}  // namespace holdfast::net
