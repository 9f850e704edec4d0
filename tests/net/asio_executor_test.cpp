#include "net/asio_executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "storage/base/clock.h"
#include "tests/support/fake_clock.h"

namespace holdfast::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A log whose every batch takes as long as the test says. Members without atomics are the executor's, so that the
// thread sanitizer sees a handover that does not synchronise.
class SlowLog : public TurnHooks {
 public:
  void EndOfTurn() override {
    ++turns;
    if (on_turn) on_turn();
  }
  bool WantsCommit() override { return pending > 0 && !in_flight; }
  size_t PendingBytes() override { return pending_bytes; }
  void SealBatch() override {
    in_flight = true;
    sealed = pending;
    pending = 0;
  }
  Result<void> WriteBatch() override {
    if (writing.exchange(true)) overlapped = true;
    std::this_thread::sleep_for(milliseconds(sleep_ms.load()));
    ++batches;
    writing = false;
    return {};
  }
  void FinishBatch() override {
    in_flight = false;
    durable += sealed;
    if (on_finish) on_finish();
  }
  void ForgetTime() override { ++forgotten; }
  void CommitFailed(const Error&) override { std::abort(); }

  int turns = 0, forgotten = 0, pending = 0, sealed = 0, durable = 0;
  size_t pending_bytes = 1;
  bool in_flight = false;
  std::function<void()> on_turn, on_finish;
  std::atomic<int> sleep_ms{0}, batches{0};
  std::atomic<bool> writing{false}, overlapped{false};
};

TEST(AsioExecutorThreadTest, TasksRunWhileABatchIsFrozen) {
  AsioExecutor executor(SystemClock());
  SlowLog log;
  log.sleep_ms = 300;
  std::atomic<bool> finished{false};
  log.on_finish = [&] {
    finished = true;
    executor.Stop();
  };
  std::atomic<int64_t> worst_us{0};
  std::atomic<int> ran{0};
  std::thread poster([&] {
    executor.Post([&] { log.pending = 1; });
    while (!log.writing) std::this_thread::yield();
    while (!finished) {
      auto posted = steady_clock::now();
      std::atomic<bool> done{false};
      executor.Post([&] { done = true; });
      while (!done && !finished) std::this_thread::sleep_for(std::chrono::microseconds(200));
      if (finished) break;
      int64_t us = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - posted).count();
      worst_us = std::max(worst_us.load(), us);
      ++ran;
    }
  });
  executor.Run(log);
  poster.join();
  EXPECT_EQ(log.durable, 1);
  EXPECT_GT(ran.load(), 3);
  // Far below the 300 ms of the freeze, with room for a busy machine.
  EXPECT_LT(worst_us.load(), 150'000);
  EXPECT_EQ(executor.counters().takeovers, 1u);
}

// Each task stands for a stretch of a master's stream: if a turn ran all that is there, clients would wait for all of
// it.
TEST(AsioExecutorThreadTest, LongTasksShareNoTurn) {
  holdfast::testing::FakeClock clock;
  AsioExecutor executor(clock);
  SlowLog log;
  std::vector<int64_t> ends_us;
  log.on_turn = [&] { ends_us.push_back(clock.MonotonicUs()); };
  for (int i = 0; i < 200; ++i) {
    executor.Post([&] { clock.AdvanceMs(3); });
  }
  executor.Post([&] { executor.Stop(); });
  executor.Run(log);
  EXPECT_GT(ends_us.size(), 30u);
  for (size_t i = 1; i < ends_us.size(); ++i) EXPECT_LE(ends_us[i] - ends_us[i - 1], 20'000);
}

TEST(AsioExecutorThreadTest, OneBatchAtATimeAndNothingIsLost) {
  AsioExecutor executor(SystemClock());
  SlowLog log;
  constexpr int kWrites = 3000;
  std::thread poster([&] {
    for (int i = 0; i < kWrites; ++i) {
      // Now and then a batch lasts long enough to be taken over, or is big enough to be handed over.
      log.sleep_ms = i % 500 == 0 ? 8 : 0;
      executor.Post([&log, i] {
        ++log.pending;
        log.pending_bytes = i % 7 == 0 ? 1 << 20 : 1;
      });
      if (i % 50 == 0) std::this_thread::sleep_for(milliseconds(1));
    }
  });
  log.on_finish = [&] {
    if (log.durable == kWrites) executor.Stop();
  };
  executor.Run(log);
  poster.join();
  EXPECT_EQ(log.durable, kWrites);
  EXPECT_FALSE(log.overlapped);
  auto counters = executor.counters();
  EXPECT_EQ(static_cast<int>(counters.own_batches + counters.handed_batches), log.batches.load());
  EXPECT_EQ(static_cast<int>(counters.own_batches - counters.takeovers), log.forgotten);
  EXPECT_GT(counters.own_batches, 0u);
  EXPECT_GT(counters.handed_batches, 0u);
}

TEST(AsioExecutorThreadTest, SlowDevicesGetTheirOwnThread) {
  AsioExecutor executor(SystemClock());
  SlowLog log;
  log.sleep_ms = 3;
  int commits = 0;
  log.on_finish = [&] {
    if (++commits == 40) return executor.Stop();
    executor.Post([&] { log.pending = 1; });
  };
  executor.Post([&] { log.pending = 1; });
  executor.Run(log);
  EXPECT_GT(executor.counters().handed_batches, 20u);
}

TEST(AsioExecutorThreadTest, TimersRunInOrderAndCanBeCancelled) {
  AsioExecutor executor(SystemClock());
  SlowLog log;
  std::vector<int> order;
  executor.Post([&] {
    executor.RunAfter(20'000, [&] {
      order.push_back(2);
      executor.Stop();
    });
    executor.RunAfter(5'000, [&] { order.push_back(1); });
    TimerId id = executor.RunAfter(1'000, [&] { order.push_back(3); });
    executor.CancelTimer(id);
  });
  executor.Run(log);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(AsioExecutorThreadTest, IdleExecutorUsesNoCpu) {
  AsioExecutor executor(SystemClock());
  SlowLog log;
  auto cpu_us = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1'000'000 + time.tv_nsec / 1000;
  };
  int64_t before = 0, used = 0;
  executor.Post([&] { log.pending = 1; });  // wakes the watch, which must fall asleep again
  executor.Post([&] {
    executor.RunAfter(200'000, [&] { before = cpu_us(); });
    executor.RunAfter(500'000, [&] {
      used = cpu_us() - before;
      executor.Stop();
    });
  });
  executor.Run(log);
  EXPECT_LT(used, 20'000) << "microseconds of CPU in 300 ms";
}

}  // namespace
}  // namespace holdfast::net
