// A clock that moves when the test says so. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

#include "storage/base/clock.h"

namespace holdfast::testing {

class FakeClock : public Clock {
 public:
  explicit FakeClock(int64_t wall_ms = 1'700'000'000'000) : wall_ms_(wall_ms) {}

  int64_t WallMs() override { return wall_ms_; }
  int64_t MonotonicUs() override { return monotonic_us_; }

  // Both clocks move on.
  void AdvanceMs(int64_t ms) {
    wall_ms_ += ms;
    monotonic_us_ += ms * 1000;
  }
  // Only the wall clock changes, as when somebody sets it; may go back.
  void SetWallMs(int64_t wall_ms) { wall_ms_ = wall_ms; }

 private:
  std::atomic<int64_t> wall_ms_;
  std::atomic<int64_t> monotonic_us_{1'000'000};
};

}  // namespace holdfast::testing
