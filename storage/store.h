// The store: layers over LMDB. docs/architecture.md "The store".
//
//   active memtable   rows written since the last freeze                          (executor)
//   frozen memtable   at most one: rows of the checkpoint being made              (shared, read-only)
//   merged memtable   the frozen one after its merge, until the next freeze       (shared, read-only)
//   clean row cache   rows read lately, bounded; never newer or older than below  (executor)
//   LMDB              everything up to the last finished merge                    (read txn of the executor)
//
// Invariants
//  1. LMDB together with at most one run file is a complete state at one stream offset, at every instant.
//  2. LMDB is written by the checkpointer alone, in synced transactions, never past the durable log.
//  3. Layers and the LMDB read transaction change together, on the executor.
//
// Checkpoint, in steps so that no step blocks the executor:
//   1. executor: FreezeActive(meta)          -> Frozen layer (only if there is none); returns the job
//   2. caller waits until the log is durable to job.offset
//   3. background thread: job->Run()         -> writes the run file (commit point), merges it into LMDB, removes it;
//                                               after each LMDB transaction calls `progress`
//   4. executor: RenewReader() may be called any time in between; FinishCheckpoint() when Run() returned ok
//   A failed Run() loses nothing: the frozen layer stays, the same job may Run() again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/checkpoint_job.h"
#include "storage/cold_rows.h"
#include "storage/effects/effect_sink.h"
#include "storage/key_prefetch.h"
#include "storage/row.h"
#include "storage/store_builder.h"
#include "storage/store_options.h"
#include "storage/store_view.h"
#include "storage/stream_position.h"
#include "storage/transaction.h"

namespace holdfast {

struct StoreStats {
  uint64_t active_bytes = 0, active_rows = 0, frozen_bytes = 0, frozen_rows = 0, cache_bytes = 0, cache_rows = 0;
  uint64_t merged_bytes = 0;  // rows of the last checkpoint that are kept until the next one
  uint64_t index_bytes = 0;   // what is kept of sorted sets' ranks, for random picks, of plain keys
  uint64_t lmdb_used_bytes = 0, lmdb_map_bytes = 0;
  uint64_t cache_hits = 0, cache_misses = 0, checkpoints = 0, merged_rows = 0;
  uint64_t dead_collections = 0;  // deleted collections and databases whose rows are not removed yet ...
  uint64_t dead_in_lmdb = 0;      // ... and those of them that a checkpoint has taken up and not finished
  bool checkpoint_running = false;
  double checkpoint_progress = 0;  // 0..1
};

struct StoreState;  // layers and counters; storage/store_state.h

class Store {
 public:
  // Opens the generation directory, creating it when empty. A complete run file found there becomes the frozen layer
  // again (take its job from PendingCheckpoint()); an incomplete one is deleted. kCorruption names file and position.
  static Result<std::unique_ptr<Store>> Open(StoreOptions options);
  ~Store();  // views and jobs must be gone
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // The position that LMDB and a pending run hold together: where replay must start.
  [[nodiscard]] const StreamPosition& CheckpointPosition() const;
  // The job of the frozen layer, null if there is none.
  [[nodiscard]] std::shared_ptr<CheckpointJob> PendingCheckpoint() const;

  // Where units go and what names offsets. Must be set before the first live transaction; not owned.
  void AttachSink(EffectSink* sink);

  // The keyspace events that transactions keep from now on, bits of KeyEventClass.
  void SetEventClasses(uint32_t classes);

  // Starts a unit; Transaction::Commit() ends it. One at a time: the object is reused, do not keep the reference.
  // Live: `now_ms` is the caller's clock; raised to the last unit's time if below. Apply: the frame's time.
  Transaction& Begin(TransactionMode mode, int db, int64_t now_ms);
  // Has the rows of these keys, as far as they are in memory, fetched into the processor's cache: all together, where
  // looking at one key after the other would wait for each. A hint; nothing changes.
  void Prefetch(int db, std::span<const std::string_view> keys, bool to_write);
  // Apply mode: the stream offset at which the unit being applied starts and ends. Call before Begin(kApply).
  void SetApplyUnit(uint64_t start_offset, uint64_t end_offset);

  // Looks up what LMDB holds now, for another thread. Not to be used once LMDB has changed.
  Result<std::unique_ptr<KeyPrefetcher>> OpenKeyPrefetcher();
  // From now on units look here first before they look into LMDB. Not owned; null: nowhere. Only while LMDB is as it
  // was when the prefetcher was opened.
  void UseKeyRows(const KeyRows* rows);

  // ---- reads that may wait for the disk (executor) ----
  // A key that commands are going to read, if not all of it is known to be in memtables or the row cache: LMDB would be
  // asked. Nullopt: it would not.
  std::optional<WantedKey> WantFromLmdb(int db, std::string_view key);
  // What other threads should walk over, so that units to come do not wait for it.
  [[nodiscard]] bool HasWalksAhead() const;
  [[nodiscard]] std::vector<WalkAhead> TakeWalksAhead();
  // For other threads. Must be gone before the store's files change.
  [[nodiscard]] std::shared_ptr<const ColdRows> OpenColdRows() const;

  // ---- checkpoints (executor) ----
  // The active memtable is full, or reads walk over masses of deleted rows in it, and nothing is frozen.
  [[nodiscard]] bool FreezeWanted() const;
  [[nodiscard]] bool HasFrozen() const;
  // The active memtable becomes the frozen layer, as of `position` (the end of the last unit). CHECKs !HasFrozen().
  std::shared_ptr<CheckpointJob> FreezeActive(StreamPosition position);
  // Moves the executor's LMDB read transaction to the newest state, so that LMDB can reuse pages. Between units.
  Result<void> RenewReader();
  // After Run() returned ok: there is no frozen layer any more; its rows stay as clean ones. Between units.
  Result<void> FinishCheckpoint();
  // Fraction (0..1+) of the active memtable's bound that is in use while a frozen one is still being merged: writers
  // are slowed smoothly as it approaches 1 and beyond. 0 when nothing is frozen.
  [[nodiscard]] double WritePressure() const;
  // How much of its bound the active memtable uses, frozen one or not.
  [[nodiscard]] double ActiveFill() const;

  // A view of the last finished checkpoint for another thread. kBusy while LMDB is between two states (a merge was
  // begun and not finished): finish the checkpoint first. Executor.
  Result<std::unique_ptr<StoreView>> OpenView();

  // ---- active expiry (executor) ----
  // Up to `limit` keys whose expiry is at or before `now_ms`, oldest first. Work per call is bounded: fewer keys, even
  // none, do not mean that nothing is left.
  struct ExpiredKey {
    int db;
    std::string key;
  };
  Result<std::vector<ExpiredKey>> ExpiredKeys(int64_t now_ms, size_t limit);

  [[nodiscard]] StoreStats Stats() const;
  [[nodiscard]] const StoreOptions& options() const;

 private:
  friend class Transaction;
  explicit Store(std::unique_ptr<StoreState> state);

  std::unique_ptr<StoreState> state_;
};

}  // namespace holdfast
