// What a path given to the offline tool is, recognised by content.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::cli {

enum class InputKind {
  kSnapshot,       // .hfs
  kLogSegment,     // one file of a log
  kLogDirectory,   // gen-N/wal, or segments anywhere
  kGeneration,     // gen-N: lmdb, run, wal
  kDataDirectory,  // what a server runs on, perhaps at this moment
  kBackup,         // made by `holdfast backup`
  kRdb,            // of Redis or Valkey
  kAof,            // plain RESP, or the directory of a multi-part AOF (its manifest)
};

[[nodiscard]] const char* InputKindName(InputKind kind);

struct ToolInput {
  InputKind kind;
  std::string path;                    // as it was given, without "/" at the end
  std::string generation;              // kDataDirectory: the one in force; kGeneration: the same as path
  std::string log;                     // the log directory, if there is one; kLogSegment: the file's
  std::vector<std::string> more_logs;  // archives of older segments of the same log
};

// kNotFound: nothing there; kInvalidArgument: none of ours; kCorruption: a data directory whose CURRENT is damaged.
Result<ToolInput> RecogniseInput(FileSystem& fs, const std::string& path);

// Log directories of inputs given beside another one: archives, other servers' directories. kInvalidArgument: no log.
Result<std::vector<std::string>> ResolveLogs(FileSystem& fs, const std::vector<std::string>& given);
// The directories that a server archived the log of this generation to, newest first, as far as they are there.
std::vector<std::string> ArchivesOf(FileSystem& fs, const std::string& generation);

inline constexpr const char* kBackupManifestName = "holdfast-backup.json";

// The other process that holds the data directory's lock now, as /proc/locks says; nullopt: none. Changes nothing.
std::optional<int> RunningServer(const std::string& data_directory);
// The data directory that the input is or lies in: of a generation, its log or a segment of that the one above, if it
// holds a lock file. "": none; archives and backups lie in none, wherever they are.
[[nodiscard]] std::string DataDirectoryOf(const ToolInput& input);
// The process that holds the lock of that one: what is read changes meanwhile. nullopt: none.
std::optional<int> ServerOf(const ToolInput& input);

}  // namespace holdfast::cli
