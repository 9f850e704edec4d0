// A store in a temporary directory, for tests of what stands on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/base/clock.h"
#include "storage/store.h"
#include "tests/support/temp_directory.h"

namespace holdfast::testing {

class TestStore {
 public:
  // A small memtable makes FreezeWanted() true often.
  explicit TestStore(uint64_t memtable_bytes = 64ull << 20, uint64_t cache_bytes = 64ull << 20);
  ~TestStore();

  [[nodiscard]] Store& store() { return *store_; }
  [[nodiscard]] const std::string& directory() const { return options_.directory; }
  Store* operator->() { return store_.get(); }

  // Freezes and merges everything, as of `position`. CHECKs that it worked.
  void Checkpoint(const StreamPosition& position);
  // Closes and opens the directory again. What was not checkpointed is lost.
  void Reopen();
  // Of everything, expired keys included.
  std::string Digest();

 private:
  TempDirectory directory_;
  SeededRandom random_{1};
  StoreOptions options_;
  std::unique_ptr<Store> store_;
};

}  // namespace holdfast::testing
