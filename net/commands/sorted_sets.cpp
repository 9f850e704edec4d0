// Sorted set commands: words to store operations (storage/types/sorted_sets.h) and back. Ranges, pops and combinations
// of several sets have files of their own.
#include "storage/types/sorted_sets.h"

#include <cmath>
#include <iterator>
#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/collection_replies.h"
#include "net/commands/rows.h"
#include "net/commands/sorted_set_families.h"
#include "storage/types/sorted_set_words.h"

namespace holdfast::net {
namespace {

using sorted_sets::AddWords;

// Nothing, and the error is the reply, if the key holds something else.
std::optional<std::optional<SortedSetReader>> OpenSortedSet(CommandContext& context) {
  const auto set = SortedSetReader::Open(*context.tx, context.arg(1));
  if (!set.ok()) {
    context.reply.Error(set.error());
    return std::nullopt;
  }
  CountLookup(context, set->has_value());
  return *set;
}

void AddPairs(CommandContext& context, const Result<AddWords>& words) {
  if (!words.ok()) return context.reply.Error(words.error());
  const auto result = sorted_sets::Add(*context.tx, context.arg(1), words->options, words->pairs);
  if (!result.ok()) return context.reply.Error(result.error());
  if (!words->options.increment) {
    return context.reply.Integer(
        static_cast<int64_t>(result->added + (words->options.changed ? result->changed : uint64_t{0})));
  }
  if (!result->score) return context.reply.Null();
  context.reply.Double(*result->score);
}

void ZAdd(CommandContext& context) { AddPairs(context, sorted_sets::ParseAdd(context.args)); }
void ZIncrBy(CommandContext& context) { AddPairs(context, sorted_sets::ParseIncrement(context.args)); }

void ZRem(CommandContext& context) {
  const auto removed = sorted_sets::Remove(*context.tx, context.arg(1), context.args.subspan(2));
  if (!removed.ok()) return context.reply.Error(removed.error());
  context.reply.Integer(static_cast<int64_t>(*removed));
}

void ZCard(CommandContext& context) {
  const auto set = OpenSortedSet(context);
  if (!set) return;
  context.reply.Integer(*set ? static_cast<int64_t>((*set)->count()) : 0);
}

void ReplyScore(Reply& reply, const std::optional<double>& score) {
  if (!score) return reply.Null();
  reply.Double(*score);
}

void ZScore(CommandContext& context) {
  const auto set = OpenSortedSet(context);
  if (!set) return;
  if (!*set) return context.reply.Null();
  const auto score = (*set)->Score(context.arg(2));
  if (!score.ok()) return context.reply.Error(score.error());
  ReplyScore(context.reply, *score);
}

void ZMScore(CommandContext& context) {
  const auto set = OpenSortedSet(context);
  if (!set) return;
  ReplyCounted(
      context,
      [&](Reply& elements) -> Result<uint64_t> {
        const auto members = context.args.subspan(2);
        for (const std::string_view member : members) {
          std::optional<double> score;
          if (*set) {
            ASSIGN_OR_RETURN(score, (*set)->Score(member));
          }
          ReplyScore(elements, score);
        }
        return uint64_t{members.size()};
      },
      [](Reply& reply, uint64_t count) { reply.Array(count); });
}

template <bool reverse>
void ZRank(CommandContext& context) {
  const auto set = OpenSortedSet(context);
  if (!set) return;
  if (!*set) return context.reply.Null();
  const auto rank = (*set)->Rank(context.arg(2), reverse);
  if (!rank.ok()) return context.reply.Error(rank.error());
  if (!*rank) return context.reply.Null();
  context.reply.Integer(static_cast<int64_t>(**rank));
}

// ---- random members ------------------------------------------------------------------------------------------------

void ReplyPicks(CommandContext& context, const MemberReader& members, int64_t count, bool with_scores) {
  const bool nested = with_scores && context.reply.resp() > 2;
  const auto header = [&](Reply& reply, uint64_t picks) { reply.Array(with_scores && !nested ? picks * 2 : picks); };
  const auto write = [&](Reply& reply, const MemberReader::Member& one) {
    if (nested) reply.Array(2);
    reply.Bulk(one.member);
    if (!with_scores) return;
    const auto score = DecodeScore(one.value);
    reply.Double(score.ok() ? *score : std::nan(""));
  };
  if (count < 0) {
    const uint64_t wanted = uint64_t{0} - static_cast<uint64_t>(count);
    return ReplyRepeatedPicks(
        context, members, wanted, [&](Reply& reply) { header(reply, wanted); }, write);
  }
  const auto picked = members.PickDistinct(static_cast<uint64_t>(count));
  if (!picked.ok()) return context.reply.Error(picked.error());
  header(context.reply, picked->size());
  for (const MemberReader::Member& one : *picked) write(context.reply, one);
}

void ZRandMember(CommandContext& context) {
  const auto pick = ReadPickArguments(context, "WITHSCORES");
  if (!pick) return;
  const auto set = OpenSortedSet(context);
  if (!set) return;
  if (pick->counted) {
    if (!*set || pick->count == 0) return context.reply.Array(0);
    return ReplyPicks(context, (*set)->members(), pick->count, pick->with_values);
  }
  if (!*set) return context.reply.Null();
  const auto picked = (*set)->members().Pick();
  if (!picked.ok()) return context.reply.Error(picked.error());
  context.reply.Bulk(picked->member);
}

Result<std::optional<MemberReader>> OpenMembers(Transaction& tx, std::string_view key) {
  return MemberReader::Open(tx, key, ValueType::kSortedSet);
}

void ZScan(CommandContext& context) { ReplyScan(context, OpenMembers, ScanValues::kScores); }

// ---- rows ----------------------------------------------------------------------------------------------------------

void AddReads(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kQuick = kReadOnly | kFast;
  constexpr std::string_view kGroup = "sorted-set";
  rows.push_back(MakeCommand("zcard", 2, kQuick, kCatSortedSet, kOneKey, ZCard,
                             {"Counts the members of a sorted set.", "1.2.0", kGroup, "O(1)", "key"}));
  rows.push_back(MakeCommand("zscore", 3, kQuick, kCatSortedSet, kOneKey, ZScore,
                             {"Reads the score of a member.", "1.2.0", kGroup, "O(1)", "key member"}));
  rows.push_back(MakeCommand("zmscore", -3, kQuick, kCatSortedSet, kOneKey, ZMScore,
                             {"Reads the scores of several members.", "6.2.0", kGroup,
                              "O(N) with N the members asked for", "key member [member ...]"}));
  rows.push_back(MakeCommand("zrank", 3, kQuick, kCatSortedSet, kOneKey, ZRank<false>,
                             {"Tells the place of a member in ascending order.", "2.0.0", kGroup,
                              "O(N) with N the members before it", "key member"}));
  rows.push_back(MakeCommand("zrevrank", 3, kQuick, kCatSortedSet, kOneKey, ZRank<true>,
                             {"Tells the place of a member in descending order.", "2.0.0", kGroup,
                              "O(N) with N the members behind it", "key member"}));
  rows.push_back(MakeCommand(
      "zrandmember", -2, kReadOnly, kCatSortedSet, kOneKey, ZRandMember,
      {"Picks random members.", "6.2.0", kGroup, "O(N) with N the members picked", "key [count [WITHSCORES]]"}));
  rows.push_back(MakeCommand("zscan", -3, kReadOnly, kCatSortedSet, kOneKey, ZScan,
                             {"Lists members with their scores page by page.", "2.8.0", kGroup,
                              "O(1) a page, O(N) for all of the members", "key cursor [MATCH pattern] [COUNT count]"}));
}

void AddWrites(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kAdd = kWrite | kDenyOom | kFast;
  constexpr std::string_view kGroup = "sorted-set";
  rows.push_back(MakeCommand("zadd", -4, kAdd, kCatSortedSet, kOneKey, ZAdd,
                             {"Adds members, or changes their scores.", "1.2.0", kGroup, "O(N) with N the members",
                              "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]"}));
  rows.push_back(MakeCommand("zincrby", 4, kAdd, kCatSortedSet, kOneKey, ZIncrBy,
                             {"Adds to the score of a member.", "1.2.0", kGroup, "O(1)", "key increment member"}));
  rows.push_back(
      MakeCommand("zrem", -3, kWrite | kFast | kFreesSpace, kCatSortedSet, kOneKey, ZRem,
                  {"Deletes members.", "1.2.0", kGroup, "O(N) with N the members", "key member [member ...]"}));
}

}  // namespace

std::vector<CommandSpec> SortedSetCommands() {
  std::vector<CommandSpec> rows;
  AddReads(rows);
  AddWrites(rows);
  for (auto part : {SortedSetRangeCommands(), SortedSetPopCommands(), SortedSetAlgebraCommands()}) {
    rows.insert(rows.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
  }
  return rows;
}

}  // namespace holdfast::net
