// Content of a data directory or generation: store, run, and the log's tail replayed in memory, through the server's
// own store and applier, in apply mode.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "cli/tool_content.h"
#include "cli/tool_key_tail.h"
#include "cli/tool_log_reader.h"
#include "storage/effects/applier.h"
#include "storage/lmdb_check.h"
#include "storage/lmdb_env.h"
#include "storage/row.h"
#include "storage/run_file.h"
#include "storage/snapshot_format.h"
#include "storage/store.h"
#include "wal/lineage.h"

namespace holdfast::cli {

namespace {

// The log may name a database the store was not configured for when it was last written.
constexpr int kDatabasesMax = 16384;
constexpr size_t kPageKeys = 1024;
constexpr size_t kPageBytes = 1 << 20;

class StoreContent : public ContentSource {
 public:
  StoreContent(std::unique_ptr<Store> store, ContentInfo info, bool some_keys)
      : store_(std::move(store)), info_(std::move(info)), some_keys_(some_keys) {}

  [[nodiscard]] const ContentInfo& info() const override { return info_; }

  Result<void> VisitAll(SnapshotVisitor& visitor) override {
    Transaction& transaction = Begin();
    Result<void> visited;
    for (int db = 0; db < info_.databases && visited.ok(); ++db) visited = VisitDatabase(transaction, db, visitor);
    transaction.Commit();
    return visited;
  }

  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    if (db < 0 || db >= kDatabasesMax) return false;
    Transaction& transaction = Begin();
    auto visited = VisitFound(transaction, db, key, visitor);
    transaction.Commit();
    return visited;
  }

  // Replays the log's tail, or what `tail` keeps of it, and counts. Called once. With `jump` as LogReader::SeekPosition
  // says. If the tail grew nothing was replayed.
  Result<void> Replay(LogReader& log, bool jump, KeyTail* tail) {
    StreamPosition position = store_->CheckpointPosition();
    info_.checkpoint_offset = position.offset;
    Applier applier(*store_);
    UnitReader units(log);
    bool seen = false;
    RETURN_IF_ERROR(jump ? log.SeekPosition(position) : log.SeekOffset(position.offset));
    while (true) {
      ASSIGN_OR_RETURN(const auto next, units.Next());
      if (!next) break;
      if (next->kind != wal::FrameKind::kData) continue;
      const uint64_t end = next->offset + next->bytes.size();
      if (!seen && end >= position.offset) {
        seen = true;
        if (next->offset > position.offset) return Missing(next->offset);
      }
      if (end <= position.offset) continue;
      const auto skip = static_cast<size_t>(next->offset < position.offset ? position.offset - next->offset : 0);
      const int db = skip != 0 ? position.selected_db : next->selected_db;
      const EffectUnits units_behind{position.offset, db, next->time_ms, next->bytes.substr(skip)};
      if (tail != nullptr) {
        RETURN_IF_ERROR(tail->Add(units_behind));
      } else {
        RETURN_IF_ERROR(applier.Apply(units_behind));
      }
      position.offset = end;
      position.selected_db = next->state->end.selected_db;
      position.time_ms = std::max(position.time_ms, next->time_ms);
      position.digest.Update(next->bytes.substr(skip));
      if (next->state->end.offset == end && !(next->state->end.digest == position.digest)) return OtherHistory();
    }
    if (!log.empty()) {
      if (log.first_offset() > position.offset) return Missing(log.first_offset());
      log.state().lineage.AppendTo(info_.lineage_table);
      position.lineage_id = log.state().lineage.current_id();
    }
    info_.log_bytes = position.offset - info_.checkpoint_offset;
    info_.position = position;
    if (tail != nullptr) return tail->grew() ? Result<void>() : tail->Apply(applier);
    Count();
    return {};
  }

 private:
  Transaction& Begin() {
    // Everything the store holds is content: apply mode hides no expired keys.
    store_->SetApplyUnit(info_.position->offset, info_.position->offset);
    return store_->Begin(TransactionMode::kApply, 0, info_.position->time_ms);
  }

  void Count() {
    Transaction& transaction = Begin();
    int highest = 15;
    for (int db = 0; db < kDatabasesMax; ++db) {
      const uint64_t keys = transaction.KeyCount(db);
      info_.keys += keys;
      if (keys != 0) highest = std::max(highest, db);
    }
    info_.databases = highest + 1;
    transaction.Commit();
  }

  [[nodiscard]] Error Missing(uint64_t begins) const {
    return Error{ErrorCode::kCorruption, info_.path + ": the log begins at offset " + std::to_string(begins) +
                                             ", but the store holds only offsets up to " +
                                             std::to_string(info_.checkpoint_offset) + ": segments are missing"};
  }
  [[nodiscard]] Error OtherHistory() const {
    return Error{ErrorCode::kCorruption,
                 info_.path + ": the log's history is not the one the store was made from (the digests differ)"};
  }

  // Keys are copied a page at a time: their rows are read by other visits.
  Result<void> VisitDatabase(Transaction& transaction, int db, SnapshotVisitor& visitor) {
    if (transaction.KeyCount(db) == 0) return {};
    struct Found {
      std::string key;
      KeyValue value;
      size_t body_at;
      size_t body_size;
    };
    std::vector<Found> page;
    std::string bodies;
    uint64_t from = 0;
    do {
      page.clear();
      bodies.clear();
      size_t bytes = 0;
      ASSIGN_OR_RETURN(from, transaction.VisitKeys(db, from, [&](std::string_view key, const KeyValue& value) {
        page.push_back({std::string(key), value, bodies.size(), value.body.size()});
        bodies += value.body;
        bytes += key.size() + value.body.size();
        return page.size() < kPageKeys && bytes < kPageBytes;
      }));
      for (Found& found : page) {
        found.value.body = std::string_view(bodies).substr(found.body_at, found.body_size);
        RETURN_IF_ERROR(VisitOne(transaction, db, found.key, found.value, visitor));
      }
    } while (from != 0);
    return {};
  }

  Result<bool> VisitFound(Transaction& transaction, int db, std::string_view key, SnapshotVisitor& visitor) {
    ASSIGN_OR_RETURN(const auto found, transaction.Find(db, key));
    if (!found) return false;
    const std::string body(found->body);
    KeyValue value = *found;
    value.body = body;
    RETURN_IF_ERROR(VisitOne(transaction, db, key, value, visitor));
    return true;
  }

  Result<void> VisitOne(Transaction& transaction, int db, std::string_view key, const KeyValue& value,
                        SnapshotVisitor& visitor) {
    ASSIGN_OR_RETURN(const snapshot_format::SplitBody split, snapshot_format::SplitStoredBody(value));
    KeyValue logical = value;
    logical.body = split.body;
    RETURN_IF_ERROR(visitor.Key({db, key, logical}));
    if (split.has_rows) {
      for (const char kind : snapshot_format::KindsOf(value.type, value.chunked)) {
        ASSIGN_OR_RETURN(const uint64_t rows,
                         VisitKind(transaction, split.id, static_cast<CollectionKind>(kind), visitor));
        const bool elements =
            kind == static_cast<char>(CollectionKind::kMember) || kind == static_cast<char>(CollectionKind::kItem);
        // What reads everything has seen all pages, and tells values that lost a part by itself.
        if (some_keys_ && elements && rows != AnnouncedCount(logical)) {
          return Error{ErrorCode::kCorruption, fmt::format("db {} key '{}': has {} elements, its row says {}", db,
                                                           PrintableKey(key), rows, AnnouncedCount(logical))};
        }
      }
    }
    return visitor.KeyEnd();
  }

  // Returns how many rows there were.
  static Result<uint64_t> VisitKind(Transaction& transaction, CollectionId id, CollectionKind kind,
                                    SnapshotVisitor& visitor) {
    Result<void> given;
    uint64_t rows = 0;
    std::string position;
    Result<void> visited =
        transaction.VisitRows(id, kind, {}, false, [&](std::string_view suffix, std::string_view value) {
          if (kind == CollectionKind::kItem) {
            // Positions are local: in records the first item is always at the same one.
            position.clear();
            AppendBig<uint64_t>(position, (uint64_t{1} << 63) + rows);
            suffix = position;
          }
          ++rows;
          given = visitor.Row({kind, suffix, value});
          return given.ok();
        });
    RETURN_IF_ERROR(std::move(visited));
    RETURN_IF_ERROR(std::move(given));
    return rows;
  }

  std::unique_ptr<Store> store_;
  ContentInfo info_;
  const bool some_keys_;
};

// LMDB believes its pages: one that is damaged would end the process, or hide rows without a word. So each is looked at
// before everything is read. Values have checksums, which every read verifies: a damaged one is told when it is met.
Result<void> CheckPages(const ToolContext& tool, const std::string& generation, bool live) {
  const std::string directory = JoinPath(generation, "lmdb");
  std::unique_ptr<LmdbEnv> env;
  std::unique_ptr<LmdbReader> reader;  // keeps the pages of the state that is walked
  if (live) {
    LmdbOptions options;
    options.directory = directory;
    options.read_only = true;
    options.fs = &tool.fs;
    ASSIGN_OR_RETURN(env, LmdbEnv::Open(options));
    ASSIGN_OR_RETURN(reader, env->BeginRead());
  }
  const std::string file = JoinPath(directory, "data.mdb");
  std::optional<LmdbFinding> first;
  LmdbWalkVisitor visitor;
  visitor.damage = [&](const LmdbFinding& finding) {
    if (!finding.value_alone && !first) first = finding;
  };
  ASSIGN_OR_RETURN(const bool exists, tool.fs.Exists(file));
  if (!exists) return {};  // Store::Open says what is missing
  ASSIGN_OR_RETURN(const LmdbWalkReport report, WalkLmdbFile(tool.fs, file, visitor));
  if (!first) return {};
  return Error{ErrorCode::kCorruption,
               fmt::format("{} at byte {}: {} (of {} pages). Nothing of this store can be trusted to be all there is; "
                           "see holdfast check",
                           file, first->position, first->message, report.pages)};
}

// How a store is read of which some keys are wanted: of the log only what follows the checkpoint (jump; it gets whether
// that was possible), of that only what concerns the keys (tail).
struct ReadLess {
  bool jump = false;
  KeyTail* tail = nullptr;
};

Result<std::unique_ptr<ContentSource>> OpenReading(const ToolContext& tool, const ToolInput& input,
                                                   std::optional<int> server_pid, ReadLess* less) {
  if (less == nullptr) RETURN_IF_ERROR(CheckPages(tool, input.generation, server_pid.has_value()));
  StoreOptions options;
  options.directory = input.generation;
  options.databases = kDatabasesMax;
  options.cache_bytes = 0;
  options.read_only = true;
  options.check_paths = less != nullptr;
  options.fs = &tool.fs;
  const std::vector<std::string> keys =
      less == nullptr || less->tail == nullptr ? std::vector<std::string>() : less->tail->keys();
  std::optional<OnlyKeysWanted> wanted;
  if (!keys.empty()) wanted.emplace(keys);
  ASSIGN_OR_RETURN(std::unique_ptr<Store> store, Store::Open(std::move(options)));
  wanted.reset();
  ContentInfo info;
  info.path = input.path;
  info.kind = input.kind;
  info.server_pid = server_pid;
  info.position = store->CheckpointPosition();
  auto content = std::make_unique<StoreContent>(std::move(store), std::move(info), less != nullptr);
  ASSIGN_OR_RETURN(const auto log, LogReader::Open(tool.fs, input, server_pid.has_value()));
  const Result<void> replayed =
      content->Replay(*log, less != nullptr && less->jump, less == nullptr ? nullptr : less->tail);
  if (less != nullptr) less->jump = log->jumped();
  if (!replayed.ok()) return replayed.error();
  return std::unique_ptr<ContentSource>(std::move(content));
}

Result<std::unique_ptr<ContentSource>> OpenOnce(const ToolContext& tool, const ToolInput& input, OnlyKeys only,
                                                std::optional<int> server_pid) {
  if (only == nullptr) return OpenReading(tool, input, server_pid, nullptr);
  std::vector<std::string> keys = *only;
  bool all_of_log = false;
  bool all_of_tail = false;
  while (true) {
    KeyTail tail(keys);
    ReadLess less{!all_of_log, all_of_tail ? nullptr : &tail};
    auto opened = OpenReading(tool, input, server_pid, &less);
    if (opened.ok() && !tail.grew()) return opened;
    if (opened.ok()) {
      keys = tail.keys();
    } else if (tail.refused()) {
      all_of_tail = true;
    } else if (less.jump && opened.error().code == ErrorCode::kCorruption) {
      all_of_log = true;  // only who reads all of it can say what is wrong, or that nothing is
    } else {
      return opened;
    }
  }
}

}  // namespace

Result<std::unique_ptr<ContentSource>> OpenStoreContent(const ToolContext& tool, const ToolInput& input,
                                                        OnlyKeys only) {
  // Beside a server a segment or the run may go between two looks, or the generation may be switched: look again.
  constexpr int kTries = 5;
  const auto deadline = std::chrono::steady_clock::now() + kGonePatience;
  ToolInput now = input;
  for (int i = 1;; ++i) {
    const std::optional<int> server_pid = ServerOf(input);
    auto opened = OpenOnce(tool, now, only, server_pid);
    if (opened.ok() || !server_pid) return opened;
    const bool gone = opened.error().code == ErrorCode::kNotFound;
    if (gone ? std::chrono::steady_clock::now() >= deadline : i >= kTries) return opened;
    std::this_thread::sleep_for(kGonePause);
    ASSIGN_OR_RETURN(now, RecogniseInput(tool.fs, input.path));
  }
}

}  // namespace holdfast::cli
