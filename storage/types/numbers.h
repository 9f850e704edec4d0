// Numbers as text, by Redis' rules: what it accepts, it accepts; what it prints, it prints. Locale-independent as long
// as nobody calls setlocale(), which no part of this program does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

// A signed 64-bit integer in its one canonical form: no spaces, no plus sign, no leading zeros, no "-0".
[[nodiscard]] std::optional<int64_t> ParseInteger(std::string_view text);
// The same for unsigned 64-bit integers.
[[nodiscard]] std::optional<uint64_t> ParseUnsigned(std::string_view text);
[[nodiscard]] std::string FormatInteger(int64_t value);

// What strtold() takes as a whole (hexadecimal, "inf", exponents), without leading space, not NaN, not overflown to
// infinity or underflown to zero.
[[nodiscard]] std::optional<long double> ParseLongDouble(std::string_view text);
// The same for double.
[[nodiscard]] std::optional<double> ParseDouble(std::string_view text);

// Up to 17 digits after the point, without trailing zeros and without exponent: what INCRBYFLOAT stores.
[[nodiscard]] std::string FormatLongDouble(long double value);
// Scores and RESP3 doubles: integers without a point, else 17 significant digits; "inf", "-inf", "nan", "-0".
[[nodiscard]] std::string FormatDouble(double value);

// ASCII only, as in command and option names.
[[nodiscard]] bool EqualsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace holdfast
