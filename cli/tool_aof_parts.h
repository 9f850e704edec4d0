// Of which files an AOF consists: one, or what a manifest names (Redis 7: a base and increments).
#pragma once

#include <string>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::cli {

// In the order in which they are to be read. `path` is a file, a manifest or the directory of one. A part that is named
// need not be there. kCorruption if the manifest is not understood.
Result<std::vector<std::string>> AofParts(FileSystem& fs, const std::string& path);

// Otherwise commands begin with its first byte.
Result<bool> BeginsWithRdb(File& file);

}  // namespace holdfast::cli
