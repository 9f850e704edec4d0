#include "cli/tool_input.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include "storage/snapshot_format.h"
#include "wal/data_directory.h"
#include "wal/log_archive.h"
#include "wal/segment_format.h"

namespace holdfast::cli {

namespace {

constexpr size_t kHeadBytes = 64;
constexpr std::string_view kSegmentMagic{"HFLOG\r\n\0", 8};

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<ToolInput> RecogniseDirectory(FileSystem& fs, const std::string& path, const std::vector<std::string>& names) {
  ToolInput input{InputKind::kLogDirectory, path, {}, {}, {}};
  if (Has(names, kBackupManifestName)) {
    input.kind = InputKind::kBackup;
    input.log = JoinPath(path, "wal");
    return input;
  }
  if (Has(names, "CURRENT")) {
    input.kind = InputKind::kDataDirectory;
    ASSIGN_OR_RETURN(input.generation, wal::ReadCurrentGeneration(fs, path));
    input.log = JoinPath(input.generation, "wal");
    return input;
  }
  if (Has(names, "lmdb") || Has(names, "wal")) {
    input.kind = InputKind::kGeneration;
    input.generation = path;
    input.log = JoinPath(path, "wal");
    return input;
  }
  const bool segments = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return wal::ParseSegmentName(name).has_value() || name.ends_with(".log");
  });
  if (segments || BaseName(path) == "wal") {
    input.log = path;
    return input;
  }
  const bool manifest =
      std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.ends_with(".manifest"); });
  if (manifest) {
    input.kind = InputKind::kAof;
    return input;
  }
  // What log-archive-dir names: a directory for each log.
  std::string archived;
  for (const std::string& name : names) {
    if (!wal::IsArchiveName(name)) continue;
    if (!archived.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   path + ": holds several logs, name one of them: " + archived + ", " + name + ", ..."};
    }
    archived = name;
  }
  if (!archived.empty()) {
    input.log = JoinPath(path, archived);
    return input;
  }
  // A data directory whose CURRENT is missing: the newest generation.
  std::string newest;
  for (const std::string& name : names) {
    if (!name.starts_with("gen-")) continue;
    if (newest.empty() || std::pair(name.size(), name) > std::pair(newest.size(), newest)) newest = name;
  }
  if (!newest.empty()) {
    input.kind = InputKind::kGeneration;
    input.generation = JoinPath(path, newest);
    input.log = JoinPath(input.generation, "wal");
    return input;
  }
  return Error{ErrorCode::kInvalidArgument,
               path + ": neither a data directory nor a log directory, backup or AOF directory (no CURRENT, gen-*, " +
                   "lmdb, wal, *.log, " + kBackupManifestName + " or *.manifest in it)"};
}

Result<std::string> ReadPart(File& file, uint64_t position, size_t size) {
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const size_t got, file.ReadAt(position, bytes.data(), size));
  bytes.resize(got);
  return bytes;
}

Result<ToolInput> RecogniseFile(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size == 0 && !wal::ParseSegmentName(BaseName(path)) && !path.ends_with(".hfs")) {
    return Error{ErrorCode::kInvalidArgument,
                 path + ": is empty (0 bytes): it holds no keys, and nothing tells what kind of file it should be"};
  }
  ASSIGN_OR_RETURN(const std::string head, ReadPart(*file, 0, kHeadBytes));
  ToolInput input{InputKind::kSnapshot, path, {}, {}, {}};
  if (head.starts_with(snapshot_format::kFileMagic)) return input;
  if (head.starts_with(kSegmentMagic)) {
    input.kind = InputKind::kLogSegment;
    input.log = ParentDirectory(path);
    return input;
  }
  if (head.starts_with("REDIS") || head.starts_with("VALKEY")) {
    input.kind = path.ends_with(".aof") ? InputKind::kAof : InputKind::kRdb;
    return input;
  }
  const bool resp = head.size() > 1 && head[0] == '*' && head[1] >= '1' && head[1] <= '9';
  if (resp || head.starts_with("#TS:") || head.starts_with("file ")) {
    input.kind = InputKind::kAof;
    return input;
  }
  // The beginning may be what is damaged.
  if (size >= snapshot_format::kFooterSize) {
    ASSIGN_OR_RETURN(const std::string foot, ReadPart(*file, size - snapshot_format::kFooterSize, 4));
    if (foot == "HFSF") return input;
  }
  if (wal::ParseSegmentName(BaseName(path))) {
    input.kind = InputKind::kLogSegment;
    input.log = ParentDirectory(path);
    return input;
  }
  if (path.ends_with(".hfs")) return input;
  return Error{ErrorCode::kInvalidArgument,
               path + ": not a file this tool knows: no snapshot, log segment, RDB or AOF"};
}

bool HasLock(const std::filesystem::path& directory) {
  struct stat status {};
  return ::stat((directory / "LOCK").c_str(), &status) == 0;
}

// What holds the generation, or gen-N/wal, or a segment in that; "": no data directory.
std::string DirectoryAbove(InputKind kind, const std::filesystem::path& part) {
  std::filesystem::path generation = part;
  if (kind != InputKind::kGeneration) {
    if (part.filename() != "wal") return "";
    generation = part.parent_path();
  }
  const bool named = generation.filename().string().starts_with("gen-");
  return named && HasLock(generation.parent_path()) ? generation.parent_path().string() : "";
}

}  // namespace

Result<std::vector<std::string>> ResolveLogs(FileSystem& fs, const std::vector<std::string>& given) {
  std::vector<std::string> directories;
  for (const std::string& path : given) {
    ASSIGN_OR_RETURN(const ToolInput input, RecogniseInput(fs, path));
    if (input.log.empty()) return Error{ErrorCode::kInvalidArgument, path + ": has no log"};
    directories.push_back(input.log);
  }
  return directories;
}

std::vector<std::string> ArchivesOf(FileSystem& fs, const std::string& generation) {
  auto listed = wal::ReadArchiveList(fs, generation);
  if (!listed.ok()) return {};
  std::erase_if(*listed, [&](const std::string& path) { return !fs.List(path).ok(); });
  return std::move(listed).value();
}

const char* InputKindName(InputKind kind) {
  switch (kind) {
    case InputKind::kSnapshot:
      return "snapshot";
    case InputKind::kLogSegment:
      return "log segment";
    case InputKind::kLogDirectory:
      return "log directory";
    case InputKind::kGeneration:
      return "generation directory";
    case InputKind::kDataDirectory:
      return "data directory";
    case InputKind::kBackup:
      return "backup";
    case InputKind::kRdb:
      return "RDB file";
    case InputKind::kAof:
      return "AOF";
  }
  return "unknown";
}

Result<ToolInput> RecogniseInput(FileSystem& fs, const std::string& given) {
  std::string path = given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const auto names = fs.List(path);
  if (names.ok()) return RecogniseDirectory(fs, path, *names);
  return RecogniseFile(fs, path);
}

namespace {

// By sharing the lock for an instant, which FileSystem::Lock waits for. The kernel takes ten milliseconds to write
// /proc/locks, so that it is asked only who it is that holds the lock.
bool NobodyLocks(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool shared = ::flock(file, LOCK_SH | LOCK_NB) == 0;
  ::close(file);
  return shared;
}

}  // namespace

std::optional<int> RunningServer(const std::string& data_directory) {
  const std::string lock = JoinPath(data_directory, "LOCK");
  struct stat status {};
  if (::stat(lock.c_str(), &status) != 0 || NobodyLocks(lock)) return std::nullopt;
  // "1: FLOCK  ADVISORY  WRITE 123 08:01:4711 0 EOF"
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, advisory, access, place;
    int pid = 0;
    if (!(words >> number >> kind >> advisory >> access >> pid >> place) || kind != "FLOCK") continue;
    // Overlay file systems show another device there: the inode has to do.
    const size_t colon = place.rfind(':');
    if (colon != std::string::npos && place.substr(colon + 1) == std::to_string(status.st_ino) && pid != ::getpid()) {
      return pid;
    }
  }
  return std::nullopt;
}

std::string DataDirectoryOf(const ToolInput& input) {
  std::string part;
  switch (input.kind) {
    case InputKind::kDataDirectory:
      return input.path;
    case InputKind::kGeneration:
      part = input.generation;
      break;
    case InputKind::kLogDirectory:
    case InputKind::kLogSegment:
      part = input.log;
      break;
    default:
      return "";
  }
  // As it is named first: the generation or its log may be a link to another file system.
  std::error_code error;
  std::filesystem::path named = std::filesystem::absolute(part, error).lexically_normal();
  if (!named.has_filename()) named = named.parent_path();
  const std::string above = error ? "" : DirectoryAbove(input.kind, named);
  if (!above.empty()) return above;
  const std::filesystem::path real = std::filesystem::canonical(part, error);
  return error ? "" : DirectoryAbove(input.kind, real);
}

std::optional<int> ServerOf(const ToolInput& input) {
  const std::string directory = DataDirectoryOf(input);
  return directory.empty() ? std::nullopt : RunningServer(directory);
}

}  // namespace holdfast::cli
