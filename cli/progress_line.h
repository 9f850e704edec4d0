// Progress of long work in the server log: percent, MB/s, time left; a line a second at most, none for short work.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/clock.h"

namespace holdfast::cli {

class ProgressLine {
 public:
  // `what` begins each line: "Recovery". `clock` must outlive this.
  ProgressLine(std::string what, Clock& clock);
  void Update(uint64_t done_bytes, uint64_t total_bytes);

  // "42% of 1.2 GB, 180 MB/s, 4 s left"; empty total: "500.0 MB, 180 MB/s".
  [[nodiscard]] static std::string Describe(uint64_t done_bytes, uint64_t total_bytes, int64_t elapsed_us);

 private:
  std::string what_;
  Clock& clock_;
  int64_t began_us_;
  int64_t next_us_;
};

}  // namespace holdfast::cli
