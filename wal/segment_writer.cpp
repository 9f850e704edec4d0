#include "wal/segment_writer.h"

#include <algorithm>
#include <cstring>

#include "storage/base/check.h"
#include "storage/planted_bug.h"

namespace holdfast::wal {
namespace {

// A segment made while writers wait is kept small, so that they do not wait for much zero-filling.
constexpr uint64_t kInlineSegmentMax = 4 << 20;
constexpr uint64_t kIndexInterval = 1 << 20;
constexpr size_t kKeptScratchMax = 8 << 20;

constexpr uint64_t RoundDown(uint64_t position) { return position / kDirectAlignment * kDirectAlignment; }
constexpr uint64_t RoundUp(uint64_t position) { return RoundDown(position + kDirectAlignment - 1); }

// Bugs of a log that writes first and syncs then.
bool PlantedSync() {
  return Planted(PlantedBug::kLogNotSynced) || Planted(PlantedBug::kSyncErrorSwallowed) ||
         Planted(PlantedBug::kFailedSyncRetried);
}

// Durable when it returns: segments are opened for direct, synced writes.
Result<void> WriteFrames(File& file, uint64_t position, std::string_view bytes) {
  RETURN_IF_ERROR(file.WriteAt(position, bytes));
  if (!PlantedSync() || Planted(PlantedBug::kLogNotSynced)) return {};
  if (file.Sync().ok() || Planted(PlantedBug::kSyncErrorSwallowed)) return {};
  return file.Sync();
}

}  // namespace

SegmentWriter::SegmentWriter(const LogOptions& options, SegmentSet& segments, uint64_t random_seed)
    : options_(options), segments_(segments), random_(random_seed), tail_(kDirectAlignment) {}

Result<void> SegmentWriter::Start(const LogState& state) {
  state_.end = state.end;
  state_.end.lineage_id.clear();
  state_.lineage = state.lineage;
  state_.role = state.role;
  state_.membership = state.membership;
  return StartSegment(state.next_sequence, state.previous_end, state.chain);
}

// A file to become a segment: the spare, or one made here.
Result<SegmentSet::Spare> SegmentWriter::ProvideFile(std::unique_ptr<File>* file) {
  if (std::optional<SegmentSet::Spare> spare = segments_.TakeSpare()) {
    ASSIGN_OR_RETURN(*file, options_.fs->Open(spare->path, {.mode = OpenMode::kWrite, .direct_sync = !PlantedSync()}));
    return *std::move(spare);
  }
  SegmentSet::Spare made;
  made.path = JoinPath(options_.directory, kUnfinishedName);
  made.size = std::min(segments_.segment_bytes(), kInlineSegmentMax);
  ASSIGN_OR_RETURN(*file,
                   options_.fs->Open(made.path, {.mode = OpenMode::kCreateOrReplace, .direct_sync = !PlantedSync()}));
  RETURN_IF_ERROR(FillWithZeros(**file, 0, made.size));
  return made;
}

Result<void> SegmentWriter::StartSegment(uint64_t sequence, uint64_t previous_end, uint64_t chain) {
  file_.reset();
  ASSIGN_OR_RETURN(const SegmentSet::Spare source, ProvideFile(&file_));
  SegmentHeader header;
  header.sequence = sequence;
  header.incarnation = random_.Next();
  header.chain = chain;
  header.previous_end = previous_end;
  header.recycled = source.recycled;
  header.state = state_;
  AlignedBuffer block;
  block.Resize(kSegmentHeaderSize);
  chain_ = WriteSegmentHeader(block.data(), header);
  RETURN_IF_ERROR(file_->WriteAt(0, block.view()));
  RETURN_IF_ERROR(file_->Sync());
  // The name is what makes the file part of the log: header first, then the name, then frames.
  Segment segment;
  segment.sequence = sequence;
  segment.first_offset = state_.end.offset;
  segment.first_digest = state_.end.digest.Value();
  segment.path = JoinPath(options_.directory, SegmentName(sequence, state_.end.offset));
  segment.file_size = source.size;
  RETURN_IF_ERROR(options_.fs->Rename(source.path, segment.path));
  if (!Planted(PlantedBug::kDirectoryNotSynced)) RETURN_IF_ERROR(options_.fs->SyncDirectory(options_.directory));
  if (source.path == JoinPath(options_.directory, kSpareName)) segments_.SpareGone();
  segments_.Add(std::move(segment));
  sequence_ = sequence;
  incarnation_ = header.incarnation;
  file_size_ = source.size;
  position_ = frames_end_ = kSegmentHeaderSize;
  indexed_position_ = kSegmentHeaderSize;
  tail_.Clear();
  syncs_ += 2;
  if (!state_.inside_unit) unit_end_ = {sequence_, position_, chain_, state_.end};
  return {};
}

Result<void> SegmentWriter::CutUnfinishedUnit() {
  CHECK(state_.inside_unit);
  // Newest first, each removal durable before the next: a crash leaves a log that only lacks its end.
  for (uint64_t sequence = sequence_; sequence > unit_end_.sequence; sequence--) {
    const std::optional<Segment> last = segments_.Last();
    CHECK(last && last->sequence == sequence);
    file_.reset();
    RETURN_IF_ERROR(options_.fs->Remove(last->path));
    RETURN_IF_ERROR(options_.fs->SyncDirectory(options_.directory));
    segments_.RemoveAfter(sequence - 1);
  }
  segments_.EndLast(unit_end_.position);
  state_.end = unit_end_.stream;
  state_.inside_unit = false;
  const UnitEnd at = unit_end_;
  return StartSegment(at.sequence + 1, at.position, at.chain);
}

size_t SegmentWriter::Place(Batch& batch, size_t from) {
  uint64_t position = position_;
  size_t to = from;
  for (; to < batch.frames().size(); to++) {
    const uint64_t size = FrameSizeOnDisk(batch.frames()[to].payload_size);
    // A frame larger than any segment makes its segment larger.
    const bool alone = position == kSegmentHeaderSize;
    if (position + size > file_size_ && !alone) break;
    batch.frames()[to].sequence = sequence_;
    batch.frames()[to].position = position;
    position += size;
  }
  return to;
}

void SegmentWriter::LayFrame(Batch& batch, BatchFrame& frame) {
  char* header = batch.bytes().data() + frame.start;
  frame.history.payload = {header + kFrameHeaderSize, frame.payload_size};
  LocalFields local{.incarnation = incarnation_, .chain = chain_, .durable_mark = frames_end_};
  if (Planted(PlantedBug::kVerbatimDurableMark)) local.durable_mark = frame.position;
  chain_ = WriteFrameHeader(header, frame.history, local);
  if (frame.history.kind == FrameKind::kData) {
    state_.end.offset = frame.history.EndOffset();
    state_.end.selected_db = frame.history.selected_db_after;
    state_.end.digest = frame.digest;
    state_.inside_unit = !frame.history.EndsUnit();
  } else {
    const Result<void> taken = state_.TakeControl(frame.history.kind, frame.history.offset, frame.history.payload);
    CHECK_MSG(taken.ok(), taken.error().message);
  }
  state_.end.time_ms = frame.history.time_ms;
  if (state_.inside_unit) return;
  unit_end_ = {sequence_, frame.position + FrameSizeOnDisk(frame.payload_size), chain_, state_.end};
}

void SegmentWriter::RememberTail(const AlignedBuffer& written, uint64_t written_from) {
  tail_.Clear();
  const uint64_t block = RoundDown(position_);
  if (block == position_) return;
  tail_.Append(
      written.view().substr(static_cast<size_t>(block - written_from), static_cast<size_t>(position_ - block)));
}

Result<void> SegmentWriter::WriteRun(Batch& batch, size_t from, size_t to) {
  BatchFrame* frames = batch.frames().data();
  const uint64_t start = position_;
  for (size_t i = from; i < to; i++) {
    LayFrame(batch, frames[i]);
    if (frames[i].history.kind == FrameKind::kData && frames[i].position >= indexed_position_ + kIndexInterval) {
      indexed_position_ = frames[i].position;
      segments_.AddIndex(sequence_, frames[i].history.offset, frames[i].position);
    }
  }
  const BatchFrame& last = frames[to - 1];
  const uint64_t end = last.position + FrameSizeOnDisk(last.payload_size);
  const uint64_t block = RoundDown(start);
  const auto lead = static_cast<size_t>(start - block);
  CHECK(tail_.size() == lead);
  // The usual batch lies as it must lie in the file; others are moved into place.
  const bool in_place = from == 0 && to == batch.frames().size() && frames[from].start == lead;
  AlignedBuffer* out = &batch.bytes();
  if (in_place) {
    if (lead != 0) std::memcpy(out->data(), tail_.data(), lead);
  } else {
    out = &scratch_;
    scratch_.Clear();
    scratch_.Reserve(static_cast<size_t>(RoundUp(end) - block));
    scratch_.Append(tail_.view());
    scratch_.Append(batch.bytes().view().substr(
        frames[from].start, last.start + kFrameHeaderSize + last.payload_size - frames[from].start));
  }
  out->Resize(static_cast<size_t>(RoundUp(end) - block));
  RETURN_IF_ERROR(WriteFrames(*file_, block, out->view()));
  syncs_++;
  if (RoundUp(end) > file_size_) {
    file_size_ = RoundUp(end);
    segments_.SetFileSize(sequence_, file_size_);
  }
  frames_end_ = end;
  position_ = options_.tail_rewrite ? end : RoundUp(end);
  RememberTail(*out, block);
  if (scratch_.capacity() > kKeptScratchMax) scratch_ = AlignedBuffer();
  return {};
}

Result<void> SegmentWriter::Write(Batch& batch) {
  if (batch.abandon_first()) RETURN_IF_ERROR(CutUnfinishedUnit());
  size_t from = 0;
  while (from < batch.frames().size()) {
    const size_t to = Place(batch, from);
    if (to == from) {
      segments_.EndLast(frames_end_);
      RETURN_IF_ERROR(StartSegment(sequence_ + 1, frames_end_, chain_));
      continue;
    }
    RETURN_IF_ERROR(WriteRun(batch, from, to));
    from = to;
  }
  return {};
}

}  // namespace holdfast::wal
