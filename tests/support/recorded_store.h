// A store whose units are recorded, run by words; and a second one that replays them.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/effects/applier.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast::testing {

class RecordedStore {
 public:
  explicit RecordedStore(uint64_t memtable_bytes = 64ull << 20, uint64_t cache_bytes = 64ull << 20);

  std::string Run(const std::vector<std::string>& words, int64_t now_ms);
  [[nodiscard]] Store& store() { return store_.store(); }
  [[nodiscard]] const RecordingSink& sink() const { return sink_; }
  [[nodiscard]] std::string Digest() { return store_.Digest(); }

  // Words of all effects since the last call, without SELECT 0, encoded; effects are separated by " | ".
  std::string Effects();

  // Everything goes to LMDB.
  void Checkpoint();
  // The same, and the directory is closed and opened again.
  void CheckpointAndReopen();

 private:
  TestStore store_;
  RecordingSink sink_;
  std::optional<OperationRunner> runner_;
  size_t told_ = 0;
};

// Applies what a RecordedStore has recorded to another store.
class Shadow {
 public:
  explicit Shadow(const RecordedStore& live) : sink_(live.sink()), applier_(store_.store()) {}

  // Empty, or what went wrong.
  std::string CatchUp();
  void Checkpoint();
  [[nodiscard]] std::string Digest() { return store_.Digest(); }

 private:
  const RecordingSink& sink_;
  TestStore store_;
  Applier applier_;
  size_t applied_ = 0;
};

}  // namespace holdfast::testing
