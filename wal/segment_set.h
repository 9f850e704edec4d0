// What the appender, the cursors and the background thread share: which segments there are, how far they may be read,
// the ring of newest frames, pins, and the spare file. All members are thread-safe; no file is written under the lock.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "wal/log.h"
#include "wal/segment_format.h"

namespace holdfast::wal {

// A place in the log's files.
struct LogPlace {
  uint64_t sequence = 0;
  uint64_t position = 0;
  friend auto operator<=>(const LogPlace&, const LogPlace&) = default;
};

struct Segment {
  uint64_t sequence = 0;
  uint64_t first_offset = 0;
  uint64_t first_digest = 0;  // of the history up to there
  std::string path;
  uint64_t file_size = 0;
  std::optional<uint64_t> end;  // where the frames end; nullopt: the segment is being appended to
  // Some frame starts, about one a megabyte, ascending: (stream offset, file position).
  std::vector<std::pair<uint64_t, uint64_t>> index;
};

// A durable frame in the ring.
struct RingEntry {
  LogPlace place;
  uint64_t end_position;
  std::shared_ptr<const SharedFrame> frame;
};

class SegmentSet {
 public:
  SegmentSet(const LogOptions& options, uint64_t segment_bytes);

  // ---- segments (appender) ----
  // Takes stock of what is in the directory before sequence `next`: headers are read and compared with each other.
  Result<void> LoadExisting(uint64_t next, uint64_t last_end);
  void Add(Segment segment);
  void EndLast(uint64_t position);      // the last segment's frames end there
  void RemoveAfter(uint64_t sequence);  // forgets later segments; their files are gone already
  [[nodiscard]] std::optional<Segment> Last() const;
  void SetFileSize(uint64_t sequence, uint64_t size);
  void AddIndex(uint64_t sequence, uint64_t offset, uint64_t position);

  // ---- what may be read ----
  // Frames before `end` are durable and belong to whole units up to stream offset `offset`.
  void Publish(LogPlace end, uint64_t offset, std::vector<RingEntry> entries);
  // Ring entries that cannot be read yet are void: their unit was abandoned.
  void CutRing();
  [[nodiscard]] bool HasCursors() const;
  void CursorOpened();
  void CursorClosed();

  struct Look {
    enum class What { kFrame, kFile, kNothing, kGone } what = What::kNothing;
    RingEntry entry;                         // kFrame
    std::shared_ptr<const Segment> segment;  // kFile: holding it keeps its file from being recycled
    LogPlace place;                          // kFile: where to read; may have moved on to the next segment
    uint64_t limit = 0;                      // kFile: not beyond
  };
  // What is to be read at `place`.
  [[nodiscard]] Look LookAt(LogPlace place) const;
  struct Start {
    LogPlace place;      // where to begin looking for the offset
    bool exact = false;  // the frame at `place` is the one
    uint64_t durable_offset = 0;
    uint64_t first_offset = 0;
    bool found = false;
  };
  [[nodiscard]] Start FindOffset(uint64_t offset) const;

  [[nodiscard]] uint64_t FirstOffset() const;
  [[nodiscard]] LogStart Beginning() const;
  [[nodiscard]] uint64_t segment_bytes() const { return segment_bytes_; }
  [[nodiscard]] FileSystem& file_system() const { return *options_.fs; }
  void FillStats(LogStats& stats) const;

  // ---- retention ----
  void AddPin(const uint64_t* pin);
  void RemovePin(const uint64_t* pin);
  void MovePin(uint64_t* pin, uint64_t offset);
  Result<void> Trim(uint64_t checkpoint_offset, uint64_t backlog_bytes);
  // Segments from this number on stay; UINT64_MAX: no limit. For the archive.
  void KeepFrom(uint64_t sequence);
  struct Finished {
    std::shared_ptr<const Segment> file;  // has an end
    uint64_t end_offset = 0;              // stream offset at which the next segment begins
  };
  // Segments above `sequence` that hold nothing but whole, durable units, oldest first: they never change any more.
  [[nodiscard]] std::vector<Finished> FinishedAfter(uint64_t sequence) const;

  // ---- the spare ----
  Result<void> AdoptSpare();  // at start: one left by the last process
  Result<void> PrepareSpare();
  [[nodiscard]] bool SpareReady() const;
  struct Spare {
    std::string path;
    uint64_t size = 0;
    bool recycled = false;
  };
  // The caller owns the file now, and calls SpareGone once it no longer has the spare's name.
  [[nodiscard]] std::optional<Spare> TakeSpare();
  void SpareGone();

 private:
  enum class SpareState { kNone, kPreparing, kReady };

  [[nodiscard]] std::string PathOf(std::string_view name) const;
  // Whether the ring covers look.place; sets the entry if there is one to read. Under the lock.
  bool LookInRing(Look& look) const;
  [[nodiscard]] uint64_t FirstOffsetLocked() const;
  // Takes the oldest segment off the list if it may go; sets `*recycle` if its file may become the spare.
  std::shared_ptr<const Segment> TakeTrimmable(uint64_t checkpoint_offset, uint64_t backlog_bytes, bool* recycle);
  Result<void> RetireFile(const Segment& segment, bool recycle);
  Result<void> FillSpare();
  void FinishSpare(bool ready, uint64_t size, bool recycled);

  const LogOptions& options_;
  const uint64_t segment_bytes_;
  const std::string spare_path_;

  mutable std::mutex mutex_;  // guards all below
  std::deque<std::shared_ptr<Segment>> segments_;
  LogPlace readable_end_;
  uint64_t durable_offset_ = 0;
  std::deque<RingEntry> ring_;
  uint64_t ring_bytes_ = 0;
  size_t cursors_ = 0;
  std::set<const uint64_t*> pins_;
  uint64_t keep_from_ = std::numeric_limits<uint64_t>::max();
  SpareState spare_state_ = SpareState::kNone;
  uint64_t spare_size_ = 0;
  bool spare_recycled_ = false;
};

// Writes zeros over [from, to) of a file opened with direct_sync; both aligned.
Result<void> FillWithZeros(File& file, uint64_t from, uint64_t to);

}  // namespace holdfast::wal
