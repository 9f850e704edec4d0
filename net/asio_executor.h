// The executor over asio: an io_context, two threads, one of which is its owner at any time.
//
// The owner runs handlers in bounded turns and, after each, syncs the log itself when there is something to sync: on
// few cores that is clearly faster than waking another thread. The other thread stands by. It
//  - takes the executor over when the owner has been in one sync for more than a millisecond or two: the owner then
//    finishes its sync without the executor, posts the completion, and stands by in its turn;
//  - writes the batch itself when the owner hands it over, because it is big or the device has been slow of late.
//
// Ownership is one atomic word. The watch costs nothing when nothing is synced: the standing thread ticks once a
// millisecond while syncs happen and sleeps without a timeout soon after the last one.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "net/executor.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace holdfast::net {

class AsioExecutor : public Executor {
 public:
  explicit AsioExecutor(Clock& clock);
  ~AsioExecutor() override;

  // The calling thread becomes the first owner; returns after Stop(), when the second thread has ended and no batch is
  // being written. `hooks` must outlive it. Once.
  void Run(TurnHooks& hooks);

  void Post(std::function<void()> task) override;
  TimerId RunAfter(int64_t delay_us, std::function<void()> task) override;
  void CancelTimer(TimerId id) override;
  void Stop() override;

  // For sessions and listeners. Used by the owner only, and by Post.
  [[nodiscard]] asio::io_context& context() { return context_; }

  struct Counters {  // any thread
    uint64_t own_batches, handed_batches, takeovers;
  };
  [[nodiscard]] Counters counters() const;

 private:
  // The ownership word: sync number << 2 | syncing << 1 | owner.
  static constexpr uint64_t kSyncing = 2;
  static uint64_t Word(uint64_t sync, bool syncing, uint64_t owner) { return sync << 2 | (syncing ? 2 : 0) | owner; }

  void ThreadMain(uint64_t me);
  void RunTurns(uint64_t me);
  void StandBy(uint64_t me);
  bool RunTurn();
  // Syncs until nothing is wanted, the batch is in other hands, or the executor was taken over.
  void Commit(uint64_t me);
  void CommitHere(uint64_t me);
  void HandOver();
  void Write();  // WriteBatch, timed; does not return if it failed
  void BatchDone();
  void PostCompletion();
  void Signal();
  // Until Signal() or the timeout (microseconds, negative: none).
  void WaitForSignal(uint32_t seen, int64_t timeout_us);
  [[nodiscard]] bool Stopped() const { return stopped_.load(std::memory_order_acquire); }

  Clock& clock_;
  asio::io_context context_;
  TurnHooks* hooks_ = nullptr;

  std::atomic<uint64_t> word_{0};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> handed_{false};       // a sealed batch waits for the standing thread
  std::atomic<bool> sleeping_{false};     // the standing thread waits without a timeout
  std::atomic<uint32_t> signal_{0};       // futex word of the standing thread
  std::atomic<int64_t> last_sync_us_{0};  // duration of the last sync, by its thread
  std::atomic<uint64_t> own_batches_{0}, handed_batches_{0}, takeovers_{0};

  // Owner only.
  int64_t sync_average_us_ = 0;
  bool batch_elsewhere_ = false;  // handed over or taken over, its completion not yet seen
  bool more_work_ = false;        // do not wait for events in the next turn
  TimerId next_timer_ = 1;
  std::unordered_map<TimerId, std::unique_ptr<asio::steady_timer>> timers_;
};

}  // namespace holdfast::net
