#include "cli/tool_context.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <ctime>

#include "net/quoted_words.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool beyond = first == 0xf4 && byte(1) >= 0x90;
    return follows(1) && follows(2) && follows(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : uint8_t{0});
    }
    for (size_t j = 0; j < 4; ++j) text += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

bool TakeDigits(std::string_view& text, size_t count, int& value) {
  if (text.size() < count) return false;
  value = 0;
  for (const char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool TakeChar(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

struct CivilTime {
  std::tm date{};
  int ms = 0;
};

bool TakeCivil(std::string_view& text, CivilTime& time) {
  int year = 0;
  int month = 0;
  std::tm& date = time.date;
  if (!TakeDigits(text, 4, year) || !TakeChar(text, "-") || !TakeDigits(text, 2, month) || !TakeChar(text, "-") ||
      !TakeDigits(text, 2, date.tm_mday) || month < 1 || month > 12 || date.tm_mday < 1 || date.tm_mday > 31) {
    return false;
  }
  date.tm_year = year - 1900;
  date.tm_mon = month - 1;
  date.tm_isdst = -1;
  if (text.empty()) return true;
  if (!TakeChar(text, "Tt ") || !TakeDigits(text, 2, date.tm_hour) || !TakeChar(text, ":") ||
      !TakeDigits(text, 2, date.tm_min)) {
    return false;
  }
  if (TakeChar(text, ":") && !TakeDigits(text, 2, date.tm_sec)) return false;
  if (date.tm_hour > 23 || date.tm_min > 59 || date.tm_sec > 60) return false;
  if (!TakeChar(text, ".,")) return true;
  int scale = 100;
  int digit = 0;
  if (!TakeDigits(text, 1, digit)) return false;
  do {
    time.ms += digit * scale;
    scale /= 10;
  } while (TakeDigits(text, 1, digit));
  return true;
}

}  // namespace

std::string JsonLine(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json JsonBytes(std::string_view bytes) {
  if (IsUtf8(bytes)) return Json(std::string(bytes));
  return Json{{"base64", Base64(bytes)}};
}

std::string Quoted(std::string_view bytes) { return net::QuotedRepresentation(bytes); }

int Fail(const ToolContext& tool, const Error& error) {
  const bool damage = error.code == ErrorCode::kCorruption;
  if (tool.json) {
    tool.streams.out << JsonLine({{"result", damage ? "damaged" : "unreadable"}, {"error", error.message}});
  }
  tool.streams.err << "holdfast: " << error.message << "\n";
  return damage ? kToolDamage : kToolTrouble;
}

bool Confirm(const ToolContext& tool, std::string_view question) {
  tool.streams.err << question << " [y/N] " << std::flush;
  std::string answer;
  if (tool.streams.in == nullptr || !std::getline(*tool.streams.in, answer)) {
    tool.streams.err << "\nholdfast: nobody answered, which means no (--yes answers beforehand)\n";
    return false;
  }
  return EqualsIgnoreCase(answer, "y") || EqualsIgnoreCase(answer, "yes");
}

std::string TimeText(int64_t ms) {
  int64_t seconds = ms / 1000;
  int64_t rest = ms % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  const auto time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  if (gmtime_r(&time, &utc) == nullptr) return std::to_string(ms);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, rest);
}

Result<int64_t> ParseTime(std::string_view text) {
  const Error wrong{ErrorCode::kInvalidArgument,
                    fmt::format("'{}' is no time: 2026-11-22T14:32:05.250Z, +01:00 or nothing (local time) in place of "
                                "Z, or milliseconds since 1970",
                                text)};
  if (const auto number = ParseInteger(text); number && text.size() > 4) return *number;
  CivilTime time;
  if (!TakeCivil(text, time)) return wrong;
  const CivilTime asked = time;
  int64_t seconds = 0;
  if (text.empty()) {
    seconds = std::mktime(&time.date);
  } else if (TakeChar(text, "Zz")) {
    seconds = timegm(&time.date);
  } else {
    const bool west = text.front() == '-';
    int hours = 0;
    int minutes = 0;
    if (!TakeChar(text, "+-") || !TakeDigits(text, 2, hours)) return wrong;
    (void)TakeChar(text, ":");
    if (!text.empty() && !TakeDigits(text, 2, minutes)) return wrong;
    if (hours > 23 || minutes > 59) return wrong;
    seconds = timegm(&time.date) - (west ? -1 : 1) * (hours * 3600 + minutes * 60);
  }
  // A 31st of a short month would silently be another day.
  if (!text.empty() || time.date.tm_mday != asked.date.tm_mday) return wrong;
  return seconds * 1000 + time.ms;
}

std::string SizeText(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace holdfast::cli
