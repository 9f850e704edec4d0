// Operations on hashes. Effects as named; database: the transaction's. All fail with kWrongType if the key holds
// something else. Views live until the transaction's next write or end.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/members.h"

namespace holdfast::hashes {

// The hash for reading: its fields are members, their values the members' values. nullopt if there is no such key.
Result<std::optional<MemberReader>> Open(Transaction& transaction, std::string_view key);

// `pairs`: field, value, field, value ... Returns how many fields are new. Effect: HSET key field value ...
Result<uint64_t> Set(Transaction& transaction, std::string_view key, std::span<const std::string_view> pairs);
// False if there is such a field. Effect: HSET key field value.
Result<bool> SetNx(Transaction& transaction, std::string_view key, std::string_view field, std::string_view value);

Result<std::optional<std::string_view>> Get(Transaction& transaction, std::string_view key, std::string_view field);
// One answer a field, in order.
Result<std::vector<std::optional<std::string_view>>> GetMany(Transaction& transaction, std::string_view key,
                                                             std::span<const std::string_view> fields);
Result<uint64_t> Length(Transaction& transaction, std::string_view key);

// Returns how many there were. Effect: HDEL key field ... with those that were there.
Result<uint64_t> Delete(Transaction& transaction, std::string_view key, std::span<const std::string_view> fields);

// Effect: HINCRBY key field increment.
Result<int64_t> IncrBy(Transaction& transaction, std::string_view key, std::string_view field, int64_t increment);
// The new value as text. Effect: HSET key field value.
Result<std::string> IncrByFloat(Transaction& transaction, std::string_view key, std::string_view field,
                                long double increment);

}  // namespace holdfast::hashes
