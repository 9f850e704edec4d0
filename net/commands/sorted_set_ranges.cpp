// ZRANGE, ZRANGESTORE, ZCOUNT, ZLEXCOUNT, ZREMRANGEBY* and the older names of ranges.
#include <functional>
#include <optional>

#include "net/command.h"
#include "net/commands/collection_replies.h"
#include "net/commands/rows.h"
#include "net/commands/sorted_set_families.h"
#include "storage/types/sorted_set_words.h"

namespace holdfast::net {
namespace {

using sorted_sets::RangeForm;
using sorted_sets::RangeWords;
using By = SortedSetRange::By;

RangeForm FixedForm(By by, bool reverse) {
  RangeForm form;
  form.by = by;
  form.reverse = reverse;
  form.with_scores = true;
  return form;
}

void ReplyRange(CommandContext& context, RangeForm form) {
  auto words = sorted_sets::ParseRange(context.args.subspan(2), form);
  if (!words.ok()) return context.reply.Error(words.error());
  const auto set = SortedSetReader::Open(*context.tx, context.arg(1));
  if (!set.ok()) return context.reply.Error(set.error());
  CountLookup(context, set->has_value());
  if (!set->has_value()) return context.reply.Array(0);
  const bool with_scores = words->with_scores;
  const bool nested = with_scores && context.reply.resp() > 2;
  words->range.exact_scores = with_scores;
  ReplyCounted(
      context,
      [&](Reply& elements) -> Result<uint64_t> {
        uint64_t count = 0;
        const auto write = [&](std::string_view member, double score) {
          if (nested) elements.Array(2);
          elements.Bulk(member);
          if (with_scores) elements.Double(score);
          ++count;
          return true;
        };
        RETURN_IF_ERROR((*set)->Visit(words->range, std::ref(write)));
        return count;
      },
      [&](Reply& reply, uint64_t count) { reply.Array(with_scores && !nested ? count * 2 : count); });
}

void ZRange(CommandContext& context) {
  RangeForm form;
  form.choice = true;
  form.with_scores = true;
  ReplyRange(context, form);
}

template <By by, bool reverse>
void OldRange(CommandContext& context) {
  ReplyRange(context, FixedForm(by, reverse));
}

void ZRangeStore(CommandContext& context) {
  RangeForm form;
  form.choice = true;
  const auto words = sorted_sets::ParseRange(context.args.subspan(3), form);
  if (!words.ok()) return context.reply.Error(words.error());
  std::vector<std::string_view> effect(context.args.begin(), context.args.end());
  effect[0] = "ZRANGESTORE";
  const auto size = sorted_sets::StoreRange(*context.tx, context.arg(1), context.arg(2), words->range, effect);
  if (!size.ok()) return context.reply.Error(size.error());
  context.reply.Integer(static_cast<int64_t>(*size));
}

Result<RangeWords> BareRange(CommandContext& context, By by) {
  RangeForm form;
  form.by = by;
  form.options_allowed = false;
  return sorted_sets::ParseRange(context.args.subspan(2), form);
}

template <By by>
void Count(CommandContext& context) {
  const auto words = BareRange(context, by);
  if (!words.ok()) return context.reply.Error(words.error());
  const auto set = SortedSetReader::Open(*context.tx, context.arg(1));
  if (!set.ok()) return context.reply.Error(set.error());
  CountLookup(context, set->has_value());
  if (!set->has_value()) return context.reply.Integer(0);
  const auto count = (*set)->Count(words->range);
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

constexpr std::string_view RemovalName(By by) {
  return by == By::kRank ? "ZREMRANGEBYRANK" : by == By::kScore ? "ZREMRANGEBYSCORE" : "ZREMRANGEBYLEX";
}

template <By by>
void RemoveRange(CommandContext& context) {
  const auto words = BareRange(context, by);
  if (!words.ok()) return context.reply.Error(words.error());
  const std::string_view effect[] = {RemovalName(by), context.arg(1), context.arg(2), context.arg(3)};
  const auto removed = sorted_sets::RemoveRange(*context.tx, context.arg(1), words->range, effect);
  if (!removed.ok()) return context.reply.Error(removed.error());
  context.reply.Integer(static_cast<int64_t>(*removed));
}

// ---- rows ----------------------------------------------------------------------------------------------------------

constexpr std::string_view kGroup = "sorted-set";
constexpr std::string_view kByIndexCost = "O(N+M) with N the distance of the range from the nearer end, M its size";
constexpr std::string_view kByBoundCost = "O(N) with N the size of the range and the offset";

void AddReads(std::vector<CommandSpec>& rows) {
  rows.push_back(MakeCommand("zrange", -4, kReadOnly, kCatSortedSet, kOneKey, ZRange,
                             {"Lists a range of members, by index, score or name.", "1.2.0", kGroup, kByIndexCost,
                              "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]"}));
  rows.push_back(MakeCommand("zrevrange", -4, kReadOnly, kCatSortedSet, kOneKey, OldRange<By::kRank, true>,
                             {"Lists a range of members by index in descending order.", "1.2.0", kGroup, kByIndexCost,
                              "key start stop [WITHSCORES]"}));
  rows.push_back(MakeCommand(
      "zrangebyscore", -4, kReadOnly, kCatSortedSet, kOneKey, OldRange<By::kScore, false>,
      {"Lists members by score.", "1.0.5", kGroup, kByBoundCost, "key min max [WITHSCORES] [LIMIT offset count]"}));
  rows.push_back(MakeCommand("zrevrangebyscore", -4, kReadOnly, kCatSortedSet, kOneKey, OldRange<By::kScore, true>,
                             {"Lists members by score in descending order.", "2.2.0", kGroup, kByBoundCost,
                              "key max min [WITHSCORES] [LIMIT offset count]"}));
  rows.push_back(MakeCommand(
      "zrangebylex", -4, kReadOnly, kCatSortedSet, kOneKey, OldRange<By::kLex, false>,
      {"Lists members of one score by name.", "2.8.9", kGroup, kByBoundCost, "key min max [LIMIT offset count]"}));
  rows.push_back(MakeCommand("zrevrangebylex", -4, kReadOnly, kCatSortedSet, kOneKey, OldRange<By::kLex, true>,
                             {"Lists members of one score by name in descending order.", "2.8.9", kGroup, kByBoundCost,
                              "key max min [LIMIT offset count]"}));
  rows.push_back(MakeCommand("zcount", 4, kReadOnly | kFast, kCatSortedSet, kOneKey, Count<By::kScore>,
                             {"Counts the members in a range of scores.", "2.0.0", kGroup,
                              "O(N) with N the size of the range", "key min max"}));
  rows.push_back(MakeCommand("zlexcount", 4, kReadOnly | kFast, kCatSortedSet, kOneKey, Count<By::kLex>,
                             {"Counts the members of one score in a range of names.", "2.8.9", kGroup,
                              "O(N) with N the size of the range", "key min max"}));
}

void AddWrites(std::vector<CommandSpec>& rows) {
  rows.push_back(MakeCommand("zrangestore", -5, kWrite | kDenyOom, kCatSortedSet, kTwoKeys, ZRangeStore,
                             {"Keeps a range of members.", "6.2.0", kGroup, kByIndexCost,
                              "destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]"}));
  rows.push_back(MakeCommand("zremrangebyrank", 4, kWrite | kFreesSpace, kCatSortedSet, kOneKey, RemoveRange<By::kRank>,
                             {"Deletes members by index.", "2.0.0", kGroup, kByIndexCost, "key start stop"}));
  rows.push_back(MakeCommand("zremrangebyscore", 4, kWrite | kFreesSpace, kCatSortedSet, kOneKey,
                             RemoveRange<By::kScore>,
                             {"Deletes members by score.", "1.2.0", kGroup, kByBoundCost, "key min max"}));
  rows.push_back(MakeCommand("zremrangebylex", 4, kWrite | kFreesSpace, kCatSortedSet, kOneKey, RemoveRange<By::kLex>,
                             {"Deletes members of one score by name.", "2.8.9", kGroup, kByBoundCost, "key min max"}));
}

}  // namespace

std::vector<CommandSpec> SortedSetRangeCommands() {
  std::vector<CommandSpec> rows;
  AddReads(rows);
  AddWrites(rows);
  return rows;
}

}  // namespace holdfast::net
