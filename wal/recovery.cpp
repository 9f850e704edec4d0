#include "wal/recovery.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/planted_bug.h"
#include "wal/log_walk.h"
#include "wal/segment_reader.h"

namespace holdfast::wal {
namespace {

constexpr size_t kWindow = 2 << 20;
constexpr uint64_t kProgressInterval = 4 << 20;

// One run of Recover: finds the files, walks them from the checkpoint on, judges the end, cuts.
class RecoveryRun {
 public:
  RecoveryRun(const RecoveryInput& input, const ReplayVisitor& visitor) : input_(input), visitor_(visitor) {}

  Result<RecoveryOutcome> Run();

 private:
  // A place behind which nothing of a unit is missing.
  struct UnitEnd {
    size_t file = 0;  // index in files_
    uint64_t position = 0;
    uint64_t chain = 0;
    StreamPosition stream;
  };
  struct Opened {
    std::unique_ptr<SegmentReader> reader;  // while it is walked, and of the last one: there may be many
    uint64_t end = 0;  // frames end there: the next segment says so; for the last one the file's size
  };

  Error Refuse(const std::string& path, uint64_t position, const std::string& what) const;
  RecoveryOutcome EmptyLog() const;
  Result<void> CheckNames();
  Result<std::unique_ptr<SegmentReader>> OpenFile(size_t index, size_t window) const;
  Result<void> OpenFiles();
  Result<void> SyncLast();
  Result<void> Walk();
  Result<void> WalkFile(size_t index, WalkState& state);
  Result<void> JudgeBreak(const WalkEnd& end);
  Result<void> CheckEnd();
  Result<void> Deliver(const StreamPosition& before, const HistoryFrame& frame);
  Result<void> DeliverUnits(const HistoryFrame& frame);
  Result<void> TellLineage();
  Result<void> CheckDigestAt(const StreamPosition& before, std::string_view payload);
  Result<void> Cut();
  void ReportProgress(bool last);
  [[nodiscard]] bool BehindCut(const HistoryFrame& frame) const;
  [[nodiscard]] bool AtCut() const;
  void StopAtCut();
  RecoveryOutcome Outcome();

  const RecoveryInput& input_;
  const ReplayVisitor& visitor_;
  RecoveryReport report_;
  std::vector<LogFile> files_;
  std::vector<Opened> opened_;  // as files_
  size_t first_ = 0;            // the file where replay starts
  WalkState state_;             // at the end of what is readable
  std::optional<UnitEnd> unit_end_;
  uint64_t torn_end_ = 0;  // in the last file
  bool checkpoint_seen_ = false;
  std::string told_lineage_;  // what visitor_.lineage was called with
  HistoryState controls_;     // with cut_at: lineage, role and membership before the frame being visited
  bool cut_reached_ = false;  // the frame at or behind cut_at was seen
  std::string unit_;          // parts of the unit being joined ...
  HistoryFrame unit_head_;    // ... and its first one
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
  uint64_t reported_bytes_ = 0;
};

Error RecoveryRun::Refuse(const std::string& path, uint64_t position, const std::string& what) const {
  return Error{ErrorCode::kCorruption, path + " at byte " + std::to_string(position) + ": " + what +
                                           ". Nothing was changed; to see all findings: holdfast log verify " +
                                           input_.directory};
}

RecoveryOutcome RecoveryRun::EmptyLog() const {
  RecoveryOutcome outcome;
  outcome.state.end = input_.checkpoint;
  outcome.report.log_was_empty = true;
  return outcome;
}

Result<void> RecoveryRun::CheckNames() {
  for (size_t i = 1; i < files_.size(); i++) {
    const uint64_t expected = files_[i - 1].numbers.sequence + 1;
    if (files_[i].numbers.sequence == expected) continue;
    return Refuse(files_[i].path, 0,
                  files_[i].numbers.sequence < expected
                      ? "there is another segment of the same number"
                      : "the segment before it, number " + std::to_string(expected) + ", is missing");
  }
  if (files_.front().numbers.first_offset > input_.checkpoint.offset) {
    return Refuse(files_.front().path, 0,
                  "the log begins at offset " + std::to_string(files_.front().numbers.first_offset) +
                      ", but the store holds only offsets up to " + std::to_string(input_.checkpoint.offset) +
                      ": segments before it are missing");
  }
  while (first_ + 1 < files_.size() && files_[first_ + 1].numbers.first_offset <= input_.checkpoint.offset) first_++;
  return {};
}

Result<std::unique_ptr<SegmentReader>> RecoveryRun::OpenFile(size_t index, size_t window) const {
  Result<std::unique_ptr<SegmentReader>> reader = SegmentReader::Open(*input_.fs, files_[index].path, true, window);
  if (!reader.ok() && reader.error().code == ErrorCode::kCorruption) {
    return Error{ErrorCode::kCorruption, reader.error().message + ". Nothing was changed; to see all findings: " +
                                             "holdfast log verify " + input_.directory};
  }
  return reader;
}

// Reads the headers of all segments, before anything is replayed.
Result<void> RecoveryRun::OpenFiles() {
  opened_.resize(files_.size());
  for (size_t i = 0; i < files_.size(); i++) {
    const bool is_last = i + 1 == files_.size();
    ASSIGN_OR_RETURN(auto reader, OpenFile(i, is_last ? kWindow : kSegmentHeaderSize));
    const Result<void> fits = CheckSegmentStart(*reader, files_[i], nullptr);
    if (!fits.ok()) return Refuse(files_[i].path, 0, fits.error().message);
    if (i > first_) {
      opened_[i - 1].end = reader->header().previous_end;
      total_bytes_ += opened_[i - 1].end;
    }
    if (is_last) opened_[i].reader = std::move(reader);
  }
  if (!input_.read_only) RETURN_IF_ERROR(SyncLast());
  opened_.back().end = opened_.back().reader->file_size();
  total_bytes_ += opened_.back().end;
  return {};
}

// A process that was killed may have written what it did not sync: the store may be written up to what is replayed, so
// all of it must be durable first. Segments before the last one are, or it would not be there.
Result<void> RecoveryRun::SyncLast() {
  if (Planted(PlantedBug::kRecoveryNotSynced)) return {};
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, input_.fs->Open(files_.back().path, {.mode = OpenMode::kWrite}));
  return file->Sync();
}

Result<void> RecoveryRun::CheckDigestAt(const StreamPosition& before, std::string_view payload) {
  const StreamPosition& checkpoint = input_.checkpoint;
  if (checkpoint_seen_ || before.offset > checkpoint.offset) return {};
  if (checkpoint.offset - before.offset > payload.size()) return {};
  checkpoint_seen_ = true;
  HistoryDigest digest = before.digest;
  digest.Update(payload.substr(0, static_cast<size_t>(checkpoint.offset - before.offset)));
  if (digest == checkpoint.digest) return {};
  return Refuse(files_[first_].path, 0,
                "the log's history up to offset " + std::to_string(checkpoint.offset) +
                    " is not the one the store was made from (the history digests differ)");
}

Result<void> RecoveryRun::TellLineage() {
  const std::string& id = state_.history.lineage.current_id();
  if (!visitor_.lineage || id == told_lineage_) return {};
  told_lineage_ = id;
  return visitor_.lineage(id);
}

Result<void> RecoveryRun::DeliverUnits(const HistoryFrame& frame) {
  const uint64_t from = input_.checkpoint.offset;
  if (frame.EndOffset() <= from) return {};
  RETURN_IF_ERROR(TellLineage());
  if (frame.part == UnitPart::kWhole) {
    const size_t skip = frame.offset < from ? static_cast<size_t>(from - frame.offset) : 0;
    const auto db = skip != 0 ? static_cast<int16_t>(input_.checkpoint.selected_db) : frame.selected_db;
    report_.units++;
    report_.replayed_bytes += frame.payload.size() - skip;
    return visitor_.units ? visitor_.units(frame.offset + skip, db, frame.time_ms, frame.payload.substr(skip))
                          : Result<void>();
  }
  if (frame.offset < from || (frame.part != UnitPart::kFirst && unit_.empty())) {
    return Error{ErrorCode::kCorruption, "replaying the log at offset " + std::to_string(frame.offset) +
                                             ": the store's offset " + std::to_string(from) + " lies inside a unit"};
  }
  if (frame.part == UnitPart::kFirst) {
    unit_.clear();
    unit_head_ = frame;
    unit_head_.payload = {};
  }
  unit_.append(frame.payload);  // whatever max-unit-bytes is now: it was logged, and as many bytes are on the disk
  if (frame.part != UnitPart::kLast) return {};
  report_.units++;
  report_.replayed_bytes += unit_.size();
  const std::string whole = std::exchange(unit_, std::string());
  return visitor_.units ? visitor_.units(unit_head_.offset, unit_head_.selected_db, unit_head_.time_ms, whole)
                        : Result<void>();
}

Result<void> RecoveryRun::Deliver(const StreamPosition& before, const HistoryFrame& frame) {
  report_.frames++;
  if (frame.kind != FrameKind::kData) {
    if (frame.offset < input_.checkpoint.offset || !visitor_.control || frame.kind == FrameKind::kDurableMark)
      return {};
    return visitor_.control(frame);
  }
  RETURN_IF_ERROR(CheckDigestAt(before, frame.payload));
  return DeliverUnits(frame);
}

void RecoveryRun::ReportProgress(bool last) {
  if (!visitor_.progress) return;
  if (!last && done_bytes_ < reported_bytes_ + kProgressInterval) return;
  reported_bytes_ = done_bytes_;
  visitor_.progress(last ? total_bytes_ : done_bytes_, total_bytes_);
}

// The first bad frame of the last segment: torn, or damage to what was durable?
Result<void> RecoveryRun::JudgeBreak(const WalkEnd& end) {
  const LogFile& file = files_.back();
  ASSIGN_OR_RETURN(const BehindBreak behind, LookBehindBreak(*opened_.back().reader, end.bad));
  if (behind.durable_mark > end.bad && !Planted(PlantedBug::kTornTailLenient)) {
    return Refuse(file.path, end.bad,
                  "damaged (stream offset " + std::to_string(state_.history.end.offset) + "): " + end.broken->message +
                      "; a later frame at byte " + std::to_string(behind.mark_position) +
                      " proves that all was durable up to byte " + std::to_string(behind.durable_mark));
  }
  torn_end_ = behind.torn_end;
  return {};
}

bool RecoveryRun::BehindCut(const HistoryFrame& frame) const {
  if (!input_.cut_at) return false;
  return frame.kind == FrameKind::kData ? frame.EndOffset() > *input_.cut_at : frame.offset >= *input_.cut_at;
}

// All that is to stay was read. What lies behind may be cut half by a start before this one, that lost power: it is in
// the tail's file, and no damage to it matters.
bool RecoveryRun::AtCut() const {
  return input_.cut_at && unit_end_ && unit_end_->stream.offset == *input_.cut_at && !state_.history.inside_unit;
}

// The state has moved past a frame that is to go.
void RecoveryRun::StopAtCut() {
  if (!unit_end_) return;  // the log begins inside a unit, and is to be cut in it: CheckEnd refuses
  state_.history.end = unit_end_->stream;
  state_.history.inside_unit = false;
  state_.history.lineage = controls_.lineage;
  state_.history.role = controls_.role;
  state_.history.membership = controls_.membership;
}

Result<void> RecoveryRun::WalkFile(size_t index, WalkState& state) {
  SegmentReader& reader = *opened_[index].reader;
  reader.ReadAhead();
  const bool is_last = index + 1 == files_.size();
  const auto at_unit_end = [&](uint64_t position) {
    if (!state.history.inside_unit) unit_end_ = UnitEnd{index, position, state.chain, state.history.end};
  };
  at_unit_end(kSegmentHeaderSize);
  const uint64_t done_before = done_bytes_;
  const auto visit = [&](const StreamPosition& before, const ParsedFrame& frame, uint64_t position) -> Result<void> {
    if (BehindCut(frame.history)) {
      cut_reached_ = true;
      return Error{ErrorCode::kAborted, "the log is cut here"};
    }
    if (input_.cut_at && frame.history.kind != FrameKind::kData) controls_ = state.history;
    at_unit_end(position + frame.size_on_disk);
    done_bytes_ = done_before + position;
    ReportProgress(false);
    return Deliver(before, frame.history);
  };
  const Result<WalkEnd> walked = WalkFrames(reader, kSegmentHeaderSize, opened_[index].end, state, visit);
  if (!cut_reached_ && walked.ok() && walked->broken && AtCut()) {
    cut_reached_ = true;
    return {};
  }
  if (cut_reached_) {
    StopAtCut();
    return {};
  }
  if (!walked.ok()) return walked.error();
  const WalkEnd& end = *walked;
  done_bytes_ = done_before + opened_[index].end;
  if (is_last) {
    torn_end_ = end.position;
    return end.broken ? JudgeBreak(end) : Result<void>();
  }
  if (end.broken || end.position != opened_[index].end) {
    return Refuse(files_[index].path, end.bad,
                  "damaged (stream offset " + std::to_string(state.history.end.offset) +
                      "): " + (end.broken ? end.broken->message : "a frame crosses the segment's end") + "; " +
                      files_[index + 1].path + " proves that all was durable up to byte " +
                      std::to_string(opened_[index].end));
  }
  return {};
}

Result<void> RecoveryRun::Walk() {
  for (size_t i = first_; i < files_.size(); i++) {
    if (opened_[i].reader == nullptr) {
      ASSIGN_OR_RETURN(opened_[i].reader, OpenFile(i, kWindow));
    }
    const SegmentReader& reader = *opened_[i].reader;
    if (i == first_) {
      state_.history = reader.header().state;
    } else {
      const Result<void> fits = CheckSegmentStart(reader, files_[i], &state_);
      if (!fits.ok()) return Refuse(files_[i].path, 0, fits.error().message);
    }
    if (i == first_) controls_ = state_.history;
    state_.chain = reader.header_checksum();
    RETURN_IF_ERROR(WalkFile(i, state_));
    if (cut_reached_) break;
    if (i + 1 < files_.size()) opened_[i].reader.reset();
  }
  if (visitor_.end) RETURN_IF_ERROR(visitor_.end());
  ReportProgress(true);
  return {};
}

// The store may hold nothing that the log does not.
Result<void> RecoveryRun::CheckEnd() {
  if (input_.cut_at && (!unit_end_ || unit_end_->stream.offset != *input_.cut_at)) {
    return Refuse(files_[first_].path, 0,
                  "the log is to be cut at offset " + std::to_string(*input_.cut_at) + ", but no frame ends there");
  }
  const uint64_t readable = unit_end_ ? unit_end_->stream.offset : files_[first_].numbers.first_offset;
  if (!unit_end_ || readable < input_.checkpoint.offset) {
    return Refuse(
        files_.back().path, torn_end_,
        "the log is readable up to offset " + std::to_string(readable) +
            " only; the store, which is never written past the durable log, proves that it was durable up to " +
            std::to_string(input_.checkpoint.offset));
  }
  return CheckDigestAt(unit_end_->stream, {});
}

Result<void> RecoveryRun::Cut() {
  const size_t last = files_.size() - 1;
  report_.dropped_unit_bytes = state_.history.end.offset - unit_end_->stream.offset;
  report_.cut_segment = files_[unit_end_->file].numbers.sequence;
  report_.cut_position = unit_end_->position;
  for (size_t i = unit_end_->file; i <= last; i++) {
    const uint64_t from = i == unit_end_->file ? unit_end_->position : kSegmentHeaderSize;
    const uint64_t to = i == last ? torn_end_ : opened_[i].end;
    report_.cut_bytes += to > from ? to - from : 0;
  }
  if (input_.read_only) return {};
  // Newest first, each removal durable before the next: after a crash in between the log still only lacks its end.
  for (size_t i = last; i > unit_end_->file; i--) {
    opened_[i].reader.reset();
    RETURN_IF_ERROR(input_.fs->Remove(files_[i].path));
    RETURN_IF_ERROR(input_.fs->SyncDirectory(input_.directory));
  }
  // Also when nothing is cut: what we read may not have reached the disk before the last process died.
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                   input_.fs->Open(files_[unit_end_->file].path, {.mode = OpenMode::kWrite}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > unit_end_->position) RETURN_IF_ERROR(file->Truncate(unit_end_->position));
  if (Planted(PlantedBug::kRecoveryNotSynced)) return {};
  RETURN_IF_ERROR(file->Sync());
  return input_.fs->SyncDirectory(input_.directory);
}

RecoveryOutcome RecoveryRun::Outcome() {
  RecoveryOutcome outcome;
  outcome.report = report_;
  LogState& state = outcome.state;
  state.lineage = state_.history.lineage;
  state.role = state_.history.role;
  state.membership = state_.history.membership;
  state.end = unit_end_->stream;
  state.end.lineage_id = state.lineage.current_id();
  const uint64_t sequence = files_[unit_end_->file].numbers.sequence;
  if (unit_end_->position == kSegmentHeaderSize && opened_[unit_end_->file].reader != nullptr) {
    // The segment holds no frame: the next one takes its place by an atomic rename, else each start would leave one.
    const SegmentHeader& header = opened_[unit_end_->file].reader->header();
    state.next_sequence = sequence;
    state.chain = header.chain;
    state.previous_end = header.previous_end;
  } else {
    state.next_sequence = sequence + 1;
    state.chain = unit_end_->chain;
    state.previous_end = unit_end_->position;
  }
  return outcome;
}

Result<RecoveryOutcome> RecoveryRun::Run() {
  ASSIGN_OR_RETURN(files_, ListLogFiles(*input_.fs, input_.directory));
  if (files_.empty()) {
    if (input_.checkpoint.offset == 0 && input_.cut_at.value_or(0) == 0) return EmptyLog();
    return Error{ErrorCode::kCorruption, input_.directory + ": the log is gone: the store holds offset " +
                                             std::to_string(input_.checkpoint.offset) + ", and there is no segment"};
  }
  RETURN_IF_ERROR(CheckNames());
  RETURN_IF_ERROR(OpenFiles());
  RETURN_IF_ERROR(Walk());
  RETURN_IF_ERROR(CheckEnd());
  RETURN_IF_ERROR(Cut());
  if (!input_.read_only) {
    const std::string unfinished = JoinPath(input_.directory, kUnfinishedName);
    ASSIGN_OR_RETURN(const bool exists, input_.fs->Exists(unfinished));
    if (exists) RETURN_IF_ERROR(input_.fs->Remove(unfinished));
  }
  return Outcome();
}

}  // namespace

Result<RecoveryOutcome> Recover(const RecoveryInput& input, const ReplayVisitor& visitor) {
  CHECK(input.fs != nullptr);
  return RecoveryRun(input, visitor).Run();
}

}  // namespace holdfast::wal
