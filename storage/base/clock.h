// The seams to time and chance. Production code never calls time(), std::chrono clocks or rand() by itself.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since the Unix epoch. May jump, also backwards.
  [[nodiscard]] virtual int64_t WallMs() = 0;
  // Microseconds since some fixed moment; never goes back. For timeouts, rates and latencies.
  [[nodiscard]] virtual int64_t MonotonicUs() = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  [[nodiscard]] virtual uint64_t Next() = 0;
  // Uniform in [0, bound); bound > 0.
  [[nodiscard]] uint64_t Below(uint64_t bound);
  // `length` lower-case hex digits: run ids, replication ids.
  [[nodiscard]] std::string Hex(size_t length);
};

Clock& SystemClock();  // thread-safe, never destroyed

// xoshiro256** (https://prng.di.unimi.it/xoshiro256starstar.c): fast, good, not for secrets. One thread.
class SeededRandom : public Random {
 public:
  explicit SeededRandom(uint64_t seed);
  [[nodiscard]] uint64_t Next() override;

 private:
  uint64_t state_[4];
};

// A seed from the kernel (getrandom). Also what ids that must never collide are made of.
[[nodiscard]] uint64_t RandomSeed();

}  // namespace holdfast
