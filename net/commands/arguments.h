// Reads a command's arguments in order and remembers the first thing that is wrong: a handler reads all of them and
// asks once at the end. After an error everything read is empty or zero.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/reply.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

inline constexpr std::string_view kSyntaxError = "ERR syntax error";
inline constexpr std::string_view kNotAnInteger = "ERR value is not an integer or out of range";

class Arguments {
 public:
  // Starts at args[from].
  explicit Arguments(std::span<const std::string_view> args, size_t from = 1) : args_(args), at_(from) {}

  [[nodiscard]] bool HasNext() const { return error_.empty() && at_ < args_.size(); }
  [[nodiscard]] size_t left() const { return error_.empty() && at_ < args_.size() ? args_.size() - at_ : 0; }

  std::string_view Next() {
    if (!HasNext()) {
      Fail(kSyntaxError);
      return {};
    }
    return args_[at_++];
  }

  // Takes the next argument if it is this word, in any case.
  bool NextIs(std::string_view word) {
    if (!HasNext() || !EqualsIgnoreCase(args_[at_], word)) return false;
    ++at_;
    return true;
  }
  // The same for an option that has `values` arguments behind it; not taken if there are fewer.
  bool NextIs(std::string_view word, size_t values) { return left() > values && NextIs(word); }

  int64_t NextInteger(std::string_view error = kNotAnInteger) {
    const std::string_view text = Next();
    if (!error_.empty()) return 0;
    const auto value = ParseInteger(text);
    if (!value) Fail(error);
    return value.value_or(0);
  }

  int64_t NextInteger(int64_t low, int64_t high, std::string_view range_error, std::string_view error = kNotAnInteger) {
    const int64_t value = NextInteger(error);
    if (error_.empty() && (value < low || value > high)) Fail(range_error);
    return error_.empty() ? value : 0;
  }

  // The first failure stays. `error` begins with its code word.
  void Fail(std::string_view error) {
    if (error_.empty()) error_ = error;
  }

  [[nodiscard]] bool failed() const { return !error_.empty(); }
  // True, and the error is the reply, if anything was wrong.
  bool Refused(Reply& reply) const {
    if (error_.empty()) return false;
    reply.Error(std::string_view(error_));
    return true;
  }

 private:
  std::span<const std::string_view> args_;
  size_t at_;
  std::string error_;
};

}  // namespace holdfast::net
