// A progress bar on a terminal: percent, MB/s, time left. Draws nothing where it was not asked for.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "cli/tool_context.h"

namespace holdfast::cli {

class ProgressBar {
 public:
  // With `beside_results` results are printed meanwhile: no bar if they go to a terminal, too.
  ProgressBar(const ToolContext& tool, std::string what, bool beside_results = false);
  ~ProgressBar();  // wipes the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `done` of `total`; `bytes` have been worked on. Cheap; draws ten times a second at most.
  void Update(uint64_t done, uint64_t total, uint64_t bytes);

 private:
  std::ostream* err_;  // null: silent
  std::string what_;
  int64_t began_us_;
  int64_t next_us_;
  bool drawn_ = false;
};

}  // namespace holdfast::cli
