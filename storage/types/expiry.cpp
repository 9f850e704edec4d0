#include "storage/types/expiry.h"

#include <limits>
#include <optional>
#include <string>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast {

Result<int64_t> ParseExpiry(std::string_view value, ExpiryForm form, int64_t now_ms, std::string_view command) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  Error invalid{ErrorCode::kInvalidArgument, "invalid expire time in '" + std::string(command) + "' command"};

  std::optional<int64_t> parsed = ParseInteger(value);
  if (!parsed) return NotAnIntegerError();
  int64_t at = *parsed;
  if (form.positive_only && at <= 0) return invalid;
  if (form.unit == ExpiryUnit::kSeconds) {
    if (at > kMax / 1000 || at < kMin / 1000) return invalid;
    at *= 1000;
  }
  if (form.base == ExpiryBase::kRelative) {
    if (at > kMax - now_ms) return invalid;
    at += now_ms;
  }
  return at;
}

}  // namespace holdfast
