// Flat JSON objects for --json of the offline tool.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::cli {

// `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string JsonString(std::string_view text);

// Builds one object, fields in the order of the calls.
class JsonObject {
 public:
  JsonObject& Text(std::string_view name, std::string_view value) { return Raw(name, JsonString(value)); }
  JsonObject& Number(std::string_view name, uint64_t value) { return Raw(name, std::to_string(value)); }
  JsonObject& SignedNumber(std::string_view name, int64_t value) { return Raw(name, std::to_string(value)); }
  JsonObject& Flag(std::string_view name, bool value) { return Raw(name, value ? "true" : "false"); }
  // `value` is JSON already.
  JsonObject& Raw(std::string_view name, std::string_view value);
  [[nodiscard]] std::string Finish() const { return body_ + "}"; }

 private:
  std::string body_ = "{";
};

}  // namespace holdfast::cli
