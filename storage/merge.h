// The checkpointer's work in LMDB: a frozen memtable's rows by bounded, synced transactions, then rows of deleted
// collections and databases. Idempotent: rows are images. One background thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "storage/base/result.h"
#include "storage/lmdb_env.h"
#include "storage/memtable.h"
#include "storage/store_meta.h"

namespace holdfast {

class Merger {
 public:
  struct Options {
    uint32_t dirty_pages_max;  // per transaction, estimated
    uint64_t dead_rows_max;
  };
  // `progress` (may be empty) gets 0..1 after each transaction; `cancelled` is polled then.
  Merger(LmdbEnv& env, Options options, const std::function<void(double)>& progress, const std::atomic<bool>& cancelled)
      : env_(env), options_(options), progress_(progress), cancelled_(cancelled) {}

  // Makes LMDB the state `meta`: all rows, then counts, ids and position with the last transaction.
  Result<void> MergeRows(const Memtable& rows, const StoreMeta& meta);
  // Removes rows of what is on LMDB's dead list, up to the bound.
  Result<void> CollectDead();

 private:
  Result<void> Begin();
  Result<void> Cut();  // commits if the transaction is large enough, and begins the next
  Result<void> Commit();
  Result<void> MergeRow(std::string_view row_key, const Row& row);
  Result<bool> CollectFirstDead(uint64_t& budget);
  Result<bool> CollectRows(LmdbTable table, const std::string& prefix, uint64_t& budget);
  Result<void> ReleaseKey(std::string_view row_key, std::string_view value);

  LmdbEnv& env_;
  Options options_;
  const std::function<void(double)>& progress_;
  const std::atomic<bool>& cancelled_;
  std::unique_ptr<LmdbWriter> writer_;
  double dirty_pages_ = 0;
  double pages_per_row_[kLmdbTables] = {};  // leaf pages a row of each table is likely to touch alone
  uint64_t rows_done_ = 0;
  uint64_t rows_total_ = 0;
};

}  // namespace holdfast
