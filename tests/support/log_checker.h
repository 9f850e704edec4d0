// An independent reader of log directories: shares no parsing code with wal/. Checks the rules of docs/formats-log.md
// byte by byte and returns what it read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/base/file.h"

namespace holdfast::testing {

struct CheckedFrame {
  uint8_t kind;
  uint8_t part;
  uint64_t offset;
  int64_t time_ms;
  int16_t selected_db;
  uint64_t digest;
  std::string payload;
  std::string file;   // path
  uint64_t position;  // in the file
  uint64_t size;      // header, payload, padding
  uint64_t durable_mark;
  friend bool operator==(const CheckedFrame&, const CheckedFrame&) = default;
};

struct CheckedLog {
  std::vector<std::string> problems;  // empty: the log keeps all rules
  uint64_t first_offset = 0;
  uint64_t end_offset = 0;       // of all frames
  uint64_t unit_end_offset = 0;  // of whole units
  std::string stream;            // from first_offset to end_offset
  std::vector<CheckedFrame> frames;
  std::vector<std::string> files;
};

// `tail_allowed`: the last segment may hold valid frames behind its end (a log that was not recovered after a crash).
CheckedLog CheckLog(FileSystem& fs, const std::string& directory, bool tail_allowed = false);

// All problems in one string, for messages.
std::string Problems(const CheckedLog& log);

}  // namespace holdfast::testing
