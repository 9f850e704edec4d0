// The writing side of the log: lays frames out in segments and makes them durable. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "wal/batch.h"
#include "wal/history_state.h"
#include "wal/segment_set.h"

namespace holdfast::wal {

class SegmentWriter {
 public:
  SegmentWriter(const LogOptions& options, SegmentSet& segments, uint64_t random_seed);

  // Creates the first segment, durably.
  Result<void> Start(const LogState& state);
  // Makes the batch durable: fills in headers, rotates as needed. After a failure the writer must not be used again.
  Result<void> Write(Batch& batch);

  // Where the next frame would begin, if it fits. Between calls of Write.
  [[nodiscard]] LogPlace end() const { return {sequence_, position_}; }
  // Behind the last frame that ends a unit (or is a control frame). Between calls of Write.
  [[nodiscard]] LogPlace unit_end() const { return {unit_end_.sequence, unit_end_.position}; }
  [[nodiscard]] uint64_t syncs() const { return syncs_; }

 private:
  // Everything needed to cut off an unfinished unit.
  struct UnitEnd {
    uint64_t sequence = 0;
    uint64_t position = 0;
    uint64_t chain = 0;
    StreamPosition stream;
  };

  Result<void> StartSegment(uint64_t sequence, uint64_t previous_end, uint64_t chain);
  Result<SegmentSet::Spare> ProvideFile(std::unique_ptr<File>* file);
  Result<void> CutUnfinishedUnit();
  // Places frames [from, returned) in the present segment.
  size_t Place(Batch& batch, size_t from);
  void LayFrame(Batch& batch, BatchFrame& frame);
  Result<void> WriteRun(Batch& batch, size_t from, size_t to);
  void RememberTail(const AlignedBuffer& written, uint64_t written_from);

  const LogOptions& options_;
  SegmentSet& segments_;
  SeededRandom random_;

  std::unique_ptr<File> file_;
  uint64_t sequence_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t file_size_ = 0;
  uint64_t position_ = 0;    // of the next frame
  uint64_t frames_end_ = 0;  // behind the last frame; less than position_ where batches are padded
  uint64_t chain_ = 0;
  HistoryState state_;  // at position_
  UnitEnd unit_end_;
  AlignedBuffer tail_;  // what the file's block at position_ holds before it
  AlignedBuffer scratch_;
  uint64_t indexed_position_ = 0;
  uint64_t syncs_ = 0;
};

}  // namespace holdfast::wal
