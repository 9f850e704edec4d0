// The log: one append-only sequence of frames in segments, at once durability journal and replication stream.
//
// Life of a batch (group commit without a timer; one batch in flight):
//   executor:    AppendUnit / AppendFrame / AppendControl ...        appended_offset grows
//   executor:    if (HasPending() && !InFlight()) Seal()             the pending frames become the batch in flight
//   one thread:  WriteBatch()                                        blocks until on disk; may run anywhere
//   executor:    FinishBatch()                                       durable_offset grows; ring and watchers see it
// The executor may append all the while. A failed WriteBatch is final (fail-stop): the caller reports and exits;
// nothing appended afterwards is ever acknowledged.
//
// Segments: <sequence, 20 digits>-<first offset, 20 digits>.log, born complete (header synced under another name,
// renamed, directory synced), zero-filled ahead, recycled with a fresh incarnation when nobody else links or reads
// them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/result.h"
#include "storage/effects/effect_sink.h"
#include "storage/stream_position.h"
#include "wal/frame.h"
#include "wal/lineage.h"

namespace holdfast::wal {

struct LogOptions {
  std::string directory;  // gen-<n>/wal
  uint64_t segment_bytes = 64ull << 20;
  uint64_t ring_bytes = 16ull << 20;  // newest durable frames kept in memory for replicas
  uint64_t max_unit_bytes = 1ull << 30;
  bool tail_rewrite = true;  // false: pad each batch to the next block instead
  FileSystem* fs = nullptr;
  Clock* clock = nullptr;
  Random* random = nullptr;
};

// What the log's end looks like: result of recovery, or the start of a new log.
struct LogState {
  StreamPosition end;  // digest, db, time at the end
  Lineage lineage;
  std::string role;        // payload of the newest role frame, "" none yet
  std::string membership;  // payload of the newest membership frame
  uint64_t next_sequence = 1;
  uint64_t chain = 0;         // checksum of the last frame's header; 0 at the start of a new log
  uint64_t previous_end = 0;  // file position where the segment before ends; 0 at the start of a new log
};

// One durable frame, shared by all who send it. `bytes` is the payload.
struct SharedFrame {
  HistoryFrame history;  // history.payload views `bytes`
  std::string bytes;
};

// Where the log begins: the oldest stream offset still in segments, and the history digest there.
struct LogStart {
  uint64_t offset = 0;
  uint64_t digest = 0;
};

struct LogStats {
  uint64_t segments = 0;
  uint64_t file_bytes = 0;     // of all segments, the spare included
  uint64_t first_offset = 0;   // oldest stream offset still there
  uint64_t batches = 0;        // WriteBatch calls that succeeded
  uint64_t syncs = 0;          // durable writes
  uint64_t sync_us_total = 0;  // time spent in WriteBatch
  uint64_t sync_us_max = 0;
  uint64_t appended_bytes = 0;  // stream bytes since the start of the process
};

class Log : public EffectSink {
 public:
  // Starts appending after `state` in a new segment, which is durable when this returns. Recovery (wal/recovery.h) made
  // the state; for a new log, or one that begins after a snapshot, the caller fills it in (`lineage` included).
  // A recovered state is passed as it is: a new id is StartLineage's business, so that it is in the log.
  // Creates the directory if it is missing. kCorruption if segments before the state's are damaged.
  static Result<std::unique_ptr<Log>> Open(LogOptions options, LogState state);

  // ---- appending (executor) ----
  [[nodiscard]] uint64_t AppendedOffset() const override = 0;
  [[nodiscard]] int SelectedDb() const override = 0;
  uint64_t AppendUnit(std::string_view stream_bytes, int db_after, int64_t now_ms) override = 0;
  // The time that a unit appended now would get: never before that of the last one.
  [[nodiscard]] virtual int64_t TimeOfNext(int64_t now_ms) const = 0;
  // A frame from a peer, verbatim history. kCorruption if it does not continue our end exactly (offset, digest, db,
  // parts); kLimit if its unit grows beyond max_unit_bytes. Nothing is appended then.
  virtual Result<void> AppendFrame(const HistoryFrame& frame) = 0;
  // Parts of a unit were appended whose end will not come (the peer is gone): the appended end goes back to the last
  // unit end. What was written of it is cut off by starting a new segment with the next batch.
  virtual void AbandonUnit() = 0;
  [[nodiscard]] virtual bool InsideUnit() const = 0;
  // The end of the last whole unit: all that can have been seen. The appended end, unless inside a unit.
  [[nodiscard]] virtual uint64_t UnitsEnd() const = 0;
  // A control frame at the current end, between units. kLineage takes a serialized Lineage, which becomes lineage();
  // kRole and kMembership at most kStickyPayloadMax bytes, kept beyond the segment's life.
  virtual void AppendControl(FrameKind kind, std::string_view payload, int64_t now_ms) = 0;
  // New id from the current end on (promotion): pushes to lineage() and appends the lineage frame. The frame has the
  // time of the stream's end, not `now_ms`: if this node goes back to an older master of which it lacks nothing, that
  // one's next frame may be older than the promotion, and must not seem to go back in time.
  virtual void StartLineage(std::string id, int64_t now_ms) = 0;
  [[nodiscard]] virtual const Lineage& lineage() const = 0;
  // Payloads of the newest role and membership frames, "" if there was none.
  [[nodiscard]] virtual const std::string& role() const = 0;
  [[nodiscard]] virtual const std::string& membership() const = 0;
  // The position at the appended end (what FreezeActive wants, at a unit end). Digests what was not digested yet.
  [[nodiscard]] virtual StreamPosition EndPosition() = 0;

  // ---- group commit ----
  [[nodiscard]] virtual bool HasPending() const = 0;      // executor
  [[nodiscard]] virtual size_t PendingBytes() const = 0;  // executor
  [[nodiscard]] virtual bool InFlight() const = 0;        // executor
  virtual void Seal() = 0;  // executor; CHECKs HasPending && !InFlight (a failed batch stays in flight for ever)
  virtual Result<void> WriteBatch() = 0;  // one thread at a time
  virtual void FinishBatch() = 0;         // executor, after WriteBatch returned ok
  // Offset up to which whole units are on disk. Readable from any thread.
  [[nodiscard]] virtual uint64_t DurableOffset() const = 0;
  // For idle moments (10 ms without appends) and clean stop: appends a durable mark if the newest frames are not yet
  // covered by one. Returns whether it appended something.
  virtual bool AppendDurableMark() = 0;

  // ---- reading ----
  // Oldest stream offset still in segments.
  [[nodiscard]] virtual uint64_t FirstOffset() const = 0;
  [[nodiscard]] virtual LogStart Beginning() const = 0;

  // ---- retention ----
  // A pin keeps everything from an offset on until it is destroyed. Any thread.
  class Pin {
   public:
    virtual ~Pin() = default;
    virtual void MoveTo(uint64_t offset) = 0;
  };
  virtual std::unique_ptr<Pin> PinFrom(uint64_t offset) = 0;
  // Deletes or recycles whole segments that lie below `checkpoint_offset`, below every pin, and below
  // DurableOffset() - `backlog_bytes`. Background thread or executor; does file work.
  virtual Result<void> Trim(uint64_t checkpoint_offset, uint64_t backlog_bytes) = 0;
  // Prepares the spare segment (zero-filled) if there is none; background thread.
  virtual Result<void> PrepareSpare() = 0;
  [[nodiscard]] virtual bool SpareReady() const = 0;

  [[nodiscard]] virtual LogStats Stats() const = 0;
  [[nodiscard]] virtual const LogOptions& options() const = 0;
};

// Reads durable frames of a live log in order, from the ring if possible, else from files (never mmap), verified.
// Any one thread. Control frames other than kDurableMark are returned, too, in their place.
class LogCursor {
 public:
  virtual ~LogCursor() = default;
  // Next() then gives what comes after `offset`, the control frames that stand exactly at `offset` included (a peer may
  // have seen them already). If `offset` is inside a frame, the frame's payload is cut to start there, its digest is
  // still that of its end. `offset` should be a unit end: else what is selected there is kSelectedDbUnknown.
  // kNotFound if the log no longer holds it, kOutOfRange beyond the durable end.
  virtual Result<void> Seek(uint64_t offset) = 0;
  // The next durable frame, or nullptr if there is none yet. Only frames of whole units are given. kNotFound if the
  // segment was trimmed meanwhile.
  virtual Result<std::shared_ptr<const SharedFrame>> Next() = 0;
  [[nodiscard]] virtual uint64_t NextOffset() const = 0;
};
// The cursor must not outlive the log. While a cursor exists, durable frames are kept in the ring.
std::unique_ptr<LogCursor> OpenCursor(Log& log);

}  // namespace holdfast::wal
