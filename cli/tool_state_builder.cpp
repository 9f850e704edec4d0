#include "cli/tool_state_builder.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "cli/tool_progress.h"
#include "replication/history.h"
#include "storage/base/file_copy.h"
#include "storage/effects/effect_codec.h"
#include "storage/lmdb_copy.h"
#include "storage/snapshot_format.h"
#include "wal/log.h"

namespace holdfast::cli {

namespace {

constexpr uint64_t kFirstSegmentBytes = 1 << 20;  // the server begins a segment of its own size when it starts

const std::atomic<bool>& Never() {
  static const std::atomic<bool> never{false};
  return never;
}

// Content that comes record by record, as the view a snapshot is written from.
class RecordView : public StoreView {
 public:
  RecordView(ContentSource& content, StreamPosition position)
      : stream_(content), position_(std::move(position)), info_(content.info()) {}

  [[nodiscard]] const StreamPosition& position() const override { return position_; }
  [[nodiscard]] int database_count() const override { return info_.databases; }
  // Only the sum is asked for.
  [[nodiscard]] uint64_t KeyCount(int db) const override { return db == 0 ? info_.keys : 0; }
  [[nodiscard]] uint64_t ExpiryCount(int) const override { return 0; }

  Result<void> VisitKeys(int db, const Visitor& visit) override {
    while (true) {
      ASSIGN_OR_RETURN(const bool at_key, FindKey());
      if (!at_key) return {};
      const SnapshotKey key = stream_.key();
      if (key.db != db) return {};
      key_ = key.key;
      KeyValue value = key.value;
      const bool has_rows = value.type != ValueType::kString || value.chunked;
      body_ = has_rows ? snapshot_format::JoinStoredBody(value, 1) : std::string(value.body);
      value.body = body_;
      RETURN_IF_ERROR(Advance());
      RETURN_IF_ERROR(visit(key_, RowHash(key_), value));
    }
  }

  Result<void> VisitRows(CollectionId, CollectionKind kind, const RowVisitor& visit) override {
    while (valid_ && stream_.what() == ContentRecord::What::kRow && stream_.row().kind == kind) {
      const SnapshotRow row = stream_.row();
      if (!visit(row.suffix, row.value)) return {};
      RETURN_IF_ERROR(Advance());
    }
    return {};
  }

 private:
  Result<void> Advance() {
    ASSIGN_OR_RETURN(valid_, stream_.Next());
    return {};
  }
  // To the next key; false at the end.
  Result<bool> FindKey() {
    if (!begun_) {
      begun_ = true;
      RETURN_IF_ERROR(Advance());
    }
    while (valid_ && stream_.what() != ContentRecord::What::kKey) RETURN_IF_ERROR(Advance());
    return valid_;
  }

  RecordStream stream_;
  const StreamPosition position_;
  const ContentInfo info_;
  bool begun_ = false;
  bool valid_ = false;
  std::string key_, body_;
};

}  // namespace

StateBuilder::StateBuilder(const ToolContext& tool, std::string generation, int databases)
    : tool_(tool), generation_(std::move(generation)), databases_(databases), random_(RandomSeed()) {}

Result<void> StateBuilder::OpenStore() {
  StoreOptions options;
  options.directory = generation_;
  options.databases = databases_;
  options.cache_bytes = 16ull << 20;
  options.fs = &tool_.fs;
  options.random = &random_;
  ASSIGN_OR_RETURN(store_, Store::Open(std::move(options)));
  applier_ = std::make_unique<Applier>(*store_);
  return {};
}

Result<void> StateBuilder::StartEmpty(StreamPosition position) {
  position_ = std::move(position);
  return OpenStore();
}

Result<void> StateBuilder::StartFromSnapshot(const std::string& path) {
  StoreOptions options;
  options.directory = generation_;
  options.databases = databases_;
  options.fs = &tool_.fs;
  options.random = &random_;
  ProgressBar bar(tool_, "loading");
  ASSIGN_OR_RETURN(const SnapshotHeader header,
                   LoadSnapshot(tool_.fs, path, options, Never(), [&](const SnapshotProgress& progress) {
                     bar.Update(progress.keys_done, progress.keys_total, progress.raw_bytes);
                   }));
  position_ = header.position;
  return OpenStore();
}

Result<void> StateBuilder::StartFromStore(const std::string& generation) {
  FileSystem& fs = tool_.fs;
  RETURN_IF_ERROR(CopyLmdbCompacted(fs, JoinPath(generation, "lmdb"), JoinPath(generation_, "lmdb")));
  const std::string runs = JoinPath(generation, "run");
  ASSIGN_OR_RETURN(const bool has_runs, fs.Exists(runs));
  if (has_runs) RETURN_IF_ERROR(LinkOrCopyTree(fs, runs, JoinPath(generation_, "run"), {}));
  RETURN_IF_ERROR(fs.SyncDirectory(generation_));
  RETURN_IF_ERROR(OpenStore());
  position_ = store_->CheckpointPosition();
  const auto pending = store_->PendingCheckpoint();
  if (pending == nullptr) return {};
  RETURN_IF_ERROR(pending->Run({}, Never()));
  return store_->FinishCheckpoint();
}

Result<void> StateBuilder::StartFromContent(ContentSource& ordered, const StreamPosition& position) {
  const std::string path = generation_ + ".hfs";
  RETURN_IF_ERROR(WriteContent(tool_, ordered, path, position, ordered.info().lineage_table, {}));
  Result<void> started = StartFromSnapshot(path);
  Result<void> removed = tool_.fs.Remove(path);
  return started.ok() ? removed : started;
}

Result<SnapshotFooter> StateBuilder::WriteContent(const ToolContext& tool, ContentSource& ordered,
                                                  const std::string& path, const StreamPosition& position,
                                                  const std::string& lineage_table,
                                                  const SnapshotWriteOptions& options) {
  RecordView view(ordered, position);
  SnapshotHeader header;
  header.lineage_table = lineage_table;
  header.node_id = ordered.info().node_id;
  header.created_ms = SystemClock().WallMs();
  ProgressBar bar(tool, "writing");
  return WriteSnapshot(tool.fs, path, header, view, options, Never(), [&](const SnapshotProgress& progress) {
    bar.Update(progress.keys_done, progress.keys_total, progress.raw_bytes);
  });
}

Result<void> StateBuilder::Apply(int selected_db, int64_t time_ms, std::string_view units) {
  RETURN_IF_ERROR(applier_->Apply({position_.offset, selected_db, time_ms, units}));
  position_.offset += units.size();
  position_.selected_db = applier_->selected_db();
  position_.time_ms = std::max(position_.time_ms, time_ms);
  position_.digest.Update(units);
  return store_->FreezeWanted() ? Checkpoint() : Result<void>();
}

Result<void> StateBuilder::Drop(int db, std::string_view key) {
  const std::string number = std::to_string(db);
  std::string bytes;
  AppendEffect(bytes, std::array<std::string_view, 2>{"SELECT", number});
  AppendEffect(bytes, std::array<std::string_view, 2>{"DEL", key});
  // Selecting is part of the unit: what the stream has selected stays as it is.
  Applier applier(*store_);
  return applier.Apply({position_.offset, position_.selected_db, position_.time_ms, bytes});
}

Result<void> StateBuilder::Checkpoint() {
  const auto job = store_->FreezeActive(position_);
  RETURN_IF_ERROR(job->Run({}, Never()));
  return store_->FinishCheckpoint();
}

Result<void> StateBuilder::Finish() {
  RETURN_IF_ERROR(Checkpoint());
  applier_.reset();
  store_.reset();
  return {};
}

Result<void> StateBuilder::BeginLog(wal::Lineage table, int64_t now_ms, const LogRecords& records) {
  wal::LogState state;
  state.role = records.role;
  state.membership = records.membership;
  state.end = position_;
  state.lineage = replication::LineageUpTo(table, position_.offset);
  const std::string id = random_.Hex(wal::kLineageIdSize);
  const bool is_new = state.lineage.empty();
  if (is_new) state.lineage.Reset(id, position_.offset, now_ms);
  state.end.lineage_id = state.lineage.current_id();
  wal::LogOptions options;
  options.directory = JoinPath(generation_, "wal");
  options.segment_bytes = kFirstSegmentBytes;
  options.fs = &tool_.fs;
  options.clock = &SystemClock();
  options.random = &random_;
  RETURN_IF_ERROR(tool_.fs.CreateDirectory(options.directory));
  RETURN_IF_ERROR(tool_.fs.SyncDirectory(generation_));
  const int64_t time_ms = std::max(now_ms, position_.time_ms);
  ASSIGN_OR_RETURN(const auto log, wal::Log::Open(std::move(options), std::move(state)));
  if (!is_new) {
    log->StartLineage(id, time_ms);
    log->Seal();
    RETURN_IF_ERROR(log->WriteBatch());
    log->FinishBatch();
  }
  if (log->AppendDurableMark()) {
    log->Seal();
    RETURN_IF_ERROR(log->WriteBatch());
    log->FinishBatch();
  }
  position_.lineage_id = id;
  return {};
}

}  // namespace holdfast::cli
