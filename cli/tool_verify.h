// The checking commands of the offline tool: `holdfast log verify DIR`, `holdfast snapshot verify FILE`.
// They read with the server's own readers and write nothing; every finding has a file and a byte position.
#pragma once

#include <ostream>
#include <string>

#include "storage/base/file.h"

namespace holdfast::cli {

// Exit status of the offline tool, as cmp and grep do it. docs/operations.md tells users.
enum ToolExit : int {
  kToolClean = 0,
  kToolDamage = 1,
  kToolTrouble = 2,  // wrong usage, or the file cannot be read: nothing is known about it
};

struct ToolStreams {
  std::ostream& out;  // findings and results
  std::ostream& err;  // why nothing could be checked
};

// `directory`: a data directory, one of its generations, or a log directory (wal). A torn end, which the next start
// cuts by itself, is told but is no damage.
int RunLogVerify(FileSystem& fs, const std::string& directory, bool json, const ToolStreams& streams);
int RunSnapshotVerify(FileSystem& fs, const std::string& path, bool json, const ToolStreams& streams);

}  // namespace holdfast::cli
