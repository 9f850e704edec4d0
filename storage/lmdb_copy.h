// A store's LMDB without free pages. Defined in lmdb_env.cpp, the only includer of lmdb.h.
#pragma once

#include <string>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast {

// Copies the newest state of the environment in directory `from`, which nobody writes to, into `to`, which is made and
// must not exist; synced, but for the name of `to` itself. LMDB believes its pages: walk them before
// (storage/lmdb_check.h). On failure leftovers are the caller's to remove.
Result<void> CopyLmdbCompacted(FileSystem& fs, const std::string& from, const std::string& to);

}  // namespace holdfast
