#include "net/asio_executor.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <climits>
#include <ctime>
#include <thread>
#include <utility>

#include "storage/base/check.h"

namespace holdfast::net {

namespace {

// A turn ends after so many handlers, or with the one that makes it last so long; then the log is synced and replies
// leave.
constexpr int kHandlersPerTurn = 256;
constexpr int64_t kTurnUs = 10'000;
constexpr int64_t kTickUs = 1000;
// The standing thread ticks on for this many ticks without a new sync before it sleeps.
constexpr int kIdleTicks = 50;
// A batch goes to the other thread at once when it is bigger than this, or syncs have lately taken longer than that.
constexpr size_t kHandOverBytes = 256 * 1024;
constexpr int64_t kHandOverUs = 700;
// Weight of the newest sync in the moving average: 1 / 8.
constexpr int64_t kAverageWeight = 8;

}  // namespace

AsioExecutor::AsioExecutor(Clock& clock) : clock_(clock) {}

AsioExecutor::~AsioExecutor() = default;

void AsioExecutor::Post(std::function<void()> task) { asio::post(context_, std::move(task)); }

TimerId AsioExecutor::RunAfter(int64_t delay_us, std::function<void()> task) {
  TimerId id = next_timer_++;
  auto timer = std::make_unique<asio::steady_timer>(context_, std::chrono::microseconds(delay_us));
  timer->async_wait([this, id, task = std::move(task)](const asio::error_code&) {
    // A cancelled timer is no longer in the table, whatever asio says of it.
    if (timers_.erase(id) > 0) task();
  });
  timers_.emplace(id, std::move(timer));
  return id;
}

void AsioExecutor::CancelTimer(TimerId id) { timers_.erase(id); }

void AsioExecutor::Stop() {
  stopped_.store(true, std::memory_order_release);
  context_.stop();
}

AsioExecutor::Counters AsioExecutor::counters() const {
  return {own_batches_.load(), handed_batches_.load(), takeovers_.load()};
}

void AsioExecutor::Run(TurnHooks& hooks) {
  hooks_ = &hooks;
  auto guard = asio::make_work_guard(context_);
  std::thread other([this] { ThreadMain(1); });
  ThreadMain(0);
  Signal();
  other.join();
}

void AsioExecutor::ThreadMain(uint64_t me) {
  while (!Stopped()) {
    if ((word_.load(std::memory_order_acquire) & 1) == me) {
      RunTurns(me);
    } else {
      StandBy(me);
    }
  }
  Signal();  // whoever sees the end first wakes the other
}

void AsioExecutor::RunTurns(uint64_t me) {
  while (!Stopped() && (word_.load(std::memory_order_relaxed) & 3) == me) {
    if (!RunTurn()) return;
    Commit(me);
  }
}

bool AsioExecutor::RunTurn() {
  // Waiting for the first handler is no part of the turn, which is why that one's time does not count.
  size_t ran = std::exchange(more_work_, false) ? context_.poll_one() : context_.run_one();
  const int64_t ends_us = clock_.MonotonicUs() + kTurnUs;
  for (int i = 1; i < kHandlersPerTurn && ran > 0 && clock_.MonotonicUs() < ends_us; ++i) ran = context_.poll_one();
  if (Stopped()) return false;
  hooks_->EndOfTurn();
  return true;
}

void AsioExecutor::Commit(uint64_t me) {
  if (batch_elsewhere_ || !hooks_->WantsCommit()) return;
  if (sync_average_us_ > kHandOverUs || hooks_->PendingBytes() > kHandOverBytes) {
    HandOver();
  } else {
    CommitHere(me);
  }
}

void AsioExecutor::CommitHere(uint64_t me) {
  hooks_->SealBatch();
  own_batches_.fetch_add(1, std::memory_order_relaxed);
  uint64_t sync = (word_.load(std::memory_order_relaxed) >> 2) + 1;
  batch_elsewhere_ = true;  // for the thread that may take over
  // Sequentially consistent with sleeping_: either we see the other thread asleep, or it sees the new sync number.
  word_.store(Word(sync, true, me));
  if (sleeping_.load()) Signal();
  Write();
  uint64_t expected = Word(sync, true, me);
  if (word_.compare_exchange_strong(expected, Word(sync, false, me), std::memory_order_acq_rel)) {
    BatchDone();
    hooks_->ForgetTime();
    // What was appended meanwhile must not wait for the next event.
    more_work_ = hooks_->WantsCommit();
  } else {
    PostCompletion();
  }
}

void AsioExecutor::HandOver() {
  hooks_->SealBatch();
  handed_batches_.fetch_add(1, std::memory_order_relaxed);
  batch_elsewhere_ = true;
  handed_.store(true, std::memory_order_release);
  Signal();
}

void AsioExecutor::Write() {
  int64_t started_us = clock_.MonotonicUs();
  Result<void> written = hooks_->WriteBatch();
  if (!written.ok()) hooks_->CommitFailed(written.error());
  last_sync_us_.store(clock_.MonotonicUs() - started_us, std::memory_order_relaxed);
}

void AsioExecutor::BatchDone() {
  batch_elsewhere_ = false;
  int64_t took_us = last_sync_us_.load(std::memory_order_relaxed);
  sync_average_us_ += (took_us - sync_average_us_) / kAverageWeight;
  hooks_->FinishBatch();
}

void AsioExecutor::PostCompletion() {
  asio::post(context_, [this] { BatchDone(); });
}

void AsioExecutor::StandBy(uint64_t me) {
  uint64_t seen_sync = word_.load(std::memory_order_acquire) >> 2;
  int idle_ticks = 0;
  bool seen_syncing = false;
  while (!Stopped()) {
    uint32_t signal = signal_.load(std::memory_order_acquire);
    if (handed_.exchange(false, std::memory_order_acquire)) {
      Write();
      PostCompletion();
      idle_ticks = 0;
      continue;
    }
    uint64_t word = word_.load(std::memory_order_acquire);
    bool syncing = (word & kSyncing) != 0;
    if (word >> 2 != seen_sync) {
      seen_sync = word >> 2;
      idle_ticks = 0;
    } else if (syncing && seen_syncing) {
      // The same sync at two ticks: it lasts. CAS, because it may end right now.
      if (word_.compare_exchange_strong(word, Word(seen_sync, false, me), std::memory_order_acq_rel)) {
        takeovers_.fetch_add(1, std::memory_order_relaxed);
        return;
      }
      continue;
    } else {
      ++idle_ticks;
    }
    seen_syncing = syncing;
    if (idle_ticks < kIdleTicks || syncing) {
      WaitForSignal(signal, kTickUs);
      continue;
    }
    sleeping_.store(true);
    if (word_.load() >> 2 == seen_sync && !handed_.load() && !Stopped()) WaitForSignal(signal, -1);
    sleeping_.store(false);
    idle_ticks = 0;
  }
}

void AsioExecutor::Signal() {
  signal_.fetch_add(1);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&signal_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void AsioExecutor::WaitForSignal(uint32_t seen, int64_t timeout_us) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  timespec timeout{timeout_us / 1'000'000, (timeout_us % 1'000'000) * 1000};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&signal_), FUTEX_WAIT_PRIVATE, seen,
          timeout_us < 0 ? nullptr : &timeout, nullptr, 0);
}

}  // namespace holdfast::net
