// Result<T>: a value or an Error. The project's only way to report a failure that is not its own bug.
//
// Absence is not an error: a lookup that may find nothing returns Result<std::optional<T>>.
// Own bugs are CHECKs (check.h). Bytes from disk or network are never CHECKed, they are parsed into a Result.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "storage/base/check.h"

namespace holdfast {

enum class ErrorCode {
  kInvalidArgument,  // the caller's input is wrong; the message is fit to be shown to a person
  kOutOfRange,       // a number or position is outside of what the operation allows
  kWrongType,        // the key holds another type
  kNotFound,         // a file or object that had to exist does not
  kAlreadyExists,    // a file or object that must not exist does
  kCorruption,       // bytes fail a checksum or break a format rule
  kUnsupported,      // a newer format version, or a feature that is not here
  kIo,               // the operating system reported an error
  kNoSpace,          // disk, map or quota is full
  kBusy,             // held by another process or job; trying later may work
  kReadOnly,         // this node or directory must not be written
  kAborted,          // given up on request (shutdown, change of role, disconnect)
  kLimit,            // a configured or protocol limit would be exceeded
};

// Short lower-case name ("corruption"), for messages and tests.
const char* ErrorCodeName(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;

  // The same error with what the caller knows put in front: "segment 42 at byte 8192: " + message.
  [[nodiscard]] Error WithContext(std::string context) const {
    return Error{code, std::move(context) + ": " + message};
  }
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // The value; only after ok().
  [[nodiscard]] T& value() & {
    CHECK_MSG(ok(), error().message);
    return std::get<0>(state_);
  }
  [[nodiscard]] const T& value() const& {
    CHECK_MSG(ok(), error().message);
    return std::get<0>(state_);
  }
  [[nodiscard]] T&& value() && {
    CHECK_MSG(ok(), error().message);
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // The error; only after !ok().
  [[nodiscard]] const Error& error() const& { return std::get<1>(state_); }
  [[nodiscard]] Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const& { return *error_; }
  [[nodiscard]] Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace holdfast

#define HOLDFAST_CONCAT_INNER(a, b) a##b
#define HOLDFAST_CONCAT(a, b) HOLDFAST_CONCAT_INNER(a, b)

// Evaluates an expression of type Result<...>; leaves the enclosing function with its error if it failed.
#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    auto holdfast_result_ = (expression);                                   \
    if (!holdfast_result_.ok()) return std::move(holdfast_result_).error(); \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): binds the value of F(), or leaves the enclosing function with its error.
#define ASSIGN_OR_RETURN(target, expression) \
  HOLDFAST_ASSIGN_OR_RETURN(HOLDFAST_CONCAT(holdfast_result_, __LINE__), target, expression)
#define HOLDFAST_ASSIGN_OR_RETURN(temporary, target, expression) \
  auto temporary = (expression);                                 \
  if (!temporary.ok()) return std::move(temporary).error();      \
  target = std::move(temporary).value()
