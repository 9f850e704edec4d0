// One thread that runs jobs one after the other. The queue is bounded by its users: each keeps at most one job in it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace holdfast::wal {

class BackgroundThread {
 public:
  // `name` shows in ps and gdb (at most 15 bytes).
  explicit BackgroundThread(std::string name);
  // Runs what is queued, then joins.
  ~BackgroundThread();
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  // Any thread.
  void Run(std::function<void()> job);

 private:
  void Loop();

  const std::string name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;  // guarded by mutex_
  bool stopping_ = false;                   // guarded by mutex_
  std::thread thread_;                      // last: starts when all the rest exists
};

}  // namespace holdfast::wal
