// What a store is opened with.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/clock.h"
#include "storage/base/file.h"

namespace holdfast {

struct StoreOptions {
  std::string directory;  // gen-<n>: holds lmdb/ and run/
  int databases = 16;
  uint64_t memtable_bytes = 64ull << 20;        // freeze wanted when the active memtable reaches it
  uint64_t cache_bytes = 64ull << 20;           // 0: no clean row cache
  uint32_t merge_dirty_pages = 16384;           // pages a merge transaction may dirty, an estimate on the safe side
  uint64_t dead_rows_per_checkpoint = 500'000;  // rows of deleted collections and databases one checkpoint removes
  // Address space reserved for LMDB's map; costs no memory and no disk, but is the largest size the file may reach.
  // Halved until the system grants it.
  uint64_t map_bytes = 1ull << 40;
  bool read_only = false;    // offline tool, also beside a live server
  bool check_paths = false;  // with read_only: LmdbOptions::check_paths
  FileSystem* fs = nullptr;
  Random* random = nullptr;
};

}  // namespace holdfast
