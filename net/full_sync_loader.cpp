#include "net/full_sync_loader.h"

#include <fmt/format.h>

#include <utility>

#include "replication/past.h"
#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "storage/rdb/rdb_load.h"
#include "storage/types/numbers.h"
#include "wal/new_generation.h"

namespace holdfast::net {

namespace {

constexpr const char* kLoading = "MASTER <-> REPLICA sync: loading";

// The database selected where the stream goes on; -1: the master selects one first.
int SelectedDbOf(const rdb::RdbLoaded& loaded) {
  const auto field = loaded.aux.find("repl-stream-db");
  const auto db = field != loaded.aux.end() ? ParseInteger(field->second) : std::nullopt;
  return db && *db >= 0 && *db <= INT16_MAX ? static_cast<int>(*db) : -1;
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
  wal::TailRequest tail;
  tail.log_directory = JoinPath(request.own_generation, "wal");
  tail.data_directory = request.directory->path();
  tail.fs = request.options.fs;
  tail.random = request.options.random;
  return replication::KeepWhatMasterLacks({request.own_lineage, request.own_end}, request.master, tail);
}

Result<wal::LogState> FullSyncLoader::LoadFile(const LoadRequest& request, const std::string& generation) {
  ProgressLine line(kLoading, *request.options.clock);
  auto show = [&line](const SnapshotProgress& progress) {
    line.Update(progress.keys_done, progress.keys_total, progress.raw_bytes);
  };
  ASSIGN_OR_RETURN(SnapshotHeader header,
                   LoadSnapshot(*request.options.fs, request.snapshot_path,
                                wal::StoreOptionsOf(request.options, generation), cancelled_, show));
  if (header.position.offset != request.offset) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("the snapshot holds offset {}, announced was {}", header.position.offset, request.offset)};
  }
  ASSIGN_OR_RETURN(wal::Lineage table, wal::Lineage::Parse(header.lineage_table));
  wal::LogState state;
  state.end = header.position;
  state.lineage = replication::LineageUpTo(table, header.position.offset);
  if (state.lineage.empty()) return Error{ErrorCode::kCorruption, "the snapshot names no history"};
  state.end.lineage_id = state.lineage.current_id();
  return state;
}

// The file's keys, expired ones included: their master deletes them. Offset and history are what the master said.
Result<wal::LogState> FullSyncLoader::LoadRdbFile(const LoadRequest& request, const std::string& generation) {
  ASSIGN_OR_RETURN(const auto file, request.options.fs->Open(request.snapshot_path, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  ProgressLine line(kLoading, *request.options.clock);
  rdb::RdbLoadOptions options;
  options.skip_unsupported = request.skip_unsupported;
  options.cancelled = &cancelled_;
  options.progress = [&line, size](const rdb::RdbProgress& progress) {
    line.Update(progress.bytes, size, progress.bytes);
  };
  options.skipped = [](const std::string& what) { diag::Warning("{}: left out {}", kLoading, what); };
  wal::LogState state;
  state.end.offset = request.offset;
  state.end.time_ms = request.options.clock->WallMs();
  state.lineage.Reset(request.master.lineage.current_id(), 0, state.end.time_ms);
  state.end.lineage_id = state.lineage.current_id();
  rdb::FileSource source(*file);
  auto position = [&](const rdb::RdbLoaded& loaded) -> Result<StreamPosition> {
    if (loaded.summary.bytes != size) {
      return Error{ErrorCode::kCorruption,
                   fmt::format("the RDB file ends at byte {} of {}", loaded.summary.bytes, size)};
    }
    const bool nothing_there = loaded.summary.keys == 0 && request.offset == 0;
    if (nothing_there && (request.own_end > 0 || request.own_keys > 0) && !request.accept_empty) {
      return Error{ErrorCode::kAborted,
                   fmt::format("the master is empty (no keys, offset 0) and this server holds {} keys, up to offset "
                               "{}; if the master is right: CONFIG SET accept-full-sync empty",
                               request.own_keys, request.own_end)};
    }
    state.end.selected_db = SelectedDbOf(loaded);
    return state.end;
  };
  ASSIGN_OR_RETURN(const rdb::RdbLoaded loaded,
                   rdb::LoadRdb(source, wal::StoreOptionsOf(request.options, generation), options, position));
  diag::Notice("{}: {} keys from an RDB of version {}; {} empty ones, {} left out", kLoading, loaded.summary.keys,
               loaded.summary.version, loaded.summary.empty_keys, loaded.summary.skipped);
  return state;
}

Result<LoadedGeneration> FullSyncLoader::Load(const LoadRequest& request) {
  FileSystem& fs = *request.options.fs;
  ASSIGN_OR_RETURN(std::string path, request.directory->NewGeneration());
  auto load = [&]() -> Result<LoadedGeneration> {
    ASSIGN_OR_RETURN(wal::LogState state, request.rdb ? LoadRdbFile(request, path) : LoadFile(request, path));
    state.membership = request.master.group;
    RETURN_IF_ERROR(wal::BeginLog(request.options, path, std::move(state), request.role_record));
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
