// Progress of long work in the server log: percent, MB/s, time left; a line a second at most, none for short work.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/clock.h"

namespace holdfast {

class ProgressLine {
 public:
  // `what` begins each line: "Recovery". `clock` must outlive this. The work begins now.
  ProgressLine(std::string what, Clock& clock);

  // `done` of `total` (bytes, keys: whatever counts best) are finished, `bytes` have been worked on. One thread at a
  // time.
  void Update(uint64_t done, uint64_t total, uint64_t bytes);

  // "42%, 180.0 MB/s, 4 s left"; with an unknown total, 0: "96.0 MB, 180.0 MB/s"
  [[nodiscard]] static std::string Describe(uint64_t done, uint64_t total, uint64_t bytes, int64_t elapsed_us);

 private:
  std::string what_;
  Clock& clock_;
  int64_t began_us_;
  int64_t next_us_;
};

}  // namespace holdfast
