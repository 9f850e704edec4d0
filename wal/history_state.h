// What must be known at a frame boundary to go on from there, and the rules by which a frame follows.
//
// The one place that says whether a frame continues a history: used for frames from peers, in recovery and in verify.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/result.h"
#include "storage/stream_position.h"
#include "wal/frame.h"
#include "wal/lineage.h"

namespace holdfast::wal {

// Role and membership frames are kept in segment headers, so that they outlive the segment they were written to.
inline constexpr size_t kStickyPayloadMax = 768;

struct HistoryState {
  StreamPosition end;  // lineage_id is not kept here: see lineage
  Lineage lineage;
  std::string role;        // payload of the newest role frame
  std::string membership;  // payload of the newest membership frame
  bool inside_unit = false;

  // Verifies that `frame` continues this state exactly (offset, time, selected db, unit parts, digest, control payload)
  // and moves past it. kCorruption with the rule that broke; the state is then unchanged.
  Result<void> Follow(const HistoryFrame& frame);
  // Lineage, role and membership frames: takes the payload over. kCorruption if it cannot be one.
  Result<void> TakeControl(FrameKind kind, uint64_t offset, std::string_view payload);
  // `end` with the current lineage id.
  [[nodiscard]] StreamPosition Position() const;
};

}  // namespace holdfast::wal
