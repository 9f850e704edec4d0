#include "storage/base/clock.h"

#include <sys/random.h>
#include <time.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "storage/base/check.h"

namespace holdfast {
namespace {

timespec ReadClock(clockid_t id) {
  timespec now{};
  CHECK(clock_gettime(id, &now) == 0);
  return now;
}

class OperatingSystemClock : public Clock {
 public:
  int64_t WallMs() override {
    const timespec now = ReadClock(CLOCK_REALTIME);
    return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
  }
  int64_t MonotonicUs() override {
    const timespec now = ReadClock(CLOCK_MONOTONIC);
    return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  }
};

}  // namespace

uint64_t Random::Below(uint64_t bound) {
  CHECK(bound > 0);
  // Values below 2^64 mod bound are rejected, so that every remainder is equally likely.
  const uint64_t rejected_below = (0 - bound) % bound;
  uint64_t value = Next();
  while (value < rejected_below) value = Next();
  return value % bound;
}

std::string Random::Hex(size_t length) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(length);
  uint64_t bits = 0;
  for (size_t i = 0; i < length; i++) {
    if (i % 16 == 0) bits = Next();
    hex.push_back(kDigits[bits & 15]);
    bits >>= 4;
  }
  return hex;
}

Clock& SystemClock() {
  static Clock& clock = *new OperatingSystemClock;
  return clock;
}

SeededRandom::SeededRandom(uint64_t seed) {
  // splitmix64 spreads any seed, also 0, over the state (the generator's authors' advice).
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
}

uint64_t SeededRandom::Next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t RandomSeed() {
  uint64_t seed = 0;
  ssize_t got;
  do {
    got = getrandom(&seed, sizeof(seed), 0);
  } while (got < 0 && errno == EINTR);
  CHECK_MSG(got == static_cast<ssize_t>(sizeof(seed)), std::strerror(errno));
  return seed;
}

}  // namespace holdfast
