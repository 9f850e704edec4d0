// Operations on whole databases: listing keys, flushing, swapping.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast::keyspace {

struct ScanOptions {
  uint64_t cursor = 0;
  uint64_t count = 10;  // keys to look at; all keys of one row hash come together, so a page may hold more
  std::optional<std::string_view> pattern;
  std::optional<std::string_view> type;  // a type's name in any case; an unknown one matches nothing
};
struct ScanPage {
  uint64_t cursor = 0;  // 0: the end
  std::vector<std::string> keys;
};
// Cursors hold over checkpoints, restarts and failovers: every key that is there all the time is seen. Deleted rows
// count a little, too: a page may be short, or empty, long before the end.
Result<ScanPage> Scan(Transaction& transaction, const ScanOptions& options);

// All keys of the transaction's database that match.
Result<std::vector<std::string>> Keys(Transaction& transaction, std::string_view pattern);

Result<std::optional<std::string>> RandomKey(Transaction& transaction);

// Expired keys that are still there included, as in Redis.
uint64_t Size(Transaction& transaction);

// Effects: FLUSHDB; FLUSHALL; SWAPDB a b. Swapping needs no time, flushing none but that of later collection.
void FlushDb(Transaction& transaction);
void FlushAll(Transaction& transaction);
Result<void> SwapDb(Transaction& transaction, int a, int b);

}  // namespace holdfast::keyspace
