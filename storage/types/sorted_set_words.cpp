#include "storage/types/sorted_set_words.h"

#include <string>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::sorted_sets {
namespace {

using By = SortedSetRange::By;

Error Refusal(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

Result<int64_t> Integer(std::string_view text) {
  const auto value = ParseInteger(text);
  if (!value) return NotAnIntegerError();
  return *value;
}

Result<double> Score(std::string_view text) {
  const auto value = ParseDouble(text);
  if (!value) return NotAFloatError();
  return *value;
}

bool TakeAddOption(std::string_view word, AddOptions& options) {
  struct Option {
    std::string_view name;
    bool AddOptions::*flag;
  };
  static constexpr Option kOptions[] = {{"NX", &AddOptions::if_new},     {"XX", &AddOptions::if_known},
                                        {"CH", &AddOptions::changed},    {"INCR", &AddOptions::increment},
                                        {"GT", &AddOptions::if_greater}, {"LT", &AddOptions::if_less}};
  for (const Option& option : kOptions) {
    if (!EqualsIgnoreCase(word, option.name)) continue;
    options.*option.flag = true;
    return true;
  }
  return false;
}

// Options of a range; `at` stands behind its bounds.
Result<void> ParseRangeOptions(Words words, const RangeForm& form, RangeWords& parsed) {
  SortedSetRange& range = parsed.range;
  bool by_given = !form.choice, reverse_given = !form.choice;
  for (size_t i = 2; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (form.with_scores && EqualsIgnoreCase(word, "WITHSCORES")) {
      parsed.with_scores = true;
    } else if (EqualsIgnoreCase(word, "LIMIT") && words.size() - i > 2) {
      ASSIGN_OR_RETURN(range.offset, Integer(words[i + 1]));
      ASSIGN_OR_RETURN(range.limit, Integer(words[i + 2]));
      i += 2;
    } else if (!reverse_given && EqualsIgnoreCase(word, "REV")) {
      range.reverse = reverse_given = true;
    } else if (!by_given && EqualsIgnoreCase(word, "BYLEX")) {
      range.by = By::kLex;
      by_given = true;
    } else if (!by_given && EqualsIgnoreCase(word, "BYSCORE")) {
      range.by = By::kScore;
      by_given = true;
    } else {
      return SyntaxError();
    }
  }
  return {};
}

}  // namespace

Result<AddWords> ParseAdd(Words words) {
  AddWords parsed;
  AddOptions& options = parsed.options;
  size_t at = 2;
  while (at < words.size() && TakeAddOption(words[at], options)) ++at;
  const size_t left = words.size() - at;
  if (left == 0 || left % 2 != 0) return SyntaxError();
  if (options.if_new && options.if_known) {
    return Refusal("XX and NX options at the same time are not compatible");
  }
  if ((options.if_greater && options.if_new) || (options.if_less && options.if_new) ||
      (options.if_greater && options.if_less)) {
    return Refusal("GT, LT, and/or NX options at the same time are not compatible");
  }
  if (options.increment && left > 2) return Refusal("INCR option supports a single increment-element pair");
  for (; at < words.size(); at += 2) {
    ASSIGN_OR_RETURN(const double score, Score(words[at]));
    parsed.pairs.push_back({score, words[at + 1]});
  }
  return parsed;
}

Result<AddWords> ParseIncrement(Words words) {
  AddWords parsed;
  parsed.options.increment = true;
  ASSIGN_OR_RETURN(const double score, Score(words[2]));
  parsed.pairs.push_back({score, words[3]});
  return parsed;
}

Result<RangeWords> ParseRange(Words words, const RangeForm& form) {
  RangeWords parsed;
  SortedSetRange& range = parsed.range;
  range.by = form.by;
  range.reverse = form.reverse;
  if (form.options_allowed) RETURN_IF_ERROR(ParseRangeOptions(words, form, parsed));
  if (range.limit != -1 && range.by == By::kRank) {
    return Refusal("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
  }
  if (parsed.with_scores && range.by == By::kLex) {
    return Refusal("syntax error, WITHSCORES not supported in combination with BYLEX");
  }
  // Backwards the upper bound comes first.
  const bool swapped = range.reverse && range.by != By::kRank;
  const std::string_view min = words[swapped ? 1 : 0];
  const std::string_view max = words[swapped ? 0 : 1];
  if (range.by == By::kScore) {
    const auto scores = ParseScoreRange(min, max);
    if (!scores) return Refusal("min or max is not a float");
    range.scores = *scores;
  } else if (range.by == By::kLex) {
    auto members = ParseLexRange(min, max);
    if (!members) return Refusal("min or max not valid string range item");
    range.members = std::move(*members);
  } else {
    ASSIGN_OR_RETURN(range.start, Integer(min));
    ASSIGN_OR_RETURN(range.stop, Integer(max));
  }
  return parsed;
}

Result<Words> ParseCombinationKeys(Words words, const CombinationForm& form) {
  ASSIGN_OR_RETURN(const int64_t count, Integer(words[0]));
  if (count < 1) {
    return Refusal("at least 1 input key is needed for '" + std::string(form.command) + "' command");
  }
  if (static_cast<uint64_t>(count) > words.size() - 1) return SyntaxError();
  return words.subspan(1, static_cast<size_t>(count));
}

Result<CombinationWords> ParseCombinationOptions(Words words, Words keys, const CombinationForm& form) {
  CombinationWords parsed;
  CombineOptions& options = parsed.options;
  options.combination = form.combination;
  options.keys = keys;
  const bool weighs = form.combination != Combination::kDifference && !form.cardinality;
  for (size_t i = 1 + keys.size(); i < words.size();) {
    const std::string_view word = words[i];
    const size_t behind = words.size() - i - 1;
    if (weighs && behind >= keys.size() && EqualsIgnoreCase(word, "WEIGHTS")) {
      options.weights.clear();
      for (const std::string_view text : words.subspan(i + 1, keys.size())) {
        const auto weight = ParseDouble(text);
        if (!weight) return Refusal("weight value is not a float");
        options.weights.push_back(*weight);
      }
      i += 1 + keys.size();
    } else if (weighs && behind >= 1 && EqualsIgnoreCase(word, "AGGREGATE")) {
      const std::string_view how = words[i + 1];
      if (!EqualsIgnoreCase(how, "SUM") && !EqualsIgnoreCase(how, "MIN") && !EqualsIgnoreCase(how, "MAX")) {
        return SyntaxError();
      }
      options.aggregate = EqualsIgnoreCase(how, "SUM")   ? Aggregate::kSum
                          : EqualsIgnoreCase(how, "MIN") ? Aggregate::kMin
                                                         : Aggregate::kMax;
      i += 2;
    } else if (form.with_scores && EqualsIgnoreCase(word, "WITHSCORES")) {
      parsed.with_scores = true;
      ++i;
    } else if (form.cardinality && behind >= 1 && EqualsIgnoreCase(word, "LIMIT")) {
      const auto limit = ParseInteger(words[i + 1]);
      if (!limit || *limit < 0) return Refusal("LIMIT can't be negative");
      parsed.limit = static_cast<uint64_t>(*limit);
      i += 2;
    } else {
      return SyntaxError();
    }
  }
  return parsed;
}

}  // namespace holdfast::sorted_sets
