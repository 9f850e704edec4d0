// Turns a received snapshot file into a generation that may be put in force, on a thread of its own. The data in force
// is not touched. docs/replication.md "Full sync".
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "replication/history.h"
#include "storage/snapshot.h"
#include "wal/data_directory.h"
#include "wal/diverged_tail.h"
#include "wal/engine.h"

namespace holdfast::net {

struct LoadRequest {
  std::string snapshot_path;
  uint64_t offset = 0;  // what the file must hold
  bool rdb = false;     // a Redis master's file, which holds no history; else a snapshot of ours
  bool skip_unsupported = false;
  uint64_t own_keys = 0;
  bool accept_empty = false;   // a Redis master that has nothing, and no history, may replace what we have
  wal::EngineOptions options;  // generation_path is set by the loader
  std::string role_record;     // payload of the new log's first role frame
  // Our history as far as the new one does not have it is kept in a file: nothing acknowledged goes without a trace.
  replication::FullSyncOffer master;
  wal::Lineage own_lineage;
  uint64_t own_end = 0;  // durable
  std::string own_generation;
  std::shared_ptr<wal::Log::Pin> own_pin;
  wal::DataDirectory* directory = nullptr;
};

// A generation that nothing names yet: unless its engine is taken, or Keep() is called, its files go with it.
struct LoadedGeneration {
  LoadedGeneration() = default;
  LoadedGeneration(LoadedGeneration&&) = default;
  LoadedGeneration& operator=(LoadedGeneration&&) = delete;
  ~LoadedGeneration();
  // It may be in force after all (the commit failed half-way): the next start decides.
  void Keep() { fs = nullptr; }

  std::unique_ptr<wal::Engine> engine;
  std::string path;
  std::optional<wal::SavedTail> tail;  // what is given up
  FileSystem* fs = nullptr;
};

class FullSyncLoader {
 public:
  ~FullSyncLoader() { Cancel(); }
  // `done` runs on the loader's thread, unless Cancel() came first. What is cancelled leaves no files behind.
  void Start(LoadRequest request, std::function<void(Result<LoadedGeneration>)> done);
  // Ends a load under way and waits for the thread.
  void Cancel();

 private:
  Result<LoadedGeneration> Load(const LoadRequest& request);
  // The generation's store, from the file. Where its log begins.
  Result<wal::LogState> LoadFile(const LoadRequest& request, const std::string& generation);
  Result<wal::LogState> LoadRdbFile(const LoadRequest& request, const std::string& generation);
  static Result<std::optional<wal::SavedTail>> SaveLost(const LoadRequest& request);

  std::atomic<bool> cancelled_{false};
  std::thread thread_;
};

}  // namespace holdfast::net
