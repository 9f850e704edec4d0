#include "storage/types/scores.h"

#include <bit>
#include <cmath>
#include <cstdlib>

#include "storage/base/coding.h"

namespace holdfast {
namespace {

constexpr uint64_t kSignBit = uint64_t{1} << 63;

bool ParseScoreBound(std::string_view text, double& value, bool& open) {
  open = text.starts_with('(');
  if (open) text.remove_prefix(1);
  // Redis hands the text to strtod() too: it may begin with blanks, be nothing, and ends at a zero byte.
  const std::string terminated(text);
  char* end = nullptr;
  value = std::strtod(terminated.c_str(), &end);
  return *end == '\0' && !std::isnan(value);
}

bool ParseLexBound(std::string_view text, LexBound& bound) {
  const char first = text.empty() ? '\0' : text.front();
  if (first == '-' || first == '+') {
    bound.kind = first == '-' ? LexBound::Kind::kLowest : LexBound::Kind::kHighest;
    bound.open = true;
    return text.size() == 1 || text[1] == '\0';
  }
  if (first != '[' && first != '(') return false;
  bound.kind = LexBound::Kind::kMember;
  bound.open = first == '(';
  bound.member = text.substr(1);
  return true;
}

int Compare(const LexBound& a, const LexBound& b) {
  if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
  return a.member.compare(b.member);
}

}  // namespace

uint64_t SortableScore(double score) {
  const auto bits = std::bit_cast<uint64_t>(score == 0 ? 0.0 : score);
  return (bits & kSignBit) != 0 ? ~bits : bits | kSignBit;
}

double ScoreFromSortable(uint64_t sortable) {
  return std::bit_cast<double>((sortable & kSignBit) != 0 ? sortable & ~kSignBit : ~sortable);
}

std::string EncodeScore(double score) {
  std::string bytes;
  AppendLittle<uint64_t>(bytes, std::bit_cast<uint64_t>(score));
  return bytes;
}

Result<double> DecodeScore(std::string_view bytes) {
  if (bytes.size() != sizeof(uint64_t)) {
    return Error{ErrorCode::kCorruption, "a score of " + std::to_string(bytes.size()) + " bytes"};
  }
  const auto score = std::bit_cast<double>(LoadLittle<uint64_t>(bytes.data()));
  if (std::isnan(score)) return Error{ErrorCode::kCorruption, "a score that is not a number"};
  return score;
}

std::optional<ScoreRange> ParseScoreRange(std::string_view min, std::string_view max) {
  ScoreRange range;
  if (!ParseScoreBound(min, range.min, range.min_open) || !ParseScoreBound(max, range.max, range.max_open)) {
    return std::nullopt;
  }
  return range;
}

bool LexRange::Empty() const {
  const int order = Compare(min, max);
  return order > 0 || (order == 0 && (min.open || max.open));
}

bool LexRange::IsAboveMin(std::string_view member) const {
  if (min.kind != LexBound::Kind::kMember) return min.kind == LexBound::Kind::kLowest;
  return min.open ? member > min.member : member >= min.member;
}

bool LexRange::IsBelowMax(std::string_view member) const {
  if (max.kind != LexBound::Kind::kMember) return max.kind == LexBound::Kind::kHighest;
  return max.open ? member < max.member : member <= max.member;
}

std::optional<LexRange> ParseLexRange(std::string_view min, std::string_view max) {
  LexRange range;
  if (!ParseLexBound(min, range.min) || !ParseLexBound(max, range.max)) return std::nullopt;
  return range;
}

}  // namespace holdfast
