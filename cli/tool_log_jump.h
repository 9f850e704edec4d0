// Finds a position of the stream in a segment without reading the segment from its beginning: a log has no index, but
// each frame certifies itself, so a place can be searched for by halves.
//
// User data may hold bytes that look like frames of the same segment (somebody stored a copy of it). What is found
// counts only at the end of an unbroken chain of frames longer than any payload, which cannot lie inside one.
#pragma once

#include <cstdint>
#include <optional>

#include "storage/base/result.h"
#include "storage/stream_position.h"
#include "wal/segment_reader.h"

namespace holdfast::cli {

// How much at a time the searching reader should read: its window.
inline constexpr size_t kSearchWindow = 64 << 10;

struct LogPlace {
  uint64_t position = 0;  // in the file, where the next frame is expected ...
  uint64_t chain = 0;     // ... and what it must continue
  int64_t time_ms = 0;
  int selected_db = -1;
};

// Where the frames begin that follow `wanted`. nullopt: not found this way, which says nothing about the log (the
// position lies inside a frame, there is damage, or the digests differ): read it from the beginning. `search` and
// `reader` have the same file open. kIo.
Result<std::optional<LogPlace>> FindPlace(wal::SegmentReader& search, wal::SegmentReader& reader,
                                          const StreamPosition& wanted);

// Whether there are frames of this segment behind `end`, where no good one was found: all of the next two MiB is looked
// at, and behind that some places. What is damaged for longer than a MiB at the end of the log may not be noticed. kIo.
Result<bool> FramesBehind(wal::SegmentReader& search, uint64_t end);

}  // namespace holdfast::cli
