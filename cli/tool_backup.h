// `holdfast backup`: a consistent copy of a live or stopped data directory that grows.
//
//   DIR/holdfast-backup.json   what belongs to the backup, with hashes; written last, atomically
//   DIR/snapshots/*.hfs        whole states
//   DIR/wal/*.log              the log from the oldest of them on, durable bytes only
#pragma once

#include <string>

#include "cli/tool_context.h"
#include "cli/tool_verify.h"

namespace holdfast::cli {

struct BackupOptions {
  std::string source;
  std::string target;  // made, or an existing backup of the same history: then only what is new is copied
  bool full = false;   // a new snapshot in any case
  int level = 3;       // of zstd
};
int RunBackup(const ToolContext& tool, const BackupOptions& options);

// Manifest, hashes, and everything in the files.
Result<void> VerifyBackup(const ToolContext& tool, const std::string& path, const PartSink& sink);

}  // namespace holdfast::cli
