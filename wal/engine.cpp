#include "wal/engine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "storage/planted_bug.h"
#include "wal/background_thread.h"
#include "wal/rewind.h"

namespace holdfast::wal {

struct Engine::BackgroundThreads {
  BackgroundThread checkpoint{"hf-checkpoint"};
  BackgroundThread files{"hf-files"};
  BackgroundThread snapshot{"hf-snapshot"};
};

namespace {

constexpr int kExitStoreFailed = 3;  // docs/operations.md
constexpr int64_t kCheckpointRetryMs = 1000;
constexpr int64_t kFilesJobPeriodMs = 200;
constexpr int64_t kDeadRowsWaitMs = 5000;  // since the last checkpoint, for one that is due for deleted rows alone
constexpr int64_t kSparePeriodMs = 10;     // a spare that is used up is replaced sooner
// With checkpoints failing, the active memtable may grow to this multiple of its bound before writes are refused.
constexpr double kStuckMemtableFactor = 4;
// Beyond that while replaying the log, so that a start with a full disk needs no checkpoint.
constexpr double kReplayMemtableFactor = kStuckMemtableFactor + 1;
constexpr size_t kReplayThreadsMax = 4;
constexpr uint64_t kBallastBytesMax = 64ull << 20;
// How far writers may fill what is allowed meanwhile before a checkpoint is no longer put off for the sake of a rewind.
constexpr double kHeldPressureMax = 0.4;

std::string Megabytes(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

// ---- opening --------------------------------------------------------------------------------------------------------

Engine::Engine(EngineOptions options) : options_(std::move(options)) {}

Engine::~Engine() { Stop(); }

Result<std::unique_ptr<Engine>> Engine::Open(EngineOptions options, EngineProgress progress) {
  CHECK(options.fs != nullptr);
  CHECK(options.clock != nullptr);
  CHECK(options.random != nullptr);
  std::unique_ptr<Engine> engine(new Engine(std::move(options)));
  RETURN_IF_ERROR(engine->Recover(progress));
  if (engine->options_.background_work) engine->threads_ = std::make_unique<BackgroundThreads>();
  return engine;
}

Result<void> Engine::Recover(const EngineProgress& progress) {
  StoreOptions store_options;
  store_options.directory = options_.generation_path;
  store_options.databases = options_.databases;
  store_options.memtable_bytes = options_.memtable_bytes;
  store_options.cache_bytes = options_.cache_bytes;
  store_options.map_bytes = options_.map_bytes;
  store_options.fs = options_.fs;
  store_options.random = options_.random;
  ASSIGN_OR_RETURN(store_, Store::Open(std::move(store_options)));
  applier_ = std::make_unique<Applier>(*store_, &observer_);
  replay_position_ = store_->CheckpointPosition();
  checkpoint_job_ = store_->PendingCheckpoint();

  ASSIGN_OR_RETURN(const std::optional<RewindOrder> rewind, ReadRewindOrder(*options_.fs, options_.generation_path));
  RecoveryInput input;
  input.directory = JoinPath(options_.generation_path, "wal");
  input.checkpoint = replay_position_;
  input.fs = options_.fs;
  if (rewind) input.cut_at = rewind->offset;
  ASSIGN_OR_RETURN(RecoveryOutcome outcome, Replay(input, progress));
  recovery_ = outcome.report;
  if (outcome.state.lineage.empty()) {
    // An empty start: a history of its own.
    outcome.state.lineage.Reset(options_.random->Hex(kLineageIdSize), outcome.state.end.offset,
                                options_.clock->WallMs());
    outcome.state.end.lineage_id = outcome.state.lineage.current_id();
  }

  LogOptions log_options;
  log_options.directory = input.directory;
  log_options.segment_bytes = options_.segment_bytes;
  log_options.ring_bytes = options_.ring_bytes;
  log_options.max_unit_bytes = options_.max_unit_bytes;
  log_options.tail_rewrite = options_.tail_rewrite;
  log_options.fs = options_.fs;
  log_options.clock = options_.clock;
  log_options.random = options_.random;
  ASSIGN_OR_RETURN(log_, Log::Open(std::move(log_options), std::move(outcome.state)));
  store_->AttachSink(log_.get());
  if (!options_.archive_directory.empty()) {
    constexpr size_t kIdDigits = 16;
    archive_ = std::make_unique<LogArchive>(*options_.fs, *options_.clock,
                                            LogArchive::Options{options_.archive_directory, options_.generation_path,
                                                                options_.random->Hex(kIdDigits), rewind.has_value()});
    LogArchive::Hold(*log_);
  }
  checkpoint_begun_ = checkpoint_job_ != nullptr;
  if (!rewind) return {};
  recovery_.cut_bytes = recovery_.dropped_unit_bytes = 0;  // not torn: it is in the tail's file
  diag::Notice("The log was cut at offset {} by a rewind; what lay behind is kept in {}", rewind->offset,
               rewind->tail_path);
  return CompleteRewind(*options_.fs, options_.generation_path, *rewind, *log_);
}

Result<RecoveryOutcome> Engine::Replay(const RecoveryInput& input, const EngineProgress& progress) {
  auto threads = static_cast<size_t>(options_.replay_threads);
  if (options_.replay_threads < 0) {
    const size_t others = std::max(std::thread::hardware_concurrency(), 1u) - 1;
    threads = std::clamp<size_t>(others, 1, kReplayThreadsMax);
  }
  ReplayPipeline pipeline(*store_, threads, [this](const ReplayPipeline::Piece& piece) { return ReplayUnits(piece); });
  replay_ = &pipeline;
  ReplayVisitor visitor;
  visitor.units = [&](uint64_t offset, int16_t selected_db, int64_t time_ms, std::string_view units) {
    return pipeline.Add({offset, selected_db, time_ms, units});
  };
  // Checkpoints are made at positions of replay, too.
  visitor.lineage = [&](const std::string& id) -> Result<void> {
    RETURN_IF_ERROR(pipeline.Finish());  // what belongs to the history before
    replay_position_.lineage_id = id;
    return {};
  };
  visitor.end = [&] { return pipeline.Finish(); };
  visitor.progress = progress.replay;
  Result<RecoveryOutcome> outcome = wal::Recover(input, visitor);
  replay_ = nullptr;
  return outcome;
}

Result<void> Engine::ReplayUnits(const ReplayPipeline::Piece& piece) {
  if (piece.offset != replay_position_.offset) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("replay came to offset {} where {} was due", piece.offset, replay_position_.offset)};
  }
  Result<void> applied = applier_->Apply({piece.offset, piece.selected_db, piece.time_ms, piece.units});
  if (!applied.ok()) return applied.error().WithContext(fmt::format("replaying the log at offset {}", piece.offset));
  replay_position_.offset += piece.units.size();
  replay_position_.selected_db = applier_->selected_db();
  replay_position_.time_ms = std::max(replay_position_.time_ms, piece.time_ms);
  replay_position_.digest.Update(piece.units);
  return MakeRoomDuringReplay();
}

// No checkpoint is made before the server answers: a full memtable is only set aside, and merged later. The exception
// is a log much longer than writers are let go (other settings, a replica's): memory stays bounded. What was replayed
// has been read from the disk itself, after a sync, so the store does not run ahead of the log.
Result<void> Engine::MakeRoomDuringReplay() {
  if (store_->FreezeWanted()) checkpoint_job_ = store_->FreezeActive(replay_position_);
  if (store_->WritePressure() < kReplayMemtableFactor) return {};
  CHECK(checkpoint_job_ != nullptr);
  replay_->StopLookingUp();
  RETURN_IF_ERROR(checkpoint_job_->Run({}, stopping_));
  checkpoint_job_.reset();
  return store_->FinishCheckpoint();
}

void Engine::SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

void Engine::Complete(std::function<void()> completion) {
  {
    std::lock_guard lock(completions_mutex_);
    completions_.push_back(std::move(completion));
  }
  if (wake_) wake_();
}

void Engine::RunCompletions() {
  std::vector<std::function<void()>> ready;
  {
    std::lock_guard lock(completions_mutex_);
    ready.swap(completions_);
  }
  for (auto& completion : ready) completion();
}

void Engine::Stop() {
  if (threads_ == nullptr) return;
  stopping_ = true;
  snapshot_cancelled_ = digest_cancelled_ = true;
  threads_.reset();  // runs out what is queued; jobs see stopping_ and give up early
  {
    std::lock_guard lock(completions_mutex_);
    completions_.clear();
  }
  checkpoint_job_.reset();
  if (snapshot_.has_value()) {
    SnapshotCallback done = std::move(snapshot_->done);
    snapshot_.reset();
    done(Error{ErrorCode::kAborted, "the server is stopping"});
  }
  if (digest_.has_value()) EndDigest(Error{ErrorCode::kAborted, "the server is stopping"});
}

// ---- replica --------------------------------------------------------------------------------------------------------

Result<void> Engine::AppendAndApply(const HistoryFrame& peer_frame) {
  HistoryFrame frame = peer_frame;
  if (frame.selected_db == kSelectedDbUnknown) frame.selected_db = static_cast<int16_t>(log_->SelectedDb());
  RETURN_IF_ERROR(log_->AppendFrame(frame));
  if (frame.kind != FrameKind::kData) return {};
  if (frame.part == UnitPart::kWhole) {
    return Apply({frame.offset, frame.selected_db, frame.time_ms, frame.payload});
  }
  if (frame.part == UnitPart::kFirst) {
    unfinished_.clear();
    unfinished_first_ = frame;
    unfinished_first_.payload = {};
  }
  unfinished_.append(frame.payload);  // bounded: the log refuses units beyond max-unit-bytes
  if (frame.part != UnitPart::kLast) return {};
  const std::string unit = std::exchange(unfinished_, {});
  return Apply({unfinished_first_.offset, unfinished_first_.selected_db, unfinished_first_.time_ms, unit});
}

Result<void> Engine::ApplyAndAppend(std::string_view unit, int64_t now_ms) {
  const int64_t time_ms = log_->TimeOfNext(now_ms);
  RETURN_IF_ERROR(Apply({log_->AppendedOffset(), log_->SelectedDb(), time_ms, unit}));
  log_->AppendUnit(unit, applier_->selected_db(), time_ms);
  return {};
}

// A unit that failed may be applied in part: no checkpoint may make that durable, and nobody may build on it.
Result<void> Engine::Apply(const EffectUnits& units) {
  Result<void> applied = applier_->Apply(units);
  if (!applied.ok() && !apply_refusal_.has_value()) {
    apply_refusal_ =
        "The master's stream could not be applied, this node's data is not to be built on: " + applied.error().message;
  }
  return applied;
}

void Engine::AbandonUnit() {
  unfinished_ = {};
  if (log_->InsideUnit()) log_->AbandonUnit();
}

// ---- checkpoints ----------------------------------------------------------------------------------------------------

void Engine::Tick(int64_t monotonic_ms) {
  now_monotonic_ms_ = monotonic_ms;
  TickCheckpoint();
  if (snapshot_.has_value()) TickSnapshot();
  if (digest_.has_value()) TickDigest();
  if (monotonic_ms >= next_files_job_ms_ || (monotonic_ms >= next_spare_job_ms_ && !log_->SpareReady())) TickFiles();
}

void Engine::TickCheckpoint() {
  if (checkpoint_job_ == nullptr) {
    if (HeldForDigest()) return;
    if (apply_refusal_.has_value()) return;
    if (log_->InsideUnit()) return;  // a checkpoint stands at a unit end
    const uint64_t since = log_->AppendedOffset() - store_->CheckpointPosition().offset;
    const bool due =
        since > 0 && (checkpoint_requested_ || store_->FreezeWanted() || since >= options_.checkpoint_log_bytes);
    checkpoint_may_wait_ = !checkpoint_requested_;
    checkpoint_requested_ = false;
    if (!due && !collect_dead_rows_) return;
    collect_dead_rows_ = false;
    checkpoint_job_ = store_->FreezeActive(log_->EndPosition());
  }
  if (CheckpointHeld()) return;
  // A snapshot of the frozen layer begins first; it waits for the log no longer than the merge would.
  if (snapshot_.has_value() && !snapshot_->started && !checkpoint_begun_ && !SnapshotWaitsForCheckpoint()) return;
  const bool due = !checkpoint_started_ && now_monotonic_ms_ >= checkpoint_retry_at_ms_;
  const bool durable = log_->DurableOffset() >= checkpoint_job_->position().offset;
  if (due && (durable || Planted(PlantedBug::kCheckpointBeforeDurable))) StartCheckpoint();
}

uint64_t Engine::RewindFloor() const {
  return checkpoint_begun_ ? checkpoint_job_->position().offset : store_->CheckpointPosition().offset;
}

bool Engine::CheckpointHeld() const {
  if (checkpoint_begun_ || !checkpoint_may_wait_ || checkpoint_requested_) return false;
  if (digest_.has_value() || now_monotonic_ms_ < digest_hold_until_ms_) return false;
  const uint64_t offset = checkpoint_job_->position().offset;
  if (snapshot_.has_value()) {
    // One that is being made of the frozen layer has the disk and the processors first; another one may need the merge.
    if (!snapshot_->started || snapshot_->offset != offset) return false;
  } else if (offset <= checkpoint_hold_) {
    return false;
  }
  return FilledSinceFreeze() < kHeldPressureMax;
}

void Engine::StartCheckpoint() {
  checkpoint_started_ = checkpoint_begun_ = true;
  checkpoint_progress_ = 0;
  threads_->checkpoint.Run([this, job = checkpoint_job_] {
    Result<void> result = job->Run(
        [this](double done) {
          checkpoint_progress_.store(done, std::memory_order_relaxed);
          // So that LMDB can reuse the pages that the transaction before this one freed.
          Complete([this] {
            if (auto renewed = store_->RenewReader(); !renewed.ok()) {
              diag::Warning("Renewing the store's reader failed: {}", renewed.error().message);
            }
          });
        },
        stopping_);
    Complete([this, result = std::move(result)]() mutable { CheckpointFinished(std::move(result)); });
  });
}

// LMDB takes no more writes in this process: trying again would go on until the write buffer is full, and then refuse
// writes for ever. Its file holds a whole older state, the log all that came after, so a new process has everything.
[[noreturn]] static void StoreFailed(const Error& error) {
  diag::Warning(
      "FATAL: the store could not be written: {}. Nothing acknowledged is lost: it is in the log. The server stops. "
      "Check the disk (dmesg), then start the server again.",
      error.message);
  diag::Flush();
  ::_exit(kExitStoreFailed);
}

void Engine::CheckpointFinished(Result<void> result) {
  checkpoint_started_ = false;
  if (result.ok()) result = store_->FinishCheckpoint();
  if (!result.ok()) {
    if (result.error().code == ErrorCode::kAborted) return;
    if (result.error().code == ErrorCode::kReadOnly) StoreFailed(result.error());
    if (!checkpoint_failure_.has_value() || checkpoint_failure_->message != result.error().message) {
      diag::Warning("Checkpoint failed, nothing is lost and it will be tried again: {}", result.error().message);
    }
    if (result.error().code == ErrorCode::kNoSpace) {
      // The ballast was kept for this moment.
      auto removed = options_.fs->Remove(JoinPath(options_.generation_path, "ballast"));
      if (removed.ok()) diag::Notice("Gave up the ballast file to let the checkpoint finish");
    }
    checkpoint_failure_ = std::move(result).error();
    stuck_refusal_ = "Checkpoints fail and the write buffer is full, writes are refused until they work again: " +
                     checkpoint_failure_->message;
    checkpoint_retry_at_ms_ = now_monotonic_ms_ + kCheckpointRetryMs;
    if (SnapshotWaitsForCheckpoint()) FailSnapshot(*checkpoint_failure_);
  } else {
    if (checkpoint_failure_.has_value()) diag::Notice("Checkpoints work again");
    checkpoint_failure_.reset();
    checkpoint_begun_ = false;
    // The last reference frees the frozen memtable, row by row: not on the executor.
    threads_->checkpoint.Run([job = std::exchange(checkpoint_job_, nullptr)] {});
    ++checkpoints_done_;
    checkpoint_finished_ms_ = now_monotonic_ms_;
    next_files_job_ms_ = now_monotonic_ms_;  // segments below it may go now
  }
}

double Engine::WritePressure() const { return checkpoint_failure_.has_value() ? 0 : FilledSinceFreeze(); }

double Engine::FilledSinceFreeze() const {
  const double memory = store_->WritePressure();
  if (checkpoint_job_ == nullptr || options_.checkpoint_log_bytes == 0) return memory;
  const auto since = static_cast<double>(log_->AppendedOffset() - checkpoint_job_->position().offset);
  return std::max(memory, since / static_cast<double>(options_.checkpoint_log_bytes));
}

bool Engine::CheckpointsStuck() const {
  return checkpoint_failure_.has_value() && FilledSinceFreeze() >= kStuckMemtableFactor;
}

const std::optional<std::string>& Engine::WriteRefusal() const {
  static const std::optional<std::string> none;
  if (apply_refusal_.has_value()) return apply_refusal_;
  if (space_refusal_.has_value()) return space_refusal_;
  return CheckpointsStuck() ? stuck_refusal_ : none;
}

void Engine::RunOnSnapshotThread(std::function<void()> job) { threads_->snapshot.Run(std::move(job)); }

// ---- files: spare segment, retention, disk space --------------------------------------------------------------------

void Engine::TickFiles() {
  if (files_job_running_) return;
  files_job_running_ = true;
  next_files_job_ms_ = now_monotonic_ms_ + kFilesJobPeriodMs;
  next_spare_job_ms_ = now_monotonic_ms_ + kSparePeriodMs;
  threads_->files.Run([this, checkpoint = store_->CheckpointPosition().offset, backlog = options_.backlog_bytes] {
    if (!stopping_) CheckFiles(checkpoint, backlog);
  });
}

// On the files thread.
void Engine::CheckFiles(uint64_t checkpoint_offset, uint64_t backlog_bytes) {
  std::optional<std::string> refusal;
  bool spare_failed = false;
  Result<SpaceInfo> space = options_.fs->Space(options_.generation_path);
  if (!space.ok()) {
    refusal = "The disk's free space cannot be read, writes are refused until it can: " + space.error().message;
  } else {
    const uint64_t mark = std::min(options_.space_reserve_bytes, space->total_bytes / 20);
    if (space->free_bytes < mark) {
      refusal = fmt::format(
          "The disk of {} has {} free, less than the {} kept in reserve: writes are refused until "
          "space is freed (reads, DEL and CONFIG go on)",
          options_.generation_path, Megabytes(space->free_bytes), Megabytes(mark));
    }
    disk_bytes_ = space->total_bytes;
    space_is_tight_ = space->free_bytes < mark + mark / 2;
    KeepBallast(space->free_bytes, mark);
  }
  if (archive_ != nullptr) ArchiveLog();
  if (Result<void> trimmed = log_->Trim(checkpoint_offset, backlog_bytes); !trimmed.ok()) {
    diag::Warning("Old log segments could not be removed: {}", trimmed.error().message);
  }
  if (!log_->SpareReady()) {
    if (Result<void> prepared = log_->PrepareSpare(); !prepared.ok()) {
      spare_failed = true;
      if (!refusal.has_value()) {
        refusal =
            "The next log segment cannot be prepared, writes are refused until it can: " + prepared.error().message;
      }
    }
  }
  Complete([this, refusal = std::move(refusal), spare_failed]() mutable {
    files_job_running_ = false;
    // Each try may fill and give back a segment's space: not at once again.
    if (spare_failed) next_spare_job_ms_ = next_files_job_ms_ = now_monotonic_ms_ + kFilesJobPeriodMs;
    if (refusal.has_value() && !space_refusal_.has_value()) diag::Warning("{}", *refusal);
    if (!refusal.has_value() && space_refusal_.has_value()) diag::Notice("There is space again: writes are accepted");
    space_refusal_ = std::move(refusal);
    // Rows of deleted collections and databases go with checkpoints, also when nobody writes. What the last one did not
    // manage goes on at once; what was deleted since waits, else who deletes all the time has nothing but checkpoints.
    const StoreStats stats = store_->Stats();
    const bool waited = now_monotonic_ms_ >= checkpoint_finished_ms_ + kDeadRowsWaitMs;
    collect_dead_rows_ = stats.dead_in_lmdb > 0 || (stats.dead_collections > 0 && waited);
  });
}

// On the files thread. What cannot be archived is kept in the log, but not at the price of refusing writes.
void Engine::ArchiveLog() {
  const Result<void> archived = archive_->Run(*log_);
  const std::string failure = archived.ok() ? "" : archived.error().message;
  if (!archived.ok() && space_is_tight_) LogArchive::LetGo(*log_);
  if (failure == archive_failure_) return;
  archive_failure_ = failure;
  if (archived.ok()) {
    diag::Notice("Archiving the log works again");
  } else {
    diag::Warning("{}. The log keeps what is not archived as long as there is space, and it will be tried again",
                  failure);
  }
}

// The ballast is space that a checkpoint may have when the disk is full: it frees more than it takes in the end.
void Engine::KeepBallast(uint64_t free_bytes, uint64_t mark_bytes) {
  const uint64_t size = std::min(kBallastBytesMax, mark_bytes / 5);
  if (size == 0 || free_bytes < mark_bytes + 2 * size) return;
  const std::string path = JoinPath(options_.generation_path, "ballast");
  if (Result<bool> exists = options_.fs->Exists(path); !exists.ok() || *exists) return;
  auto make = [&]() -> Result<void> {
    const std::string temporary = path + ".tmp";
    ASSIGN_OR_RETURN(auto file, options_.fs->Open(temporary, {.mode = OpenMode::kCreateOrReplace}));
    const std::string zeros(1 << 20, '\0');
    for (uint64_t done = 0; done < size && !stopping_; done += zeros.size()) {
      RETURN_IF_ERROR(file->WriteAt(done, zeros));
    }
    RETURN_IF_ERROR(file->Sync());
    return options_.fs->Rename(temporary, path);
  };
  if (Result<void> made = make(); !made.ok()) diag::Verbose("No ballast file yet: {}", made.error().message);
}

}  // namespace holdfast::wal
