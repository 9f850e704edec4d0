#include "cli/tool_progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/base/clock.h"
#include "storage/base/progress_line.h"

namespace holdfast::cli {

namespace {

constexpr int64_t kPeriodUs = 100'000;
constexpr size_t kWidth = 30;

}  // namespace

ProgressBar::ProgressBar(const ToolContext& tool, std::string what, bool beside_results)
    : err_(tool.progress && !(beside_results && tool.output_is_terminal) ? &tool.streams.err : nullptr),
      what_(std::move(what)),
      began_us_(SystemClock().MonotonicUs()),
      next_us_(began_us_ + 5 * kPeriodUs) {}

ProgressBar::~ProgressBar() {
  if (drawn_) *err_ << "\r\x1b[K" << std::flush;
}

void ProgressBar::Update(uint64_t done, uint64_t total, uint64_t bytes) {
  if (err_ == nullptr) return;
  const int64_t now_us = SystemClock().MonotonicUs();
  if (now_us < next_us_) return;
  next_us_ = now_us + kPeriodUs;
  drawn_ = true;
  const double fraction = total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto full = static_cast<size_t>(fraction * kWidth);
  *err_ << fmt::format("\r{} [{}{}] {}\x1b[K", what_, std::string(full, '#'), std::string(kWidth - full, '.'),
                       ProgressLine::Describe(done, total, bytes, now_us - began_us_))
        << std::flush;
}

}  // namespace holdfast::cli
