// Syncs a file that somebody else is writing, on a thread of its own: what was written a while ago is on its way to the
// disk while more is being made, and the last sync has little left to do.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast {

// Used by one thread.
class SyncBehind {
 public:
  // `file`: its own, of the file that is written through another.
  explicit SyncBehind(std::unique_ptr<File> file);
  ~SyncBehind();  // waits for what was begun
  SyncBehind(const SyncBehind&) = delete;
  SyncBehind& operator=(const SyncBehind&) = delete;

  // Begins a sync of what was written until now; waits for the one before. The error of any that failed.
  Result<void> Begin();
  // Waits for what was begun.
  Result<void> Wait();

 private:
  Result<void> Settle(std::unique_lock<std::mutex>& lock);
  void Run();

  const std::unique_ptr<File> file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Result<void> result_;    // guarded by mutex_: the first failure
  bool wanted_ = false;    // guarded by mutex_: a sync is due or under way
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;     // last: starts when all the rest exists
};

}  // namespace holdfast
