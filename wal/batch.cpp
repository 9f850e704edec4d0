#include "wal/batch.h"

#include <algorithm>

#include "storage/base/check.h"

namespace holdfast::wal {
namespace {

// A buffer that one giant value blew up is given back.
constexpr size_t kKeptCapacityMax = 8 << 20;

}  // namespace

void Batch::Reset(size_t prefix) {
  CHECK(prefix % kFrameAlignment == 0 && prefix < kDirectAlignment);
  if (bytes_.capacity() > kKeptCapacityMax) bytes_ = AlignedBuffer();
  bytes_.Clear();
  bytes_.Resize(prefix);
  prefix_ = prefix;
  frames_.clear();
  payload_bytes_ = 0;
  last_is_open_ = false;
  abandon_first_ = false;
  digest_frame_ = 0;
  digest_bytes_ = 0;
}

void Batch::Add(const HistoryFrame& history, bool shared) {
  const size_t start = (bytes_.size() + kFrameAlignment - 1) & ~(kFrameAlignment - 1);
  const size_t needed = start + kFrameHeaderSize + history.payload.size();
  if (needed > bytes_.capacity()) bytes_.Reserve(std::max(needed + kDirectAlignment, 2 * bytes_.capacity()));
  bytes_.Resize(start + kFrameHeaderSize);
  bytes_.Append(history.payload);
  BatchFrame& frame = frames_.emplace_back();
  frame.history = history;
  frame.history.payload = {};  // the buffer may move
  frame.start = start;
  frame.payload_size = history.payload.size();
  payload_bytes_ += history.payload.size();
  last_is_open_ = shared;
}

void Batch::AddDigested(const HistoryFrame& history, const HistoryDigest& digest) {
  Add(history, false);
  frames_.back().digest = digest;
  digest_frame_ = frames_.size();
  digest_bytes_ = 0;
}

bool Batch::Join(std::string_view unit, int16_t db_after, int64_t time_ms, size_t payload_max) {
  if (!last_is_open_) return false;
  BatchFrame& frame = frames_.back();
  if (frame.history.time_ms != time_ms || frame.payload_size + unit.size() > payload_max) return false;
  bytes_.Append(unit);
  frame.payload_size += unit.size();
  frame.history.selected_db_after = db_after;
  payload_bytes_ += unit.size();
  return true;
}

void Batch::DropUnfinishedUnit(uint64_t unit_start) {
  while (!frames_.empty()) {
    const BatchFrame& frame = frames_.back();
    const bool mark = frame.history.kind == FrameKind::kDurableMark && frame.history.offset > unit_start;
    const bool part = frame.history.kind == FrameKind::kData && frame.history.offset >= unit_start;
    if (!mark && !part) break;
    bytes_.Resize(frame.start);
    payload_bytes_ -= frame.payload_size;
    frames_.pop_back();
  }
  last_is_open_ = false;
  if (digest_frame_ > frames_.size()) digest_frame_ = frames_.size();
  digest_bytes_ = 0;
}

void Batch::Digest(HistoryDigest& digest) {
  for (; digest_frame_ < frames_.size(); digest_frame_++) {
    BatchFrame& frame = frames_[digest_frame_];
    if (frame.history.kind == FrameKind::kData) {
      const char* payload = bytes_.data() + frame.start + kFrameHeaderSize;
      digest.Update({payload + digest_bytes_, frame.payload_size - digest_bytes_});
    }
    frame.digest = digest;
    frame.history.digest = digest.Value();
    // An open frame may grow: it is looked at again from where we are.
    if (last_is_open_ && digest_frame_ + 1 == frames_.size()) {
      digest_bytes_ = frame.payload_size;
      return;
    }
    digest_bytes_ = 0;
  }
}

}  // namespace holdfast::wal
