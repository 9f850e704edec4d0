// Operations on sets. Effects as named; database: the transaction's. All fail with kWrongType if a key that is read as
// a set holds something else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/members.h"

namespace holdfast::sets {

// The set for reading; the members' values are empty. nullopt if there is no such key.
Result<std::optional<MemberReader>> Open(Transaction& transaction, std::string_view key);

// Returns how many are new. Effect: SADD key member ... with those that are.
Result<uint64_t> Add(Transaction& transaction, std::string_view key, std::span<const std::string_view> members);
// Returns how many there were. Effect: SREM key member ... with those that were there.
Result<uint64_t> Remove(Transaction& transaction, std::string_view key, std::span<const std::string_view> members);
// False if there is no such member. Effect: SMOVE from to member.
Result<bool> Move(Transaction& transaction, std::string_view from, std::string_view to, std::string_view member);

Result<uint64_t> Size(Transaction& transaction, std::string_view key);
// One answer a member, in order.
Result<std::vector<bool>> AreMembers(Transaction& transaction, std::string_view key,
                                     std::span<const std::string_view> members);

// Takes out `count` random members, or all. Only when live. Effects: SREM key member ..., or DEL key.
Result<std::vector<std::string>> Pop(Transaction& transaction, std::string_view key, uint64_t count);

enum class Combination { kUnion, kIntersection, kDifference };
// Visits the members of the combination, each once, in no particular order, until `visit` returns false. Missing keys
// are empty sets. The visitor may read, but not write. Memory does not grow with the sets.
Result<void> Combine(Transaction& transaction, Combination combination, std::span<const std::string_view> keys,
                     const std::function<bool(std::string_view member)>& visit);
// Makes the combination the value of `target`, which may be among `keys`; deletes it if the combination is empty.
// Returns its size. Effects: SUNIONSTORE, SINTERSTORE or SDIFFSTORE as given, or DEL target.
Result<uint64_t> Store(Transaction& transaction, Combination combination, std::string_view target,
                       std::span<const std::string_view> keys);

}  // namespace holdfast::sets
