// Scores of sorted sets: as bytes, in order, and as ranges in commands.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

// Unsigned order equals the order of scores; -0 and 0 are one. Not for NaN, which is no score.
[[nodiscard]] uint64_t SortableScore(double score);
[[nodiscard]] double ScoreFromSortable(uint64_t sortable);

// What a member's row holds: the bits as u64 LE. kCorruption if bytes cannot be a score.
[[nodiscard]] std::string EncodeScore(double score);
Result<double> DecodeScore(std::string_view bytes);

struct ScoreRange {
  double min = 0, max = 0;
  bool min_open = false, max_open = false;  // the bound itself is outside
};
// Bounds as Redis reads them: what strtod() takes as a whole, or that behind a "(". nullopt if one is none.
[[nodiscard]] std::optional<ScoreRange> ParseScoreRange(std::string_view min, std::string_view max);

// "-" | "+" | "[member" | "(member"
struct LexBound {
  enum class Kind { kLowest, kMember, kHighest };
  Kind kind = Kind::kLowest;
  bool open = false;
  std::string member;
};
struct LexRange {
  LexBound min, max;

  [[nodiscard]] bool Empty() const;
  [[nodiscard]] bool IsAboveMin(std::string_view member) const;
  [[nodiscard]] bool IsBelowMax(std::string_view member) const;
};
[[nodiscard]] std::optional<LexRange> ParseLexRange(std::string_view min, std::string_view max);

}  // namespace holdfast
