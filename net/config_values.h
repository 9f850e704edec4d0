// Words and values of configuration lines, by the rules of redis.conf.
#pragma once

#include <cstdint>
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

// "64mb", "1g", "100": k m g are powers of 1000, kb mb gb of 1024.
[[nodiscard]] std::optional<uint64_t> ParseMemory(std::string_view text);
// The shortest exact form ("64mb", "1000").
[[nodiscard]] std::string FormatMemory(uint64_t bytes);

[[nodiscard]] std::string LowerCase(std::string_view text);

}  // namespace holdfast::net
