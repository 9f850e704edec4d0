// The log archive: finished segments get a second place, `log-archive-dir`, so that a restore reaches back beyond what
// the server itself keeps. A segment comes there when it is finished and everything in it belongs to whole, durable
// units: it is never changed afterwards, neither by recovery nor by recycling (which leaves files with two names
// alone). It is linked, or copied to another disk. Nothing there is ever overwritten or removed by the server.
//
//   <log-archive-dir>/<yyyymmddThhmmss.mmmZ>-<16 hex digits>/<sequence>-<first offset>.log
//
// A directory in it holds segments that follow each other. A generation begins one of its own; so does a log that was
// cut below what was archived (a rewind), or that let segments go unarchived. `gen-<n>/log-archive` names them, newest
// first, a line each: the offline tool finds them there.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/result.h"
#include "wal/log.h"

namespace holdfast::wal {

class LogArchive {
 public:
  struct Options {
    std::string root;             // log-archive-dir, absolute; made if missing
    std::string generation_path;  // exists
    std::string new_id;           // 16 random hex digits, in case a directory is made
    bool begin_anew = false;      // the log was cut: the next segments do not follow those archived before
  };
  // `fs` and `clock` outlive the archive. Nothing is done before Run.
  LogArchive(FileSystem& fs, Clock& clock, Options options) : fs_(fs), clock_(clock), options_(std::move(options)) {}

  // From now on the log keeps what is not archived. Call before the first Trim.
  static void Hold(Log& log);
  // The log keeps nothing for the archive any more, until Run succeeds again: space is short.
  static void LetGo(Log& log);

  // Archives what is finished and was not yet. One thread. A failure loses nothing: what is missing is kept in the log
  // and tried again by the next call.
  Result<void> Run(Log& log);

  // Any thread.
  struct State {
    std::string directory;    // where segments go; "": none made yet
    uint64_t segments = 0;    // archived since the start of the process
    uint64_t end_offset = 0;  // stream offset up to which the archive leads; 0: nothing archived or seen yet
    std::string failure;      // of the last Run, "" if it succeeded
  };
  [[nodiscard]] State CurrentState() const;

 private:
  Result<void> Prepare(bool anew);
  Result<void> PutFinished(Log& log);

  FileSystem& fs_;
  Clock& clock_;
  const Options options_;
  bool prepared_ = false;
  std::string directory_;
  uint64_t archived_ = 0;  // sequence of the newest segment that this process archived, or found archived
  uint64_t newest_ = 0;    // of the newest one in the directory; 0: none

  mutable std::mutex mutex_;
  State state_;  // guarded by mutex_
};

// Whether a directory of that name in log-archive-dir was made by an archive.
[[nodiscard]] bool IsArchiveName(std::string_view name);

inline constexpr const char* kArchiveListName = "log-archive";
// The directories that a generation's log was archived to, newest first; empty if there are none.
Result<std::vector<std::string>> ReadArchiveList(FileSystem& fs, const std::string& generation_path);

}  // namespace holdfast::wal
