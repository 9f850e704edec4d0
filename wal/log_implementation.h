// The live log: wal/log.h's contract over batches, a writer and the shared set of segments. Included by log.cpp and
// cursor.cpp only.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "wal/batch.h"
#include "wal/history_state.h"
#include "wal/log.h"
#include "wal/segment_set.h"
#include "wal/segment_writer.h"

namespace holdfast::wal {

class LogImplementation : public Log {
 public:
  LogImplementation(LogOptions options, uint64_t segment_bytes);

  Result<void> Start(const LogState& state);

  [[nodiscard]] uint64_t AppendedOffset() const override { return head_.end.offset; }
  [[nodiscard]] int SelectedDb() const override { return head_.end.selected_db; }
  [[nodiscard]] uint64_t MaxUnitBytes() const override { return options_.max_unit_bytes; }
  uint64_t AppendUnit(std::string_view stream_bytes, int db_after, int64_t now_ms) override;
  Result<void> AppendFrame(const HistoryFrame& frame) override;
  [[nodiscard]] int64_t TimeOfNext(int64_t now_ms) const override { return std::max(now_ms, head_.end.time_ms); }
  void AbandonUnit() override;
  [[nodiscard]] bool InsideUnit() const override { return head_.inside_unit; }
  [[nodiscard]] uint64_t UnitsEnd() const override { return head_.inside_unit ? unit_start_.offset : head_.end.offset; }
  void AppendControl(FrameKind kind, std::string_view payload, int64_t now_ms) override;
  void StartLineage(std::string id, int64_t now_ms) override;
  [[nodiscard]] const Lineage& lineage() const override { return head_.lineage; }
  [[nodiscard]] const std::string& role() const override { return head_.role; }
  [[nodiscard]] const std::string& membership() const override { return head_.membership; }
  [[nodiscard]] StreamPosition EndPosition() override;

  [[nodiscard]] bool HasPending() const override { return !pending_.empty(); }
  [[nodiscard]] size_t PendingBytes() const override { return pending_.payload_bytes(); }
  [[nodiscard]] bool InFlight() const override { return in_flight_; }
  void Seal() override;
  Result<void> WriteBatch() override;
  void FinishBatch() override;
  [[nodiscard]] uint64_t DurableOffset() const override { return durable_offset_.load(std::memory_order_acquire); }
  bool AppendDurableMark() override;

  [[nodiscard]] uint64_t FirstOffset() const override { return segments_.FirstOffset(); }
  [[nodiscard]] LogStart Beginning() const override { return segments_.Beginning(); }
  std::unique_ptr<Pin> PinFrom(uint64_t offset) override;
  Result<void> Trim(uint64_t checkpoint_offset, uint64_t backlog_bytes) override {
    return segments_.Trim(checkpoint_offset, backlog_bytes);
  }
  Result<void> PrepareSpare() override { return segments_.PrepareSpare(); }
  [[nodiscard]] bool SpareReady() const override { return segments_.SpareReady(); }
  [[nodiscard]] LogStats Stats() const override;
  [[nodiscard]] const LogOptions& options() const override { return options_; }

  [[nodiscard]] SegmentSet& segments() { return segments_; }

 private:
  [[nodiscard]] HistoryFrame NextFrame(FrameKind kind, int64_t now_ms) const;
  // Written by the executor alone: no locked instruction needed.
  void CountAppended(uint64_t bytes) {
    appended_bytes_.store(appended_bytes_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }
  void AppendParts(HistoryFrame frame, std::string_view bytes);
  std::vector<RingEntry> RingEntries();
#ifdef HOLDFAST_PLANTED_BUGS
  void ShipSealed();
  bool shipped_ = false;
#endif

  const LogOptions options_;
  SegmentSet segments_;
  SegmentWriter writer_;
  const size_t payload_max_;  // of frames made here; a peer's may be larger

  // ---- executor ----
  HistoryState head_;             // the appended end; its digest lags behind until the pending batch is digested
  StreamPosition unit_start_;     // while inside a unit: where that began
  bool unit_was_sealed_ = false;  // ... and parts of it are in a batch that is no longer pending
  Batch pending_;
  bool in_flight_ = false;
  bool marked_ = true;  // the newest frames are covered by a durable mark that is on its way

  // ---- the batch in flight: executor, then the writing thread, then executor ----
  Batch sealed_;
  uint64_t sealed_unit_end_ = 0;
  std::optional<Error> failure_;

  std::atomic<bool> written_ = false;  // WriteBatch succeeded, FinishBatch is due
  std::atomic<uint64_t> durable_offset_ = 0;
  std::atomic<uint64_t> batches_ = 0;
  std::atomic<uint64_t> syncs_ = 0;
  std::atomic<uint64_t> sync_us_total_ = 0;
  std::atomic<uint64_t> sync_us_max_ = 0;
  std::atomic<uint64_t> appended_bytes_ = 0;
};

}  // namespace holdfast::wal
