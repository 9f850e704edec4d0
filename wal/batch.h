// Frames on their way to disk: filled by the executor, written by one thread, then published by the executor.
//
// The bytes lie as they will lie in the file, room for headers included, so that a batch is written where it stands.
// `prefix` bytes at the front are room for the earlier bytes of the file's last block (direct writes start at blocks).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "wal/frame.h"
#include "wal/history_state.h"

namespace holdfast::wal {

struct BatchFrame {
  HistoryFrame history;  // payload is set by the writer; digest once digested
  size_t start = 0;      // of the header, in the batch's bytes
  size_t payload_size = 0;
  HistoryDigest digest;   // state at the payload's end, once digested
  uint64_t sequence = 0;  // set by the writer: segment ...
  uint64_t position = 0;  // ... and file position of the header
};

class Batch {
 public:
  // Empties it. `prefix` is a multiple of kFrameAlignment below kDirectAlignment.
  void Reset(size_t prefix);
  [[nodiscard]] bool empty() const { return frames_.empty() && !abandon_first_; }
  [[nodiscard]] size_t payload_bytes() const { return payload_bytes_; }

  // A new frame; more units may join it if `shared`. history.payload is copied.
  void Add(const HistoryFrame& history, bool shared);
  // A frame whose digest is known: everything before it must have been digested (Digest), `digest` is that of its end.
  void AddDigested(const HistoryFrame& history, const HistoryDigest& digest);
  // Adds a unit to the last frame if that is open, has the same time, and stays within `payload_max`.
  bool Join(std::string_view unit, int16_t db_after, int64_t time_ms, size_t payload_max);
  // Drops all frames from stream offset `unit_start` on that are parts of one unit at the end.
  void DropUnfinishedUnit(uint64_t unit_start);
  // Continues `digest` over what was added since the last call, and notes the digests of frames.
  void Digest(HistoryDigest& digest);

  // The unit that earlier batches began is to be cut off before these frames are written.
  void set_abandon_first() { abandon_first_ = true; }
  [[nodiscard]] bool abandon_first() const { return abandon_first_; }

  [[nodiscard]] std::vector<BatchFrame>& frames() { return frames_; }
  [[nodiscard]] AlignedBuffer& bytes() { return bytes_; }
  [[nodiscard]] size_t prefix() const { return prefix_; }

 private:
  AlignedBuffer bytes_;
  size_t prefix_ = 0;
  std::vector<BatchFrame> frames_;
  size_t payload_bytes_ = 0;
  bool last_is_open_ = false;
  bool abandon_first_ = false;
  size_t digest_frame_ = 0;  // first frame not wholly digested ...
  size_t digest_bytes_ = 0;  // ... and how much of its payload is
};

}  // namespace holdfast::wal
