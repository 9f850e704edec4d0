#include "cli/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/diag.h"

namespace holdfast::cli {

namespace {

constexpr int64_t kPeriodUs = 1'000'000;

std::string Size(double bytes) {
  if (bytes >= 1 << 30) return fmt::format("{:.1f} GB", bytes / (1 << 30));
  return fmt::format("{:.1f} MB", bytes / (1 << 20));
}

}  // namespace

ProgressLine::ProgressLine(std::string what, Clock& clock)
    : what_(std::move(what)), clock_(clock), began_us_(clock.MonotonicUs()), next_us_(began_us_ + kPeriodUs) {}

void ProgressLine::Update(uint64_t done_bytes, uint64_t total_bytes) {
  const int64_t now = clock_.MonotonicUs();
  if (now < next_us_) return;
  next_us_ = now + kPeriodUs;
  diag::Notice("{}: {}", what_, Describe(done_bytes, total_bytes, now - began_us_));
}

std::string ProgressLine::Describe(uint64_t done_bytes, uint64_t total_bytes, int64_t elapsed_us) {
  const double seconds = static_cast<double>(std::max<int64_t>(elapsed_us, 1)) / 1e6;
  const double rate = static_cast<double>(done_bytes) / seconds;
  if (total_bytes == 0) return fmt::format("{}, {}/s", Size(static_cast<double>(done_bytes)), Size(rate));
  const uint64_t left = total_bytes - std::min(done_bytes, total_bytes);
  const double percent = 100.0 * static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
  const std::string head =
      fmt::format("{:.0f}% of {}, {}/s", percent, Size(static_cast<double>(total_bytes)), Size(rate));
  if (rate <= 0) return head;
  return fmt::format("{}, {:.0f} s left", head, static_cast<double>(left) / rate);
}

}  // namespace holdfast::cli
