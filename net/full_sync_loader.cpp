#include "net/full_sync_loader.h"

#include <fmt/format.h>

#include <utility>

#include "storage/base/diag.h"
#include "storage/base/progress_line.h"

namespace holdfast::net {

namespace {

StoreOptions StoreOptionsOf(const wal::EngineOptions& options, const std::string& directory) {
  StoreOptions store;
  store.directory = directory;
  store.databases = options.databases;
  store.memtable_bytes = options.memtable_bytes;
  store.cache_bytes = options.cache_bytes;
  store.map_bytes = options.map_bytes;
  store.fs = options.fs;
  store.random = options.random;
  return store;
}

// The new generation's log, which begins where the snapshot ends. It says from its first byte on what must not be
// forgotten if the power goes right after the switch: whose history this is and which role this node has.
Result<void> BeginLog(const wal::EngineOptions& options, const std::string& generation, const SnapshotHeader& header,
                      const std::string& role_record) {
  ASSIGN_OR_RETURN(wal::Lineage table, wal::Lineage::Parse(header.lineage_table));
  wal::LogState state;
  state.end = header.position;
  state.lineage = replication::LineageUpTo(table, header.position.offset);
  if (state.lineage.empty()) return Error{ErrorCode::kCorruption, "the snapshot names no history"};
  state.end.lineage_id = state.lineage.current_id();
  wal::LogOptions log_options;
  log_options.directory = JoinPath(generation, "wal");
  log_options.segment_bytes = options.segment_bytes;
  log_options.ring_bytes = options.ring_bytes;
  log_options.max_unit_bytes = options.max_unit_bytes;
  log_options.tail_rewrite = options.tail_rewrite;
  log_options.fs = options.fs;
  log_options.clock = options.clock;
  log_options.random = options.random;
  RETURN_IF_ERROR(options.fs->CreateDirectory(log_options.directory));
  RETURN_IF_ERROR(options.fs->SyncDirectory(generation));
  ASSIGN_OR_RETURN(auto log, wal::Log::Open(std::move(log_options), std::move(state)));
  log->AppendControl(wal::FrameKind::kRole, role_record, header.position.time_ms);
  log->Seal();
  RETURN_IF_ERROR(log->WriteBatch());
  log->FinishBatch();
  return {};
}

void RemoveGeneration(FileSystem& fs, const std::string& path) {
  if (auto removed = fs.RemoveTree(path); !removed.ok() && removed.error().code != ErrorCode::kNotFound) {
    diag::Warning("What is left of a failed full sync stays until the next start: {}", removed.error().message);
  }
}

}  // namespace

LoadedGeneration::~LoadedGeneration() {
  if (engine == nullptr) return;
  engine.reset();
  if (fs != nullptr) RemoveGeneration(*fs, path);
}

void FullSyncLoader::Start(LoadRequest request, std::function<void(Result<LoadedGeneration>)> done) {
  Cancel();
  cancelled_ = false;
  thread_ = std::thread([this, request = std::move(request), done = std::move(done)]() mutable {
    Result<LoadedGeneration> loaded = Load(request);
    request.own_pin.reset();  // its log may go as soon as somebody hears of the outcome
    if (!cancelled_) done(std::move(loaded));
  });
}

void FullSyncLoader::Cancel() {
  cancelled_ = true;
  if (thread_.joinable()) thread_.join();
}

Result<std::optional<wal::SavedTail>> FullSyncLoader::SaveLost(const LoadRequest& request) {
  const auto common =
      replication::FindCommon(request.own_lineage, request.own_end, request.master.lineage, request.master.end_offset);
  // Without shared history all of it goes: a person consented to that, or none of it was written here.
  if (!common || common->fork >= request.own_end) return std::optional<wal::SavedTail>();
  wal::TailRequest tail;
  tail.log_directory = JoinPath(request.own_generation, "wal");
  tail.data_directory = request.directory->path();
  tail.from = common->fork;
  tail.to = request.own_end;
  tail.fs = request.options.fs;
  tail.random = request.options.random;
  auto saved = wal::SaveTail(tail);
  if (!saved.ok()) return saved.error().WithContext("keeping the end of our history, which the master does not have");
  return std::optional<wal::SavedTail>(std::move(*saved));
}

Result<LoadedGeneration> FullSyncLoader::Load(const LoadRequest& request) {
  FileSystem& fs = *request.options.fs;
  Clock& clock = *request.options.clock;
  ASSIGN_OR_RETURN(std::string path, request.directory->NewGeneration());
  auto load = [&]() -> Result<LoadedGeneration> {
    ProgressLine line("MASTER <-> REPLICA sync: loading", clock);
    auto show = [&line](const SnapshotProgress& progress) {
      line.Update(progress.keys_done, progress.keys_total, progress.raw_bytes);
    };
    ASSIGN_OR_RETURN(SnapshotHeader header,
                     LoadSnapshot(fs, request.snapshot_path, StoreOptionsOf(request.options, path), cancelled_, show));
    if (header.position.offset != request.offset) {
      return Error{ErrorCode::kCorruption, fmt::format("the snapshot holds offset {}, announced was {}",
                                                       header.position.offset, request.offset)};
    }
    RETURN_IF_ERROR(BeginLog(request.options, path, header, request.role_record));
    LoadedGeneration loaded;
    loaded.path = path;
    loaded.fs = &fs;
    wal::EngineOptions options = request.options;
    options.generation_path = path;
    ASSIGN_OR_RETURN(loaded.engine, wal::Engine::Open(std::move(options), {}));
    if (loaded.engine->log().AppendedOffset() != request.offset) {
      return Error{ErrorCode::kCorruption, fmt::format("the new generation stands at offset {} instead of {}",
                                                       loaded.engine->log().AppendedOffset(), request.offset)};
    }
    ASSIGN_OR_RETURN(loaded.tail, SaveLost(request));
    return loaded;
  };
  Result<LoadedGeneration> loaded = load();
  if (!loaded.ok()) RemoveGeneration(fs, path);
  return loaded;
}

}  // namespace holdfast::net
