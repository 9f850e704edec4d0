// Reads a log from its files, whole units in order, also while a server appends to it. Writes nothing.
//
// Beside a server only what is provably durable is given: the frames below the newest durable mark. A server that is
// idle for some milliseconds writes such a mark, so what was acknowledged is seen soon after.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tool_input.h"
#include "storage/base/file.h"
#include "storage/base/result.h"
#include "wal/history_state.h"
#include "wal/log_walk.h"
#include "wal/segment_reader.h"

namespace holdfast::cli {

struct LogFrame {
  const wal::HistoryFrame* history;  // payload lives until the next call
  size_t size_on_disk;
  std::string_view file;
  uint64_t position;  // in the file
  uint64_t durable_mark;
  int64_t previous_time_ms;
};

// How long is looked again beside a server that removes segments between listing and opening them: the fewer turns the
// tool gets, the oftener they are gone.
inline constexpr std::chrono::seconds kGonePatience{10};
inline constexpr std::chrono::milliseconds kGonePause{20};

class LogReader {
 public:
  // The segments of a directory, or one file alone, which ends where the one behind it in its directory says. `live`: a
  // server may be appending.
  static Result<std::unique_ptr<LogReader>> Open(FileSystem& fs, const ToolInput& input, bool live);

  [[nodiscard]] const std::vector<wal::LogFile>& files() const { return files_; }
  // Header of one of them, read now.
  Result<wal::SegmentHeader> Header(size_t file) const;
  [[nodiscard]] bool empty() const { return files_.empty(); }
  // Offset at which the oldest segment begins; only if not empty.
  [[nodiscard]] uint64_t first_offset() const { return files_.front().numbers.first_offset; }

  // Next() then begins with the segment that holds `offset` (the first one if that is later); frames before `offset`
  // come, too. Of time: the last segment that begins before it.
  Result<void> SeekOffset(uint64_t offset);
  Result<void> SeekTime(int64_t time_ms);
  // As SeekOffset, for who wants only what follows `wanted`, soon: the frames before it are not read where that can be
  // avoided (jumped() then says so), and what lies behind the log's end is not looked at everywhere. Lineage, role and
  // membership are then those at the segment's beginning, and kCorruption may be said of a log that is whole: it means
  // that all must be read. Call it once, before anything is read.
  Result<void> SeekPosition(const StreamPosition& wanted);
  [[nodiscard]] bool jumped() const { return jumped_; }
  // The next frame; nullopt at the end of what is there. kCorruption: a frame that should be there is damaged.
  Result<std::optional<LogFrame>> Next();
  // After nullopt: looks for what was appended meanwhile.
  Result<void> Refresh();
  // Why the last segment ends where it does, if something unreadable follows; for people.
  [[nodiscard]] const std::optional<Error>& end_reason() const { return end_reason_; }

  // Where the frames given so far end.
  [[nodiscard]] const wal::HistoryState& state() const { return state_.history; }
  // Bytes of files read and to be read from where the last seek began.
  [[nodiscard]] uint64_t done_bytes() const { return done_bytes_ + (position_ - wal::kSegmentHeaderSize); }
  [[nodiscard]] uint64_t total_bytes() const { return total_bytes_; }

 private:
  LogReader(FileSystem& fs, ToolInput input, bool live) : fs_(fs), input_(std::move(input)), live_(live) {}
  Result<void> List();
  Result<void> ListAgain();
  Result<void> Again(const std::function<Result<void>()>& look);
  Result<void> SeekOffsetOnce(uint64_t offset);
  Result<void> SeekTimeOnce(int64_t time_ms);
  Result<void> OpenFile(size_t index, bool continues);
  Result<void> Jump();
  Result<void> FindLimit();
  Result<bool> FindEndOfSegment();
  Result<std::optional<LogFrame>> NextInFile();

  FileSystem& fs_;
  const ToolInput input_;
  const bool live_;
  std::vector<wal::LogFile> files_;
  size_t current_ = 0;
  std::unique_ptr<wal::SegmentReader> reader_;  // of files_[current_]; null before the first
  uint64_t position_ = wal::kSegmentHeaderSize;
  uint64_t limit_ = 0;                    // frames are given up to here
  bool limit_is_end_ = false;             // the next segment says so
  std::optional<StreamPosition> wanted_;  // while SeekPosition seeks
  bool jumped_ = false;
  wal::WalkState state_;
  std::optional<Error> end_reason_;
  std::optional<Error> broken_next_;  // why the segment behind the open one cannot be read
  wal::HistoryFrame frame_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

// One whole unit (or several that share a frame), or a control frame.
struct LogUnits {
  wal::FrameKind kind = wal::FrameKind::kData;
  uint64_t offset = 0;
  int selected_db = -1;
  int64_t time_ms = 0;
  std::string_view bytes;
  std::string_view file;
  uint64_t position = 0;  // of the (first) frame
  // Where the stream stands behind them.
  const wal::HistoryState* state = nullptr;
};

// Joins the parts of units. An unfinished unit at the end is not given.
class UnitReader {
 public:
  explicit UnitReader(LogReader& log) : log_(log) {}
  Result<std::optional<LogUnits>> Next();
  // Bytes of an unfinished unit read so far.
  [[nodiscard]] uint64_t unfinished_bytes() const { return unit_.size(); }

 private:
  LogReader& log_;
  bool inside_ = false;
  std::string unit_;
  std::string unit_file_;
  LogUnits head_;
};

// One effect of a unit.
struct LogEffect {
  uint64_t offset = 0;      // of its first byte
  uint64_t unit_start = 0;  // the unit's first byte (its SELECT, if it has one) ...
  uint64_t unit_end = 0;    // ... and behind its last
  int db = -1;
  int64_t time_ms = 0;
  bool in_transaction = false;
  size_t bytes = 0;
  const std::vector<std::string_view>* arguments = nullptr;
  const LogUnits* units = nullptr;
};
// Calls `visit` for each effect but SELECT, MULTI and EXEC, until it returns false. kCorruption if the bytes are no
// units.
Result<bool> VisitEffects(const LogUnits& units, const std::function<Result<bool>(const LogEffect&)>& visit);

}  // namespace holdfast::cli
