// Snapshots that an engine makes: of which moment, and when they are ended.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "storage/frozen_view.h"
#include "wal/engine.h"

namespace holdfast::wal {

namespace {

// A full synchronization may leave this part of the log between two checkpoints to the stream: so little that no write
// buffer is cut short for it.
constexpr uint64_t kStreamBehindSnapshotPart = 16;

std::string Megabytes(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

Result<void> Engine::StartSnapshot(SnapshotRequest request, SnapshotCallback done) {
  if (snapshot_.has_value()) return Error{ErrorCode::kBusy, "a snapshot is being made already"};
  if (digest_.has_value()) CancelDigest({ErrorCode::kBusy, "a snapshot went first"});
  ActiveSnapshot active;
  active.wanted_offset = request.fresh ? log_->UnitsEnd() : 0;
  active.request = std::move(request);
  active.done = std::move(done);
  snapshot_ = std::move(active);
  snapshot_cancelled_ = false;
  snapshot_keys_done_ = snapshot_keys_total_ = snapshot_raw_ = snapshot_stored_ = 0;
  TickSnapshot();
  return {};
}

SnapshotProgress Engine::CurrentSnapshotProgress() const {
  SnapshotProgress progress{};
  progress.keys_done = snapshot_keys_done_.load(std::memory_order_relaxed);
  progress.keys_total = snapshot_keys_total_.load(std::memory_order_relaxed);
  progress.raw_bytes = snapshot_raw_.load(std::memory_order_relaxed);
  progress.stored_bytes = snapshot_stored_.load(std::memory_order_relaxed);
  return progress;
}

bool Engine::SnapshotWaitsForCheckpoint() const {
  return snapshot_.has_value() && !snapshot_->started && store_->CheckpointPosition().offset < snapshot_->wanted_offset;
}

void Engine::FailSnapshot(const Error& error) {
  SnapshotCallback done = std::move(snapshot_->done);
  snapshot_.reset();
  done(error);
}

// Waits until a checkpoint covers what the snapshot must hold, then starts writing from a view taken between merges; of
// the frozen layer, too, if it need not be a checkpoint. Who asked is not kept waiting for a checkpoint that fails:
// that may go on for ever.
void Engine::TickSnapshot() {
  if (snapshot_->started) return BoundSnapshot();
  if (SnapshotWaitsForCheckpoint()) {
    if (apply_refusal_.has_value()) return FailSnapshot({ErrorCode::kIo, *apply_refusal_});
    checkpoint_requested_ = true;
    return;
  }
  if (checkpoint_job_ != nullptr && checkpoint_started_) return;  // a merge is under way; it ends soon
  const uint64_t checkpoint = store_->CheckpointPosition().offset;
  const bool of_memory = !snapshot_->request.fresh;
  if (of_memory && checkpoint_job_ == nullptr && !apply_refusal_.has_value() && !log_->InsideUnit() &&
      log_->AppendedOffset() - checkpoint > options_.checkpoint_log_bytes / kStreamBehindSnapshotPart) {
    if (digest_.has_value() && !digest_->started) return;  // it was cancelled, and ends with this turn
    checkpoint_may_wait_ = !checkpoint_requested_;
    checkpoint_requested_ = false;
    checkpoint_job_ = store_->FreezeActive(log_->EndPosition());
  }
  // What was begun, and failed, may be in LMDB in part.
  const bool of_frozen = of_memory && checkpoint_job_ != nullptr && !checkpoint_begun_;
  const uint64_t wanted = of_frozen ? checkpoint_job_->position().offset : checkpoint;
  if (log_->DurableOffset() < wanted) return;
  // Pinned before the view is opened: nobody can trim what the view's position needs in between.
  std::shared_ptr<Log::Pin> pin = log_->PinFrom(wanted);
  Result<std::unique_ptr<StoreView>> view = of_frozen ? OpenFrozenView(*checkpoint_job_) : store_->OpenView();
  if (!view.ok() && view.error().code != ErrorCode::kBusy) return FailSnapshot(view.error());
  // A merge was begun; or a run found at the start is in the store, but not in LMDB yet: the view would be older.
  if (!view.ok() || (*view)->position().offset < wanted) {
    if (checkpoint_failure_.has_value()) FailSnapshot(*checkpoint_failure_);
    return;
  }
  snapshot_->started = true;
  snapshot_->offset = (*view)->position().offset;
  snapshot_->lmdb_bytes = store_->Stats().lmdb_used_bytes;
  RunSnapshot(std::move(view).value(), std::move(pin));
}

// A slow disk, or writers that are faster than it, must not fill the disk by way of a snapshot.
void Engine::BoundSnapshot() {
  if (snapshot_->ended.has_value()) return;
  std::optional<std::string> grown = GrownBeyondBounds(snapshot_->offset, snapshot_->lmdb_bytes);
  if (!grown.has_value()) return;
  snapshot_->ended = "the snapshot was ended: " + *grown;
  diag::Warning("{}", *snapshot_->ended);
  snapshot_cancelled_ = true;
}

std::optional<std::string> Engine::GrownBeyondBounds(uint64_t offset, uint64_t lmdb_bytes) const {
  const uint64_t lmdb_now = store_->Stats().lmdb_used_bytes;
  const uint64_t lmdb_grown = lmdb_now - std::min(lmdb_now, lmdb_bytes);
  const uint64_t log_grown = log_->DurableOffset() - std::min(log_->DurableOffset(), offset);
  if (lmdb_grown + log_grown <= options_.snapshot_growth_bytes) return std::nullopt;
  return fmt::format(
      "the store grew by {} and the log by {} meanwhile, more than snapshot-growth-max ({}) allows; try again when "
      "there are fewer writes, or raise snapshot-growth-max",
      Megabytes(lmdb_grown), Megabytes(log_grown), Megabytes(options_.snapshot_growth_bytes));
}

void Engine::RunSnapshot(std::shared_ptr<StoreView> view, std::shared_ptr<Log::Pin> pin) {
  SnapshotHeader header;
  header.position = view->position();
  header.created_ms = options_.clock->WallMs();
  header.databases = static_cast<uint32_t>(options_.databases);
  header.node_id = snapshot_->request.node_id;
  log_->lineage().AppendTo(header.lineage_table);
  for (int db = 0; db < options_.databases; ++db) header.key_count += view->KeyCount(db);
  RunOnSnapshotThread([this, request = snapshot_->request, header = std::move(header), view = std::move(view),
                       pin = std::move(pin)]() mutable {
    auto write = [&]() -> Result<SnapshotResult> {
      RETURN_IF_ERROR(options_.fs->CreateDirectory(SnapshotDirectory(request.data_directory)));
      SnapshotResult made;
      made.position = header.position;
      made.pin = pin;
      ProgressLine line("Snapshot", *options_.clock);
      made.path = SnapshotPath(request.data_directory, header.position.offset, header.created_ms);
      ASSIGN_OR_RETURN(made.footer, WriteSnapshot(*options_.fs, made.path, std::move(header), *view, request.write,
                                                  snapshot_cancelled_, [this, &line](const SnapshotProgress& progress) {
                                                    line.Update(progress.keys_done, progress.keys_total,
                                                                progress.raw_bytes);
                                                    snapshot_keys_done_ = progress.keys_done;
                                                    snapshot_keys_total_ = progress.keys_total;
                                                    snapshot_raw_ = progress.raw_bytes;
                                                    snapshot_stored_ = progress.stored_bytes;
                                                  }));
      return made;
    };
    auto result = std::make_shared<Result<SnapshotResult>>(write());
    view.reset();  // on this thread, before anybody waits for it
    Complete([this, result] {
      const ActiveSnapshot snapshot = std::move(*snapshot_);
      snapshot_.reset();
      if (snapshot.ended.has_value() && !result->ok()) return snapshot.done(Error{ErrorCode::kLimit, *snapshot.ended});
      snapshot.done(std::move(*result));
    });
  });
}

}  // namespace holdfast::wal
