#include "storage/types/keyspace.h"

#include <algorithm>
#include <utility>

#include "storage/types/glob.h"
#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::keyspace {
namespace {

// Rows, deleted ones among them, that one page of SCAN passes over at most.
uint64_t ScanRowsMax(uint64_t count) {
  constexpr uint64_t kRows = 1000;
  constexpr uint64_t kRowsPerKey = 20;
  return kRows + kRowsPerKey * std::min(count, Transaction::kAllRows / 100);
}

}  // namespace

Result<ScanPage> Scan(Transaction& transaction, const ScanOptions& options) {
  // "*" matches every key, the empty one included.
  const bool use_pattern = options.pattern && *options.pattern != "*";
  ScanPage page;
  uint64_t looked_at = 0;
  ASSIGN_OR_RETURN(page.cursor, transaction.VisitKeys(
                                    transaction.db(), options.cursor,
                                    [&](std::string_view key, const KeyValue& value) {
                                      ++looked_at;
                                      bool wanted = !use_pattern || GlobMatch(*options.pattern, key);
                                      if (wanted && options.type) {
                                        wanted = EqualsIgnoreCase(*options.type, ValueTypeName(value.type));
                                      }
                                      if (wanted) page.keys.emplace_back(key);
                                      return looked_at < options.count;
                                    },
                                    ScanRowsMax(options.count)));
  transaction.SawEverything();
  return page;
}

Result<std::vector<std::string>> Keys(Transaction& transaction, std::string_view pattern) {
  const bool all = pattern == "*";
  std::vector<std::string> keys;
  RETURN_IF_ERROR(transaction.VisitKeys(transaction.db(), 0, [&](std::string_view key, const KeyValue&) {
    if (all || GlobMatch(pattern, key)) keys.emplace_back(key);
    return true;
  }));
  transaction.SawEverything();
  return keys;
}

Result<std::optional<std::string>> RandomKey(Transaction& transaction) {
  ASSIGN_OR_RETURN(auto key, transaction.RandomKey(transaction.db()));
  transaction.SawEverything();
  return key;
}

uint64_t Size(Transaction& transaction) {
  transaction.SawEverything();
  return transaction.KeyCount(transaction.db());
}

void FlushDb(Transaction& transaction) {
  transaction.FlushDb(transaction.db());
  transaction.Emit({"FLUSHDB"});
}

void FlushAll(Transaction& transaction) {
  transaction.FlushAll();
  transaction.Emit({"FLUSHALL"});
}

Result<void> SwapDb(Transaction& transaction, int a, int b) {
  for (int db : {a, b}) {
    if (db < 0 || db >= transaction.database_count()) return DbIndexError();
  }
  if (a == b) return {};
  transaction.SwapDb(a, b);
  transaction.Emit({"SWAPDB", FormatInteger(a), FormatInteger(b)});
  return {};
}

}  // namespace holdfast::keyspace
