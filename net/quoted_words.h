// Words and quotes as redis.conf, inline commands and MONITOR have them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::net {

// Splits a line into words: blanks separate; "..." knows \xHH, \n \r \t \b \a and \c; '...' knows only \'.
// nullopt: a quote is not closed or is followed by something else than a blank.
[[nodiscard]] std::optional<std::vector<std::string>> SplitWords(std::string_view line);
// The word as it must be written so that SplitWords gives it back; quoted only where needed.
[[nodiscard]] std::string QuoteWord(std::string_view word);
// Always in double quotes, as MONITOR prints arguments.
[[nodiscard]] std::string QuotedRepresentation(std::string_view word);

}  // namespace holdfast::net
