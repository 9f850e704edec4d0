#include "net/full_sync_loader.h"

#include <fmt/format.h>

#include <utility>

#include "replication/past.h"
#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "wal/new_generation.h"

namespace holdfast::net {

namespace {

// The new generation's log, which begins where the snapshot ends.
Result<void> BeginLog(const wal::EngineOptions& options, const std::string& generation, const SnapshotHeader& header,
                      const std::string& role_record) {
  ASSIGN_OR_RETURN(wal::Lineage table, wal::Lineage::Parse(header.lineage_table));
  wal::LogState state;
  state.end = header.position;
  state.lineage = replication::LineageUpTo(table, header.position.offset);
  if (state.lineage.empty()) return Error{ErrorCode::kCorruption, "the snapshot names no history"};
  state.end.lineage_id = state.lineage.current_id();
  return wal::BeginLog(options, generation, std::move(state), role_record);
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

Result<LoadedGeneration> FullSyncLoader::Load(const LoadRequest& request) {
  FileSystem& fs = *request.options.fs;
  Clock& clock = *request.options.clock;
  ASSIGN_OR_RETURN(std::string path, request.directory->NewGeneration());
  auto load = [&]() -> Result<LoadedGeneration> {
    ProgressLine line("MASTER <-> REPLICA sync: loading", clock);
    auto show = [&line](const SnapshotProgress& progress) {
      line.Update(progress.keys_done, progress.keys_total, progress.raw_bytes);
    };
    ASSIGN_OR_RETURN(SnapshotHeader header, LoadSnapshot(fs, request.snapshot_path,
                                                         wal::StoreOptionsOf(request.options, path), cancelled_, show));
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
