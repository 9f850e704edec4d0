// Which operation an effect is. The one place that turns a replicated command back into store operations.
#pragma once

#include <span>
#include <string_view>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast {

// Every form in which a Redis master may send it, older ones included: relative expiry, INCR, GETSET and so on.
// Relative expiry counts from the transaction's time. `arguments[0]` is the name, in any case.
// kUnsupported if no such effect is known here; other errors are the operation's.
Result<void> ApplyEffect(Transaction& transaction, std::span<const std::string_view> arguments);

// The part of ApplyEffect() that needs no data: is there such an effect, and can it have so many arguments?
Result<void> CheckEffect(std::span<const std::string_view> arguments);

}  // namespace holdfast
