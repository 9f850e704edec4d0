// ColdReads: keeps reads that wait for the disk off the executor. While such reads are met, the rows that a batch of
// commands names are first read on other threads; then the commands run, and find them in memory. Other clients go on
// meanwhile. docs/architecture.md, "Reads that wait for the disk".
//
// That reads wait is seen by the executor's major page faults; a store that is in memory costs one system call each
// 100 ms, and nothing per command. Another thread walks ahead of commands that take elements from the end of a
// collection, whether reads wait or not. Executor only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "net/config.h"
#include "net/executor.h"
#include "storage/cold_rows.h"
#include "storage/store.h"
#include "wal/background_thread.h"

namespace holdfast::net {

class ColdReads {
 public:
  explicit ColdReads(Executor& executor) : executor_(executor) {}

  // Each 100 ms, and after a command that took long. `now_ms`: monotonic. From the first time on reads are taken to
  // wait for a while, as nothing is in memory after a start.
  void Tick(int64_t now_ms, PrefetchColdReads mode);
  // Whether batches should be fetched first.
  [[nodiscard]] bool Wanted() const { return wanted_; }
  // Reads the rows, then calls `done` on the executor.
  void Fetch(const Store& store, std::vector<WantedKey> keys, std::function<void()> done);
  // Makes the walks that the store wants, unless as many are under way already.
  void MakeWalks(Store& store);
  // Before the store's files change, or the store goes: waits for what is being read. `done` is called nevertheless.
  void LetGo();

  [[nodiscard]] uint64_t fetches() const { return fetches_; }
  [[nodiscard]] uint64_t walks() const { return walks_; }

 private:
  static constexpr size_t kThreads = 4;  // they mostly wait
  static constexpr int64_t kStaysMs = 2000;
  static constexpr int kWalksMax = 8;

  Executor& executor_;
  bool wanted_ = false;
  int64_t wanted_until_ms_ = 0;
  PrefetchColdReads mode_ = PrefetchColdReads::kNo;
  uint64_t fetches_ = 0;
  uint64_t walks_ = 0;
  uint64_t faults_seen_ = 0;                // of fetch_faults_
  std::atomic<uint64_t> fetch_faults_ = 0;  // major page faults of the threads
  std::atomic<int> walks_under_way_ = 0;
  std::shared_ptr<const ColdRows> rows_;
  std::vector<std::unique_ptr<wal::BackgroundThread>> threads_;  // none until they are needed
  std::unique_ptr<wal::BackgroundThread> walker_;                // of its own: nobody waits for it
};

}  // namespace holdfast::net
