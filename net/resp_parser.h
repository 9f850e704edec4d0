// RespParser: from the bytes a client sent to its next command. RESP arrays of bulk strings and inline commands, with
// Redis' limits and error texts. Incremental: any split of the same bytes gives the same commands and the same error.
//
// Copies nothing but inline arguments: arguments are views into the caller's input. What has been looked at is never
// looked at again, so a bulk of any size that comes in pieces of any size costs linear time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::net {

class RespParser {
 public:
  // Longest inline command, and longest line that holds a length.
  static constexpr size_t kLineMax = 64 * 1024;
  // Bounds of a client that has to authenticate first.
  static constexpr int64_t kUnauthenticatedArguments = 10;
  static constexpr int64_t kUnauthenticatedBulk = 16 * 1024;

  struct Limits {
    uint64_t bulk_max = 512ull << 20;  // proto-max-bulk-len
    bool unauthenticated = false;
  };

  enum class Status {
    kNeedMore,  // no whole command yet
    kCommand,   // args() holds it
    kError,     // error() says why; nothing more can be read from this client
  };

  // `input` is everything received and not yet consumed: the caller drops the first consumed() bytes after each call,
  // and after kNeedMore calls again with the rest and what came since, possibly at another address.
  // The arguments live until the input is changed or Parse is called again.
  Status Parse(std::string_view input, const Limits& limits);

  [[nodiscard]] size_t consumed() const { return consumed_; }
  [[nodiscard]] std::span<const std::string_view> args() const { return args_; }
  // Without the dash: "ERR Protocol error: ...".
  [[nodiscard]] const std::string& error() const { return error_; }
  // After kNeedMore: how many bytes more, at least, will make progress possible; 1 if unknown. A hint for the size of
  // the next read, from a length a client announced: bound it.
  [[nodiscard]] size_t missing() const { return missing_; }
  // Between commands, or in the middle of one whose rest has not come.
  [[nodiscard]] bool InsideCommand() const { return in_array_ || scanned_ > 0; }
  // The last command came inline: its arguments are the parser's own, not views of the input.
  [[nodiscard]] bool ArgumentsAreOwned() const { return owned_; }
  // Forgets a half-read command: the same input will be parsed from its beginning (a command that has to run again).
  void Restart();

 private:
  struct Extent {
    size_t begin, length;
  };

  // A command of which everything is there, in the form that clients send: the fast way through. False, and nothing
  // done, in any other case, errors included.
  bool ParseWhole(std::string_view input, const Limits& limits);
  Status ParseOne(std::string_view input, const Limits& limits, bool* empty);
  Status ParseArray(std::string_view input, const Limits& limits, bool* empty);
  Status ParseInline(std::string_view input, bool* empty);
  // Reads a line that holds a number after its first byte. kCommand: found, `*line` is it, cursor_ is behind it.
  Status NumberLine(std::string_view input, const char* too_long, std::string_view* line);
  Status Fail(std::string text);
  Status NeedMore(size_t missing);
  bool SplitInline(std::string_view line);

  // Progress within the current command, as positions relative to its first byte.
  size_t cursor_ = 0;           // everything before it is understood
  size_t scanned_ = 0;          // everything before it holds no line end
  int64_t arguments_left_ = 0;  // of an array whose header was read
  bool in_array_ = false;
  int64_t bulk_length_ = -1;  // of the bulk whose header was read
  std::vector<Extent> extents_;

  size_t consumed_ = 0;
  size_t missing_ = 1;
  bool owned_ = false;
  std::vector<std::string_view> args_;
  std::vector<std::string> inline_words_;  // what args_ views after an inline command
  std::string error_;
};

}  // namespace holdfast::net
