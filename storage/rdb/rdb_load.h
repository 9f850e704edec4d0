// Loads an RDB file or stream into the store of a fresh generation.
//
// The file's keys come in any order, a store is built fastest in its own: keys are sorted on the way, in memory and in
// a temporary file inside of the generation, so that time and memory stay bounded whatever the size.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "storage/base/result.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/store_options.h"
#include "storage/stream_position.h"

namespace holdfast::rdb {

struct RdbLoadOptions {
  bool skip_unsupported = false;
  // Keys whose time is over at this moment are left out, as a Redis master does; kNoExpiry: none. A copy of another
  // server's data keeps them, and that server deletes them.
  int64_t drop_expired_ms = kNoExpiry;
  uint64_t sort_memory_bytes = 64ull << 20;
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const RdbProgress&)> progress;
  std::function<void(const std::string& what)> skipped;  // what skip_unsupported left out
};

struct RdbLoaded {
  RdbSummary summary;
  uint64_t expired_keys = 0;               // left out
  std::map<std::string, std::string> aux;  // fields of the file: redis-ver, repl-id, repl-offset, repl-stream-db ...
};

// `position`: tells at which point of a stream the store then stands, by what the file said. On failure the generation
// directory holds leftovers and is the caller's to remove. kCorruption also if a key or member comes twice;
// kInvalidArgument if there are more databases than `generation.databases`.
Result<RdbLoaded> LoadRdb(ByteSource& source, StoreOptions generation, const RdbLoadOptions& options,
                          const std::function<Result<StreamPosition>(const RdbLoaded&)>& position);

}  // namespace holdfast::rdb
