#include "wal/segment_set.h"

#include <algorithm>
#include <limits>

#include "storage/base/check.h"
#include "storage/base/diag.h"
#include "storage/planted_bug.h"
#include "wal/segment_reader.h"

namespace holdfast::wal {
namespace {

constexpr size_t kZeroPiece = 1 << 20;

}  // namespace

Result<void> FillWithZeros(File& file, uint64_t from, uint64_t to) {
  AlignedBuffer zeros;
  zeros.Resize(static_cast<size_t>(std::min<uint64_t>(kZeroPiece, to - from)));
  while (from < to) {
    const uint64_t piece = std::min<uint64_t>(zeros.size(), to - from);
    RETURN_IF_ERROR(file.WriteAt(from, zeros.view().substr(0, static_cast<size_t>(piece))));
    from += piece;
  }
  return {};
}

SegmentSet::SegmentSet(const LogOptions& options, uint64_t segment_bytes)
    : options_(options), segment_bytes_(segment_bytes), spare_path_(JoinPath(options.directory, kSpareName)) {}

std::string SegmentSet::PathOf(std::string_view name) const { return JoinPath(options_.directory, name); }

// --- Segments -----------------------------------------------------------------------------------------------------

Result<void> SegmentSet::LoadExisting(uint64_t next, uint64_t last_end) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, options_.fs->List(options_.directory));
  std::deque<std::shared_ptr<Segment>> found;
  for (const std::string& name : names) {
    const std::optional<SegmentNumbers> numbers = ParseSegmentName(name);
    if (!numbers || numbers->sequence == next) continue;
    if (numbers->sequence > next) {
      return Error{ErrorCode::kAlreadyExists, PathOf(name) + " lies beyond the log's end; run recovery first"};
    }
    ASSIGN_OR_RETURN(const std::unique_ptr<SegmentReader> reader,
                     SegmentReader::Open(*options_.fs, PathOf(name), false, kSegmentHeaderSize));
    if (!found.empty()) found.back()->end = reader->header().previous_end;
    if (!found.empty() && found.back()->sequence + 1 != numbers->sequence) {
      return Error{ErrorCode::kCorruption, PathOf(name) + ": the segment before it is missing"};
    }
    auto segment = std::make_shared<Segment>();
    segment->sequence = numbers->sequence;
    segment->first_offset = numbers->first_offset;
    segment->first_digest = reader->header().state.end.digest.Value();
    segment->path = PathOf(name);
    segment->file_size = reader->file_size();
    segment->end = last_end;
    found.push_back(std::move(segment));
  }
  if (!found.empty() && found.back()->sequence + 1 != next) {
    return Error{ErrorCode::kCorruption, options_.directory + ": segment " + std::to_string(next - 1) + " is missing"};
  }
  std::lock_guard lock(mutex_);
  segments_ = std::move(found);
  return {};
}

void SegmentSet::Add(Segment segment) {
  std::lock_guard lock(mutex_);
  CHECK(segments_.empty() || segments_.back()->sequence + 1 == segment.sequence);
  CHECK(segments_.empty() || segments_.back()->end.has_value());
  segments_.push_back(std::make_shared<Segment>(std::move(segment)));
}

void SegmentSet::EndLast(uint64_t position) {
  std::lock_guard lock(mutex_);
  CHECK(!segments_.empty());
  segments_.back()->end = position;
}

void SegmentSet::RemoveAfter(uint64_t sequence) {
  std::lock_guard lock(mutex_);
  while (!segments_.empty() && segments_.back()->sequence > sequence) segments_.pop_back();
}

std::optional<Segment> SegmentSet::Last() const {
  std::lock_guard lock(mutex_);
  if (segments_.empty()) return std::nullopt;
  return *segments_.back();
}

void SegmentSet::SetFileSize(uint64_t sequence, uint64_t size) {
  std::lock_guard lock(mutex_);
  if (!segments_.empty() && segments_.back()->sequence == sequence) segments_.back()->file_size = size;
}

void SegmentSet::AddIndex(uint64_t sequence, uint64_t offset, uint64_t position) {
  std::lock_guard lock(mutex_);
  if (!segments_.empty() && segments_.back()->sequence == sequence) {
    segments_.back()->index.emplace_back(offset, position);
  }
}

// --- What may be read -----------------------------------------------------------------------------------------------

void SegmentSet::Publish(LogPlace end, uint64_t offset, std::vector<RingEntry> entries) {
  std::lock_guard lock(mutex_);
  readable_end_ = end;
  durable_offset_ = offset;
  if (cursors_ == 0) return;
  for (RingEntry& entry : entries) {
    ring_bytes_ += entry.frame->bytes.size() + sizeof(SharedFrame);
    ring_.push_back(std::move(entry));
  }
  while (ring_bytes_ > options_.ring_bytes && !ring_.empty()) {
    ring_bytes_ -= ring_.front().frame->bytes.size() + sizeof(SharedFrame);
    ring_.pop_front();
  }
}

void SegmentSet::CutRing() {
  std::lock_guard lock(mutex_);
  while (!ring_.empty() && ring_.back().place >= readable_end_) {
    ring_bytes_ -= ring_.back().frame->bytes.size() + sizeof(SharedFrame);
    ring_.pop_back();
  }
}

bool SegmentSet::HasCursors() const {
  std::lock_guard lock(mutex_);
  return cursors_ != 0;
}

void SegmentSet::CursorOpened() {
  std::lock_guard lock(mutex_);
  cursors_++;
}

void SegmentSet::CursorClosed() {
  std::lock_guard lock(mutex_);
  if (--cursors_ != 0) return;
  // Nobody fills the ring now, and a ring with a hole would be worse than none.
  ring_.clear();
  ring_bytes_ = 0;
}

bool SegmentSet::LookInRing(Look& look) const {
  if (ring_.empty() || look.place < ring_.front().place) return false;
  const auto entry = std::lower_bound(ring_.begin(), ring_.end(), look.place,
                                      [](const RingEntry& a, const LogPlace& b) { return a.place < b; });
  // Else only durable marks or parts of an unfinished unit are left: nothing for a reader.
  if (entry != ring_.end() && entry->place < readable_end_) {
    look.what = Look::What::kFrame;
    look.entry = *entry;
  }
  return true;
}

SegmentSet::Look SegmentSet::LookAt(LogPlace place) const {
  std::lock_guard lock(mutex_);
  Look look;
  look.place = place;
  if (place >= readable_end_ || LookInRing(look)) return look;
  if (segments_.empty() || place.sequence < segments_.front()->sequence) {
    look.what = Look::What::kGone;
    return look;
  }
  auto at = static_cast<size_t>(place.sequence - segments_.front()->sequence);
  // A segment that only held parts of an abandoned unit is empty, and so may be several in a row.
  while (at < segments_.size() && segments_[at]->end && look.place.position >= *segments_[at]->end) {
    at++;
    look.place = {look.place.sequence + 1, kSegmentHeaderSize};
    if (look.place < readable_end_ && LookInRing(look)) return look;
  }
  if (at >= segments_.size() || look.place >= readable_end_) return look;
  look.what = Look::What::kFile;
  look.segment = segments_[at];
  look.limit = look.place.sequence == readable_end_.sequence ? readable_end_.position
                                                             : segments_[at]->end.value_or(readable_end_.position);
  return look;
}

SegmentSet::Start SegmentSet::FindOffset(uint64_t offset) const {
  std::lock_guard lock(mutex_);
  Start start;
  start.durable_offset = durable_offset_;
  start.first_offset = FirstOffsetLocked();
  if (offset < start.first_offset || offset > durable_offset_ || segments_.empty()) return start;
  start.found = true;
  // Frames that start before the offset are needed, so that control frames at the offset are not missed.
  if (!ring_.empty() && ring_.front().frame->history.offset < offset) {
    const auto entry = std::partition_point(ring_.begin(), ring_.end(), [offset](const RingEntry& candidate) {
      const HistoryFrame& frame = candidate.frame->history;
      return frame.kind == FrameKind::kData ? frame.EndOffset() <= offset : frame.offset < offset;
    });
    start.place = entry == ring_.end() ? readable_end_ : entry->place;
    start.exact = true;
    return start;
  }
  const auto after = std::partition_point(segments_.begin(), segments_.end(),
                                          [offset](const auto& segment) { return segment->first_offset < offset; });
  const Segment& segment = after == segments_.begin() ? **after : **std::prev(after);
  start.place = {segment.sequence, kSegmentHeaderSize};
  const auto index = std::partition_point(segment.index.begin(), segment.index.end(),
                                          [offset](const auto& entry) { return entry.first < offset; });
  if (index != segment.index.begin()) start.place.position = std::prev(index)->second;
  return start;
}

uint64_t SegmentSet::FirstOffsetLocked() const {
  return segments_.empty() ? durable_offset_ : segments_.front()->first_offset;
}

uint64_t SegmentSet::FirstOffset() const {
  std::lock_guard lock(mutex_);
  return FirstOffsetLocked();
}

LogStart SegmentSet::Beginning() const {
  std::lock_guard lock(mutex_);
  CHECK(!segments_.empty());
  return {segments_.front()->first_offset, segments_.front()->first_digest};
}

void SegmentSet::FillStats(LogStats& stats) const {
  std::lock_guard lock(mutex_);
  stats.segments = segments_.size();
  stats.first_offset = FirstOffsetLocked();
  stats.file_bytes = spare_state_ == SpareState::kReady ? spare_size_ : 0;
  for (const auto& segment : segments_) stats.file_bytes += segment->file_size;
}

// --- Retention ------------------------------------------------------------------------------------------------------

void SegmentSet::AddPin(const uint64_t* pin) {
  std::lock_guard lock(mutex_);
  pins_.insert(pin);
}

void SegmentSet::RemovePin(const uint64_t* pin) {
  std::lock_guard lock(mutex_);
  pins_.erase(pin);
}

void SegmentSet::MovePin(uint64_t* pin, uint64_t offset) {
  std::lock_guard lock(mutex_);
  *pin = offset;
}

void SegmentSet::KeepFrom(uint64_t sequence) {
  std::lock_guard lock(mutex_);
  keep_from_ = sequence;
}

std::vector<SegmentSet::Finished> SegmentSet::FinishedAfter(uint64_t sequence) const {
  std::lock_guard lock(mutex_);
  std::vector<Finished> finished;
  for (size_t i = 0; i + 1 < segments_.size(); i++) {
    const auto& segment = segments_[i];
    // Above the readable end parts of a unit may be taken back.
    if (segment->sequence <= sequence || segment->sequence >= readable_end_.sequence || !segment->end) continue;
    finished.push_back({segment, segments_[i + 1]->first_offset});
  }
  return finished;
}

std::shared_ptr<const Segment> SegmentSet::TakeTrimmable(uint64_t checkpoint_offset, uint64_t backlog_bytes,
                                                         bool* recycle) {
  std::lock_guard lock(mutex_);
  *recycle = false;
  if (segments_.size() < 2) return nullptr;
  uint64_t keep_from = durable_offset_ - std::min(durable_offset_, backlog_bytes);
  if (!Planted(PlantedBug::kSegmentTrimmedEarly)) keep_from = std::min(keep_from, checkpoint_offset);
  for (const uint64_t* pin : pins_) {
    if (!Planted(PlantedBug::kPinIgnored)) keep_from = std::min(keep_from, *pin);
  }
  if (segments_[1]->first_offset > keep_from) return nullptr;
  if (segments_.front()->sequence >= std::min(readable_end_.sequence, keep_from_)) return nullptr;
  std::shared_ptr<Segment> segment = std::move(segments_.front());
  segments_.pop_front();
  // A cursor that reads the file holds the segment too; off the list, nobody new can get it.
  if (segment.use_count() == 1 && spare_state_ == SpareState::kNone && segment->file_size == segment_bytes_) {
    spare_state_ = SpareState::kPreparing;
    *recycle = true;
  }
  return segment;
}

Result<void> SegmentSet::RetireFile(const Segment& segment, bool recycle) {
  if (!recycle) {
    RETURN_IF_ERROR(options_.fs->Remove(segment.path));
    return options_.fs->SyncDirectory(options_.directory);
  }
  const auto rename = [&]() -> Result<bool> {
    RETURN_IF_ERROR(options_.fs->Rename(segment.path, spare_path_));
    // Before the appender may write to it: a power cut could bring back the old name, and a later segment under it.
    RETURN_IF_ERROR(options_.fs->SyncDirectory(options_.directory));
    // Counted after the rename: from now on nobody can link the file by its log name.
    ASSIGN_OR_RETURN(const std::unique_ptr<File> file, options_.fs->Open(spare_path_, {.mode = OpenMode::kRead}));
    ASSIGN_OR_RETURN(const uint64_t links, file->LinkCount());
    if (links == 1) return true;
    RETURN_IF_ERROR(options_.fs->Remove(spare_path_));
    return false;
  };
  const Result<bool> kept = rename();
  FinishSpare(kept.ok() && *kept, segment.file_size, true);
  if (!kept.ok()) return kept.error();
  return {};
}

Result<void> SegmentSet::Trim(uint64_t checkpoint_offset, uint64_t backlog_bytes) {
  bool synced = false;
  while (true) {
    bool recycle = false;
    std::shared_ptr<const Segment> segment = TakeTrimmable(checkpoint_offset, backlog_bytes, &recycle);
    if (segment == nullptr) return {};
    // One removal after the other becomes durable, oldest first: a crash never leaves a hole in the sequence.
    Result<void> outcome;
    if (!synced) outcome = options_.fs->SyncDirectory(options_.directory);
    synced = true;
    if (outcome.ok()) {
      outcome = RetireFile(*segment, recycle);
    } else if (recycle) {
      FinishSpare(false, 0, false);
    }
    if (!outcome.ok()) {
      const Result<bool> exists = options_.fs->Exists(segment->path);
      if (!exists.ok() || *exists) {
        std::lock_guard lock(mutex_);
        segments_.push_front(std::const_pointer_cast<Segment>(segment));
      }
      return outcome.error().WithContext("trimming the log");
    }
  }
}

// --- The spare ------------------------------------------------------------------------------------------------------

Result<void> SegmentSet::AdoptSpare() {
  ASSIGN_OR_RETURN(const bool exists, options_.fs->Exists(spare_path_));
  if (!exists) return {};
  uint64_t size = 0;
  uint64_t links = 0;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<File> file, options_.fs->Open(spare_path_, {.mode = OpenMode::kRead}));
    ASSIGN_OR_RETURN(size, file->Size());
    ASSIGN_OR_RETURN(links, file->LinkCount());
  }
  if (size != segment_bytes_ || links != 1) return options_.fs->Remove(spare_path_);
  std::lock_guard lock(mutex_);
  spare_state_ = SpareState::kReady;
  spare_size_ = size;
  spare_recycled_ = true;  // nobody knows what it was
  return {};
}

Result<void> SegmentSet::FillSpare() {
  // A file that could not be made the spare may still have the name of its segment on the disk: never overwrite it.
  ASSIGN_OR_RETURN(const bool exists, options_.fs->Exists(spare_path_));
  if (exists) RETURN_IF_ERROR(options_.fs->Remove(spare_path_));
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                   options_.fs->Open(spare_path_, {.mode = OpenMode::kCreate, .direct_sync = true}));
  RETURN_IF_ERROR(FillWithZeros(*file, 0, segment_bytes_));
  return file->Sync();
}

Result<void> SegmentSet::PrepareSpare() {
  {
    std::lock_guard lock(mutex_);
    if (spare_state_ != SpareState::kNone) return {};
    spare_state_ = SpareState::kPreparing;
  }
  const Result<void> filled = FillSpare();
  if (!filled.ok()) (void)options_.fs->Remove(spare_path_);  // gives back the space; the next start removes it, too
  FinishSpare(filled.ok(), segment_bytes_, false);
  if (!filled.ok()) return filled.error().WithContext("preparing the spare log segment");
  return {};
}

void SegmentSet::FinishSpare(bool ready, uint64_t size, bool recycled) {
  std::lock_guard lock(mutex_);
  spare_state_ = ready ? SpareState::kReady : SpareState::kNone;
  spare_size_ = size;
  spare_recycled_ = recycled;
}

bool SegmentSet::SpareReady() const {
  std::lock_guard lock(mutex_);
  return spare_state_ == SpareState::kReady;
}

std::optional<SegmentSet::Spare> SegmentSet::TakeSpare() {
  std::lock_guard lock(mutex_);
  if (spare_state_ != SpareState::kReady) return std::nullopt;
  // Until the caller has renamed it, nobody may prepare another under this name: see SpareGone.
  spare_state_ = SpareState::kPreparing;
  return Spare{.path = spare_path_, .size = spare_size_, .recycled = spare_recycled_};
}

void SegmentSet::SpareGone() { FinishSpare(false, 0, false); }

}  // namespace holdfast::wal
