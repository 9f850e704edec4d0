// Copies and second names of files, through the seam of storage/base/file.h.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast {

// Copies the first `bytes` of a file, or all of it, synced; its name lasts after SyncDirectory. What was at `to` is
// replaced.
Result<void> CopyFile(FileSystem& fs, const std::string& from, const std::string& to,
                      uint64_t bytes = std::numeric_limits<uint64_t>::max());
// Gives the file a second name, or copies it where that is not possible (another disk, a file system without links).
// kAlreadyExists if `to` exists.
Result<void> LinkOrCopyFile(FileSystem& fs, const std::string& from, const std::string& to);
// The same for a directory and everything in it but the names in `skip`; all directories are synced, `to`'s parent is
// not. `to` must not exist.
Result<void> LinkOrCopyTree(FileSystem& fs, const std::string& from, const std::string& to,
                            const std::vector<std::string>& skip);

}  // namespace holdfast
