// Glob patterns of KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET, with exactly Redis' meaning (its odd cases included: an
// unclosed '[' ends with the pattern, "[a-]" is a range up to ']', an empty text matches only an empty pattern).
//
//   *  any bytes    ?  one byte    [abc] [a-z] [^...]  one byte of a set    \x  x itself
#pragma once

#include <string_view>

namespace holdfast {

// At most |pattern| * |text| steps, no recursion: only the last '*' is ever tried again.
[[nodiscard]] bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case = false);

}  // namespace holdfast
