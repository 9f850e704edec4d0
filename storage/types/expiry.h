// Expiry times from the forms in which clients and masters give them.
#pragma once

#include <cstdint>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

enum class ExpiryUnit { kSeconds, kMilliseconds };
enum class ExpiryBase { kRelative, kAbsolute };

struct ExpiryForm {
  ExpiryUnit unit = ExpiryUnit::kMilliseconds;
  ExpiryBase base = ExpiryBase::kAbsolute;
  // EXPIRE and friends take times that are already over; SET, SETEX and GETEX do not.
  bool positive_only = false;
};

// Absolute milliseconds. `value` is the client's text; `command` is named in the error, in lower case.
// A relative value counts from `now_ms`. The result may be in the past, also negative.
Result<int64_t> ParseExpiry(std::string_view value, ExpiryForm form, int64_t now_ms, std::string_view command);

}  // namespace holdfast
