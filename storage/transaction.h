// A transaction: one unit at work on the store. Store operations (storage/types/) are written over it, and are the only
// code that changes anything; each writes its rows and appends its own effect. Command handlers call operations, replay
// (recovery, replica, restore) parses an effect and calls the same operation.
//
// There is no rollback: an operation reads and validates first, then writes, and writing to the memtable cannot fail.
// All on the executor. Views returned by reads live until the next write through this transaction or its end.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/result.h"
#include "storage/key_events.h"
#include "storage/row.h"

namespace holdfast {

class Memtable;
class PickWindows;
class RankTrees;
struct WalkAhead;
struct CounterPlace;
class Random;
class Store;
struct StoreState;

enum class TransactionMode {
  kLive,   // a client's command: has a clock, hides and deletes expired keys, appends effects
  kApply,  // replay of an effect: no clock (expired keys are plain keys), effects are not appended again
};

// What Commit() tells the reply gate.
struct UnitResult {
  uint64_t end_offset = 0;   // end of this unit in the stream; 0 if it had no effect
  uint64_t seen_offset = 0;  // newest writer offset of anything it touched, see Transaction::seen_offset
  size_t effects = 0;
};

class Transaction {
 public:
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();  // CHECKs that it was committed

  [[nodiscard]] TransactionMode mode() const { return mode_; }
  // The unit's time, ms since the epoch: read once, never below the last frame's time. In apply mode: its frame's time.
  [[nodiscard]] int64_t now_ms() const { return now_ms_; }
  [[nodiscard]] int db() const { return db_; }
  void SelectDb(int db) { db_ = db; }
  [[nodiscard]] int database_count() const;
  // Only when live: what chance decided is in the effect.
  [[nodiscard]] Random& random();

  // ---- key rows -----------------------------------------------------------------------------------------------------
  // The key in database `db`. Expired keys are absent in live mode. Never writes.
  Result<std::optional<KeyValue>> Find(int db, std::string_view key);
  Result<std::optional<KeyValue>> Find(std::string_view key) { return Find(db_, key); }
  // The same for the server's own questions: no keyspace event tells that the key was missed.
  Result<std::optional<KeyValue>> Peek(int db, std::string_view key);
  // The same for an operation that is going to write: an expired key is deleted first, with its DEL effect.
  Result<std::optional<KeyValue>> FindForWrite(int db, std::string_view key);
  Result<std::optional<KeyValue>> FindForWrite(std::string_view key) { return FindForWrite(db_, key); }
  // The same for an operation that replaces the value whatever it is: of a plain string (inline, without expiry) the
  // body may be empty instead of the bytes, for which LMDB would have to be asked.
  Result<std::optional<KeyValue>> FindForReplace(int db, std::string_view key);
  // What a write of a key is to those who watch it. kBeside: no change at all, as a stream's groups are to Redis.
  enum class Change : uint8_t { kContent, kRemoval, kBeside };
  // Writes the key row, keeps counts and expiry index. `old` is what the last Find* of this key returned: the old
  // value's rows (chunks, collection) are put on the dead list unless the new body names the same collection id.
  // `value.body` and `key` must not point into rows of this store that this call may overwrite (own your bytes).
  void Put(int db, std::string_view key, const KeyValue& value, const std::optional<KeyValue>& old,
           Change change = Change::kContent);
  // Deletes the key row. `keep_rows`: the collection's rows live on under another key (RENAME, MOVE).
  void Erase(int db, std::string_view key, const KeyValue& old, bool keep_rows = false);
  // Counts as a write of the key (see touched()) when only rows of its collection were written.
  void TouchKey(int db, std::string_view key, Change change = Change::kContent) { Touch(db, key, change); }

  // ---- collection rows ----------------------------------------------------------------------------------------------
  CollectionId NewCollectionId();
  Result<std::optional<std::string_view>> FindRow(CollectionId id, CollectionKind kind, std::string_view suffix);
  void PutRow(CollectionId id, CollectionKind kind, std::string_view suffix, std::string_view value);
  void EraseRow(CollectionId id, CollectionKind kind, std::string_view suffix);
  // Visits rows of one kind in byte order of the suffix, from `from` (inclusive) upwards, or from the last one <=
  // `from` downwards when `reverse` (an empty `from` with `reverse` is the end), until `visit` returns false. The
  // visitor must not write. Rows that are folded (storage/row.h) lie in the order of row keys instead: a `from` as long
  // as theirs is the suffix of a row.
  using RowVisitor = std::function<bool(std::string_view suffix, std::string_view value)>;
  // Rows of members: after `rows` of them, deleted ones counted, the visit ends before the next row hash.
  struct RowBudget {
    uint64_t rows = 0;
    uint64_t next_hash = 0;  // where to go on; 0: the visit did not end for the budget
  };
  Result<void> VisitRows(CollectionId id, CollectionKind kind, std::string_view from, bool reverse,
                         const RowVisitor& visit, RowBudget* budget = nullptr);

  // What random picks know of the members of collections. Who adds or removes members tells it.
  [[nodiscard]] PickWindows& pick_windows();
  // Fence rows of sorted sets that were read, for storage/types/rank_index.h alone.
  [[nodiscard]] RankTrees& rank_trees();
  // Asks for a walk over rows that later units will probably read, if this collection may have any in LMDB.
  void WantWalkAhead(WalkAhead walk);
  // PutRow of a number, u64 LE, for rows that are written again and again: `place` keeps where the row is in memory.
  // Such rows are read by VisitRows alone, and their suffix is not folded.
  void PutCounter(CollectionId id, CollectionKind kind, std::string_view suffix, uint64_t value, CounterPlace& place);

  // ---- keyspaces ----------------------------------------------------------------------------------------------------
  [[nodiscard]] uint64_t KeyCount(int db);     // expired but not yet deleted keys included, as Redis counts
  [[nodiscard]] uint64_t ExpiryCount(int db);  // keys with an expiry
  // Visits live keys in row-hash order starting at hash `from`; all keys of one hash are visited together: when `visit`
  // returns false the visit ends at the next change of hash. Returns the hash to go on from, 0 at the end.
  // The visitor must not write. After `rows_max` rows, deleted ones counted, it ends as if `visit` had returned false.
  using KeyVisitor = std::function<bool(std::string_view key, const KeyValue& value)>;
  static constexpr uint64_t kAllRows = ~uint64_t{0};
  Result<uint64_t> VisitKeys(int db, uint64_t from, const KeyVisitor& visit, uint64_t rows_max = kAllRows);
  // A random live key; nullopt if there is none, or none was found in a bounded walk: among masses of expired keys,
  // where later calls look further on. Each with the same chance, unless nearly all rows are deleted ones: what lies
  // behind many of them has a better chance then, until a checkpoint, which this asks for, has removed them.
  Result<std::optional<std::string>> RandomKey(int db);
  void FlushDb(int db);
  void FlushAll();
  void SwapDb(int a, int b);

  // ---- effects ------------------------------------------------------------------------------------------------------
  // Appends an effect on the current database (db(), or `db`), in canonical form. Ignored in apply mode.
  void Emit(std::initializer_list<std::string_view> arguments) { Emit(std::span(arguments.begin(), arguments.size())); }
  void Emit(std::span<const std::string_view> arguments);
  void EmitOn(int db, std::initializer_list<std::string_view> arguments);

  // Whether effects of `bytes` more (lengths of their arguments), `arguments` of them, still fit into one unit of the
  // log: else kLimit. To be asked before anything is written.
  [[nodiscard]] Result<void> CheckRoom(uint64_t bytes, uint64_t arguments) const;

  // Newest writer offset of every row, tombstone and keyspace marker touched so far, used or not. The reply that
  // reveals them waits until the log is durable past it.
  [[nodiscard]] uint64_t seen_offset() const { return seen_offset_; }
  // For what is kept of rows beside them: the reply reveals what this writer wrote.
  void SawWriter(uint64_t offset) { Saw(offset); }
  // The writer offset of the rows that this unit writes.
  [[nodiscard]] uint64_t writer_offset() const { return start_offset_ + 1; }
  // For unkeyed answers (DBSIZE, SCAN, KEYS, RANDOMKEY): wait for everything appended so far.
  void SawEverything();

  // Keys written so far in this unit, as (db, key): WATCH, keyspace notifications. FLUSH* and SWAPDB are told apart.
  struct Touched {
    int db;
    std::string key;  // empty with whole_db
    bool whole_db;
    Change change;  // kRemoval with whole_db: of all keys
  };
  [[nodiscard]] const std::vector<Touched>& touched() const { return touched_; }

  // ---- keyspace events ----------------------------------------------------------------------------------------------
  // Tells subscribers what happened to a key of the current database (or `db`); in the order in which Redis does, and
  // after the change. Free while nobody listens to the class. `name` is a literal. Here "new" (Put without an old
  // value), "expired" (FindForWrite) and "keymiss" (Find) are told already.
  void Notify(KeyEventClass event_class, std::string_view name, std::string_view key) {
    NotifyOn(db_, event_class, name, key);
  }
  void NotifyOn(int db, KeyEventClass event_class, std::string_view name, std::string_view key) {
    if ((event_classes_ & static_cast<uint32_t>(event_class)) != 0) {
      events_.push_back({event_class, name, db, std::string(key)});
    }
  }
  // What was told since the last call.
  [[nodiscard]] std::vector<KeyEvent> TakeEvents() { return std::exchange(events_, {}); }
  [[nodiscard]] bool HasEvents() const { return !events_.empty(); }

  // Ends the unit: appends the effects to the log (MULTI..EXEC around several) and returns what the gate needs.
  UnitResult Commit();

 private:
  friend class Store;
  explicit Transaction(StoreState& state) : state_(state) {}
  void Start(TransactionMode mode, int db, int64_t now_ms);
  [[nodiscard]] bool ended() const { return committed_; }

  struct Lookup {
    std::optional<KeyValue> value;
    bool expired = false;
  };
  // What for: decides what a row from LMDB leaves behind, and how much of it must be known.
  enum class Purpose { kRead, kWrite, kReplace };
  Result<Lookup> FindAny(int db, std::string_view key, Purpose purpose);
  Result<std::optional<KeyValue>> ForWrite(int db, std::string_view key, Lookup found);
  Result<Lookup> ParseFound(std::string_view key, std::string_view bytes) const;
  void Saw(uint64_t offset) {
    if (offset > seen_offset_) seen_offset_ = offset;
  }
  void Touch(int db, std::string_view key, Change change);
  void ReleaseRows(const KeyValue& old, const KeyValue* replacement);
  void AppendCommand(std::span<const std::string_view> arguments);
  void SelectInStream(int db);
  void EmitTo(int db, std::span<const std::string_view> arguments);
  [[nodiscard]] bool IsLiveKey(int64_t expire_at_ms) const;
  [[nodiscard]] const Memtable* MayBeFrozenLayer(CollectionId id) const;  // null if it holds no rows of `id`
  bool IsBelowActive(CollectionId id, std::string_view row_key);
  // Rows that a walk over keys may look at.
  struct KeyBudget {
    uint64_t rows = kAllRows;
    uint64_t expired = kAllRows;  // of these, keys that have expired
  };
  Result<uint64_t> WalkKeys(int db, uint64_t from, const KeyVisitor& visit, const KeyBudget& budget);
  struct KeySample;
  Result<void> CollectKeys(int db, uint64_t begin, uint64_t end, KeySample& sample);
  Result<std::optional<std::string>> KeyAmongDeleted(int db);

  StoreState& state_;
  TransactionMode mode_ = TransactionMode::kLive;
  int db_ = 0;
  int64_t now_ms_ = 0;
  uint64_t start_offset_ =
      0;  // rows written by this unit carry start_offset_ + 1: durable past it means durable to its end
  uint64_t seen_offset_ = 0;
  int stream_db_ = -1;
  size_t effect_count_ = 0;
  bool committed_ = true;
  std::string effects_;  // begins with MULTI, which is sent only around several effects
  std::vector<Touched> touched_;
  std::vector<std::string> spare_keys_;
  uint32_t event_classes_ = 0;  // that somebody wants
  std::vector<KeyEvent> events_;
};

}  // namespace holdfast
