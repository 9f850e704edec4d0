// Checks a log without changing it, and goes on behind damage where that is possible.
#include <optional>
#include <utility>

#include "wal/log_walk.h"
#include "wal/recovery.h"
#include "wal/segment_reader.h"

namespace holdfast::wal {
namespace {

constexpr size_t kWindow = 2 << 20;

struct VerifyRun {
  FileSystem& fs;
  const std::function<void(const Finding&)>& report_finding;
  RecoveryReport report;
  uint64_t whole_units_end = 0;

  void Damage(const std::string& file, uint64_t position, std::string message) const {
    report_finding({.file = file, .position = position, .message = std::move(message), .torn = false});
  }

  // The end of the last segment: torn, or damaged below a durable mark.
  Result<void> JudgeEnd(SegmentReader& reader, const WalkEnd& end) {
    ASSIGN_OR_RETURN(const BehindBreak behind, LookBehindBreak(reader, end.bad));
    if (behind.durable_mark > end.bad) {
      Damage(reader.path(), end.bad,
             end.broken->message + "; a later frame at byte " + std::to_string(behind.mark_position) +
                 " proves that all was durable up to byte " + std::to_string(behind.durable_mark));
      return {};
    }
    if (behind.torn_end <= end.position) return {};
    report.cut_bytes = behind.torn_end - end.position;
    report.cut_segment = reader.header().sequence;
    report.cut_position = end.position;
    report_finding({.file = reader.path(),
                    .position = end.bad,
                    .message = "a torn end of " + std::to_string(report.cut_bytes) + " bytes: " + end.broken->message,
                    .torn = true});
    return {};
  }

  // Walks one segment. `limit` is where the next one says that this one ends; nullopt: it is the last.
  Result<bool> Walk(SegmentReader& reader, std::optional<uint64_t> limit, WalkState& state) {
    const auto visit = [&](const StreamPosition& before, const ParsedFrame& frame, uint64_t) -> Result<void> {
      report.frames++;
      report.replayed_bytes += frame.history.EndOffset() - before.offset;
      if (frame.history.kind == FrameKind::kData && frame.history.EndsUnit()) report.units++;
      if (!state.history.inside_unit) whole_units_end = state.history.end.offset;
      return {};
    };
    ASSIGN_OR_RETURN(const WalkEnd end,
                     WalkFrames(reader, kSegmentHeaderSize, limit.value_or(reader.file_size()), state, visit));
    if (!limit) {
      if (end.broken) RETURN_IF_ERROR(JudgeEnd(reader, end));
      return true;
    }
    if (!end.broken && end.position == *limit) return true;
    Damage(reader.path(), end.bad,
           (end.broken ? end.broken->message : std::string("a frame crosses the segment's end")) +
               "; the next segment proves that all was durable up to byte " + std::to_string(*limit));
    return false;
  }
};

}  // namespace

Result<RecoveryReport> VerifyLog(FileSystem& fs, const std::string& directory,
                                 const std::function<void(const Finding&)>& finding) {
  ASSIGN_OR_RETURN(const std::vector<LogFile> files, ListLogFiles(fs, directory));
  VerifyRun run{.fs = fs, .report_finding = finding, .report = {}};
  run.report.log_was_empty = files.empty();
  // By segment, where its header is good: there may be more of them than files can be open.
  std::vector<std::optional<uint64_t>> previous_ends(files.size());
  for (size_t i = 0; i < files.size(); i++) {
    const Result<std::unique_ptr<SegmentReader>> reader =
        SegmentReader::Open(fs, files[i].path, true, kSegmentHeaderSize);
    if (reader.ok()) {
      previous_ends[i] = (*reader)->header().previous_end;
    } else if (reader.error().code == ErrorCode::kIo) {
      return reader.error();
    } else {
      run.Damage(files[i].path, 0, reader.error().message);
    }
    if (i > 0 && files[i].numbers.sequence != files[i - 1].numbers.sequence + 1) {
      run.Damage(files[i].path, 0,
                 "the segment before it is not number " + std::to_string(files[i].numbers.sequence - 1));
    }
  }
  WalkState state;
  bool continues = false;  // `state` is the end of the segment before
  for (size_t i = 0; i < files.size(); i++) {
    if (!previous_ends[i]) {
      continues = false;
      continue;
    }
    Result<std::unique_ptr<SegmentReader>> opened = SegmentReader::Open(fs, files[i].path, true, kWindow);
    if (!opened.ok()) return std::move(opened).error();  // it was good a moment ago
    SegmentReader* reader = opened->get();
    const Result<void> fits = CheckSegmentStart(*reader, files[i], continues ? &state : nullptr);
    if (!fits.ok()) run.Damage(files[i].path, 0, fits.error().message);
    state = {.history = reader->header().state, .chain = reader->header_checksum()};
    if (!state.history.inside_unit) run.whole_units_end = state.history.end.offset;
    std::optional<uint64_t> limit;
    if (i + 1 < files.size()) limit = previous_ends[i + 1].value_or(reader->file_size());
    ASSIGN_OR_RETURN(continues, run.Walk(*reader, limit, state));
  }
  run.report.dropped_unit_bytes = state.history.end.offset - std::min(state.history.end.offset, run.whole_units_end);
  return run.report;
}

}  // namespace holdfast::wal
