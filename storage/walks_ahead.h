// Ends of collections that elements are taken from one after the other, and how far the rows behind them have been
// brought into memory. Whoever takes tells it; from time to time that gives a walk, which another thread makes over
// the rows that LMDB has there (storage/cold_rows.h). Executor only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/row.h"

namespace holdfast {

// From the row of this suffix on, downwards if `reverse`.
struct WalkAhead {
  CollectionId id = 0;
  CollectionKind kind = CollectionKind::kScore;
  std::string from;
  bool reverse = false;
  uint64_t rows = 0;
};

// One end. Walks become wider the more is taken, so that who takes a few does not have thousands read.
class EndAhead {
 public:
  static constexpr uint64_t kWidthMin = 256;
  static constexpr uint64_t kWidthMax = 32768;

  // The end moved by about `rows`. Returns the rows to walk over from there; 0: none, earlier walks still suffice.
  uint64_t Moved(uint64_t rows) {
    left_ -= std::min(left_, rows);
    if (left_ > width_ / 2) return 0;
    width_ = std::clamp(2 * width_, kWidthMin, kWidthMax);
    left_ = width_;
    return width_;
  }

 private:
  uint64_t width_ = 0;
  uint64_t left_ = 0;  // rows of the last walk that were not reached yet
};

class WalksAhead {
 public:
  void Want(WalkAhead walk) {
    if (walks_.size() < kWalksMax) walks_.push_back(std::move(walk));
  }
  [[nodiscard]] bool empty() const { return walks_.empty(); }
  [[nodiscard]] std::vector<WalkAhead> Take() { return std::exchange(walks_, {}); }

 private:
  static constexpr size_t kWalksMax = 16;
  std::vector<WalkAhead> walks_;
};

}  // namespace holdfast
