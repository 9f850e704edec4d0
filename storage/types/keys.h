// Operations on keys whatever their type: existence, names, copies, expiry. Effects as named; database: the
// transaction's unless given.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast::keys {

// Return how many there were; a key named twice is deleted once, but exists twice. Effect of Delete: DEL key ...
Result<uint64_t> Delete(Transaction& transaction, std::span<const std::string_view> keys);
Result<uint64_t> Exists(Transaction& transaction, std::span<const std::string_view> keys);

Result<std::optional<ValueType>> Type(Transaction& transaction, std::string_view key);

// kNotFound "no such key" if there is no `from`. Effect: RENAME from to.
Result<void> Rename(Transaction& transaction, std::string_view from, std::string_view to);
// False if `to` exists. Effect: RENAME from to.
Result<bool> RenameNx(Transaction& transaction, std::string_view from, std::string_view to);

struct CopyTarget {
  int db = 0;
  std::string_view key;
  bool replace = false;
};
// False if there is no `from`, or a target that must not be replaced. Effect: COPY from to DB n REPLACE.
Result<bool> Copy(Transaction& transaction, std::string_view from, const CopyTarget& target);
// False if there is no `key`, or one in the other database. Effect: MOVE key n.
Result<bool> Move(Transaction& transaction, std::string_view key, int db);

struct ExpireCondition {
  bool if_none = false;     // NX
  bool if_any = false;      // XX
  bool if_greater = false;  // GT
  bool if_less = false;     // LT
};
// Whether the expiry was set. A time that is over deletes the key when live.
// Effect: PEXPIREAT key ms, or DEL key.
Result<bool> Expire(Transaction& transaction, std::string_view key, int64_t expire_at_ms,
                    const ExpireCondition& condition);
// Whether there was an expiry. Effect: PERSIST key.
Result<bool> Persist(Transaction& transaction, std::string_view key);

// The expiry of a key: nullopt if there is no such key, kNoExpiry if it has none, else absolute milliseconds.
Result<std::optional<int64_t>> ExpireTime(Transaction& transaction, std::string_view key);

// Deletes `key` if its time is over; for the active expiry cycle. Returns whether it is gone. Effect: DEL key.
Result<bool> ExpireNow(Transaction& transaction, int db, std::string_view key);

}  // namespace holdfast::keys
