// SORT: the elements of a list, set or sorted set in another order, perhaps by, or replaced by, values of other keys.
// Words are read here once for clients and for replay, because a Redis master sends SORT as its client wrote it.
//
// Everything that is sorted is in memory meanwhile, as in Redis; a BY without "*" with a LIMIT reads only its part of a
// list or sorted set. Elements that compare equal, which only BY with ALPHA can make of different ones, keep the order
// they came in.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast::sorting {

struct Options {
  bool descending = false;
  bool alpha = false;
  int64_t offset = 0, limit = -1;
  std::optional<std::string_view> by;
  bool keeps_order = false;  // one of the BYs, if not the last one, has no "*"
  std::vector<std::string_view> gets;
  std::optional<std::string_view> target;
};
// `words` behind the key. `may_store`: STORE is no option of SORT_RO. Errors are Redis'.
Result<Options> Parse(std::span<const std::string_view> words, bool may_store);

// What SORT answers: elements, or for each of them what the GETs found, which may be nothing. kWrongType.
Result<std::vector<std::optional<std::string>>> Sort(Transaction& transaction, std::string_view key,
                                                     const Options& options);

// Sort, and its answer made the list `*options.target`, which is deleted if the answer is empty. Returns the length.
// Effects: DEL target, RPUSH target item ...
Result<uint64_t> SortAndStore(Transaction& transaction, std::string_view key, const Options& options);

}  // namespace holdfast::sorting
