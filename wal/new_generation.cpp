#include "wal/new_generation.h"

#include <utility>

namespace holdfast::wal {

StoreOptions StoreOptionsOf(const EngineOptions& options, const std::string& generation) {
  StoreOptions store;
  store.directory = generation;
  store.databases = options.databases;
  store.memtable_bytes = options.memtable_bytes;
  store.cache_bytes = options.cache_bytes;
  store.map_bytes = options.map_bytes;
  store.fs = options.fs;
  store.random = options.random;
  return store;
}

Result<void> BeginLog(const EngineOptions& options, const std::string& generation, LogState state,
                      std::string_view role_record) {
  const int64_t time_ms = state.end.time_ms;
  LogOptions log_options;
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
  ASSIGN_OR_RETURN(auto log, Log::Open(std::move(log_options), std::move(state)));
  if (role_record.empty()) return {};
  log->AppendControl(FrameKind::kRole, role_record, time_ms);
  log->Seal();
  RETURN_IF_ERROR(log->WriteBatch());
  log->FinishBatch();
  return {};
}

}  // namespace holdfast::wal
