#include "cli/tool_json.h"

#include <fmt/format.h>

namespace holdfast::cli {

namespace {

// Length of the well-formed UTF-8 sequence at the start of `text` that begins with a byte above 0x7f; 0 if there is
// none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
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

}  // namespace

std::string JsonString(std::string_view text) {
  std::string json = "\"";
  while (!text.empty()) {
    const auto byte = static_cast<uint8_t>(text.front());
    size_t taken = 1;
    if (byte == '"' || byte == '\\') {
      json += {'\\', static_cast<char>(byte)};
    } else if (byte < 0x20 || byte == 0x7f) {
      json += fmt::format("\\u{:04x}", byte);
    } else if (byte < 0x80) {
      json.push_back(static_cast<char>(byte));
    } else if (const size_t length = SequenceLength(text); length != 0) {
      json += text.substr(0, length);
      taken = length;
    } else {
      json += "\\ufffd";
    }
    text.remove_prefix(taken);
  }
  return json + "\"";
}

JsonObject& JsonObject::Raw(std::string_view name, std::string_view value) {
  if (body_.size() > 1) body_ += ",";
  body_ += JsonString(name);
  body_ += ":";
  body_ += value;
  return *this;
}

}  // namespace holdfast::cli
