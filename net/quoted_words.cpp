#include "net/quoted_words.h"

#include <fmt/format.h>

#include <utility>

namespace holdfast::net {
namespace {

bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads one word at `at`; false if quotes are unbalanced.
class WordReader {
 public:
  WordReader(std::string_view line, size_t& at) : line_(line), at_(at) {}

  bool Read(std::string& word) {
    while (at_ < line_.size() && line_[at_] != '\0' && !IsBlank(line_[at_])) {
      if (line_[at_] == '"' || line_[at_] == '\'') {
        const bool ok = line_[at_] == '"' ? ReadDoubleQuoted(word) : ReadSingleQuoted(word);
        // Something right behind a closing quote is an error, an end or a blank ends the word.
        if (!ok || (at_ < line_.size() && !IsBlank(line_[at_]))) return false;
        return true;
      }
      word += line_[at_++];
    }
    return true;
  }

 private:
  bool ReadDoubleQuoted(std::string& word) {
    for (++at_; at_ < line_.size();) {
      const char c = line_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c == '\\' && at_ + 3 < line_.size() && line_[at_ + 1] == 'x' && HexDigit(line_[at_ + 2]) >= 0 &&
          HexDigit(line_[at_ + 3]) >= 0) {
        word += static_cast<char>(HexDigit(line_[at_ + 2]) * 16 + HexDigit(line_[at_ + 3]));
        at_ += 4;
      } else if (c == '\\' && at_ + 1 < line_.size()) {
        word += Unescape(line_[at_ + 1]);
        at_ += 2;
      } else {
        word += c;
        ++at_;
      }
    }
    return false;
  }

  bool ReadSingleQuoted(std::string& word) {
    for (++at_; at_ < line_.size(); ++at_) {
      if (line_[at_] == '\'') {
        ++at_;
        return true;
      }
      if (line_[at_] == '\\' && at_ + 1 < line_.size() && line_[at_ + 1] == '\'') ++at_;
      word += line_[at_];
    }
    return false;
  }

  static char Unescape(char c) {
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'b':
        return '\b';
      case 'a':
        return '\a';
      default:
        return c;
    }
  }

  std::string_view line_;
  size_t& at_;
};

}  // namespace

std::optional<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  for (size_t at = 0;;) {
    while (at < line.size() && IsBlank(line[at])) ++at;
    if (at >= line.size() || line[at] == '\0') return words;
    std::string word;
    if (!WordReader(line, at).Read(word)) return std::nullopt;
    words.push_back(std::move(word));
  }
}

std::string QuotedRepresentation(std::string_view word) {
  std::string quoted = "\"";
  for (const char c : word) {
    switch (c) {
      case '\\':
      case '"':
        quoted += '\\';
        quoted += c;
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      case '\a':
        quoted += "\\a";
        break;
      case '\b':
        quoted += "\\b";
        break;
      default:
        if (c >= 0x20 && c < 0x7f) {
          quoted += c;
        } else {
          quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
  }
  return quoted + '"';
}

std::string QuoteWord(std::string_view word) {
  bool plain = !word.empty() && word.front() != '#';
  for (const char c : word) {
    if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\'' || c == '\\') plain = false;
  }
  return plain ? std::string(word) : QuotedRepresentation(word);
}

}  // namespace holdfast::net
