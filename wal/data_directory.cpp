#include "wal/data_directory.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "storage/base/diag.h"
#include "storage/base/hash.h"
#include "storage/planted_bug.h"

namespace holdfast::wal {
namespace {

constexpr size_t kNodeIdSize = 40;
constexpr uint64_t kSmallFileMax = 4096;
constexpr std::string_view kGenerationPrefix = "gen-";
constexpr std::string_view kLockMagic = "holdfast-node-1";

std::string HexOf(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) hex[i] = kDigits[value & 15];
  return hex;
}

std::string WithChecksum(std::string text) { return text + HexOf(Checksum64(text)) + "\n"; }

// The text in front of its checksum line, nullopt if that is missing or wrong.
std::optional<std::string_view> Checked(std::string_view bytes) {
  if (bytes.size() < 17 || bytes.back() != '\n') return std::nullopt;
  const std::string_view text = bytes.substr(0, bytes.size() - 17);
  if (bytes.substr(text.size(), 16) != HexOf(Checksum64(text))) return std::nullopt;
  return text;
}

std::optional<uint64_t> GenerationNumber(std::string_view name) {
  if (!name.starts_with(kGenerationPrefix)) return std::nullopt;
  name.remove_prefix(kGenerationPrefix.size());
  if (name.empty() || name.size() > 18 || name[0] == '0') return std::nullopt;
  uint64_t number = 0;
  for (const char c : name) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  return number;
}

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// What tells a directory from its copy. Only metadata: nothing durable depends on it. 0 where there is no such file.
uint64_t InodeOf(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? uint64_t{status.st_ino} : 0;
}

std::string MachineId(FileSystem& fs) {
  Result<std::string> id = ReadFile(fs, "/etc/machine-id", kSmallFileMax);
  if (!id.ok()) return "none";
  while (!id->empty() && (id->back() == '\n' || id->back() == ' ')) id->pop_back();
  return id->empty() || id->find('\n') != std::string::npos ? "none" : *id;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

class Directory : public DataDirectory {
 public:
  Directory(FileSystem& fs, std::string path, Random& random) : fs_(fs), path_(std::move(path)), random_(random) {}

  Result<void> Start();
  Result<void> StartExisting();
  Result<void> StartWithoutCurrent();

  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] const NodeIdentity& identity() const override { return identity_; }
  [[nodiscard]] const std::string& generation_path() const override { return generation_path_; }
  [[nodiscard]] bool fresh() const override { return fresh_; }
  Result<std::vector<std::string>> Generations() override;
  Result<std::string> NewGeneration() override;
  Result<void> Commit(const std::string& generation_path) override;
  Result<void> RemoveOldGenerations() override;

 private:
  [[nodiscard]] std::string LockPath() const { return JoinPath(path_, "LOCK"); }
  [[nodiscard]] std::string CurrentPath() const { return JoinPath(path_, "CURRENT"); }
  Result<void> TakeLock();
  Result<void> ReadIdentity();
  Result<void> WriteLock();
  Result<bool> HoldsData();
  Result<void> ResolveCurrent();
  Result<void> MakeGeneration(const std::string& path);
  Result<void> NameCurrent(std::string_view name);
  Result<void> RemoveUnfinished();

  FileSystem& fs_;
  const std::string path_;
  Random& random_;
  std::unique_ptr<FileLock> lock_;
  NodeIdentity identity_;
  uint64_t inode_ = 0;
  std::string machine_id_;
  bool committed_ = false;  // a generation was committed here once
  std::string generation_path_;
  bool fresh_ = false;
};

Result<void> Directory::TakeLock() {
  ASSIGN_OR_RETURN(const bool exists, fs_.Exists(path_));
  if (!exists) RETURN_IF_ERROR(fs_.CreateDirectory(path_));
  // One that was there may lie in a directory that we may not read; or a process made it that died before it synced.
  if (Result<void> synced = fs_.SyncDirectory(ParentDirectory(path_)); !synced.ok() && !exists) return synced;
  Result<std::unique_ptr<FileLock>> lock = fs_.Lock(LockPath());
  if (!lock.ok() && lock.error().code == ErrorCode::kBusy) {
    return Error{ErrorCode::kBusy, "the data directory " + path_ + " is in use by another process: stop that one, or " +
                                       "give this server a directory of its own (dir)"};
  }
  if (!lock.ok()) return std::move(lock).error();
  lock_ = std::move(lock).value();
  return {};
}

// The lock file is written in place: a rename would put another file under the lock.
Result<void> Directory::WriteLock() {
  const std::string text =
      WithChecksum(std::string(kLockMagic) + "\n" + identity_.node_id + "\n" + std::to_string(inode_) + "\n" +
                   machine_id_ + "\n" + (committed_ ? "committed" : "fresh") + "\n");
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs_.Open(LockPath(), {.mode = OpenMode::kWrite}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  RETURN_IF_ERROR(file->WriteAt(0, text));
  if (size > text.size()) RETURN_IF_ERROR(file->Truncate(text.size()));
  RETURN_IF_ERROR(file->Sync());
  return fs_.SyncDirectory(path_);
}

Result<void> Directory::ReadIdentity() {
  inode_ = InodeOf(path_);
  machine_id_ = MachineId(fs_);
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fs_, LockPath(), kSmallFileMax));
  const std::optional<std::string_view> text = Checked(bytes);
  const std::vector<std::string_view> lines = text ? Lines(*text) : std::vector<std::string_view>();
  const bool readable = lines.size() == 5 && lines[0] == kLockMagic && lines[1].size() == kNodeIdSize;
  if (readable) {
    committed_ = lines[4] == "committed";
    if (lines[2] == std::to_string(inode_) && lines[3] == machine_id_) {
      identity_.node_id = lines[1];
      return {};
    }
    identity_.copied = true;
    diag::Notice("{} was copied or moved from elsewhere: this node gets a new id", path_);
  } else if (!bytes.empty()) {
    // A first start that was cut short, or damage. Counting as a copy is the safe side.
    identity_.copied = true;
    diag::Warning("{} cannot be read: this node gets a new id", LockPath());
  }
  if (!readable) {
    // LOCK is written before anything is in a generation: what is there had one once, and may hold all the data.
    ASSIGN_OR_RETURN(committed_, HoldsData());
  }
  identity_.node_id = random_.Hex(kNodeIdSize);
  return WriteLock();
}

Result<std::vector<std::string>> Directory::Generations() {
  ASSIGN_OR_RETURN(std::vector<std::string> names, fs_.List(path_));
  std::erase_if(names, [](const std::string& name) { return !GenerationNumber(name).has_value(); });
  return names;
}

Result<bool> Directory::HoldsData() {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Generations());
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::vector<std::string> content, fs_.List(JoinPath(path_, name)));
    if (!content.empty()) return true;
  }
  return false;
}

Result<void> Directory::MakeGeneration(const std::string& path) {
  RETURN_IF_ERROR(fs_.RemoveTree(path));
  RETURN_IF_ERROR(fs_.CreateDirectory(path));
  return fs_.SyncDirectory(path_);
}

Result<void> Directory::ResolveCurrent() {
  ASSIGN_OR_RETURN(const bool exists, fs_.Exists(CurrentPath()));
  if (!exists && committed_) {
    return Error{ErrorCode::kCorruption, CurrentPath() +
                                             " is missing, but this directory holds data: see 'holdfast repair " +
                                             "--current', or restore a backup. Nothing was changed"};
  }
  if (!exists) {
    fresh_ = true;
    generation_path_ = JoinPath(path_, std::string(kGenerationPrefix) + "1");
    RETURN_IF_ERROR(MakeGeneration(generation_path_));
    return RemoveOldGenerations();
  }
  ASSIGN_OR_RETURN(generation_path_, ReadCurrentGeneration(fs_, path_));
  ASSIGN_OR_RETURN(const bool there, fs_.Exists(generation_path_));
  if (!there) {
    return Error{ErrorCode::kCorruption, CurrentPath() + " names " + std::string(BaseName(generation_path_)) +
                                             ", which is missing. Nothing was changed"};
  }
  if (!committed_) {
    committed_ = true;
    RETURN_IF_ERROR(WriteLock());
  }
  return RemoveOldGenerations();
}

// What a power cut or a kill leaves of a switch, a full sync and a rewind under way. Nothing goes on from them.
Result<void> Directory::RemoveUnfinished() {
  for (const std::string& path : {JoinPath(path_, "CURRENT.tmp"), JoinPath(path_, "full-sync.tmp"),
                                  JoinPath(path_, "diverged/tail.tmp"), JoinPath(generation_path_, "rewind.tmp")}) {
    ASSIGN_OR_RETURN(const bool exists, fs_.Exists(path));
    if (exists) RETURN_IF_ERROR(fs_.Remove(path));
  }
  return {};
}

Result<void> Directory::Start() {
  RETURN_IF_ERROR(TakeLock());
  RETURN_IF_ERROR(ReadIdentity());
  RETURN_IF_ERROR(ResolveCurrent());
  return RemoveUnfinished();
}

Result<void> Directory::StartExisting() {
  ASSIGN_OR_RETURN(generation_path_, ReadCurrentGeneration(fs_, path_));
  RETURN_IF_ERROR(TakeLock());
  // A server may have switched while the lock was waited for.
  ASSIGN_OR_RETURN(generation_path_, ReadCurrentGeneration(fs_, path_));
  ASSIGN_OR_RETURN(const bool there, fs_.Exists(generation_path_));
  if (!there) return Error{ErrorCode::kCorruption, CurrentPath() + " names what is missing. Nothing was changed"};
  committed_ = true;  // the lock file is not written
  return {};
}

Result<void> Directory::StartWithoutCurrent() {
  RETURN_IF_ERROR(TakeLock());
  const auto current = ReadCurrentGeneration(fs_, path_);
  if (current.ok()) return Error{ErrorCode::kAlreadyExists, CurrentPath() + " is good: it names " + *current};
  if (current.error().code != ErrorCode::kCorruption && current.error().code != ErrorCode::kNotFound) {
    return current.error();
  }
  committed_ = true;  // the lock file is not written
  return {};
}

Result<std::string> Directory::NewGeneration() {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Generations());
  uint64_t newest = *GenerationNumber(BaseName(generation_path_));
  for (const std::string& name : names) newest = std::max(newest, *GenerationNumber(name));
  std::string path = JoinPath(path_, std::string(kGenerationPrefix) + std::to_string(newest + 1));
  RETURN_IF_ERROR(MakeGeneration(path));
  if (Planted(PlantedBug::kOldDataDroppedEarly)) RETURN_IF_ERROR(fs_.RemoveTree(generation_path_));
  return path;
}

Result<void> Directory::NameCurrent(std::string_view name) {
  return WriteFileAtomically(fs_, CurrentPath(), WithChecksum(std::string(name) + "\n"));
}

Result<void> Directory::Commit(const std::string& generation_path) {
  const std::string name(BaseName(generation_path));
  if (!GenerationNumber(name) || JoinPath(path_, name) != generation_path) {
    return Error{ErrorCode::kInvalidArgument, generation_path + " is no generation of " + path_};
  }
  RETURN_IF_ERROR(fs_.SyncDirectory(generation_path));
  RETURN_IF_ERROR(fs_.SyncDirectory(path_));
  if (Result<void> named = NameCurrent(name); !named.ok()) {
    // Perhaps it has its name already. Who asked goes on with the old one, and the next start must find that.
    if (!fresh_ && !generation_path_.empty()) (void)NameCurrent(BaseName(generation_path_));
    return named;
  }
  generation_path_ = generation_path;
  fresh_ = false;
  if (committed_) return {};
  committed_ = true;
  return WriteLock();
}

Result<void> Directory::RemoveOldGenerations() {
  // CURRENT may have been renamed by a process that died before it synced.
  RETURN_IF_ERROR(fs_.SyncDirectory(path_));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Generations());
  for (const std::string& name : names) {
    if (name == BaseName(generation_path_)) continue;
    RETURN_IF_ERROR(fs_.RemoveTree(JoinPath(path_, name)));
  }
  return fs_.SyncDirectory(path_);
}

}  // namespace

Result<std::unique_ptr<DataDirectory>> DataDirectory::Open(FileSystem& fs, std::string path, Random& random) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  auto directory = std::make_unique<Directory>(fs, std::move(path), random);
  RETURN_IF_ERROR(directory->Start());
  return std::unique_ptr<DataDirectory>(std::move(directory));
}

Result<std::unique_ptr<DataDirectory>> DataDirectory::OpenExisting(FileSystem& fs, std::string path, Random& random) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  auto directory = std::make_unique<Directory>(fs, std::move(path), random);
  RETURN_IF_ERROR(directory->StartExisting());
  return std::unique_ptr<DataDirectory>(std::move(directory));
}

Result<std::unique_ptr<DataDirectory>> DataDirectory::OpenWithoutCurrent(FileSystem& fs, std::string path,
                                                                         Random& random) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  auto directory = std::make_unique<Directory>(fs, std::move(path), random);
  RETURN_IF_ERROR(directory->StartWithoutCurrent());
  return std::unique_ptr<DataDirectory>(std::move(directory));
}

Result<std::string> ReadCurrentGeneration(FileSystem& fs, const std::string& data_directory) {
  const std::string path = JoinPath(data_directory, "CURRENT");
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fs, path, kSmallFileMax));
  const std::optional<std::string_view> text = Checked(bytes);
  const std::string_view name = text ? text->substr(0, text->find('\n')) : std::string_view();
  if (!GenerationNumber(name)) {
    return Error{ErrorCode::kCorruption,
                 path + " is damaged: see 'holdfast repair --current', or restore a backup. " + "Nothing was changed"};
  }
  return JoinPath(data_directory, name);
}

}  // namespace holdfast::wal
