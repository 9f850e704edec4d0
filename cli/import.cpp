#include "cli/import.h"

#include <fmt/format.h>

#include <climits>
#include <cstdlib>
#include <memory>
#include <utility>

#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "storage/rdb/rdb_load.h"
#include "wal/new_generation.h"

namespace holdfast::cli {
namespace {

Result<rdb::RdbLoaded> Load(const std::string& path, const wal::EngineOptions& options, const std::string& generation,
                            const net::Settings& settings, const StreamPosition& position) {
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, options.fs->Open(path, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  ProgressLine line("Loading RDB", *options.clock);
  rdb::RdbLoadOptions load;
  load.skip_unsupported = settings.rdb_skip_unsupported;
  load.drop_expired_ms = options.clock->WallMs();
  load.progress = [&line, size](const rdb::RdbProgress& progress) {
    line.Update(progress.bytes, size, progress.bytes);
  };
  load.skipped = [](const std::string& what) { diag::Warning("Loading RDB: left out {}", what); };
  rdb::FileSource source(*file);
  return rdb::LoadRdb(source, wal::StoreOptionsOf(options, generation), load,
                      [&](const rdb::RdbLoaded& loaded) -> Result<StreamPosition> {
                        if (loaded.summary.bytes == size) return position;
                        return Error{ErrorCode::kCorruption,
                                     fmt::format("byte {}: {} bytes follow the end of the RDB data. An AOF with an RDB "
                                                 "preamble? Let redis-server load it and SAVE",
                                                 loaded.summary.bytes, size - loaded.summary.bytes)};
                      });
}

Result<void> Import(const std::string& path, const std::string& generation, const wal::EngineOptions& options,
                    const net::Settings& settings) {
  const int64_t began_us = options.clock->MonotonicUs();
  diag::Notice("Loading RDB {} into the empty data directory", path);
  wal::LogState state;
  state.end.offset = wal::kImportedOffset;
  state.end.time_ms = options.clock->WallMs();
  // From offset 0 on: what was imported counts as this server's own.
  state.lineage.Reset(options.random->Hex(wal::kLineageIdSize), 0, state.end.time_ms);
  state.end.lineage_id = state.lineage.current_id();
  Result<rdb::RdbLoaded> loaded = Load(path, options, generation, settings, state.end);
  if (!loaded.ok()) return std::move(loaded).error().WithContext("RDB file " + path + ": nothing was imported");
  RETURN_IF_ERROR(wal::BeginLog(options, generation, std::move(state), {}));
  const rdb::RdbSummary& summary = loaded->summary;
  diag::Notice("Loaded {} keys from an RDB of version {} in {:.3f} s; {} were expired, {} empty, {} left out",
               summary.keys - loaded->expired_keys, summary.version,
               static_cast<double>(options.clock->MonotonicUs() - began_us) / 1e6, loaded->expired_keys,
               summary.empty_keys, summary.skipped);
  diag::Notice("{} is not read again: from now on the data is in {}", path, settings.dir);
  return {};
}

}  // namespace

Result<std::optional<std::string>> TakeImportOption(std::vector<std::string>& arguments) {
  std::optional<std::string> path;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] != "--import") continue;
    if (i + 1 >= arguments.size() || arguments[i + 1].starts_with("--")) {
      return Error{ErrorCode::kInvalidArgument, "--import needs the path of an RDB file"};
    }
    char resolved[PATH_MAX];
    if (::realpath(arguments[i + 1].c_str(), resolved) == nullptr) {
      return Error{ErrorCode::kNotFound, "--import: there is no file " + arguments[i + 1]};
    }
    path = resolved;
    const auto at = arguments.begin() + static_cast<std::ptrdiff_t>(i);
    arguments.erase(at, at + 2);
    break;
  }
  return path;
}

Result<void> ImportIfAsked(const wal::DataDirectory& directory, const wal::EngineOptions& options,
                           const net::Settings& settings, const std::optional<std::string>& import_path) {
  if (import_path) {
    if (!directory.fresh()) {
      return Error{ErrorCode::kAlreadyExists,
                   fmt::format("--import: {} already holds data, nothing was imported. Start without --import, or "
                               "give this server an empty directory (dir)",
                               directory.path())};
    }
    if (settings.replicaof) {
      return Error{ErrorCode::kInvalidArgument,
                   "--import: this server is to be a replica (replicaof), which takes its data from its master"};
    }
    return Import(*import_path, directory.generation_path(), options, settings);
  }
  if (!directory.fresh() || settings.dbfilename.empty()) return {};
  const std::string path = JoinPath(directory.path(), settings.dbfilename);
  ASSIGN_OR_RETURN(const bool exists, options.fs->Exists(path));
  if (!exists) return {};
  if (settings.replicaof) {
    diag::Notice("{} is not loaded: this server is a replica (replicaof)", path);
    return {};
  }
  return Import(path, directory.generation_path(), options, settings);
}

}  // namespace holdfast::cli
