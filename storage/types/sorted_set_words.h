// The words of sorted set commands that are effects, too: read here once for clients and for replay. Errors are Redis'
// texts, in Redis' order.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/types/sorted_sets.h"

namespace holdfast::sorted_sets {

using Words = std::span<const std::string_view>;

struct AddWords {
  AddOptions options;
  std::vector<ScorePair> pairs;
};
// ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member ...; ZINCRBY key increment member
Result<AddWords> ParseAdd(Words words);
Result<AddWords> ParseIncrement(Words words);

// What a command leaves open of a range.
struct RangeForm {
  SortedSetRange::By by = SortedSetRange::By::kRank;
  bool reverse = false;
  bool choice = false;       // BYSCORE, BYLEX and REV may be given
  bool with_scores = false;  // WITHSCORES may be given
  bool options_allowed = true;
};
struct RangeWords {
  SortedSetRange range;
  bool with_scores = false;
};
// min max [options] after the key.
Result<RangeWords> ParseRange(Words words, const RangeForm& form);

struct CombinationForm {
  Combination combination = Combination::kUnion;
  std::string_view command;  // lower case, for a message
  bool with_scores = false;  // WITHSCORES may be given
  bool cardinality = false;  // LIMIT may be given, weights and aggregates not
};
struct CombinationWords {
  CombineOptions options;
  bool with_scores = false;
  uint64_t limit = 0;  // 0: none
};
// numkeys key ...: the keys. Then the options behind them, which Redis reads after it has looked at the keys.
Result<Words> ParseCombinationKeys(Words words, const CombinationForm& form);
Result<CombinationWords> ParseCombinationOptions(Words words, Words keys, const CombinationForm& form);

}  // namespace holdfast::sorted_sets
