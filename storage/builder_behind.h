// Builds a store on a thread of its own: who parses the records does not wait for LMDB, nor for its syncs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "storage/store_builder.h"

namespace holdfast {

// Used by one thread. What is added is copied, in batches, a few of which wait; an error comes back from a later call,
// from Finish() at the latest. The builder lives on the thread: also its end, which aborts a transaction.
class BuilderBehind : public StoreBuilder {
 public:
  // `builder` is fresh: nothing was added to it.
  explicit BuilderBehind(std::unique_ptr<StoreBuilder> builder);
  ~BuilderBehind() override;  // without Finish(): what waits is dropped
  BuilderBehind(const BuilderBehind&) = delete;
  BuilderBehind& operator=(const BuilderBehind&) = delete;

  Result<void> AddKey(int db, std::string_view key, const KeyValue& value) override;
  CollectionId NewCollectionId() override;
  Result<void> AddRow(CollectionId id, CollectionKind kind, std::string_view suffix, std::string_view value) override;
  Result<void> Finish(const StreamPosition& position) override;

 private:
  struct Addition {
    CollectionId id;  // of a row; 0: a key
    CollectionKind kind;
    int db;
    KeyValue head;  // of a key: all but its body
    size_t first_size, second_size;
  };
  struct Batch {
    std::vector<Addition> additions;
    std::string bytes;         // of all, one after the other
    CollectionId next_id = 0;  // ids below were given out
    std::optional<StreamPosition> finish;
  };

  Result<void> Add(Addition addition, std::string_view first, std::string_view second);
  Result<void> HandOver();
  void Run();
  Result<void> Build(const Batch& batch);

  std::unique_ptr<StoreBuilder> builder_;  // the thread's
  CollectionId built_next_id_;             // the thread's
  CollectionId next_id_;
  Batch batch_;  // being filled

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> waiting_;     // guarded by mutex_
  std::vector<Batch> spare_;      // guarded by mutex_: their memory
  bool idle_ = true;              // guarded by mutex_: all that was handed over is built
  bool stopping_ = false;         // guarded by mutex_
  std::optional<Error> failure_;  // guarded by mutex_
  std::thread thread_;            // last: starts when all the rest exists
};

}  // namespace holdfast
