// The end of a log that is about to be given up, kept in a file of its own: what a deposed master acknowledged and its
// successor never had. docs/formats-log.md "Diverged tails".
//
// The file is a segment (header and frames) that begins at the fork, so whatever reads segments reads it. It lies in
// <data directory>/diverged/, is born complete and never touched again by the server.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::wal {

struct TailRequest {
  std::string log_directory;   // the segments; no batch may be in flight while they are read
  std::string data_directory;  // the file goes to its diverged/, which is made if missing
  uint64_t from = 0;           // the fork. What the log no longer holds is left out
  uint64_t to = 0;             // durable end of the log
  FileSystem* fs = nullptr;
  Random* random = nullptr;
};

struct SavedTail {
  std::string path;
  uint64_t from = 0;  // where the file begins: above the request's if the log began later, below if inside a frame
  uint64_t bytes = 0;
  uint64_t units = 0;
};

// Durable when it returns. kCorruption: the log is damaged there. kNotFound: the log begins only at `to`.
Result<SavedTail> SaveTail(const TailRequest& request);

// <id of the history, 40 hex digits>-<from, 20 digits>-<to, 20 digits>.log
[[nodiscard]] std::string TailFileName(const std::string& lineage_id, uint64_t from, uint64_t to);
[[nodiscard]] std::string TailDirectory(const std::string& data_directory);

struct TailFiles {
  uint64_t count = 0, stream_bytes = 0;
};
// What is kept so far, by the files' names; nothing if the directory cannot be read.
[[nodiscard]] TailFiles CountTails(FileSystem& fs, const std::string& data_directory);

}  // namespace holdfast::wal
