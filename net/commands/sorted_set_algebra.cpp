// ZUNION, ZINTER, ZDIFF, their STORE forms and ZINTERCARD.
#include <algorithm>
#include <string>

#include "net/command.h"
#include "net/commands/rows.h"
#include "net/commands/sorted_set_families.h"
#include "storage/types/sorted_set_words.h"

namespace holdfast::net {
namespace {

using sorted_sets::Combination;
using sorted_sets::CombinationForm;
using sorted_sets::CombinationWords;

// Keys, then their types, then options, as Redis looks at them. `at` is where the number of keys stands.
Result<CombinationWords> Read(CommandContext& context, size_t at, CombinationForm form) {
  form.command = context.spec.name;
  const auto words = context.args.subspan(at);
  ASSIGN_OR_RETURN(const auto keys, sorted_sets::ParseCombinationKeys(words, form));
  RETURN_IF_ERROR(sorted_sets::CheckSources(*context.tx, keys));
  return sorted_sets::ParseCombinationOptions(words, keys, form);
}

// The reply is in the order of scores, so it is gathered first.
template <Combination combination>
void Combine(CommandContext& context) {
  CombinationForm form;
  form.combination = combination;
  form.with_scores = true;
  const auto words = Read(context, 1, form);
  if (!words.ok()) return context.reply.Error(words.error());
  std::vector<ScoredMember> members;
  const auto done =
      sorted_sets::Combine(*context.tx, words->options, [&members](std::string_view member, double score) {
        members.push_back({std::string(member), score});
        return true;
      });
  if (!done.ok()) return context.reply.Error(done.error());
  std::sort(members.begin(), members.end(), [](const ScoredMember& a, const ScoredMember& b) {
    return a.score != b.score ? a.score < b.score : a.member < b.member;
  });
  Reply& reply = context.reply;
  const bool nested = words->with_scores && reply.resp() > 2;
  reply.Array(words->with_scores && !nested ? members.size() * 2 : members.size());
  for (const ScoredMember& one : members) {
    if (nested) reply.Array(2);
    reply.Bulk(one.member);
    if (words->with_scores) reply.Double(one.score);
  }
}

constexpr std::string_view StoreName(Combination combination) {
  return combination == Combination::kUnion          ? "ZUNIONSTORE"
         : combination == Combination::kIntersection ? "ZINTERSTORE"
                                                     : "ZDIFFSTORE";
}

template <Combination combination>
void CombineAndStore(CommandContext& context) {
  CombinationForm form;
  form.combination = combination;
  const auto words = Read(context, 2, form);
  if (!words.ok()) return context.reply.Error(words.error());
  std::vector<std::string_view> effect(context.args.begin(), context.args.end());
  effect[0] = StoreName(combination);
  const auto size = sorted_sets::Store(*context.tx, words->options, context.arg(1), effect);
  if (!size.ok()) return context.reply.Error(size.error());
  context.reply.Integer(static_cast<int64_t>(*size));
}

void ZInterCard(CommandContext& context) {
  CombinationForm form;
  form.combination = Combination::kIntersection;
  form.cardinality = true;
  const auto words = Read(context, 1, form);
  if (!words.ok()) return context.reply.Error(words.error());
  uint64_t count = 0;
  const auto done = sorted_sets::Combine(*context.tx, words->options, [&](std::string_view, double) {
    ++count;
    return words->limit == 0 || count < words->limit;
  });
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Integer(static_cast<int64_t>(count));
}

std::vector<int> SourceKeys(std::span<const std::string_view> args) { return CountedKeys(args, 1); }

std::vector<int> TargetAndSourceKeys(std::span<const std::string_view> args) {
  std::vector<int> indexes = CountedKeys(args, 2);
  if (!indexes.empty()) indexes.insert(indexes.begin(), 1);
  return indexes;
}

CommandSpec Row(std::string_view name, int arity, uint32_t flags, Handler handler, CommandDoc doc) {
  CommandSpec spec = MakeCommand(name, arity, flags | kMovableKeys, kCatSortedSet,
                                 (flags & kWrite) != 0 ? kOneKey : kNoKeys, handler, doc);
  spec.get_keys = (flags & kWrite) != 0 ? TargetAndSourceKeys : SourceKeys;
  return spec;
}

}  // namespace

std::vector<CommandSpec> SortedSetAlgebraCommands() {
  constexpr uint32_t kStore = kWrite | kDenyOom;
  constexpr std::string_view kGroup = "sorted-set";
  constexpr std::string_view kUnionCost = "O(N*K+M*log(M)) with N all members of K sets, M of the result";
  constexpr std::string_view kInterCost =
      "O(N*K+M*log(M)) with N the members of the smallest of K sets, M of the result";
  constexpr std::string_view kDiffCost = "O(N*K+M*log(M)) with N the members of the first of K sets, M of the result";
  constexpr std::string_view kRead =
      "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]";
  constexpr std::string_view kKeep =
      "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]";
  return {
      Row("zunion", -3, kReadOnly, Combine<Combination::kUnion>,
          {"Lists what is in any of the sorted sets.", "6.2.0", kGroup, kUnionCost, kRead}),
      Row("zinter", -3, kReadOnly, Combine<Combination::kIntersection>,
          {"Lists what is in all of the sorted sets.", "6.2.0", kGroup, kInterCost, kRead}),
      Row("zdiff", -3, kReadOnly, Combine<Combination::kDifference>,
          {"Lists what is in the first sorted set alone.", "6.2.0", kGroup, kDiffCost,
           "numkeys key [key ...] [WITHSCORES]"}),
      Row("zintercard", -3, kReadOnly, ZInterCard,
          {"Counts what is in all of the sorted sets.", "7.0.0", kGroup, kInterCost,
           "numkeys key [key ...] [LIMIT limit]"}),
      Row("zunionstore", -4, kStore, CombineAndStore<Combination::kUnion>,
          {"Keeps what is in any of the sorted sets.", "2.0.0", kGroup, kUnionCost, kKeep}),
      Row("zinterstore", -4, kStore, CombineAndStore<Combination::kIntersection>,
          {"Keeps what is in all of the sorted sets.", "2.0.0", kGroup, kInterCost, kKeep}),
      Row("zdiffstore", -4, kStore, CombineAndStore<Combination::kDifference>,
          {"Keeps what is in the first sorted set alone.", "6.2.0", kGroup, kDiffCost,
           "destination numkeys key [key ...]"}),
  };
}

}  // namespace holdfast::net
