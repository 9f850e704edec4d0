// Checks LMDB's file by its page structure, with bounded reads, without mapping it: LMDB itself believes its file, and
// a truncated one kills the process with SIGBUS. Reads the format of LMDB 0.9 (data version 1).
#pragma once

#include <string>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast {

enum class LmdbCheckDepth {
  kQuick,     // meta pages, the trees' inner pages: every reachable page lies inside the file
  kAllPages,  // leaves and values' overflow pages, too; reads the whole file
};

// kCorruption names the file, the page and what is wrong. Works beside a live writer only in as far as the newest state
// stays the newest while it reads.
Result<void> CheckLmdbFile(FileSystem& fs, const std::string& path, LmdbCheckDepth depth = LmdbCheckDepth::kQuick);

}  // namespace holdfast
