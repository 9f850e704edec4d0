#include "tests/support/sorted_set_operations.h"

#include <algorithm>
#include <map>
#include <span>

#include "storage/types/numbers.h"
#include "storage/types/sorted_set_words.h"
#include "tests/support/operation_runner.h"

namespace holdfast::testing {
namespace {

using sorted_sets::Combination;
using sorted_sets::ScoreEnd;
using By = SortedSetRange::By;
using Words = std::vector<std::string_view>;

std::string Text(const Error& error) {
  return (error.code == ErrorCode::kWrongType ? "-WRONGTYPE " : "-ERR ") + error.message;
}
std::string Text(const Result<uint64_t>& count) {
  return count.ok() ? ":" + std::to_string(*count) : Text(count.error());
}
std::string Text(std::string_view member, double score) { return PercentEncode(member) + "=" + FormatDouble(score); }
std::string Joined(const std::vector<std::string>& texts) {
  std::string text = "[";
  for (const std::string& one : texts) text += (text.size() > 1 ? " " : "") + one;
  return text + "]";
}

std::string Add(Transaction& transaction, const Words& words) {
  const auto parsed = words[0] == "ZADD" ? sorted_sets::ParseAdd(words) : sorted_sets::ParseIncrement(words);
  if (!parsed.ok()) return Text(parsed.error());
  const auto result = sorted_sets::Add(transaction, words[1], parsed->options, parsed->pairs);
  if (!result.ok()) return Text(result.error());
  if (parsed->options.increment) return result->score ? "," + FormatDouble(*result->score) : "_";
  return ":" + std::to_string(result->added + (parsed->options.changed ? result->changed : 0));
}

std::string Remove(Transaction& transaction, const Words& words) {
  return Text(sorted_sets::Remove(transaction, words[1], std::span(words).subspan(2)));
}

std::string RemoveRange(Transaction& transaction, const Words& words) {
  sorted_sets::RangeForm form;
  form.options_allowed = false;
  form.by = words[0].ends_with("RANK") ? By::kRank : words[0].ends_with("SCORE") ? By::kScore : By::kLex;
  const auto parsed = sorted_sets::ParseRange(std::span(words).subspan(2), form);
  if (!parsed.ok()) return Text(parsed.error());
  return Text(sorted_sets::RemoveRange(transaction, words[1], parsed->range, words));
}

std::string Pop(Transaction& transaction, const Words& words) {
  const auto end = words[0] == "ZPOPMIN" ? ScoreEnd::kMin : ScoreEnd::kMax;
  const auto popped = sorted_sets::Pop(transaction, words[1], end, static_cast<uint64_t>(*ParseInteger(words[2])));
  if (!popped.ok()) return Text(popped.error());
  if (!*popped) return "_";
  std::vector<std::string> texts;
  for (const ScoredMember& one : **popped) texts.push_back(Text(one.member, one.score));
  return Joined(texts);
}

std::string Range(Transaction& transaction, const Words& words) {
  sorted_sets::RangeForm form;
  form.choice = true;
  const bool stores = words[0] == "ZRANGESTORE";
  const auto parsed = sorted_sets::ParseRange(std::span(words).subspan(stores ? 3 : 2), form);
  if (!parsed.ok()) return Text(parsed.error());
  if (stores) return Text(sorted_sets::StoreRange(transaction, words[1], words[2], parsed->range, words));
  const auto set = SortedSetReader::Open(transaction, words[1]);
  if (!set.ok()) return Text(set.error());
  std::vector<std::string> texts;
  if (*set) {
    const auto visited = (*set)->Visit(parsed->range, [&texts](std::string_view member, double score) {
      texts.push_back(Text(member, score));
      return true;
    });
    if (!visited.ok()) return Text(visited.error());
  }
  return Joined(texts);
}

std::string Rank(Transaction& transaction, const Words& words) {
  const auto set = SortedSetReader::Open(transaction, words[1]);
  if (!set.ok()) return Text(set.error());
  if (!*set) return "_";
  const auto rank = (*set)->Rank(words[2], words[0] == "ZREVRANK");
  if (!rank.ok()) return Text(rank.error());
  return *rank ? ":" + std::to_string(**rank) : "_";
}

std::string Combine(Transaction& transaction, const Words& words) {
  sorted_sets::CombinationForm form;
  form.combination = words[0].starts_with("ZU")   ? Combination::kUnion
                     : words[0].starts_with("ZI") ? Combination::kIntersection
                                                  : Combination::kDifference;
  const bool stores = words[0].ends_with("STORE");
  const auto given = std::span(words).subspan(stores ? 2 : 1);
  const auto keys = sorted_sets::ParseCombinationKeys(given, form);
  if (!keys.ok()) return Text(keys.error());
  const auto parsed = sorted_sets::ParseCombinationOptions(given, *keys, form);
  if (!parsed.ok()) return Text(parsed.error());
  if (stores) return Text(sorted_sets::Store(transaction, parsed->options, words[1], words));
  std::vector<std::string> texts;
  const auto done = sorted_sets::Combine(transaction, parsed->options, [&texts](std::string_view member, double score) {
    texts.push_back(Text(member, score));
    return true;
  });
  if (!done.ok()) return Text(done.error());
  std::sort(texts.begin(), texts.end());
  return Joined(texts);
}

}  // namespace

std::optional<std::string> RunSortedSet(Transaction& transaction, const std::vector<std::string_view>& words) {
  using Handler = std::string (*)(Transaction&, const Words&);
  static const std::map<std::string_view, Handler> kHandlers = {{"ZADD", Add},
                                                                {"ZINCRBY", Add},
                                                                {"ZREM", Remove},
                                                                {"ZPOPMIN", Pop},
                                                                {"ZPOPMAX", Pop},
                                                                {"ZRANGE", Range},
                                                                {"ZRANGESTORE", Range},
                                                                {"ZRANK", Rank},
                                                                {"ZREVRANK", Rank},
                                                                {"ZUNION", Combine},
                                                                {"ZINTER", Combine},
                                                                {"ZDIFF", Combine},
                                                                {"ZUNIONSTORE", Combine},
                                                                {"ZINTERSTORE", Combine},
                                                                {"ZDIFFSTORE", Combine},
                                                                {"ZREMRANGEBYRANK", RemoveRange},
                                                                {"ZREMRANGEBYSCORE", RemoveRange},
                                                                {"ZREMRANGEBYLEX", RemoveRange}};
  const auto found = kHandlers.find(words[0]);
  if (found == kHandlers.end()) return std::nullopt;
  return found->second(transaction, words);
}

}  // namespace holdfast::testing
