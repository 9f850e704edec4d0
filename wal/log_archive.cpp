#include "wal/log_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <memory>

#include "storage/base/file_copy.h"
#include "wal/log_implementation.h"
#include "wal/segment_format.h"

namespace holdfast::wal {
namespace {

constexpr uint64_t kListBytesMax = 1 << 20;
constexpr size_t kListedMax = 64;

// Log::Open makes nothing else.
SegmentSet& SegmentsOf(Log& log) { return static_cast<LogImplementation&>(log).segments(); }

std::string TimeName(int64_t wall_ms) {
  const int64_t ms = std::max<int64_t>(wall_ms, 0);
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm time{};
  gmtime_r(&seconds, &time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}.{:03}Z", time.tm_year + 1900, time.tm_mon + 1, time.tm_mday,
                     time.tm_hour, time.tm_min, time.tm_sec, ms % 1000);
}

Result<std::string> ReadHeader(FileSystem& fs, const std::string& path) {
  std::string header(kSegmentHeaderSize, '\0');
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, header.data(), header.size()));
  header.resize(got);
  return header;
}

// Headers hold the incarnation: those of two different segments are never equal.
Result<void> CheckSame(FileSystem& fs, const std::string& segment, const std::string& archived) {
  ASSIGN_OR_RETURN(const std::string ours, ReadHeader(fs, segment));
  ASSIGN_OR_RETURN(const std::string theirs, ReadHeader(fs, archived));
  if (ours == theirs) return {};
  return Error{ErrorCode::kAlreadyExists, archived + " is there and is another segment; it is not overwritten"};
}

Result<void> PutInto(FileSystem& fs, const Segment& segment, const std::string& directory) {
  const std::string target = JoinPath(directory, segment.path.substr(segment.path.rfind('/') + 1));
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(target));
  if (exists) {
    RETURN_IF_ERROR(CheckSame(fs, segment.path, target));
    return fs.SyncDirectory(directory);  // who put it there may have failed or died before
  }
  if (fs.Link(segment.path, target).ok()) return fs.SyncDirectory(directory);
  const std::string unfinished = target + ".tmp";
  Result<void> copied = CopyFile(fs, segment.path, unfinished, *segment.end);
  if (copied.ok()) copied = fs.Rename(unfinished, target);
  if (!copied.ok()) {
    (void)fs.Remove(unfinished);  // best effort; the next try replaces it
    return copied;
  }
  return fs.SyncDirectory(directory);
}

// Whether the newest directory has segments that the log, where it should have them, has not: a start cut it, and ended
// before it had begun another directory.
Result<bool> HasWhatWasCut(FileSystem& fs, const std::string& generation_path, const SegmentSet& segments) {
  ASSIGN_OR_RETURN(const std::vector<std::string> listed, ReadArchiveList(fs, generation_path));
  if (listed.empty()) return false;
  const auto names = fs.List(listed.front());
  if (!names.ok()) return names.error().code == ErrorCode::kNotFound ? Result<bool>(false) : names.error();
  const auto finished = segments.FinishedAfter(0);
  const uint64_t first = finished.empty() ? segments.Last()->sequence : finished.front().file->sequence;
  for (const std::string& name : *names) {
    const auto numbers = ParseSegmentName(name);
    if (!numbers || numbers->sequence < first) continue;
    const uint64_t i = numbers->sequence - first;
    if (i >= finished.size() || !finished[i].file->path.ends_with("/" + name)) return true;
  }
  return false;
}

}  // namespace

void LogArchive::Hold(Log& log) { SegmentsOf(log).KeepFrom(0); }

void LogArchive::LetGo(Log& log) { SegmentsOf(log).KeepFrom(std::numeric_limits<uint64_t>::max()); }

// The directory of this generation's segments: the newest one that is named, or a new one.
Result<void> LogArchive::Prepare(bool anew) {
  ASSIGN_OR_RETURN(const bool existed, fs_.Exists(options_.root));
  RETURN_IF_ERROR(fs_.CreateDirectory(options_.root));
  // One that was there may lie in a directory that we may not read.
  if (Result<void> synced = fs_.SyncDirectory(ParentDirectory(options_.root)); !synced.ok() && !existed) return synced;
  ASSIGN_OR_RETURN(std::vector<std::string> listed, ReadArchiveList(fs_, options_.generation_path));
  if (!anew && !listed.empty() && ParentDirectory(listed.front()) == ParentDirectory(JoinPath(options_.root, "x"))) {
    ASSIGN_OR_RETURN(const bool exists, fs_.Exists(listed.front()));
    if (exists) {
      directory_ = listed.front();
      ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(directory_));
      for (const std::string& name : names) {
        if (const auto numbers = ParseSegmentName(name)) newest_ = std::max(newest_, numbers->sequence);
      }
      return {};
    }
  }
  const std::string made = JoinPath(options_.root, TimeName(clock_.WallMs()) + "-" + options_.new_id);
  RETURN_IF_ERROR(fs_.CreateDirectory(made));
  RETURN_IF_ERROR(fs_.SyncDirectory(options_.root));
  listed.insert(listed.begin(), made);
  if (listed.size() > kListedMax) listed.resize(kListedMax);
  std::string text;
  for (const std::string& each : listed) text += each + "\n";
  RETURN_IF_ERROR(WriteFileAtomically(fs_, JoinPath(options_.generation_path, kArchiveListName), text));
  directory_ = made;
  newest_ = 0;
  return {};
}

Result<void> LogArchive::PutFinished(Log& log) {
  if (!prepared_) {
    ASSIGN_OR_RETURN(const bool has_more, HasWhatWasCut(fs_, options_.generation_path, SegmentsOf(log)));
    RETURN_IF_ERROR(Prepare(options_.begin_anew || has_more));
  }
  prepared_ = true;
  const auto finished = SegmentsOf(log).FinishedAfter(archived_);
  // What was let go meanwhile leaves a gap, and a log with a gap is two.
  const bool gap = newest_ != 0 && !finished.empty() && finished.front().file->sequence > newest_ + 1;
  if (gap) RETURN_IF_ERROR(Prepare(true));
  {
    std::lock_guard lock(mutex_);
    state_.directory = directory_;
  }
  for (const auto& segment : finished) {
    RETURN_IF_ERROR(PutInto(fs_, *segment.file, directory_));
    archived_ = segment.file->sequence;
    newest_ = std::max(newest_, archived_);
    std::lock_guard lock(mutex_);
    ++state_.segments;
    state_.end_offset = segment.end_offset;
  }
  SegmentsOf(log).KeepFrom(archived_ + 1);
  return {};
}

Result<void> LogArchive::Run(Log& log) {
  Result<void> outcome = PutFinished(log);
  if (!outcome.ok()) outcome = outcome.error().WithContext("archiving the log to " + options_.root);
  std::lock_guard lock(mutex_);
  state_.failure = outcome.ok() ? "" : outcome.error().message;
  return outcome;
}

LogArchive::State LogArchive::CurrentState() const {
  std::lock_guard lock(mutex_);
  return state_;
}

bool IsArchiveName(std::string_view name) {
  constexpr std::string_view kPattern = "00000000T000000.000Z-hhhhhhhhhhhhhhhh";
  return name.size() == kPattern.size() &&
         std::equal(name.begin(), name.end(), kPattern.begin(), [](char c, char pattern) {
           const bool digit = c >= '0' && c <= '9';
           if (pattern == '0') return digit;
           return pattern == 'h' ? digit || (c >= 'a' && c <= 'f') : c == pattern;
         });
}

Result<std::vector<std::string>> ReadArchiveList(FileSystem& fs, const std::string& generation_path) {
  std::vector<std::string> directories;
  const std::string path = JoinPath(generation_path, kArchiveListName);
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  if (!exists) return directories;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(fs, path, kListBytesMax));
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) directories.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return directories;
}

}  // namespace holdfast::wal
