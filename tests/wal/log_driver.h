// A log on some file system, driven as the executor drives it, with a model of what it must hold.
#pragma once

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "tests/support/fake_clock.h"
#include "wal/log.h"
#include "wal/recovery.h"

namespace holdfast::wal::testing {

inline constexpr uint64_t kTestSegment = 16 << 10;
inline const std::string kTestDirectory = "wal";

struct LogDriver {
  explicit LogDriver(FileSystem& file_system, uint64_t seed = 1) : fs(file_system), random(seed) {
    options.directory = kTestDirectory;
    options.segment_bytes = kTestSegment;
    options.ring_bytes = 1 << 20;
    options.fs = &fs;
    options.clock = &clock;
    options.random = &random;
  }

  // A new log with a lineage of its own.
  Result<void> Create() {
    LogState state;
    state.lineage.Reset(random.Hex(40), 0, clock.WallMs());
    return OpenAt(std::move(state));
  }
  Result<void> OpenAt(LogState state) {
    ASSIGN_OR_RETURN(log, Log::Open(options, std::move(state)));
    return {};
  }
  // Recovers from `checkpoint` and goes on appending.
  Result<RecoveryReport> Reopen() {
    log.reset();
    ASSIGN_OR_RETURN(RecoveryOutcome outcome, Replay(false));
    RETURN_IF_ERROR(OpenAt(outcome.state));
    return outcome.report;
  }
  // What recovery hands to the store goes to `replayed`.
  Result<RecoveryOutcome> Replay(bool read_only) {
    replayed.clear();
    replayed_controls.clear();
    ReplayVisitor visitor;
    visitor.units = [&](uint64_t offset, int16_t, int64_t, std::string_view units) -> Result<void> {
      if (offset != checkpoint.offset + replayed.size()) return Error{ErrorCode::kCorruption, "replay has a hole"};
      replayed += units;
      return {};
    };
    visitor.control = [&](const HistoryFrame& frame) -> Result<void> {
      replayed_controls.push_back(frame.kind);
      return {};
    };
    return Recover({.directory = options.directory, .checkpoint = checkpoint, .read_only = read_only, .fs = &fs},
                   visitor);
  }

  // Bytes that name their own offset, so that a mix-up shows.
  static std::string UnitBytes(uint64_t offset, size_t size) {
    std::string bytes = "<" + std::to_string(offset) + ">";
    while (bytes.size() < size) bytes += static_cast<char>('a' + (bytes.size() * 7 + offset) % 26);
    bytes.resize(size);
    return bytes;
  }
  void Append(size_t size, int db = 0) {
    const std::string bytes = UnitBytes(stream.size(), size);
    stream += bytes;
    const uint64_t end = log->AppendUnit(bytes, db, clock.WallMs());
    CHECK(end == stream.size());
    unit_ends.insert(end);
  }
  Result<void> Commit() {
    if (!log->HasPending()) return {};
    // Whatever the log calls durable is acknowledged, at any moment.
    log->Seal();
    acked = std::max(acked, log->DurableOffset());
    RETURN_IF_ERROR(log->WriteBatch());
    acked = std::max(acked, log->DurableOffset());
    log->FinishBatch();
    acked = log->DurableOffset();
    return {};
  }
  // The store has taken over everything durable.
  void Checkpoint() { checkpoint = log->EndPosition(); }

  FileSystem& fs;
  holdfast::testing::FakeClock clock;
  SeededRandom random;
  LogOptions options;
  std::unique_ptr<Log> log;
  std::string stream;  // all units appended, from offset 0
  std::set<uint64_t> unit_ends{0};
  uint64_t acked = 0;
  StreamPosition checkpoint;
  std::string replayed;
  std::vector<FrameKind> replayed_controls;
};

// All frames that a cursor gives from `offset` on.
inline Result<std::vector<std::shared_ptr<const SharedFrame>>> ReadAll(LogCursor& cursor) {
  std::vector<std::shared_ptr<const SharedFrame>> frames;
  while (true) {
    ASSIGN_OR_RETURN(std::shared_ptr<const SharedFrame> frame, cursor.Next());
    if (frame == nullptr) return frames;
    frames.push_back(std::move(frame));
  }
}

}  // namespace holdfast::wal::testing
