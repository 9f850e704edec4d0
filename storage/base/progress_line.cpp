#include "storage/base/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/diag.h"

namespace holdfast {

namespace {

constexpr int64_t kPeriodUs = 1'000'000;

}  // namespace

ProgressLine::ProgressLine(std::string what, Clock& clock)
    : what_(std::move(what)), clock_(clock), began_us_(clock.MonotonicUs()), next_us_(began_us_ + kPeriodUs) {}

void ProgressLine::Update(uint64_t done, uint64_t total, uint64_t bytes) {
  const int64_t now_us = clock_.MonotonicUs();
  if (now_us < next_us_) return;
  next_us_ = now_us + kPeriodUs;
  diag::Notice("{}: {}", what_, Describe(done, total, bytes, now_us - began_us_));
}

std::string ProgressLine::Describe(uint64_t done, uint64_t total, uint64_t bytes, int64_t elapsed_us) {
  const double seconds = static_cast<double>(std::max<int64_t>(elapsed_us, 1)) / 1e6;
  const double rate = static_cast<double>(bytes) / (1 << 20) / seconds;
  if (total == 0) return fmt::format("{:.1f} MB, {:.1f} MB/s", static_cast<double>(bytes) / (1 << 20), rate);
  if (done == 0) return fmt::format("0%, {:.1f} MB/s", rate);
  const double fraction = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  return fmt::format("{:.0f}%, {:.1f} MB/s, {:.0f} s left", fraction * 100, rate, seconds / fraction - seconds);
}

}  // namespace holdfast
