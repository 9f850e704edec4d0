// Geo commands that search, and their words: read here once for clients and for replay, because a Redis master sends
// them as its client wrote them. Positions are members of a sorted set (storage/types/geo_positions.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/geo_positions.h"
#include "storage/types/sorted_set_value.h"

namespace holdfast::geo {

using Words = std::span<const std::string_view>;

// Readers of arguments that clients and replay share; the errors are Redis'.
Result<Position> ParsePosition(std::string_view longitude, std::string_view latitude);
// How many metres a unit has.
Result<double> ParseUnit(std::string_view word);
// "1.2346": metres, or another unit, as Redis prints distances.
[[nodiscard]] std::string FormatDistance(double distance);

enum class Command { kRadius, kRadiusByMember, kSearch, kSearchStore };

struct Query {
  Shape shape;
  enum class Order { kNone, kAscending, kDescending };
  Order order = Order::kNone;
  uint64_t count = 0;  // 0: all
  bool any = false;    // the first ones found will do
  bool with_distance = false, with_hash = false, with_position = false;
  std::optional<std::string_view> target;  // of STORE and its kin
  bool store_distance = false;
};
// `words` with the command's name. `set` is what its source key holds, null if there is no such key: positions of
// members come from there. `may_store`: not so for the forms that only read.
Result<Query> ParseQuery(Words words, Command command, bool may_store, const SortedSetReader* set);
// Where the source key stands in the words.
[[nodiscard]] constexpr size_t SourceIndex(Command command) { return command == Command::kSearchStore ? 2 : 1; }

struct Match {
  std::string member;
  double score = 0;
  Position position;
  double distance = 0;  // in the query's unit
};
// Ordered and cut as the query asks.
Result<std::vector<Match>> Search(const SortedSetReader& set, const Query& query);

// The whole of a command that stores. Returns how many were found. Effects: DEL target, ZADD target score member ...
Result<uint64_t> SearchAndStore(Transaction& transaction, Command command, const SortedSetReader* set,
                                const Query& query);

}  // namespace holdfast::geo
