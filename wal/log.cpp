#include "wal/log.h"

#include <algorithm>
#include <utility>

#include "storage/base/check.h"
#include "storage/planted_bug.h"
#include "wal/log_implementation.h"

namespace holdfast::wal {
namespace {

// Units join a frame up to this size; enough to make the header's cost vanish, little enough to send soon.
constexpr size_t kSharedPayloadMax = 256 << 10;
constexpr uint64_t kSegmentBytesMin = kSegmentHeaderSize + 4096;
// Spare and segments stay a small part of a small disk, but not below this.
constexpr uint64_t kSmallDiskSegment = 1 << 20;
constexpr uint64_t kDiskShare = 100;

constexpr uint64_t RoundDown(uint64_t size) { return size / kDirectAlignment * kDirectAlignment; }

Result<uint64_t> ChooseSegmentBytes(const LogOptions& options) {
  uint64_t bytes = options.segment_bytes;
  ASSIGN_OR_RETURN(const SpaceInfo space, options.fs->Space(options.directory));
  bytes = std::min(bytes, std::max(space.total_bytes / kDiskShare, kSmallDiskSegment));
  return std::max(RoundDown(bytes), kSegmentBytesMin);
}

class LogPin : public Log::Pin {
 public:
  LogPin(SegmentSet& segments, uint64_t offset) : segments_(segments), offset_(offset) { segments_.AddPin(&offset_); }
  ~LogPin() override { segments_.RemovePin(&offset_); }
  LogPin(const LogPin&) = delete;
  LogPin& operator=(const LogPin&) = delete;
  void MoveTo(uint64_t offset) override { segments_.MovePin(&offset_, offset); }

 private:
  SegmentSet& segments_;
  uint64_t offset_;  // guarded by the segments' lock
};

}  // namespace

Result<std::unique_ptr<Log>> Log::Open(LogOptions options, LogState state) {
  CHECK(options.fs != nullptr);
  CHECK(options.clock != nullptr);
  CHECK(options.random != nullptr);
  RETURN_IF_ERROR(options.fs->CreateDirectory(options.directory));
  RETURN_IF_ERROR(options.fs->SyncDirectory(ParentDirectory(options.directory)));
  ASSIGN_OR_RETURN(const uint64_t segment_bytes, ChooseSegmentBytes(options));
  auto log = std::make_unique<LogImplementation>(std::move(options), segment_bytes);
  RETURN_IF_ERROR(log->Start(state));
  return std::unique_ptr<Log>(std::move(log));
}

LogImplementation::LogImplementation(LogOptions options, uint64_t segment_bytes)
    : options_(std::move(options)),
      segments_(options_, segment_bytes),
      writer_(options_, segments_, options_.random->Next()),
      payload_max_(static_cast<size_t>(
          std::min<uint64_t>(kFramePayloadMax, segment_bytes - kSegmentHeaderSize - kFrameHeaderSize))) {}

Result<void> LogImplementation::Start(const LogState& state) {
  RETURN_IF_ERROR(segments_.LoadExisting(state.next_sequence, state.previous_end));
  RETURN_IF_ERROR(segments_.AdoptSpare());
  RETURN_IF_ERROR(writer_.Start(state));
  head_.end = state.end;
  head_.end.lineage_id.clear();
  head_.lineage = state.lineage;
  head_.role = state.role;
  head_.membership = state.membership;
  segments_.Publish(writer_.unit_end(), head_.end.offset, {});
  durable_offset_.store(head_.end.offset, std::memory_order_release);
  pending_.Reset(static_cast<size_t>(writer_.end().position % kDirectAlignment));
  syncs_ = writer_.syncs();
  return {};
}

// --- Appending ------------------------------------------------------------------------------------------------------

HistoryFrame LogImplementation::NextFrame(FrameKind kind, int64_t now_ms) const {
  HistoryFrame frame;
  frame.kind = kind;
  frame.selected_db = frame.selected_db_after = static_cast<int16_t>(head_.end.selected_db);
  frame.offset = head_.end.offset;
  frame.time_ms = std::max(now_ms, head_.end.time_ms);
  return frame;
}

uint64_t LogImplementation::AppendUnit(std::string_view stream_bytes, int db_after, int64_t now_ms) {
  CHECK(!head_.inside_unit);
  CHECK(!stream_bytes.empty());
  CHECK_MSG(stream_bytes.size() <= options_.max_unit_bytes, "a unit above max-unit-bytes");
  CHECK(db_after == static_cast<int16_t>(db_after));  // frames have no more room
  HistoryFrame frame = NextFrame(FrameKind::kData, now_ms);
  frame.selected_db_after = static_cast<int16_t>(db_after);
  const size_t shared_max = std::min(kSharedPayloadMax, payload_max_);
  if (!pending_.Join(stream_bytes, frame.selected_db_after, frame.time_ms, shared_max)) {
    if (stream_bytes.size() <= payload_max_) {
      frame.payload = stream_bytes;
      pending_.Add(frame, stream_bytes.size() < shared_max);
    } else {
      AppendParts(frame, stream_bytes);
    }
  }
  head_.end.offset += stream_bytes.size();
  head_.end.time_ms = frame.time_ms;
  head_.end.selected_db = db_after;
  CountAppended(stream_bytes.size());
  marked_ = false;
  return head_.end.offset;
}

void LogImplementation::AppendParts(HistoryFrame frame, std::string_view bytes) {
  const int16_t db_after = frame.selected_db_after;
  frame.selected_db_after = frame.selected_db;
  frame.part = UnitPart::kFirst;
  while (!bytes.empty()) {
    frame.payload = bytes.substr(0, payload_max_);
    bytes.remove_prefix(frame.payload.size());
    if (bytes.empty()) {
      frame.part = UnitPart::kLast;
      frame.selected_db_after = db_after;
    }
    if (Planted(PlantedBug::kUnitSplit)) frame.part = UnitPart::kWhole;
    pending_.Add(frame, false);
    frame.offset += frame.payload.size();
    frame.part = UnitPart::kMiddle;
  }
}

Result<void> LogImplementation::AppendFrame(const HistoryFrame& peer_frame) {
  if (peer_frame.kind == FrameKind::kDurableMark) {
    return Error{ErrorCode::kCorruption, "a durable mark from a peer: those never leave a node"};
  }
  if (peer_frame.payload.size() > kFramePayloadMax) {
    return Error{ErrorCode::kCorruption, "a frame payload of " + std::to_string(peer_frame.payload.size()) + " bytes"};
  }
  if (peer_frame.kind == FrameKind::kData && peer_frame.payload.empty()) {
    return Error{ErrorCode::kCorruption, "a data frame has no payload"};
  }
  const uint64_t unit_start = head_.inside_unit ? unit_start_.offset : head_.end.offset;
  if (peer_frame.kind == FrameKind::kData && !(peer_frame.part == UnitPart::kWhole) &&
      peer_frame.payload.size() >
          options_.max_unit_bytes - std::min(options_.max_unit_bytes, head_.end.offset - unit_start)) {
    return Error{ErrorCode::kLimit, "the unit at offset " + std::to_string(unit_start) + " exceeds max-unit-bytes " +
                                        std::to_string(options_.max_unit_bytes)};
  }
  HistoryFrame frame = peer_frame;
  if (frame.selected_db == kSelectedDbUnknown) frame.selected_db = static_cast<int16_t>(head_.end.selected_db);
  pending_.Digest(head_.end.digest);
  const bool was_inside = head_.inside_unit;
  const StreamPosition before = head_.end;
  Result<void> followed = head_.Follow(frame);
  if (!followed.ok()) {
    return followed.error().WithContext("frame at offset " + std::to_string(peer_frame.offset));
  }
  if (!was_inside && head_.inside_unit) {
    unit_start_ = before;
    unit_was_sealed_ = false;
  }
  pending_.AddDigested(frame, head_.end.digest);
  CountAppended(head_.end.offset - before.offset);
  marked_ = false;
  return {};
}

void LogImplementation::AbandonUnit() {
  CHECK(head_.inside_unit);
  pending_.DropUnfinishedUnit(unit_start_.offset);
  if (unit_was_sealed_) pending_.set_abandon_first();
  head_.end = unit_start_;
  head_.inside_unit = false;
  marked_ = false;
}

void LogImplementation::AppendControl(FrameKind kind, std::string_view payload, int64_t now_ms) {
  CHECK(kind != FrameKind::kData);
  CHECK(kind == FrameKind::kDurableMark || !head_.inside_unit);
  CHECK(payload.size() <= payload_max_);
  HistoryFrame frame = NextFrame(kind, now_ms);
  frame.payload = payload;
  const Result<void> taken = head_.TakeControl(kind, frame.offset, payload);
  CHECK_MSG(taken.ok(), taken.error().message);
  head_.end.time_ms = frame.time_ms;
  pending_.Add(frame, false);
  marked_ = kind == FrameKind::kDurableMark;
}

void LogImplementation::StartLineage(std::string id, int64_t now_ms) {
  Lineage next = head_.lineage;
  next.Push(std::move(id), head_.end.offset, std::max(now_ms, head_.end.time_ms));
  std::string table;
  next.AppendTo(table);
  AppendControl(FrameKind::kLineage, table, head_.end.time_ms);
}

StreamPosition LogImplementation::EndPosition() {
  pending_.Digest(head_.end.digest);
  return head_.Position();
}

bool LogImplementation::AppendDurableMark() {
  if (marked_ || HasPending() || in_flight_) return false;
  AppendControl(FrameKind::kDurableMark, {}, head_.end.time_ms);
  return true;
}

// --- Group commit
// -----------------------------------------------------------------------------------------------------

void LogImplementation::Seal() {
  CHECK(HasPending());
  CHECK_MSG(!in_flight_, "a batch is in flight, or one failed: the log takes no more");
  pending_.Digest(head_.end.digest);
  std::swap(pending_, sealed_);
  sealed_unit_end_ = head_.inside_unit ? unit_start_.offset : head_.end.offset;
  unit_was_sealed_ = head_.inside_unit;
  in_flight_ = true;
  // Where the next batch will probably start; if it rotates, the writer moves the bytes.
  const size_t end = (sealed_.bytes().size() + kFrameAlignment - 1) & ~(kFrameAlignment - 1);
  pending_.Reset(options_.tail_rewrite ? end % kDirectAlignment : 0);
  if (Planted(PlantedBug::kAckBeforeDurable)) durable_offset_.store(sealed_unit_end_, std::memory_order_release);
#ifdef HOLDFAST_PLANTED_BUGS
  if (Planted(PlantedBug::kShipBeforeDurable)) ShipSealed();
#endif
}

#ifdef HOLDFAST_PLANTED_BUGS
// Shows the sealed frames to cursors, at the places where they will be written if their segment has room.
void LogImplementation::ShipSealed() {
  LogPlace at = writer_.end(), unit_end = writer_.unit_end();
  for (BatchFrame& frame : sealed_.frames()) {
    frame.sequence = at.sequence;
    frame.position = at.position;
    at.position += FrameSizeOnDisk(frame.payload_size);
    if (frame.history.kind != FrameKind::kData || frame.history.EndsUnit()) unit_end = at;
  }
  if (sealed_.abandon_first() || at.position > segments_.segment_bytes()) return;
  segments_.Publish(unit_end, sealed_unit_end_, RingEntries());
  shipped_ = true;
}
#endif

Result<void> LogImplementation::WriteBatch() {
  if (failure_) return *failure_;
  CHECK(in_flight_);
  CHECK(!written_.load(std::memory_order_relaxed));
  const int64_t started = options_.clock->MonotonicUs();
  const Result<void> outcome = writer_.Write(sealed_);
  if (!outcome.ok()) {
    failure_ = outcome.error().WithContext("writing the log");
    return *failure_;
  }
  const auto took = static_cast<uint64_t>(std::max<int64_t>(0, options_.clock->MonotonicUs() - started));
  sync_us_total_.fetch_add(took, std::memory_order_relaxed);
  sync_us_max_.store(std::max(sync_us_max_.load(std::memory_order_relaxed), took), std::memory_order_relaxed);
  batches_.fetch_add(1, std::memory_order_relaxed);
  syncs_.store(writer_.syncs(), std::memory_order_relaxed);
  written_.store(true, std::memory_order_release);
  return {};
}

std::vector<RingEntry> LogImplementation::RingEntries() {
  std::vector<RingEntry> entries;
  if (!segments_.HasCursors()) return entries;
  for (const BatchFrame& frame : sealed_.frames()) {
    if (frame.history.kind == FrameKind::kDurableMark) continue;
    auto shared = std::make_shared<SharedFrame>();
    shared->history = frame.history;
    shared->bytes.assign(sealed_.bytes().data() + frame.start + kFrameHeaderSize, frame.payload_size);
    shared->history.payload = shared->bytes;
    entries.push_back({.place = {frame.sequence, frame.position},
                       .end_position = frame.position + FrameSizeOnDisk(frame.payload_size),
                       .frame = std::move(shared)});
  }
  return entries;
}

void LogImplementation::FinishBatch() {
  CHECK(in_flight_);
  CHECK_MSG(written_.exchange(false, std::memory_order_acquire), "FinishBatch without a successful WriteBatch");
  if (sealed_.abandon_first()) segments_.CutRing();
  // First the offset: nobody may hold a frame that lies beyond what this log calls durable.
  durable_offset_.store(sealed_unit_end_, std::memory_order_release);
#ifdef HOLDFAST_PLANTED_BUGS
  if (!std::exchange(shipped_, false))
#endif
    segments_.Publish(writer_.unit_end(), sealed_unit_end_, RingEntries());
  in_flight_ = false;
  if (pending_.empty()) pending_.Reset(static_cast<size_t>(writer_.end().position % kDirectAlignment));
}

std::unique_ptr<Log::Pin> LogImplementation::PinFrom(uint64_t offset) {
  return std::make_unique<LogPin>(segments_, offset);
}

LogStats LogImplementation::Stats() const {
  LogStats stats;
  segments_.FillStats(stats);
  stats.batches = batches_.load(std::memory_order_relaxed);
  stats.syncs = syncs_.load(std::memory_order_relaxed);
  stats.sync_us_total = sync_us_total_.load(std::memory_order_relaxed);
  stats.sync_us_max = sync_us_max_.load(std::memory_order_relaxed);
  stats.appended_bytes = appended_bytes_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace holdfast::wal
