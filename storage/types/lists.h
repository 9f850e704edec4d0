// List operations: what LPUSH, LRANGE and their kin mean, over a transaction. No client protocol.
//
// Every operation that changes something appends its own canonical effect, named in its comment. All validate before
// they write; all are kWrongType if a key holds something else. Keys and values given must not point into the store.
// A list whose last item goes is no more. Database: the transaction's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/list_value.h"

namespace holdfast::lists {

// nullopt if there is no such key.
Result<std::optional<ListValue>> Open(Transaction& transaction, std::string_view key);

// "LEFT", "RIGHT" in any case.
[[nodiscard]] std::optional<ListEnd> ParseEnd(std::string_view word);

enum class PushCondition { kAlways, kIfPresent };
// One after the other to the same end; returns the new length, 0 if kIfPresent and there is no list.
// Effect: LPUSH or RPUSH key item ...
Result<uint64_t> Push(Transaction& transaction, std::string_view key, ListEnd end,
                      std::span<const std::string_view> items, PushCondition condition);

// nullopt if there is no list. Effect: LPOP or RPOP key.
Result<std::optional<std::string>> Pop(Transaction& transaction, std::string_view key, ListEnd end);
// Up to `count`, in the order in which they go; nullopt if there is no list. Effect: LPOP or RPOP key n.
Result<std::optional<std::vector<std::string>>> PopSome(Transaction& transaction, std::string_view key, ListEnd end,
                                                        uint64_t count);

// Negative indexes count from the end. kNotFound without a list, kOutOfRange behind its ends.
// Effect: LSET key index item.
Result<void> Set(Transaction& transaction, std::string_view key, int64_t index, std::string_view item);

// Beside the first item that equals `pivot`. The new length; -1 without such an item, 0 without a list.
// Effect: LINSERT key BEFORE|AFTER pivot item.
Result<int64_t> Insert(Transaction& transaction, std::string_view key, bool before, std::string_view pivot,
                       std::string_view item);

// Removes items that equal `item`: the first `count`, the last -`count`, or with 0 all. How many.
// Effect: LREM key count item.
Result<uint64_t> Remove(Transaction& transaction, std::string_view key, int64_t count, std::string_view item);

// Both ends inclusive; negative ones count from the end. Effect: LTRIM key start stop, if something goes.
Result<void> Trim(Transaction& transaction, std::string_view key, int64_t start, int64_t stop);

// Where a range with Redis' two inclusive, perhaps negative, ends lies in a list: `count` 0 if it is empty.
struct ListRange {
  uint64_t first = 0;
  uint64_t count = 0;
};
[[nodiscard]] ListRange ResolveRange(uint64_t length, int64_t start, int64_t stop);

// The place an index means, negative ones counted from the end; nullopt if it is not in the list.
[[nodiscard]] std::optional<uint64_t> ResolveIndex(uint64_t length, int64_t index);

struct Ends {
  ListEnd from = ListEnd::kRight;
  ListEnd to = ListEnd::kLeft;
};
// Moves one item; nullopt if there is no `source`. They may be the same list.
// Effect: RPOPLPUSH source destination, or LMOVE source destination LEFT|RIGHT LEFT|RIGHT.
Result<std::optional<std::string>> Move(Transaction& transaction, std::string_view source, std::string_view destination,
                                        Ends ends);

struct PositionOptions {
  int64_t rank = 1;         // of the first match reported; negative: counted, and searched, from the end. Not 0.
  uint64_t count = 1;       // matches to report; 0: all
  uint64_t length_max = 0;  // items to look at; 0: all
};
// Indexes of items that equal `item`.
Result<std::vector<uint64_t>> Positions(const ListValue& list, std::string_view item, const PositionOptions& options);

}  // namespace holdfast::lists
