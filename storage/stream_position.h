// A point of the replication stream that a state belongs to, and what must be known to go on from there.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast {

struct StreamPosition {
  uint64_t offset = 0;
  int selected_db = -1;    // database selected in the stream there, -1 none yet
  int64_t time_ms = 0;     // time of the last unit; "now" is never below
  HistoryDigest digest;    // of the stream from its base to offset
  std::string lineage_id;  // 40 hex digits of the history the offset belongs to

  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

// offset u64 | selected db i32 | time ms i64 | digest state | lineage id, length-prefixed; little-endian.
void AppendStreamPosition(std::string& to, const StreamPosition& position);
Result<StreamPosition> ReadStreamPosition(ByteReader& from);

}  // namespace holdfast
