// Reading a live log: ring first, files else.
#include <optional>
#include <utility>

#include "storage/effects/effect_codec.h"
#include "wal/log.h"
#include "wal/log_implementation.h"
#include "wal/segment_reader.h"

namespace holdfast::wal {
namespace {

constexpr size_t kCursorWindow = 256 << 10;

class Cursor : public LogCursor {
 public:
  explicit Cursor(LogImplementation& log) : segments_(log.segments()) { segments_.CursorOpened(); }
  ~Cursor() override { segments_.CursorClosed(); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  Result<void> Seek(uint64_t offset) override;
  Result<std::shared_ptr<const SharedFrame>> Next() override;
  [[nodiscard]] uint64_t NextOffset() const override { return next_offset_; }

 private:
  // The next frame of any kind but durable marks, as it is stored; null if there is none. `*at` is where it lies.
  Result<std::shared_ptr<const SharedFrame>> Step(LogPlace* at);
  // The frame at look.place; null for a durable mark. Moves place_ behind it.
  Result<std::shared_ptr<const SharedFrame>> ReadFile(const SegmentSet::Look& look, LogPlace* at);
  Result<SegmentReader::Placed> VerifiedFrame(const SegmentSet::Look& look);
  Result<void> OpenSegment(const SegmentSet::Look& look);

  SegmentSet& segments_;
  LogPlace place_;
  uint64_t next_offset_ = 0;
  std::shared_ptr<const Segment> segment_;  // held while its file is open: keeps it from being recycled
  std::unique_ptr<SegmentReader> reader_;
  uint64_t limit_ = 0;             // of the last read
  std::optional<uint64_t> chain_;  // header checksum of the frame before place_, if that was read from the file
};

Result<void> Cursor::OpenSegment(const SegmentSet::Look& look) {
  if (reader_ == nullptr || segment_ != look.segment) {
    reader_.reset();
    segment_ = look.segment;
    chain_.reset();
    auto& fs = segments_.file_system();
    ASSIGN_OR_RETURN(reader_, SegmentReader::Open(fs, segment_->path, false, kCursorWindow));
    if (reader_->header().sequence != segment_->sequence) {
      return Error{ErrorCode::kCorruption, segment_->path + ": the header names another segment"};
    }
  } else if (look.limit != limit_) {
    reader_->Forget(false);
  }
  limit_ = look.limit;
  if (look.place.position == kSegmentHeaderSize) chain_ = reader_->header_checksum();
  return {};
}

Result<SegmentReader::Placed> Cursor::VerifiedFrame(const SegmentSet::Look& look) {
  uint64_t bad = 0;
  ASSIGN_OR_RETURN(SegmentReader::Placed placed, reader_->FrameAt(look.place.position, look.limit, &bad));
  if (chain_ && placed.frame.local.chain != *chain_) {
    return Error{ErrorCode::kCorruption, "the frame does not follow the one before it"};
  }
  return placed;
}

Result<std::shared_ptr<const SharedFrame>> Cursor::ReadFile(const SegmentSet::Look& look, LogPlace* at) {
  RETURN_IF_ERROR(OpenSegment(look));
  Result<SegmentReader::Placed> placed = VerifiedFrame(look);
  if (!placed.ok() && placed.error().code == ErrorCode::kCorruption) {
    reader_->Forget(true);
    placed = VerifiedFrame(look);
  }
  if (!placed.ok()) {
    return placed.error().WithContext(segment_->path + " at byte " + std::to_string(look.place.position));
  }
  const ParsedFrame& frame = placed->frame;
  *at = {look.place.sequence, placed->position};
  place_ = {look.place.sequence, placed->position + frame.size_on_disk};
  chain_ = frame.header_checksum;
  if (frame.history.kind == FrameKind::kDurableMark) return std::shared_ptr<const SharedFrame>();
  auto shared = std::make_shared<SharedFrame>();
  shared->history = frame.history;
  shared->bytes = frame.history.payload;
  shared->history.payload = shared->bytes;
  return std::shared_ptr<const SharedFrame>(std::move(shared));
}

Result<std::shared_ptr<const SharedFrame>> Cursor::Step(LogPlace* at) {
  while (true) {
    const SegmentSet::Look look = segments_.LookAt(place_);
    switch (look.what) {
      case SegmentSet::Look::What::kNothing:
        return std::shared_ptr<const SharedFrame>();
      case SegmentSet::Look::What::kGone:
        return Error{ErrorCode::kNotFound, "the log no longer holds offset " + std::to_string(next_offset_)};
      case SegmentSet::Look::What::kFrame:
        *at = look.entry.place;
        place_ = {look.entry.place.sequence, look.entry.end_position};
        chain_.reset();
        reader_.reset();
        segment_.reset();
        return look.entry.frame;
      case SegmentSet::Look::What::kFile:
        break;
    }
    ASSIGN_OR_RETURN(std::shared_ptr<const SharedFrame> frame, ReadFile(look, at));
    if (frame != nullptr) return frame;
  }
}

Result<void> Cursor::Seek(uint64_t offset) {
  const SegmentSet::Start start = segments_.FindOffset(offset);
  if (offset > start.durable_offset) {
    return Error{ErrorCode::kOutOfRange, "offset " + std::to_string(offset) + " lies beyond the durable end " +
                                             std::to_string(start.durable_offset)};
  }
  if (!start.found) {
    return Error{ErrorCode::kNotFound, "offset " + std::to_string(offset) +
                                           " is no longer in the log, which begins at " +
                                           std::to_string(start.first_offset)};
  }
  next_offset_ = offset;
  place_ = start.place;
  chain_.reset();
  while (!start.exact) {
    LogPlace at;
    ASSIGN_OR_RETURN(const std::shared_ptr<const SharedFrame> frame, Step(&at));
    if (frame == nullptr) break;
    const HistoryFrame& history = frame->history;
    const bool before = history.kind == FrameKind::kData ? history.EndOffset() <= offset : history.offset < offset;
    if (before) continue;
    place_ = at;
    chain_.reset();
    break;
  }
  return {};
}

Result<std::shared_ptr<const SharedFrame>> Cursor::Next() {
  LogPlace at;
  Result<std::shared_ptr<const SharedFrame>> step = Step(&at);
  if (!step.ok() && step.error().code == ErrorCode::kNotFound) {
    // If all of a segment has been read, it may be trimmed under the place at its end: what follows is still there.
    RETURN_IF_ERROR(Seek(next_offset_));
    step = Step(&at);
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const SharedFrame> frame, std::move(step));
  if (frame == nullptr || frame->history.offset == next_offset_) {
    if (frame != nullptr) next_offset_ = frame->history.EndOffset();
    return frame;
  }
  const HistoryFrame& whole = frame->history;
  if (whole.offset > next_offset_ || whole.EndOffset() <= next_offset_) {
    return Error{ErrorCode::kCorruption, "a frame at offset " + std::to_string(whole.offset) + " where offset " +
                                             std::to_string(next_offset_) + " was expected"};
  }
  // Sought inside the frame: give the rest of it.
  const auto before = static_cast<size_t>(next_offset_ - whole.offset);
  auto rest = std::make_shared<SharedFrame>();
  rest->history = whole;
  rest->bytes = whole.payload.substr(before);
  rest->history.payload = rest->bytes;
  rest->history.offset = next_offset_;
  const auto selected = SelectedDbBehind(whole.payload.substr(0, before), whole.selected_db);
  rest->history.selected_db = static_cast<int16_t>(selected.value_or(kSelectedDbUnknown));
  next_offset_ = whole.EndOffset();
  return std::shared_ptr<const SharedFrame>(std::move(rest));
}

}  // namespace

std::unique_ptr<LogCursor> OpenCursor(Log& log) {
  // Log::Open makes nothing else.
  return std::make_unique<Cursor>(static_cast<LogImplementation&>(log));
}

}  // namespace holdfast::wal
