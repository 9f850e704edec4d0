#include "net/resp_parser.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "net/quoted_words.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

// What may be reserved before it has come: a client that announces much and sends nothing must not cost memory.
constexpr size_t kArgumentsReservedMax = 1024;
// A command with more arguments, or a length of more digits, is not one that has to be fast.
constexpr size_t kWholeArgumentsMax = 999;
constexpr size_t kWholeDigitsMax = 6;

// A length as clients write it: digits without a zero in front, then a line end (of which the line feed may be any
// byte). Returns what is behind it, or null if it is something else or not all there.
const char* PlainNumber(const char* at, const char* end, size_t* number) {
  const char* const first = at;
  size_t value = 0;
  for (; at < end; ++at) {
    const auto digit = static_cast<unsigned>(static_cast<unsigned char>(*at)) - '0';
    if (digit > 9) break;
    value = value * 10 + digit;
    if (static_cast<size_t>(at - first) == kWholeDigitsMax) return nullptr;
  }
  const bool plain = at > first && (*first != '0' || at - first == 1);
  if (!plain || end - at < 2 || *at != '\r') return nullptr;
  *number = value;
  return at + 2;
}

}  // namespace

void RespParser::Restart() {
  cursor_ = scanned_ = 0;
  arguments_left_ = 0;
  in_array_ = false;
  bulk_length_ = -1;
  extents_.clear();
}

RespParser::Status RespParser::Fail(std::string text) {
  error_ = "ERR Protocol error: " + std::move(text);
  return Status::kError;
}

RespParser::Status RespParser::NeedMore(size_t missing) {
  missing_ = missing;
  return Status::kNeedMore;
}

RespParser::Status RespParser::Parse(std::string_view input, const Limits& limits) {
  consumed_ = 0;
  owned_ = false;
  if (!InsideCommand() && !limits.unauthenticated && !input.empty() && input[0] == '*' && ParseWhole(input, limits)) {
    return Status::kCommand;
  }
  // Empty lines and empty arrays are no commands: skipped, however many.
  while (true) {
    bool empty = false;
    Status status = ParseOne(input.substr(consumed_), limits, &empty);
    if (status != Status::kCommand) return status;
    consumed_ += cursor_;
    Restart();
    if (!empty) return Status::kCommand;
  }
}

bool RespParser::ParseWhole(std::string_view input, const Limits& limits) {
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  size_t count = 0;
  const char* at = PlainNumber(begin + 1, end, &count);
  if (at == nullptr || count == 0 || count > kWholeArgumentsMax) return false;
  args_.clear();
  for (; count > 0; --count) {
    size_t length = 0;
    if (at == end || *at != '$' || (at = PlainNumber(at + 1, end, &length)) == nullptr) return false;
    if (length > limits.bulk_max || static_cast<size_t>(end - at) < length + 2) return false;
    args_.emplace_back(at, length);
    at += length + 2;
  }
  consumed_ += static_cast<size_t>(at - begin);
  return true;
}

RespParser::Status RespParser::ParseOne(std::string_view input, const Limits& limits, bool* empty) {
  if (input.empty()) return NeedMore(1);
  if (in_array_ || input[0] == '*') return ParseArray(input, limits, empty);
  return ParseInline(input, empty);
}

RespParser::Status RespParser::NumberLine(std::string_view input, const char* too_long, std::string_view* line) {
  scanned_ = std::max(scanned_, cursor_);
  // The line end counts only within the first kLineMax + 1 bytes of the line, however the bytes were split.
  size_t bound = std::min(input.size(), cursor_ + kLineMax + 1);
  const void* found = scanned_ < bound ? std::memchr(input.data() + scanned_, '\r', bound - scanned_) : nullptr;
  if (found == nullptr) {
    scanned_ = bound;
    if (input.size() - cursor_ > kLineMax) return Fail(too_long);
    return NeedMore(1);
  }
  size_t end = static_cast<size_t>(static_cast<const char*>(found) - input.data());
  scanned_ = end;
  if (end + 2 > input.size()) return NeedMore(1);  // the line feed, whose value nobody checks
  *line = input.substr(cursor_, end - cursor_);
  return Status::kCommand;
}

RespParser::Status RespParser::ParseArray(std::string_view input, const Limits& limits, bool* empty) {
  std::string_view line;
  if (!in_array_) {
    Status status = NumberLine(input, "too big mbulk count string", &line);
    if (status != Status::kCommand) return status;
    std::optional<int64_t> count = ParseInteger(line.substr(1));
    if (!count || *count > std::numeric_limits<int32_t>::max()) return Fail("invalid multibulk length");
    if (*count > kUnauthenticatedArguments && limits.unauthenticated) {
      return Fail("unauthenticated multibulk length");
    }
    cursor_ += line.size() + 2;
    if (*count <= 0) {
      *empty = true;
      return Status::kCommand;
    }
    in_array_ = true;
    arguments_left_ = *count;
    extents_.reserve(std::min(static_cast<size_t>(*count), kArgumentsReservedMax));
  }
  while (arguments_left_ > 0) {
    if (bulk_length_ < 0) {
      Status status = NumberLine(input, "too big bulk count string", &line);
      if (status != Status::kCommand) return status;
      if (input[cursor_] != '$') return Fail(std::string("expected '$', got '") + input[cursor_] + "'");
      std::optional<int64_t> length = ParseInteger(line.substr(1));
      if (!length || *length < 0 || static_cast<uint64_t>(*length) > limits.bulk_max) {
        return Fail("invalid bulk length");
      }
      if (*length > kUnauthenticatedBulk && limits.unauthenticated) return Fail("unauthenticated bulk length");
      cursor_ += line.size() + 2;
      bulk_length_ = *length;
    }
    auto length = static_cast<size_t>(bulk_length_);
    size_t available = input.size() - cursor_;
    if (available < length + 2) return NeedMore(length + 2 - available);
    extents_.push_back({cursor_, length});
    cursor_ += length + 2;
    bulk_length_ = -1;
    --arguments_left_;
  }
  args_.clear();
  for (const Extent& extent : extents_) args_.push_back(input.substr(extent.begin, extent.length));
  return Status::kCommand;
}

RespParser::Status RespParser::ParseInline(std::string_view input, bool* empty) {
  size_t bound = std::min(input.size(), kLineMax + 1);
  const void* found = scanned_ < bound ? std::memchr(input.data() + scanned_, '\n', bound - scanned_) : nullptr;
  if (found == nullptr) {
    scanned_ = bound;
    if (input.size() > kLineMax) return Fail("too big inline request");
    return NeedMore(1);
  }
  size_t end = static_cast<size_t>(static_cast<const char*>(found) - input.data());
  cursor_ = end + 1;
  if (end > 0 && input[end - 1] == '\r') --end;
  if (!SplitInline(input.substr(0, end))) return Fail("unbalanced quotes in request");
  *empty = args_.empty();
  return Status::kCommand;
}

bool RespParser::SplitInline(std::string_view line) {
  std::optional<std::vector<std::string>> words = SplitWords(line);
  if (!words) return false;
  inline_words_ = *std::move(words);
  owned_ = true;
  args_.assign(inline_words_.begin(), inline_words_.end());
  return true;
}

}  // namespace holdfast::net
