#include "cli/tool_log_reader.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "cli/tool_log_jump.h"
#include "storage/effects/effect_codec.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

constexpr size_t kWindow = 1 << 20;
// A server writes a durable mark when it was idle for 10 ms, and with each batch that of the batch before: what was
// acknowledged before the tool began is below one soon, on a slow disk or a busy machine after a sync or two. A server
// that stands still is not waited for longer.
constexpr int kMarkTries = 600;
constexpr auto kMarkPause = std::chrono::milliseconds(5);

uint64_t RoundUpToBlock(uint64_t position) {
  return (position + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
}

// Headers only: where the frames from `from` on end, and the largest durable mark in them.
struct Extent {
  uint64_t end = 0;
  uint64_t last = 0;  // behind the last frame that is no durable mark itself: an idle server makes no mark for a mark
  uint64_t mark = 0;
};

Result<Extent> Measure(wal::SegmentReader& reader, uint64_t from) {
  Extent extent{from, from, 0};
  const auto header_at = [&](uint64_t position) -> Result<std::optional<wal::ParsedFrame>> {
    ASSIGN_OR_RETURN(const std::string_view bytes, reader.Bytes(position, wal::kFrameHeaderSize));
    auto parsed = wal::ParseFrameHeader(bytes);
    if (!parsed.ok() || parsed->local.incarnation != reader.header().incarnation) {
      return std::optional<wal::ParsedFrame>();
    }
    return std::optional<wal::ParsedFrame>(*parsed);
  };
  while (true) {
    ASSIGN_OR_RETURN(auto frame, header_at(extent.end));
    uint64_t at = extent.end;
    if (!frame && RoundUpToBlock(at) != at) {
      at = RoundUpToBlock(at);
      ASSIGN_OR_RETURN(frame, header_at(at));
    }
    if (!frame) return extent;
    extent.mark = std::max(extent.mark, frame->local.durable_mark);
    extent.end = at + frame->size_on_disk;
    if (frame->history.kind != wal::FrameKind::kDurableMark) extent.last = extent.end;
  }
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::Open(FileSystem& fs, const ToolInput& input, bool live) {
  std::unique_ptr<LogReader> reader(new LogReader(fs, input, live));
  RETURN_IF_ERROR(reader->List());
  return reader;
}

Result<void> LogReader::List() {
  if (input_.kind == InputKind::kLogSegment) {
    ASSIGN_OR_RETURN(const auto segment, wal::SegmentReader::Open(fs_, input_.path, false, wal::kSegmentHeaderSize));
    const wal::SegmentHeader& header = segment->header();
    files_ = {{{header.sequence, header.state.end.offset}, input_.path}};
    return {};
  }
  ASSIGN_OR_RETURN(files_, wal::ListLogFiles(fs_, input_.log));
  // Archives add what the log does not hold any more; a segment of both is the same. What they have beyond the log's
  // end was cut from it.
  const uint64_t newest = files_.empty() ? UINT64_MAX : files_.back().numbers.sequence;
  for (const std::string& directory : input_.more_logs) {
    ASSIGN_OR_RETURN(const auto archived, wal::ListLogFiles(fs_, directory));
    for (const wal::LogFile& file : archived) {
      const bool here = std::any_of(files_.begin(), files_.end(), [&](const wal::LogFile& each) {
        return each.numbers.sequence == file.numbers.sequence;
      });
      if (!here && file.numbers.sequence <= newest) files_.push_back(file);
    }
  }
  std::sort(files_.begin(), files_.end(),
            [](const wal::LogFile& a, const wal::LogFile& b) { return a.numbers.sequence < b.numbers.sequence; });
  return {};
}

Result<wal::SegmentHeader> LogReader::Header(size_t file) const {
  ASSIGN_OR_RETURN(const auto reader, wal::SegmentReader::Open(fs_, files_[file].path, false, wal::kSegmentHeaderSize));
  return reader->header();
}

Result<void> LogReader::OpenFile(size_t index, bool continues) {
  ASSIGN_OR_RETURN(auto reader, wal::SegmentReader::Open(fs_, files_[index].path, false, kWindow));
  if (continues && jumped_) {
    // What was jumped over may have changed these; the chain says that the header continues what was read.
    const wal::HistoryState& header = reader->header().state;
    state_.history.lineage = header.lineage;
    state_.history.role = header.role;
    state_.history.membership = header.membership;
  }
  RETURN_IF_ERROR(wal::CheckSegmentStart(*reader, files_[index], continues ? &state_ : nullptr));
  if (continues) done_bytes_ += position_ - wal::kSegmentHeaderSize;
  reader_ = std::move(reader);
  current_ = index;
  position_ = wal::kSegmentHeaderSize;
  state_ = {.history = reader_->header().state, .chain = reader_->header_checksum()};
  if (wanted_) RETURN_IF_ERROR(Jump());
  return FindLimit();
}

Result<void> LogReader::Jump() {
  ASSIGN_OR_RETURN(const auto search, wal::SegmentReader::Open(fs_, reader_->path(), false, kSearchWindow));
  ASSIGN_OR_RETURN(const std::optional<LogPlace> place, FindPlace(*search, *reader_, *wanted_));
  jumped_ = place.has_value();
  if (!place) return {};
  position_ = place->position;
  state_.chain = place->chain;
  state_.history.end = *wanted_;
  state_.history.end.lineage_id.clear();
  state_.history.end.time_ms = place->time_ms;
  state_.history.end.selected_db = place->selected_db;
  state_.history.inside_unit = false;
  return {};
}

// A segment given alone: whether the next one is there and says where this one ends.
Result<bool> LogReader::FindEndOfSegment() {
  const auto beside = wal::ListLogFiles(fs_, input_.log);
  if (!beside.ok()) return false;
  const uint64_t next = reader_->header().sequence + 1;
  const auto file = std::find_if(beside->begin(), beside->end(),
                                 [&](const wal::LogFile& each) { return each.numbers.sequence == next; });
  if (file == beside->end()) return false;
  const auto opened = wal::SegmentReader::Open(fs_, file->path, false, wal::kSegmentHeaderSize);
  if (!opened.ok() && opened.error().code != ErrorCode::kCorruption && opened.error().code != ErrorCode::kNotFound) {
    return opened.error();
  }
  // Damaged, gone, or of another log: nothing is known then.
  if (!opened.ok() || (*opened)->header().sequence != next || (*opened)->header().previous_end < position_)
    return false;
  limit_ = (*opened)->header().previous_end;
  limit_is_end_ = true;
  return true;
}

// How far the frames of the open file may be read.
Result<void> LogReader::FindLimit() {
  end_reason_.reset();
  broken_next_.reset();
  if (current_ + 1 < files_.size()) {
    auto next = Header(current_ + 1);
    if (!next.ok() && next.error().code == ErrorCode::kCorruption && !live_) {
      // Where the frames end is not known then, but they can be had.
      broken_next_ = next.error();
      limit_ = reader_->file_size();
      limit_is_end_ = false;
      return {};
    }
    if (!next.ok()) return std::move(next).error();
    if (next->sequence != reader_->header().sequence + 1) {
      return Error{ErrorCode::kCorruption, files_[current_ + 1].path + ": the segment before it, number " +
                                               std::to_string(next->sequence - 1) + ", is missing"};
    }
    limit_ = next->previous_end;
    limit_is_end_ = true;
    return {};
  }
  limit_is_end_ = false;
  if (input_.kind == InputKind::kLogSegment) {
    ASSIGN_OR_RETURN(const bool found, FindEndOfSegment());
    if (found) return {};
  }
  if (!live_) {
    limit_ = reader_->file_size();
    return {};
  }
  std::optional<uint64_t> first_last;
  for (int i = 0; i < kMarkTries; ++i) {
    reader_->Forget(false);
    ASSIGN_OR_RETURN(const Extent extent, Measure(*reader_, position_));
    limit_ = std::max(position_, extent.mark);
    if (!first_last) first_last = extent.last;
    if (extent.mark >= *first_last || *first_last == position_) break;
    std::this_thread::sleep_for(kMarkPause);
    // The server may have gone on in another segment: what is behind the last mark here is durable by that.
    RETURN_IF_ERROR(ListAgain());
    if (current_ + 1 < files_.size()) {
      reader_->Forget(false);
      return FindLimit();
    }
    if (input_.kind == InputKind::kLogSegment) {
      ASSIGN_OR_RETURN(const bool found, FindEndOfSegment());
      if (found) {
        reader_->Forget(false);
        return {};
      }
    }
  }
  reader_->Forget(false);
  return {};
}

// Where the open file stands among what is there now.
Result<void> LogReader::ListAgain() {
  const uint64_t sequence = reader_->header().sequence;
  RETURN_IF_ERROR(List());
  const auto here = std::find_if(files_.begin(), files_.end(),
                                 [&](const wal::LogFile& file) { return file.numbers.sequence == sequence; });
  if (here == files_.end()) {
    return Error{ErrorCode::kNotFound, reader_->path() + " was removed while it was read: the log goes on at offset " +
                                           (files_.empty() ? std::string("?") : std::to_string(first_offset()))};
  }
  current_ = static_cast<size_t>(here - files_.begin());
  return {};
}

// Beside a server the oldest segments go between listing and opening them.
Result<void> LogReader::Again(const std::function<Result<void>()>& look) {
  constexpr int kTries = 5;
  for (int i = 1;; ++i) {
    auto done = look();
    if (done.ok() || done.error().code != ErrorCode::kNotFound || i == kTries) return done;
    RETURN_IF_ERROR(List());
  }
}

Result<void> LogReader::SeekOffset(uint64_t offset) {
  return Again([&] { return SeekOffsetOnce(offset); });
}

Result<void> LogReader::SeekOffsetOnce(uint64_t offset) {
  if (files_.empty()) return {};
  // Of segments that begin at one offset (those before held control frames only) the first one.
  size_t index = 0;
  while (index + 1 < files_.size() && files_[index].numbers.first_offset != offset &&
         files_[index + 1].numbers.first_offset <= offset) {
    ++index;
  }
  done_bytes_ = 0;
  total_bytes_ = 0;
  for (size_t i = index; i < files_.size(); ++i) {
    ASSIGN_OR_RETURN(const auto file, fs_.Open(files_[i].path, {.mode = OpenMode::kRead}));
    ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    total_bytes_ += size;
  }
  return OpenFile(index, false);
}

Result<void> LogReader::SeekPosition(const StreamPosition& wanted) {
  wanted_ = wanted;
  Result<void> sought = SeekOffset(wanted.offset);
  wanted_.reset();
  return sought;
}

Result<void> LogReader::SeekTime(int64_t time_ms) {
  return Again([&] { return SeekTimeOnce(time_ms); });
}

Result<void> LogReader::SeekTimeOnce(int64_t time_ms) {
  if (files_.empty()) return {};
  // Headers have the time of the last frame before: binary search for the last segment that begins before.
  size_t low = 0;
  size_t high = files_.size();
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    ASSIGN_OR_RETURN(const wal::SegmentHeader header, Header(middle));
    (header.state.end.time_ms < time_ms ? low : high) = middle;
  }
  return SeekOffsetOnce(files_[low].numbers.first_offset);
}

Result<std::optional<LogFrame>> LogReader::NextInFile() {
  if (position_ >= limit_) {
    if (limit_is_end_ && position_ > limit_) {
      return Error{ErrorCode::kCorruption, reader_->path() + ": a frame crosses the segment's end"};
    }
    return std::optional<LogFrame>();
  }
  uint64_t bad = 0;
  auto placed = reader_->FrameAt(position_, limit_is_end_ || live_ ? limit_ : reader_->file_size(), &bad);
  if (!placed.ok() && placed.error().code != ErrorCode::kCorruption) return std::move(placed).error();
  std::optional<Error> broken;
  const int64_t before_ms = state_.history.end.time_ms;
  if (!placed.ok()) {
    broken = placed.error();
  } else if (placed->frame.local.chain != state_.chain) {
    broken = Error{ErrorCode::kCorruption, "the frame does not follow the one before it"};
  } else if (auto followed = state_.history.Follow(placed->frame.history); !followed.ok()) {
    broken = followed.error();
  }
  if (!broken) {
    state_.chain = placed->frame.header_checksum;
    position_ = placed->position + placed->frame.size_on_disk;
    frame_ = placed->frame.history;
    return std::optional<LogFrame>(LogFrame{&frame_, placed->frame.size_on_disk, reader_->path(), placed->position,
                                            placed->frame.local.durable_mark, before_ms});
  }
  if (!limit_is_end_ && !live_) {
    // The end of the last segment: torn, or damaged below a durable mark.
    if (jumped_) {
      ASSIGN_OR_RETURN(const auto search, wal::SegmentReader::Open(fs_, reader_->path(), false, kSearchWindow));
      ASSIGN_OR_RETURN(const bool more, FramesBehind(*search, bad));
      if (more) return *broken;
      limit_ = position_;
      return std::optional<LogFrame>();
    }
    ASSIGN_OR_RETURN(const wal::BehindBreak behind, wal::LookBehindBreak(*reader_, bad));
    if (behind.durable_mark <= bad) {
      if (behind.torn_end > position_) end_reason_ = broken;
      limit_ = position_;
      return std::optional<LogFrame>();
    }
  }
  return Error{ErrorCode::kCorruption, reader_->path() + " at byte " + std::to_string(bad) + " (stream offset " +
                                           std::to_string(state_.history.end.offset) + "): " + broken->message +
                                           ". To see all findings: holdfast verify"};
}

Result<std::optional<LogFrame>> LogReader::Next() {
  if (files_.empty()) return std::optional<LogFrame>();
  if (reader_ == nullptr) {
    RETURN_IF_ERROR(Again([&] { return files_.empty() ? Result<void>() : OpenFile(0, false); }));
    if (reader_ == nullptr) return std::optional<LogFrame>();
  }
  while (true) {
    ASSIGN_OR_RETURN(auto frame, NextInFile());
    if (frame) return frame;
    if (broken_next_) return *broken_next_;
    if (current_ + 1 >= files_.size() || !limit_is_end_) return std::optional<LogFrame>();
    RETURN_IF_ERROR(OpenFile(current_ + 1, true));
  }
}

Result<void> LogReader::Refresh() {
  if (files_.empty() || reader_ == nullptr) return List();
  RETURN_IF_ERROR(ListAgain());
  reader_->Forget(false);
  if (!live_) {
    // A finished copy may have grown: a new reader knows the new size.
    ASSIGN_OR_RETURN(reader_, wal::SegmentReader::Open(fs_, files_[current_].path, false, kWindow));
  }
  return FindLimit();
}

Result<std::optional<LogUnits>> UnitReader::Next() {
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<LogFrame> frame, log_.Next());
    if (!frame) return std::optional<LogUnits>();
    const wal::HistoryFrame& history = *frame->history;
    LogUnits units{history.kind,    history.offset, history.selected_db, history.time_ms,
                   history.payload, frame->file,    frame->position,     &log_.state()};
    if (history.kind != wal::FrameKind::kData) return std::optional<LogUnits>(units);
    switch (history.part) {
      case wal::UnitPart::kWhole:
        inside_ = false;
        unit_.clear();
        return std::optional<LogUnits>(units);
      case wal::UnitPart::kFirst:
        inside_ = true;
        head_ = units;
        unit_ = history.payload;
        unit_file_ = frame->file;
        continue;
      case wal::UnitPart::kMiddle:
        if (inside_) unit_ += history.payload;
        continue;
      case wal::UnitPart::kLast:
        if (!inside_) continue;  // the segment begins inside a unit
        inside_ = false;
        unit_ += history.payload;
        head_.bytes = unit_;
        head_.file = unit_file_;
        return std::optional<LogUnits>(head_);
    }
  }
}

Result<bool> VisitEffects(const LogUnits& units, const std::function<Result<bool>(const LogEffect&)>& visit) {
  std::vector<std::string_view> arguments;
  std::string_view rest = units.bytes;
  LogEffect effect;
  effect.offset = units.offset;
  effect.unit_start = units.offset;
  effect.db = units.selected_db;
  effect.time_ms = units.time_ms;
  effect.arguments = &arguments;
  effect.units = &units;
  const auto parse = [&](std::string_view bytes) -> Result<size_t> {
    ASSIGN_OR_RETURN(const auto length, ParseEffect(bytes, arguments));
    if (!length) return Error{ErrorCode::kCorruption, "the unit ends inside an effect"};
    return *length;
  };
  while (!rest.empty()) {
    auto length = parse(rest);
    if (!length.ok()) {
      return length.error().WithContext("stream offset " + std::to_string(effect.offset));
    }
    effect.bytes = *length;
    const std::string_view name = arguments[0];
    bool unit_ends = !effect.in_transaction;
    bool shown = true;
    if (EqualsIgnoreCase(name, "SELECT") && arguments.size() == 2) {
      if (const auto db = ParseInteger(arguments[1])) effect.db = static_cast<int>(*db);
      unit_ends = shown = false;
    } else if (EqualsIgnoreCase(name, "MULTI")) {
      // The unit's end is behind EXEC.
      effect.in_transaction = true;
      unit_ends = shown = false;
      effect.unit_end = effect.offset + *length;
      std::string_view body = rest.substr(*length);
      while (!body.empty()) {
        ASSIGN_OR_RETURN(const size_t inner, parse(body));
        effect.unit_end += inner;
        body.remove_prefix(inner);
        if (EqualsIgnoreCase(arguments[0], "EXEC")) break;
      }
    } else if (EqualsIgnoreCase(name, "EXEC")) {
      effect.in_transaction = shown = false;
      unit_ends = true;
    }
    if (!effect.in_transaction) effect.unit_end = effect.offset + *length;
    if (shown) {
      ASSIGN_OR_RETURN(const bool go_on, visit(effect));
      if (!go_on) return false;
    }
    effect.offset += *length;
    rest.remove_prefix(*length);
    if (unit_ends) effect.unit_start = effect.offset;
  }
  return true;
}

}  // namespace holdfast::cli
