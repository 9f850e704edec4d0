// CHECK: assertions about our own code, on in release builds. A failed CHECK prints where and what, then aborts:
// the log makes an abort safe, going on would not be.
//
// Split conditions (CHECK(a); CHECK(b);), and place checks in pairs: before a write and after the read.
#pragma once

#include <string_view>

namespace holdfast {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, std::string_view message);

}  // namespace holdfast

#define CHECK(condition)                                           \
  do {                                                             \
    if (__builtin_expect(!(condition), 0)) {                       \
      ::holdfast::CheckFailed(__FILE__, __LINE__, #condition, {}); \
    }                                                              \
  } while (false)

// With a message that tells the values involved; evaluated only on failure.
#define CHECK_MSG(condition, message)                                     \
  do {                                                                    \
    if (__builtin_expect(!(condition), 0)) {                              \
      ::holdfast::CheckFailed(__FILE__, __LINE__, #condition, (message)); \
    }                                                                     \
  } while (false)
