// The engine: one open generation. Store, log, replay and the background work that ties them together (checkpoints,
// spare segments, retention, snapshots, disk space), without sockets or protocol.
//
// Executor thread unless said otherwise. Background jobs run on three threads of the engine (checkpoints, log files,
// snapshots), each with at most one job queued; their results wait until the executor calls RunCompletions(), which
// `wake` asks for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/result.h"
#include "storage/content_digest.h"
#include "storage/effects/applier.h"
#include "storage/snapshot.h"
#include "storage/store.h"
#include "wal/log.h"
#include "wal/log_archive.h"
#include "wal/recovery.h"
#include "wal/replay_pipeline.h"

namespace holdfast::wal {

struct EngineOptions {
  std::string generation_path;
  int databases = 16;
  uint64_t memtable_bytes = 64ull << 20;
  uint64_t cache_bytes = 64ull << 20;
  // Log since the last checkpoint that wants a new one. Writers are slowed and in the end wait, so that a restart never
  // replays more than twice as much (and a unit).
  uint64_t checkpoint_log_bytes = 64ull << 20;
  uint64_t map_bytes = 1ull << 40;  // address space for LMDB's map
  uint64_t segment_bytes = 64ull << 20;
  uint64_t ring_bytes = 16ull << 20;
  uint64_t backlog_bytes = 1ull << 30;
  uint64_t max_unit_bytes = 1ull << 30;
  // A snapshot keeps LMDB from using pages again and the log from being trimmed: it is ended when both have grown by
  // more than this while it is written.
  uint64_t snapshot_growth_bytes = 16ull << 30;
  std::string archive_directory;  // absolute; finished segments of the log go there (wal/log_archive.h); "": nowhere
  uint64_t space_reserve_bytes = 1ull << 30;  // writes are refused below min(this, 5% of the disk)
  bool tail_rewrite = true;
  // Threads that look up rows ahead of replay; -1: by the number of processors.
  int replay_threads = -1;
  // false: no thread for checkpoints, files and snapshots is started, and Tick is not called. For who opens a
  // generation to look at it, thousands of times (tests).
  bool background_work = true;
  FileSystem* fs = nullptr;
  Clock* clock = nullptr;
  Random* random = nullptr;
};

struct SnapshotRequest {
  std::string data_directory;  // the file goes to its snapshots/ (made if missing), named by offset and time
  SnapshotWriteOptions write;
  std::string node_id;
  bool fresh = true;  // false: the last checkpoint is good enough (full sync); true: cover all until now
};
struct SnapshotResult {
  std::string path;
  StreamPosition position;
  SnapshotFooter footer;
  std::shared_ptr<Log::Pin> pin;  // keeps the log from `position` on while anyone holds it
};
using SnapshotCallback = std::function<void(Result<SnapshotResult>)>;

using DigestCallback = std::function<void(Result<RangedDigest>)>;

struct EngineProgress {  // recovery, for people
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> replay;
};

class Engine {
 public:
  // Opens a generation: store, run, replay of the log, and the log for appending. A generation with an empty log and an
  // empty store starts a new history with a new lineage id.
  static Result<std::unique_ptr<Engine>> Open(EngineOptions options, EngineProgress progress);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] Store& store() { return *store_; }
  [[nodiscard]] Log& log() { return *log_; }
  [[nodiscard]] const RecoveryReport& recovery() const { return recovery_; }
  [[nodiscard]] const EngineOptions& options() const { return options_; }
  // Called from background threads when completions wait. Must be cheap and thread-safe. Set before any work starts.
  void SetWake(std::function<void()> wake);
  void RunCompletions();
  // Is told what AppendAndApply applies (watched keys, pub/sub). Not owned; null: nobody.
  void SetApplyObserver(ApplyObserver* observer) { observer_.target = observer; }

  // ---- replica: what a master sent --------------------------------------------------------------------------------
  // Appends the frame to the log and, when it ends a unit, applies it. An error means history cannot go on.
  Result<void> AppendAndApply(const HistoryFrame& frame);
  // One whole unit of another server's stream, as it came, which becomes the next of ours: applied, then appended. On
  // an error it is not in the log, and the data must not be built on any more: the next start is without it.
  Result<void> ApplyAndAppend(std::string_view unit, int64_t now_ms);
  // Drops a unit of which only the first parts have come (link lost, promotion).
  void AbandonUnit();
  [[nodiscard]] bool HasUnfinishedUnit() const { return !unfinished_.empty(); }
  // The lowest offset to which this node can go back (wal/rewind.h): what checkpoints hold cannot be undone.
  [[nodiscard]] uint64_t RewindFloor() const;
  // So that going back stays possible: a checkpoint of anything above `offset` is put off, while the log since the last
  // one and the write buffer have room, and nobody asked for it. UINT64_MAX: nothing is put off.
  void HoldCheckpointsAbove(uint64_t offset) { checkpoint_hold_ = offset; }

  // ---- background work ----------------------------------------------------------------------------------------------
  // Starts what is due: checkpoint, spare segment, trimming, space check. Call after each turn and at least every 100
  // ms.
  void Tick(int64_t monotonic_ms);
  // Freezes as soon as possible even if the memtable is not full (SAVE, DEBUG, tests). Done when CheckpointsDone()
  // grew.
  void RequestCheckpoint() { checkpoint_requested_ = true; }
  [[nodiscard]] uint64_t CheckpointsDone() const { return checkpoints_done_; }
  [[nodiscard]] bool CheckpointRunning() const { return checkpoint_job_ != nullptr; }
  [[nodiscard]] double CheckpointProgress() const { return checkpoint_progress_.load(std::memory_order_relaxed); }
  // While a checkpoint is being made: how far the writers have filled what is allowed meanwhile, of memory or of log,
  // whichever is more. Writers are slowed as it approaches 1 and wait from there on. 0 when none is being made; also
  // while checkpoints fail, when more is allowed and writers are refused beyond that (WriteRefusal).
  [[nodiscard]] double WritePressure() const;
  // A reason while writes must be refused for lack of space or because checkpoints fail, else nullopt.
  [[nodiscard]] const std::optional<std::string>& WriteRefusal() const;
  // The part of it that heals with the disk.
  [[nodiscard]] bool LacksSpace() const { return space_refusal_.has_value() || CheckpointsStuck(); }
  // Little is left until then: who keeps log for somebody else should let it go.
  [[nodiscard]] bool SpaceIsTight() const { return space_is_tight_; }
  // Null without an archive.
  [[nodiscard]] const LogArchive* archive() const { return archive_.get(); }
  // Of the disk with the data, as of the last look; 0: none yet.
  [[nodiscard]] uint64_t DiskBytes() const { return disk_bytes_; }

  // Makes a snapshot in the background; one at a time (kBusy). The callback runs on the executor. kLimit: it grew
  // beyond snapshot_growth_bytes. The error of a checkpoint: it needs one, and that failed.
  Result<void> StartSnapshot(SnapshotRequest request, SnapshotCallback done);
  [[nodiscard]] bool SnapshotRunning() const { return snapshot_.has_value(); }
  [[nodiscard]] SnapshotProgress CurrentSnapshotProgress() const;
  void CancelSnapshot() { snapshot_cancelled_ = true; }

  // ---- digests of the content, for comparing nodes (engine_digest.cpp) ----
  // Ok: StartDigest would begin at this moment. kBusy: a checkpoint or snapshot is under way; ask again. Ends a digest
  // under way, and for `hold_ms` no checkpoint is begun, unless the write buffer needs one or somebody wants a
  // snapshot.
  Result<void> PrepareDigest(int64_t hold_ms);
  // Digests the content as of the present appended end, from a checkpoint made exactly there, in the background. Not
  // while a transaction is open. The callback runs on the executor; kBusy, from here or there: something else went
  // first, to be tried again. kLimit: it grew beyond snapshot_growth_bytes.
  Result<void> StartDigest(DigestCallback done);

  // Runtime settings (CONFIG SET).
  void SetBacklogBytes(uint64_t bytes) { options_.backlog_bytes = bytes; }

  // Stops background work and joins the threads; the log is not synced here.
  void Stop();

 private:
  struct ActiveSnapshot {
    SnapshotRequest request;
    SnapshotCallback done;
    uint64_t wanted_offset = 0;  // the checkpoint must cover at least this
    bool started = false;
    uint64_t offset = 0;               // of its view
    uint64_t lmdb_bytes = 0;           // used when it started
    std::optional<std::string> ended;  // why it was cancelled
  };
  struct ActiveDigest {
    DigestCallback done;
    uint64_t offset = 0;         // of which it is
    bool started = false;        // reading
    uint64_t lmdb_bytes = 0;     // used when it started
    std::optional<Error> ended;  // why it was cancelled
  };
  struct BackgroundThreads;
  // The applier's observer for life; tells whoever wants to know after recovery.
  struct ForwardingObserver : ApplyObserver {
    void UnitApplied(uint64_t end_offset, const std::vector<Transaction::Touched>& keys) override {
      if (target != nullptr) target->UnitApplied(end_offset, keys);
    }
    void KeysChanged(const std::vector<KeyEvent>& events, uint64_t unit_end) override {
      if (target != nullptr) target->KeysChanged(events, unit_end);
    }
    void Published(std::string_view channel, std::string_view message, uint64_t unit_end) override {
      if (target != nullptr) target->Published(channel, message, unit_end);
    }
    void ShardPublished(std::string_view channel, std::string_view message, uint64_t unit_end) override {
      if (target != nullptr) target->ShardPublished(channel, message, unit_end);
    }
    void AckRequested(uint64_t end_offset) override {
      if (target != nullptr) target->AckRequested(end_offset);
    }
    ApplyObserver* target = nullptr;
  };

  explicit Engine(EngineOptions options);
  Result<void> Recover(const EngineProgress& progress);
  Result<RecoveryOutcome> Replay(const RecoveryInput& input, const EngineProgress& progress);
  Result<void> ReplayUnits(const ReplayPipeline::Piece& piece);
  Result<void> MakeRoomDuringReplay();

  Result<void> Apply(const EffectUnits& units);
  void TickCheckpoint();
  void StartCheckpoint();
  [[nodiscard]] bool CheckpointHeld() const;
  void CheckpointFinished(Result<void> result);
  void TickSnapshot();
  [[nodiscard]] bool SnapshotWaitsForCheckpoint() const;
  void FailSnapshot(const Error& error);
  void BoundSnapshot();
  void RunSnapshot(std::shared_ptr<StoreView> view, std::shared_ptr<Log::Pin> pin);
  void TickDigest();
  void RunDigest(std::shared_ptr<StoreView> view);
  void CancelDigest(Error reason);
  void EndDigest(Result<RangedDigest> result);
  // No checkpoint may begin now, for the sake of a digest.
  [[nodiscard]] bool HeldForDigest() const;
  // By how much disk a view that was opened then holds up; empty while that is within bounds.
  [[nodiscard]] std::optional<std::string> GrownBeyondBounds(uint64_t offset, uint64_t lmdb_bytes) const;
  void RunOnSnapshotThread(std::function<void()> job);
  void TickFiles();
  void CheckFiles(uint64_t checkpoint_offset, uint64_t backlog_bytes);
  void ArchiveLog();
  void KeepBallast(uint64_t free_bytes, uint64_t mark_bytes);
  // What was written since the freeze, as a multiple of what may be while its checkpoint is made.
  [[nodiscard]] double FilledSinceFreeze() const;
  // They fail, and what may be written meanwhile was written. As of now, not of the last try: many writes fit between.
  [[nodiscard]] bool CheckpointsStuck() const;
  void Complete(std::function<void()> completion);

  EngineOptions options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Log> log_;
  ForwardingObserver observer_;
  std::unique_ptr<Applier> applier_;
  RecoveryReport recovery_;
  StreamPosition replay_position_;    // while recovering: how far replay has come
  ReplayPipeline* replay_ = nullptr;  // while recovering

  // Parts so far of a unit that spans frames, on a replica.
  std::string unfinished_;
  HistoryFrame unfinished_first_;

  bool checkpoint_requested_ = false;
  uint64_t checkpoint_hold_ = UINT64_MAX;
  bool checkpoint_may_wait_ = false;  // nobody asked for the one at hand
  bool checkpoint_begun_ = false;     // it may be on disk in part
  bool checkpoint_started_ = false;
  bool collect_dead_rows_ = false;
  std::shared_ptr<CheckpointJob> checkpoint_job_;
  int64_t checkpoint_retry_at_ms_ = 0;
  uint64_t checkpoints_done_ = 0;
  int64_t checkpoint_finished_ms_ = 0;  // the last one; monotonic
  std::optional<Error> checkpoint_failure_;
  std::atomic<double> checkpoint_progress_{0};
  std::atomic<bool> stopping_{false};

  std::optional<ActiveSnapshot> snapshot_;
  std::atomic<bool> snapshot_cancelled_{false};
  std::atomic<uint64_t> snapshot_keys_done_{0}, snapshot_keys_total_{0}, snapshot_raw_{0}, snapshot_stored_{0};

  std::optional<ActiveDigest> digest_;
  std::atomic<bool> digest_cancelled_{false};
  int64_t digest_hold_until_ms_ = 0;  // monotonic

  std::unique_ptr<LogArchive> archive_;
  std::string archive_failure_;  // as it was told; files thread
  std::atomic<bool> space_is_tight_{false};
  std::atomic<uint64_t> disk_bytes_{0};
  // Reasons to refuse writes, as they are told; the strongest first.
  std::optional<std::string> apply_refusal_;  // since a frame of the master could not be applied
  std::optional<std::string> space_refusal_;
  std::optional<std::string> stuck_refusal_;  // while checkpoints fail; in force once CheckpointsStuck()
  bool files_job_running_ = false;
  int64_t next_files_job_ms_ = 0;
  int64_t next_spare_job_ms_ = 0;
  int64_t now_monotonic_ms_ = 0;

  std::mutex completions_mutex_;
  std::vector<std::function<void()>> completions_;  // guarded by completions_mutex_
  std::function<void()> wake_;
  std::unique_ptr<BackgroundThreads> threads_;
};

}  // namespace holdfast::wal
