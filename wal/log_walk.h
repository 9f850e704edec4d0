// Walking the files of a log that is not open: what recovery and verify have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "wal/history_state.h"
#include "wal/segment_format.h"
#include "wal/segment_reader.h"

namespace holdfast::wal {

struct LogFile {
  SegmentNumbers numbers;
  std::string path;
};
// Segments by name, in order of sequence; none if the directory is missing.
Result<std::vector<LogFile>> ListLogFiles(FileSystem& fs, const std::string& directory);

// Where a walk stands: what the next frame must continue.
struct WalkState {
  HistoryState history;
  uint64_t chain = 0;
};

// Whether the segment that `reader` has open may follow. `before` is null for the first one. kCorruption.
Result<void> CheckSegmentStart(const SegmentReader& reader, const LogFile& file, const WalkState* before);

struct WalkEnd {
  uint64_t position = 0;        // behind the last good frame
  std::optional<Error> broken;  // why there is no good frame at `bad`; none if the walk reached its limit
  uint64_t bad = 0;
};
// Called with each good frame once the state has moved past it; `before` is where the stream stood. An error ends the
// walk with it.
using FrameVisitor =
    std::function<Result<void>(const StreamPosition& before, const ParsedFrame& frame, uint64_t position)>;

// Walks frames up to `limit` or to the first one that is not good or does not continue `state`, which moves along.
// `from` is where the first is expected. Errors: of reading, and the visitor's.
Result<WalkEnd> WalkFrames(SegmentReader& reader, uint64_t from, uint64_t limit, WalkState& state,
                           const FrameVisitor& visitor);

// The digest of the stream up to `offset`, which may lie inside a frame: a log may be open, and `offset` must be
// durable. Reads a segment up to there. nullopt: the log does not hold it. Any thread.
Result<std::optional<uint64_t>> DigestAt(FileSystem& fs, const std::string& directory, uint64_t offset);

// What lies behind the break of the last segment.
struct BehindBreak {
  uint64_t durable_mark = 0;   // largest one in a valid frame header of this segment's incarnation
  uint64_t mark_position = 0;  // where that header is
  uint64_t torn_end = 0;       // end of what was written there, as far as it can be told
};
Result<BehindBreak> LookBehindBreak(SegmentReader& reader, uint64_t bad);

}  // namespace holdfast::wal
