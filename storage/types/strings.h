// String operations: what GET, SET and their kin mean, over a transaction. No client protocol.
//
// Every operation that changes something also appends its own canonical effect, named in its comment. All validate
// before they write. Keys and values given must not point into the store. Database: the transaction's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/string_value.h"

namespace holdfast::strings {

// kWrongType if the key holds something else; nullopt if it does not exist.
Result<std::optional<StringValue>> Get(Transaction& transaction, std::string_view key);

enum class SetCondition { kAlways, kIfAbsent, kIfPresent };

struct SetOptions {
  SetCondition condition = SetCondition::kAlways;
  bool keep_ttl = false;
  bool get = false;  // report the previous value; it must be a string then
  int64_t expire_at_ms = kNoExpiry;
};
struct SetOutcome {
  bool written = false;
  std::optional<std::string> previous;  // with `get`
};
// Effect: SET key value [PXAT ms | KEEPTTL].
Result<SetOutcome> Set(Transaction& transaction, std::string_view key, std::string_view value,
                       const SetOptions& options);

// Effect: DEL key.
Result<std::optional<std::string>> GetDel(Transaction& transaction, std::string_view key);

struct GetExOptions {
  bool persist = false;
  int64_t expire_at_ms = kNoExpiry;
};
// Effect: PEXPIREAT key ms, PERSIST key, DEL key when the time is already over (live), or none.
Result<std::optional<std::string>> GetEx(Transaction& transaction, std::string_view key, const GetExOptions& options);

// `pairs` is key, value, key, value ... Effect: MSET key value ...
Result<void> MSet(Transaction& transaction, std::span<const std::string_view> pairs);
// False, and nothing is written, if any of the keys exists. Effect: MSET key value ...
Result<bool> MSetNx(Transaction& transaction, std::span<const std::string_view> pairs);

// Return the new length. Effects: APPEND key value; SETRANGE key offset value.
Result<uint64_t> Append(Transaction& transaction, std::string_view key, std::string_view value);
Result<uint64_t> SetRange(Transaction& transaction, std::string_view key, int64_t offset, std::string_view value);

Result<uint64_t> StrLen(Transaction& transaction, std::string_view key);
// Both ends inclusive; negative ones count from the end.
Result<std::string> GetRange(Transaction& transaction, std::string_view key, int64_t start, int64_t end);

// Effect: INCRBY key n.
Result<int64_t> IncrBy(Transaction& transaction, std::string_view key, int64_t increment);
// The new value as text. Effect: SET key value KEEPTTL.
Result<std::string> IncrByFloat(Transaction& transaction, std::string_view key, long double increment);

// "int", "embstr" or "raw": how Redis would hold a string that was just set.
Result<std::string_view> Encoding(const StringValue& value);

}  // namespace holdfast::strings
