// The inside of Store and Transaction: layers, keyspace map and counters. Everything here belongs to the executor,
// except what a checkpoint job shares (the frozen memtable, immutable, and its own atomics).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/base/clock.h"
#include "storage/checkpoint_job.h"
#include "storage/effects/effect_sink.h"
#include "storage/key_prefetch.h"
#include "storage/key_windows.h"
#include "storage/lmdb_env.h"
#include "storage/memtable.h"
#include "storage/pick_windows.h"
#include "storage/plain_keys.h"
#include "storage/rank_trees.h"
#include "storage/row_cache.h"
#include "storage/store_meta.h"
#include "storage/store_options.h"
#include "storage/store_view.h"
#include "storage/transaction.h"
#include "storage/walks_ahead.h"

namespace holdfast {

// Writes a frozen memtable's run and merges it. Run() on a background thread; the counters from any.
class MemtableCheckpoint : public CheckpointJob {
 public:
  // `run_path` not empty: the run was found at open.
  MemtableCheckpoint(std::shared_ptr<LmdbEnv> env, const StoreOptions& options, std::shared_ptr<const Memtable> rows,
                     StoreMeta meta, std::string run_path, std::shared_ptr<const Memtable> retired = nullptr)
      : env_(std::move(env)),
        options_(options),
        rows_(std::move(rows)),
        retired_(std::move(retired)),
        meta_(std::move(meta)),
        run_path_(std::move(run_path)) {}

  [[nodiscard]] const StreamPosition& position() const override { return meta_.position; }
  [[nodiscard]] const StoreMeta& meta() const { return meta_; }
  Result<void> Run(const std::function<void(double progress)>& progress, const std::atomic<bool>& cancelled) override;
  [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }
  [[nodiscard]] double progress() const { return progress_.load(std::memory_order_relaxed); }
  Result<std::unique_ptr<StoreView>> OpenView() const;  // storage/frozen_view.h

 private:
  std::shared_ptr<LmdbEnv> env_;
  StoreOptions options_;
  std::shared_ptr<const Memtable> rows_;
  std::shared_ptr<const Memtable> retired_;  // freed by Run(): on the background thread
  StoreMeta meta_;
  std::string run_path_;
  bool merged_ = false;
  std::atomic<bool> done_{false};
  std::atomic<double> progress_{0};
};

// Spaces of the row cache: keyspaces have the highest bit, the kinds of a collection's rows have not.
inline uint64_t KeyCacheSpace(KeyspaceId keyspace) { return uint64_t{1} << 63 | keyspace; }

// The table of plain keys takes this part of the row cache's bound, beside it.
inline constexpr uint64_t kPlainKeysShare = 4;
// And that of new keys this one.
inline constexpr uint64_t kKeyWindowsShare = 8;

// So do the fences of sorted sets, three halves of it: by default those of twenty million members fit.
[[nodiscard]] inline uint64_t RankTreesMax(const StoreOptions& options) {
  return options.cache_bytes + options.cache_bytes / 2;
}

struct StoreState {
  // One logical database.
  struct Database {
    KeyspaceId keyspace = 0;
    uint64_t keys = 0;
    uint64_t expiries = 0;
    uint64_t marker_offset = 0;       // writer of the newest FLUSHDB or SWAPDB that changed what this database is
    uint64_t live_hash = 0;           // where a random pick among masses of deleted keys found a live one
    uint64_t search_hash = 0;         // from where on the next such pick that finds none searches
    RowTable* active = nullptr;       // the keyspace's table in the layer, null if it has none there
    const RowTable* below = nullptr;  // in FrozenOrMerged()
  };

  StoreState(StoreOptions store_options, std::shared_ptr<LmdbEnv> lmdb)
      : options(std::move(store_options)),
        env(std::move(lmdb)),
        cache(options.cache_bytes),
        plain_keys(options.cache_bytes / kPlainKeysShare, RandomSeed()),
        key_windows(options.cache_bytes / kKeyWindowsShare),
        rank_trees(RankTreesMax(options)) {}

  // Takes over counts and ids.
  void Adopt(const StoreMeta& meta);
  [[nodiscard]] StoreMeta MakeMeta(uint64_t number, StreamPosition position) const;
  void MapDatabase(int db);  // after its keyspace id changed
  RowTable& ActiveKeys(Database& database);
  RowTable& ActiveMembers(CollectionId id);
  // Rows of a collection with this id may be in LMDB, in the frozen memtable.
  [[nodiscard]] bool MayBeInLmdb(CollectionId id) const { return id < first_collection_above_lmdb; }
  [[nodiscard]] bool MayBeFrozen(CollectionId id) const { return id < first_collection_active && frozen != nullptr; }
  [[nodiscard]] const Memtable* LayerBelow(CollectionId id) const {
    return id < first_collection_active ? FrozenOrMerged() : nullptr;
  }
  // The layer in which single rows are looked for next after the active one, null if there is none.
  [[nodiscard]] const Memtable* FrozenOrMerged() const { return frozen != nullptr ? frozen.get() : merged.get(); }
  // Looks at all keys around this hash, so that the next new one there need not be looked for in LMDB. Before a write.
  void LearnKeyWindow(const Database& database, uint64_t hash);
  void PutExpiryRow(int64_t at, KeyspaceId keyspace, uint64_t hash, std::string_view key, uint64_t writer_offset);
  void EraseExpiryRow(int64_t at, KeyspaceId keyspace, uint64_t hash, std::string_view key, uint64_t writer_offset);

  StoreOptions options;
  std::shared_ptr<LmdbEnv> env;
  std::unique_ptr<LmdbReader> reader;
  RowCache cache;
  PlainKeys plain_keys;
  KeyWindows key_windows;
  PickWindows pick_windows;
  RankTrees rank_trees;
  WalksAhead walks_ahead;
  std::shared_ptr<SlabPool> slabs = std::make_shared<SlabPool>();  // of its memtables
  std::shared_ptr<Memtable> active;
  std::shared_ptr<const Memtable> frozen;
  std::shared_ptr<MemtableCheckpoint> job;  // of `frozen`
  // The rows of the last checkpoint, from the end of its merge to the next freeze: LMDB holds the same, but here they
  // are found at the cost of a memory access. Only while nothing is frozen; never with cache_bytes 0.
  std::shared_ptr<const Memtable> merged;

  std::vector<Database> databases;
  std::unordered_map<KeyspaceId, int> database_of;
  CollectionId next_collection = 1;
  KeyspaceId next_keyspace = 1;
  CollectionId first_collection_active = 1;      // ids from here on are in the active memtable only
  CollectionId first_collection_above_lmdb = 1;  // ids from here on are not in LMDB (or shadowed there)
  uint64_t checkpoint = 0;                       // number of the newest freeze
  StreamPosition position;                       // LMDB and the frozen layer together

  EffectSink* sink = nullptr;
  const KeyRows* key_rows = nullptr;  // looked up ahead
  bool met_many_deleted = false;      // a read walked over so many deleted rows that a checkpoint would help
  uint32_t event_classes = 0;         // see Transaction::Notify
  int64_t last_time_ms = 0;
  uint64_t apply_start = 0;
  uint64_t apply_end = 0;
  // All expiry rows below this row key are deleted or belong to deleted databases: where ExpiredKeys starts.
  std::string expiry_floor;
  uint64_t checkpoints_done = 0;
  uint64_t merged_rows = 0;
  std::unique_ptr<Transaction> transaction;
};

}  // namespace holdfast
