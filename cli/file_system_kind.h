// What kind of file system a directory is on: a log needs one that keeps what was synced.
#pragma once

#include <string>

#include "storage/base/result.h"

namespace holdfast::cli {

enum class FileSystemKind { kLocal, kMemory, kCopyOnWrite, kNetwork };

struct FileSystemFacts {
  FileSystemKind kind = FileSystemKind::kLocal;
  std::string name;  // "ext4", "NFS", ... or the magic number in hex
};

// kIo if the directory cannot be looked at.
Result<FileSystemFacts> InspectFileSystem(const std::string& directory);

}  // namespace holdfast::cli
