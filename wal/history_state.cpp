#include "wal/history_state.h"

#include "storage/base/check.h"
#include "storage/planted_bug.h"

namespace holdfast::wal {
namespace {

Error Broken(const std::string& what) { return Error{ErrorCode::kCorruption, what}; }

Error Differs(const std::string& what, const std::string& found, const std::string& expected) {
  return Broken("the frame's " + what + " is " + found + ", expected " + expected);
}

Result<void> CheckPart(const HistoryFrame& frame, bool inside_unit) {
  const bool continues = frame.part == UnitPart::kMiddle || frame.part == UnitPart::kLast;
  if (continues && !inside_unit) return Broken("the frame continues a unit that was not begun");
  // A durable mark says nothing about history and may stand anywhere.
  if (!continues && inside_unit && frame.kind != FrameKind::kDurableMark) {
    return Broken("the frame stands inside a unit that was not finished");
  }
  return {};
}

}  // namespace

StreamPosition HistoryState::Position() const {
  StreamPosition position = end;
  position.lineage_id = lineage.current_id();
  return position;
}

Result<void> HistoryState::TakeControl(FrameKind kind, uint64_t offset, std::string_view payload) {
  switch (kind) {
    case FrameKind::kLineage: {
      ASSIGN_OR_RETURN(Lineage table, Lineage::Parse(payload));
      if (table.empty() || table.entries().back().from_offset > offset) {
        return Broken("a lineage frame at offset " + std::to_string(offset) + " that begins elsewhere");
      }
      lineage = std::move(table);
      return {};
    }
    case FrameKind::kRole:
    case FrameKind::kMembership:
      if (payload.size() > kStickyPayloadMax) {
        return Broken(std::string("a ") + FrameKindName(kind) + " frame of " + std::to_string(payload.size()) +
                      " bytes, more than the " + std::to_string(kStickyPayloadMax) + " allowed");
      }
      (kind == FrameKind::kRole ? role : membership) = payload;
      return {};
    case FrameKind::kDigestMarker:
    case FrameKind::kDurableMark:
      return {};
    case FrameKind::kData:
      break;
  }
  CHECK_MSG(false, "data is no control frame");
  return {};
}

Result<void> HistoryState::Follow(const HistoryFrame& frame) {
  if (frame.offset != end.offset) {
    return Differs("offset", std::to_string(frame.offset), std::to_string(end.offset));
  }
  if (frame.time_ms < end.time_ms) {
    return Differs("time", std::to_string(frame.time_ms), "at least " + std::to_string(end.time_ms));
  }
  if (frame.selected_db != end.selected_db) {
    return Differs("selected database", std::to_string(frame.selected_db), std::to_string(end.selected_db));
  }
  RETURN_IF_ERROR(CheckPart(frame, inside_unit));
  if (frame.kind != FrameKind::kData) {
    if (frame.digest != end.digest.Value() && !Planted(PlantedBug::kDigestIgnored))
      return Broken("the frame's history digest differs from ours");
    RETURN_IF_ERROR(TakeControl(frame.kind, frame.offset, frame.payload));
    end.time_ms = frame.time_ms;
    return {};
  }
  HistoryDigest digest = end.digest;
  digest.Update(frame.payload);
  if (digest.Value() != frame.digest && !Planted(PlantedBug::kDigestIgnored))
    return Broken("the history digest after the frame differs from ours");
  end.digest = digest;
  end.offset = frame.EndOffset();
  end.time_ms = frame.time_ms;
  end.selected_db = frame.selected_db_after;
  inside_unit = !frame.EndsUnit();
  return {};
}

}  // namespace holdfast::wal
