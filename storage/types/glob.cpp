#include "storage/types/glob.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace holdfast {
namespace {

// Comparisons are of signed bytes, as in Redis on x86-64, on every machine: nodes must agree.
int Fold(char c, bool ignore_case) {
  if (!ignore_case) return static_cast<signed char>(c);
  return std::tolower(static_cast<unsigned char>(c));
}

struct ClassMatch {
  bool matches;
  size_t length;  // bytes of the pattern that the class takes, '[' included
};

// `pattern` starts with '['.
ClassMatch MatchClass(std::string_view pattern, char c, bool ignore_case) {
  size_t at = 1;
  bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool matches = false;
  const int folded = Fold(c, ignore_case);
  while (at < pattern.size() && pattern[at] != ']') {
    if (pattern[at] == '\\' && pattern.size() - at >= 2) {
      ++at;
      if (pattern[at] == c) matches = true;
    } else if (pattern.size() - at >= 3 && pattern[at + 1] == '-') {
      // The ends are ordered before case is folded.
      int first = static_cast<signed char>(pattern[at]);
      int last = static_cast<signed char>(pattern[at + 2]);
      if (first > last) std::swap(first, last);
      if (ignore_case) {
        first = Fold(static_cast<char>(first), true);
        last = Fold(static_cast<char>(last), true);
      }
      at += 2;
      if (folded >= first && folded <= last) matches = true;
    } else if (Fold(pattern[at], ignore_case) == folded) {
      matches = true;
    }
    ++at;
  }
  return {matches != negated, std::min(at + 1, pattern.size())};
}

}  // namespace

bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case) {
  if (text.empty()) return pattern.empty();
  size_t p = 0;
  size_t t = 0;
  bool have_star = false;
  size_t star_p = 0;  // the pattern after the last '*'
  size_t star_t = 0;  // where its rest was last tried
  while (true) {
    bool mismatch = false;
    if (t == text.size()) {
      while (p < pattern.size() && pattern[p] == '*') ++p;
      // A longer match of the last '*' only shortens the text that is left.
      return p == pattern.size();
    }
    if (p == pattern.size()) {
      mismatch = true;
    } else if (pattern[p] == '*') {
      while (p < pattern.size() && pattern[p] == '*') ++p;
      if (p == pattern.size()) return true;
      have_star = true;
      star_p = p;
      star_t = t;
      continue;
    } else if (pattern[p] == '?') {
      ++p;
      ++t;
    } else if (pattern[p] == '[') {
      ClassMatch found = MatchClass(pattern.substr(p), text[t], ignore_case);
      mismatch = !found.matches;
      p += found.length;
      ++t;
    } else {
      if (pattern[p] == '\\' && pattern.size() - p >= 2) ++p;
      mismatch = Fold(pattern[p], ignore_case) != Fold(text[t], ignore_case);
      ++p;
      ++t;
    }
    if (mismatch) {
      if (!have_star) return false;
      ++star_t;
      if (star_t == text.size()) return false;
      p = star_p;
      t = star_t;
    }
  }
}

}  // namespace holdfast
