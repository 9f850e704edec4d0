#include "storage/effects/effect_codec.h"

#include <charconv>

#include "storage/base/check.h"
#include "storage/types/numbers.h"

namespace holdfast {
namespace {

void AppendHeader(std::string& to, char mark, uint64_t number) {
  char header[24];
  header[0] = mark;
  auto [end, error] = std::to_chars(header + 1, header + sizeof(header) - 2, number);
  *end++ = '\r';
  *end++ = '\n';
  to.append(header, static_cast<size_t>(end - header));
}

size_t HeaderSize(uint64_t number) {
  size_t digits = 1;
  while (number >= 10) {
    number /= 10;
    ++digits;
  }
  return digits + 3;
}

// Printable, for messages.
std::string Quoted(char c) {
  if (c > ' ' && c < 0x7f) return std::string("'") + c + "'";
  constexpr char kHex[] = "0123456789abcdef";
  auto byte = static_cast<unsigned char>(c);
  return std::string("byte 0x") + kHex[byte >> 4] + kHex[byte & 15];
}

class Scanner {
 public:
  explicit Scanner(std::string_view bytes) : bytes_(bytes) {}

  [[nodiscard]] size_t position() const { return position_; }

  // mark number CRLF. nullopt: more bytes are needed.
  Result<std::optional<uint64_t>> Header(char mark, uint64_t max) {
    size_t at = position_;
    if (at == bytes_.size()) return std::optional<uint64_t>();
    if (bytes_[at] != mark) return Unexpected(at, std::string("'") + mark + "'");
    ++at;
    const size_t first_digit = at;
    uint64_t number = 0;
    while (at < bytes_.size() && bytes_[at] >= '0' && bytes_[at] <= '9') {
      if (at > first_digit && bytes_[first_digit] == '0') return Unexpected(at, "no leading zeros");
      number = number * 10 + static_cast<uint64_t>(bytes_[at] - '0');
      if (number > max) {
        return Error{ErrorCode::kCorruption, "effect byte " + std::to_string(first_digit) +
                                                 ": number above the limit of " + std::to_string(max)};
      }
      ++at;
    }
    if (at == bytes_.size()) return std::optional<uint64_t>();
    if (at == first_digit) return Unexpected(at, "a digit");
    position_ = at;
    ASSIGN_OR_RETURN(bool complete, LineEnd());
    if (!complete) return std::optional<uint64_t>();
    return std::optional<uint64_t>(number);
  }

  // False: more bytes are needed.
  Result<bool> LineEnd() {
    for (char expected : {'\r', '\n'}) {
      if (position_ == bytes_.size()) return false;
      if (bytes_[position_] != expected) return Unexpected(position_, "the end of the line");
      ++position_;
    }
    return true;
  }

  std::optional<std::string_view> Bytes(uint64_t count) {
    if (bytes_.size() - position_ < count) return std::nullopt;
    std::string_view taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }

 private:
  [[nodiscard]] Error Unexpected(size_t at, const std::string& expected) const {
    return {ErrorCode::kCorruption,
            "effect byte " + std::to_string(at) + ": expected " + expected + ", found " + Quoted(bytes_[at])};
  }

  std::string_view bytes_;
  size_t position_ = 0;
};

}  // namespace

void AppendEffect(std::string& to, std::span<const std::string_view> arguments) {
  CHECK(!arguments.empty());
  AppendHeader(to, '*', arguments.size());
  for (std::string_view argument : arguments) {
    AppendHeader(to, '$', argument.size());
    to.append(argument);
    to.append("\r\n");
  }
}

uint64_t EffectSize(std::span<const std::string_view> arguments) {
  uint64_t size = HeaderSize(arguments.size());
  for (std::string_view argument : arguments) size += HeaderSize(argument.size()) + argument.size() + 2;
  return size;
}

Result<std::optional<size_t>> ParseEffect(std::string_view bytes, std::vector<std::string_view>& arguments) {
  arguments.clear();
  Scanner scanner(bytes);
  const std::optional<size_t> incomplete;
  ASSIGN_OR_RETURN(auto count, scanner.Header('*', kEffectArgumentsMax));
  if (!count) return incomplete;
  if (*count == 0) return Error{ErrorCode::kCorruption, "effect byte 1: an effect has at least one argument"};
  for (uint64_t i = 0; i < *count; ++i) {
    ASSIGN_OR_RETURN(auto length, scanner.Header('$', kEffectArgumentMax));
    if (!length) return incomplete;
    auto argument = scanner.Bytes(*length);
    if (!argument) return incomplete;
    ASSIGN_OR_RETURN(bool complete, scanner.LineEnd());
    if (!complete) return incomplete;
    arguments.push_back(*argument);
  }
  return std::optional<size_t>(scanner.position());
}

std::optional<int> SelectedDbBehind(std::string_view effects, int db) {
  std::vector<std::string_view> arguments;
  while (!effects.empty()) {
    const auto size = ParseEffect(effects, arguments);
    if (!size.ok() || !size->has_value()) return std::nullopt;
    effects.remove_prefix(**size);
    if (arguments.size() != 2 || !EqualsIgnoreCase(arguments[0], "SELECT")) continue;
    const auto selected = ParseInteger(arguments[1]);
    if (!selected || *selected < 0 || *selected > INT16_MAX) return std::nullopt;
    db = static_cast<int>(*selected);
  }
  return db;
}

}  // namespace holdfast
