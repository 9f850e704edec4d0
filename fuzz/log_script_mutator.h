// Changes a script of log_script.h step by step, so that steps stay what they are.
#pragma once

#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "fuzz/log_script.h"
#include "storage/base/coding.h"

namespace holdfast::fuzzing {

class ScriptMutator {
 public:
  ScriptMutator(std::string_view script, size_t size_max, unsigned seed)
      : bytes_(script), size_max_(size_max), random_(seed) {}

  std::string Mutate() {
    for (uint64_t times = 1 + Below(3); times > 0; times--) Once();
    return std::move(bytes_);
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  [[nodiscard]] size_t Steps() const { return bytes_.size() / kStepSize; }
  size_t Any() { return kStepSize * Below(Steps()); }

  uint16_t Number() {
    static constexpr uint16_t kEdges[] = {0,   1,   2,   7,    8,    16,   79,   80,    81,    88,    255,   256,
                                          767, 768, 769, 1023, 4095, 4096, 4097, 32767, 65535, 65528, 65456, 61440};
    switch (Below(4)) {
      case 0:
        return static_cast<uint16_t>(Below(32));
      case 1:
        return kEdges[Below(std::size(kEdges))];
      case 2:
        return static_cast<uint16_t>(Below(65536));
      default:
        return static_cast<uint16_t>(8 * Below(64));
    }
  }
  uint8_t Choice() { return static_cast<uint8_t>(Below(2) == 0 ? Below(8) : Below(256)); }

  std::string NewStep() {
    // Data and control frames make a log, each other step at most breaks it.
    const uint64_t any = Below(static_cast<uint64_t>(Step::kCount) + 8);
    const uint64_t step = any < static_cast<uint64_t>(Step::kCount) ? any : any % 3;
    std::string bytes{static_cast<char>(step), static_cast<char>(Choice())};
    AppendLittle(bytes, Number());
    return bytes;
  }

  void Once() {
    const uint64_t what = Steps() == 0 ? 0 : Below(10);
    if (what <= 2 && bytes_.size() + kStepSize > size_max_) return;
    switch (what) {
      case 0:
        bytes_.insert(Steps() == 0 ? 0 : Any(), NewStep());
        return;
      case 1:
        bytes_.insert(Steps() * kStepSize, NewStep());
        return;
      case 2:
        bytes_.insert(Any(), bytes_.substr(Any(), kStepSize));
        return;
      case 3:
        bytes_.erase(Any(), kStepSize);
        return;
      case 4: {
        const size_t a = Any(), b = Any();
        const std::string step = bytes_.substr(a, kStepSize);
        bytes_.replace(a, kStepSize, bytes_, b, kStepSize);
        bytes_.replace(b, kStepSize, step);
        return;
      }
      case 5:
        bytes_[Any()] = static_cast<char>(Below(static_cast<uint64_t>(Step::kCount)));
        return;
      case 6:
        bytes_[Any() + 1] = static_cast<char>(Choice());
        return;
      case 7:
        bytes_[Any() + 1] ^= static_cast<char>(1 << Below(8));
        return;
      default:
        StoreLittle(bytes_.data() + Any() + 2, Number());
        return;
    }
  }

  std::string bytes_;
  const size_t size_max_;
  std::minstd_rand random_;
};

}  // namespace holdfast::fuzzing
