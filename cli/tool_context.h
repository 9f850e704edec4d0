// What every command of the offline tool gets: files, streams, how to answer.
#pragma once

#include <cstdint>
#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::cli {

// Exit status of the offline tool, as cmp and grep do it. docs/tool.md tells users.
enum ToolExit : int {
  kToolClean = 0,
  kToolDamage = 1,   // damage, or a difference
  kToolTrouble = 2,  // wrong usage, the file cannot be read, or no memory: nothing is known about it
};

struct ToolStreams {
  std::ostream& out;           // findings and results
  std::ostream& err;           // why nothing could be done; progress
  std::istream* in = nullptr;  // answers to questions; null: nobody answers
};

// Fields in the order in which they are added.
using Json = nlohmann::ordered_json;

struct ToolContext {
  FileSystem& fs;
  const ToolStreams& streams;
  bool json = false;
  bool progress = false;            // draw a bar on streams.err
  bool output_is_terminal = false;  // results and the bar would meet on it
};

// One line of JSON. Bytes that are no UTF-8 become U+FFFD: for names and messages; values go through JsonBytes.
[[nodiscard]] std::string JsonLine(const Json& json);
// A string if the bytes are UTF-8, else {"base64": "..."}: nothing is lost.
[[nodiscard]] Json JsonBytes(std::string_view bytes);
// As a quoted C string, every byte visible: what redis-cli shows.
[[nodiscard]] std::string Quoted(std::string_view bytes);

// Says on streams.err (and as JSON) why a command could not do its work. kCorruption is kToolDamage, all else
// kToolTrouble.
int Fail(const ToolContext& tool, const Error& error);

// Asks on streams.err and reads a line of streams.in. Whatever is not "y" or "yes" is no.
[[nodiscard]] bool Confirm(const ToolContext& tool, std::string_view question);

// "2026-11-22T14:32:05.250Z"
[[nodiscard]] std::string TimeText(int64_t ms);
// RFC 3339 with Z or an offset; without a zone the local one; with ' ' for 'T'; a date alone is its midnight; a number
// of digits is milliseconds since 1970. kInvalidArgument says what is accepted.
Result<int64_t> ParseTime(std::string_view text);
// "12.3 MB"
[[nodiscard]] std::string SizeText(uint64_t bytes);

}  // namespace holdfast::cli
