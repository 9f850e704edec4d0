// Replay on several threads: pieces of the log are applied in order by the caller, a few behind those that it reads,
// while other threads look up the keys of the pieces in between. A caller that would have to wait for a look-up does
// the next one itself, so that no thread idles and one slow thread costs nothing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "storage/base/result.h"
#include "storage/key_prefetch.h"
#include "storage/store.h"

namespace holdfast::wal {

class ReplayPipeline {
 public:
  // Whole units. The view lives for the call.
  struct Piece {
    uint64_t offset = 0;
    int16_t selected_db = 0;
    int64_t time_ms = 0;
    std::string_view units;
  };
  using Apply = std::function<Result<void>(const Piece& piece)>;

  // `store` outlives the pipeline. With no threads everything is applied at once.
  ReplayPipeline(Store& store, size_t threads, Apply apply);
  ~ReplayPipeline();  // what is not applied yet never is
  ReplayPipeline(const ReplayPipeline&) = delete;
  ReplayPipeline& operator=(const ReplayPipeline&) = delete;

  // Takes a copy, and applies older pieces when enough of them wait: their error is returned. After one the pipeline
  // must not be used again.
  Result<void> Add(const Piece& piece);
  // Applies all that wait.
  Result<void> Finish();
  // LMDB is going to change, or has changed: forgets what was looked up, and looks nothing up any more. For Apply.
  void StopLookingUp();

 private:
  enum class State { kWaiting, kBusy, kReady };
  struct Copy {
    Piece piece;  // `units` views `bytes`
    std::string bytes;
    KeyRows rows;
    State state = State::kWaiting;
  };

  void Loop(KeyPrefetcher& prefetcher);
  Copy* TakeWaiting();  // under mutex_
  void LookUp(KeyPrefetcher& prefetcher, Copy& copy, std::unique_lock<std::mutex>& lock);
  Result<void> ApplyOldest();

  Store& store_;
  const Apply apply_;
  std::vector<std::unique_ptr<KeyPrefetcher>> prefetchers_;  // the first one is the caller's

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable ready_;
  std::deque<std::unique_ptr<Copy>> copies_;  // guarded by mutex_; a busy one belongs to who looks up
  uint64_t bytes_ = 0;                        // the caller's: of all copies
  bool looking_up_ = true;                    // guarded by mutex_
  bool stopping_ = false;                     // guarded by mutex_
  std::vector<std::thread> threads_;          // last: they start when all the rest exists
};

}  // namespace holdfast::wal
