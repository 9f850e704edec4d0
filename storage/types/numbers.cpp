#include "storage/types/numbers.h"

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace holdfast {
namespace {

// The longest text that the largest long double needs when it is printed without an exponent, with room to spare.
constexpr size_t kLongDoubleCharsMax = 5 * 1024;

template <typename T>
std::optional<T> ParseCanonical(std::string_view text) {
  std::string_view digits = text;
  if (std::numeric_limits<T>::is_signed && digits.starts_with('-')) {
    digits.remove_prefix(1);
    if (digits.starts_with('0')) return std::nullopt;
  }
  if (digits.empty() || digits.front() < '0' || digits.front() > '9') return std::nullopt;
  if (digits.front() == '0' && digits.size() > 1) return std::nullopt;
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool HasLeadingSpace(std::string_view text) { return std::isspace(static_cast<unsigned char>(text.front())) != 0; }

}  // namespace

std::optional<int64_t> ParseInteger(std::string_view text) { return ParseCanonical<int64_t>(text); }

std::optional<uint64_t> ParseUnsigned(std::string_view text) { return ParseCanonical<uint64_t>(text); }

std::string FormatInteger(int64_t value) {
  char digits[24];
  auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  return {digits, static_cast<size_t>(end - digits)};
}

std::optional<long double> ParseLongDouble(std::string_view text) {
  if (text.empty() || text.size() >= kLongDoubleCharsMax || HasLeadingSpace(text)) return std::nullopt;
  char terminated[kLongDoubleCharsMax];
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  errno = 0;
  char* end = nullptr;
  long double value = std::strtold(terminated, &end);
  if (end != terminated + text.size() || std::isnan(value)) return std::nullopt;
  if (errno == ERANGE && (std::isinf(value) || std::fpclassify(value) == FP_ZERO)) return std::nullopt;
  return value;
}

std::optional<double> ParseDouble(std::string_view text) {
  constexpr size_t kDoubleCharsMax = 256;
  if (text.empty() || text.size() >= kDoubleCharsMax || HasLeadingSpace(text)) return std::nullopt;
  char terminated[kDoubleCharsMax];
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  errno = 0;
  char* end = nullptr;
  double value = std::strtod(terminated, &end);
  if (end != terminated + text.size() || std::isnan(value)) return std::nullopt;
  if (errno == ERANGE && (std::isinf(value) || std::fpclassify(value) == FP_ZERO)) return std::nullopt;
  return value;
}

std::string FormatLongDouble(long double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char printed[kLongDoubleCharsMax];
  int length = std::snprintf(printed, sizeof(printed), "%.17Lf", value);
  std::string_view text(printed, static_cast<size_t>(length));
  if (text.find('.') != std::string_view::npos) {
    while (text.ends_with('0')) text.remove_suffix(1);
    if (text.ends_with('.')) text.remove_suffix(1);
  }
  if (text == "-0") return "0";
  return std::string(text);
}

std::string FormatDouble(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  // Beyond 2^52 every double is an integer, but not every integer a double: those print in exponent form.
  constexpr double kIntegerMin = -4503599627370495.0;
  constexpr double kIntegerMax = 4503599627370496.0;
  if (value > kIntegerMin && value < kIntegerMax && value == std::trunc(value)) {
    return FormatInteger(static_cast<int64_t>(value));
  }
  char printed[64];
  int length = std::snprintf(printed, sizeof(printed), "%.17g", value);
  return {printed, static_cast<size_t>(length)};
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

}  // namespace holdfast
