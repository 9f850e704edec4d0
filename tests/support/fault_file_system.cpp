#include "tests/support/fault_file_system.h"

#include <algorithm>
#include <utility>

#include "storage/base/check.h"

namespace holdfast::testing {
namespace {

constexpr size_t kCallLogMax = 10'000;

Error NotFound(std::string_view call, const std::string& path) {
  return Error{ErrorCode::kNotFound, std::string(call) + " " + path + ": No such file or directory"};
}

Error PowerIsOff(std::string_view call) {
  return Error{ErrorCode::kIo, std::string(call) + ": the power is off (injected)"};
}

}  // namespace

struct FaultFileSystem::Inode {
  std::string content;  // what readers see
  std::string durable;  // what the disk has
  // Contents that an unsynced sector had since it was last durable, oldest first; the last one is in `content`.
  std::map<uint64_t, std::vector<std::string>> unsynced;
  // Sizes since the size was last durable, oldest first.
  std::vector<uint64_t> unsynced_sizes;
  uint64_t links = 0;
  bool sync_failed = false;  // some clean sectors of `content` may not be on the disk
};

struct FaultFileSystem::Directory {
  std::map<std::string, Entry> entries;
  std::map<std::string, Entry> durable;
  std::vector<Change> unsynced;
};

// Builds the tree that a power cut leaves behind, out of new nodes; hard links stay links.
class FaultFileSystem::CrashBuilder {
 public:
  CrashBuilder(const Chooser& chooser, size_t sector_size) : chooser_(chooser), sector_size_(sector_size) {
    // Now and then one outcome for everything: real crashes are often that simple.
    if (chooser_.random != nullptr && chooser_.random->Below(4) == 0) {
      chooser_.keep = chooser_.random->Below(2) == 0;
      chooser_.random = nullptr;
    }
  }

  std::shared_ptr<Directory> Build(const Directory& from) {
    std::map<std::string, Entry> entries = from.durable;
    // Either a prefix of the changes happened (a journal), or any of them.
    const bool prefix = chooser_.random != nullptr && chooser_.random->Below(2) == 0;
    const size_t kept = prefix ? chooser_.random->Below(from.unsynced.size() + 1) : 0;
    for (size_t i = 0; i < from.unsynced.size(); i++) {
      if (prefix ? i >= kept : !Keep()) continue;
      for (const auto& [name, entry] : from.unsynced[i]) {
        if (entry.empty()) {
          entries.erase(name);
        } else {
          entries[name] = entry;
        }
      }
    }
    auto built = std::make_shared<Directory>();
    for (const auto& [name, entry] : entries) {
      if (entry.directory) {
        built->entries[name].directory = Build(*entry.directory);
      } else {
        built->entries[name].file = BuildFile(*entry.file);
        built->entries[name].file->links++;
      }
    }
    built->durable = built->entries;
    return built;
  }

 private:
  bool Keep() { return chooser_.random != nullptr ? chooser_.random->Below(2) == 0 : chooser_.keep; }

  // Index of one of `count` versions after the durable one; 0 is the durable one.
  size_t Version(size_t count) {
    if (chooser_.random != nullptr) return static_cast<size_t>(chooser_.random->Below(count + 1));
    return chooser_.keep ? count : 0;
  }

  std::shared_ptr<Inode> BuildFile(const Inode& from) {
    std::shared_ptr<Inode>& built = files_[&from];
    if (built) return built;
    built = std::make_shared<Inode>();
    std::string& content = built->content;
    const size_t size_version = Version(from.unsynced_sizes.size());
    const uint64_t size = size_version == 0 ? from.durable.size() : from.unsynced_sizes[size_version - 1];
    content = from.durable;
    content.resize(size, '\0');
    for (const auto& [sector, versions] : from.unsynced) {
      const size_t version = Version(versions.size());
      const uint64_t start = sector * sector_size_;
      if (version == 0 || start >= size) continue;
      const std::string& bytes = versions[version - 1];
      content.replace(start, std::min<uint64_t>(sector_size_, size - start), bytes, 0,
                      std::min<uint64_t>(bytes.size(), size - start));
      content.resize(size, '\0');
    }
    built->durable = content;
    return built;
  }

  Chooser chooser_;
  const size_t sector_size_;
  std::map<const Inode*, std::shared_ptr<Inode>> files_;
};

class FaultFileSystem::Handle : public File {
 public:
  Handle(FaultFileSystem& fs, std::shared_ptr<Inode> inode, std::string path, OpenOptions options)
      : fs_(fs), inode_(std::move(inode)), path_(std::move(path)), options_(options), epoch_(fs.epoch_) {}

  Result<size_t> ReadAt(uint64_t position, char* to, size_t size) override {
    std::lock_guard lock(fs_.mutex_);
    RETURN_IF_ERROR(Begin(FileCall::kRead, "read " + path_ + " " + Range(position, size)));
    if (options_.direct_sync) fs_.ReloadClean(*inode_);
    if (position >= inode_->content.size()) return size_t{0};
    return inode_->content.copy(to, size, position);
  }

  Result<void> WriteAt(uint64_t position, std::string_view bytes) override {
    std::lock_guard lock(fs_.mutex_);
    if (options_.direct_sync) {
      CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % kDirectAlignment == 0);
      CHECK(position % kDirectAlignment == 0);
      CHECK(bytes.size() % kDirectAlignment == 0);
    }
    Result<void> begun = Begin(FileCall::kWrite, "write " + path_ + " " + Range(position, bytes.size()));
    if (!begun.ok()) {
      const size_t half = bytes.size() / 2 / fs_.sector_size_ * fs_.sector_size_;
      if (Alive() && Writable()) fs_.StoreBytes(*inode_, position, bytes.substr(0, half));
      return begun;
    }
    if (!Writable()) return Error{ErrorCode::kIo, "write " + path_ + ": the file is open for reading"};
    return fs_.WriteInode(*inode_, position, bytes, options_.direct_sync);
  }

  Result<void> Sync() override {
    std::lock_guard lock(fs_.mutex_);
    Result<void> begun = Begin(FileCall::kSync, "sync " + path_);
    if (!begun.ok()) {
      // The kernel marks the pages clean and forgets that they never reached the disk.
      if (Alive()) {
        inode_->unsynced.clear();
        inode_->sync_failed = true;
      }
      return begun;
    }
    return fs_.SyncInode(*inode_);
  }

  Result<void> Truncate(uint64_t size) override {
    std::lock_guard lock(fs_.mutex_);
    RETURN_IF_ERROR(Begin(FileCall::kTruncate, "truncate " + path_ + " " + std::to_string(size)));
    if (!Writable()) return Error{ErrorCode::kIo, "truncate " + path_ + ": the file is open for reading"};
    const uint64_t growth = size > inode_->content.size() ? size - inode_->content.size() : 0;
    if (fs_.space_limit_ && growth != 0 && fs_.UsedBytesLocked() + growth > *fs_.space_limit_) {
      return Error{ErrorCode::kNoSpace, "truncate " + path_ + ": No space left on device"};
    }
    fs_.TruncateInode(*inode_, size);
    return fs_.EndOfCall();
  }

  Result<uint64_t> Size() override {
    std::lock_guard lock(fs_.mutex_);
    RETURN_IF_ERROR(Begin(FileCall::kSize, "size " + path_));
    return uint64_t{inode_->content.size()};
  }

  void DropCache() override {
    std::lock_guard lock(fs_.mutex_);
    if (Alive()) fs_.ReloadClean(*inode_);
  }

  Result<uint64_t> LinkCount() override {
    std::lock_guard lock(fs_.mutex_);
    RETURN_IF_ERROR(Begin(FileCall::kLinkCount, "links " + path_));
    return inode_->links;
  }

 private:
  static std::string Range(uint64_t position, size_t size) {
    return std::to_string(position) + "+" + std::to_string(size);
  }
  [[nodiscard]] bool Alive() const { return epoch_ == fs_.epoch_ && !fs_.power_off_; }
  [[nodiscard]] bool Writable() const { return options_.mode != OpenMode::kRead; }

  Result<void> Begin(FileCall kind, std::string description) {
    if (epoch_ != fs_.epoch_) return Error{ErrorCode::kIo, path_ + ": opened before the power cut"};
    return fs_.Begin(kind, std::move(description));
  }

  FaultFileSystem& fs_;
  const std::shared_ptr<Inode> inode_;
  const std::string path_;
  const OpenOptions options_;
  const uint64_t epoch_;
};

class FaultFileSystem::HeldLock : public FileLock {
 public:
  HeldLock(FaultFileSystem& fs, std::shared_ptr<Inode> inode) : fs_(fs), inode_(std::move(inode)), epoch_(fs.epoch_) {}
  ~HeldLock() override {
    std::lock_guard lock(fs_.mutex_);
    if (epoch_ == fs_.epoch_) fs_.locked_.erase(inode_.get());
  }

 private:
  FaultFileSystem& fs_;
  const std::shared_ptr<Inode> inode_;
  const uint64_t epoch_;
};

FaultFileSystem::FaultFileSystem(size_t sector_size) : sector_size_(sector_size), root_(std::make_shared<Directory>()) {
  CHECK(sector_size > 0);
  CHECK(kDirectAlignment % sector_size == 0);
}

FaultFileSystem::~FaultFileSystem() = default;

// --- Faults -------------------------------------------------------------------------------------------------------

void FaultFileSystem::FailCall(uint64_t nth, ErrorCode code, bool forever, std::optional<FileCall> kind) {
  CHECK(nth > 0);
  std::lock_guard lock(mutex_);
  faults_.push_back({nth, code, forever, kind});
}

void FaultFileSystem::CutPowerAtCall(uint64_t nth) {
  CHECK(nth > 0);
  std::lock_guard lock(mutex_);
  power_countdown_ = nth;
}

void FaultFileSystem::ClearFaults() {
  std::lock_guard lock(mutex_);
  faults_.clear();
  power_countdown_.reset();
}

bool FaultFileSystem::power_is_off() const {
  std::lock_guard lock(mutex_);
  return power_off_;
}

void FaultFileSystem::Crash(Random& random) { CrashWith({&random, false}); }
void FaultFileSystem::CrashKeepingAll() { CrashWith({nullptr, true}); }
void FaultFileSystem::CrashLosingAll() { CrashWith({nullptr, false}); }

void FaultFileSystem::CrashWith(const Chooser& chooser) {
  std::lock_guard lock(mutex_);
  root_ = CrashBuilder(chooser, sector_size_).Build(*root_);
  locked_.clear();
  epoch_++;
  faults_.clear();
  power_countdown_.reset();
  cutting_ = false;
  power_off_ = false;
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::CrashedCopy(Random& random) const {
  std::lock_guard lock(mutex_);
  auto copy = std::make_unique<FaultFileSystem>(sector_size_);
  copy->root_ = CrashBuilder({&random, false}, sector_size_).Build(*root_);
  copy->space_limit_ = space_limit_;
  return copy;
}

void FaultFileSystem::SetSpaceLimit(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  space_limit_ = bytes;
}

uint64_t FaultFileSystem::UsedBytes() const {
  std::lock_guard lock(mutex_);
  return UsedBytesLocked();
}

uint64_t FaultFileSystem::UsedBytesLocked() const {
  uint64_t used = 0;
  std::set<const Inode*> seen;
  std::vector<const Directory*> open{root_.get()};
  while (!open.empty()) {
    const Directory* directory = open.back();
    open.pop_back();
    for (const auto& [name, entry] : directory->entries) {
      if (entry.directory) open.push_back(entry.directory.get());
      if (entry.file && seen.insert(entry.file.get()).second) used += entry.file->content.size();
    }
  }
  return used;
}

void FaultFileSystem::BeforeEachCall(std::function<void()> act) {
  std::lock_guard lock(mutex_);
  before_call_ = std::move(act);
}

Result<void> FaultFileSystem::Begin(FileCall kind, std::string description) {
  if (before_call_) before_call_();
  calls_++;
  calls_by_kind_[static_cast<size_t>(kind)]++;
  call_log_.push_back(std::move(description));
  if (call_log_.size() > kCallLogMax) call_log_.pop_front();
  std::string& line = call_log_.back();
  if (power_off_) {
    line += " -> power is off";
    return PowerIsOff(line);
  }
  std::optional<ErrorCode> failure;
  for (Fault& fault : faults_) {
    if (fault.kind && *fault.kind != kind) continue;
    if (fault.countdown > 0) fault.countdown--;
    if (fault.countdown == 0 && !failure) failure = fault.code;
  }
  std::erase_if(faults_, [](const Fault& fault) { return fault.countdown == 0 && !fault.forever; });
  if (power_countdown_ && --*power_countdown_ == 0) {
    power_countdown_.reset();
    cutting_ = true;
    power_off_ = true;
    line += " -> power cut";
    // Calls that only read have nothing that could be half done.
    const bool changes = kind == FileCall::kWrite || kind == FileCall::kTruncate || kind == FileCall::kRename ||
                         kind == FileCall::kRemove || kind == FileCall::kLink || kind == FileCall::kOpen ||
                         kind == FileCall::kCreateDirectory || kind == FileCall::kRemoveTree;
    if (!changes) return PowerIsOff(line);
    return {};
  }
  if (failure) {
    line += std::string(" -> ") + ErrorCodeName(*failure);
    return Error{*failure, call_log_.back() + " (injected)"};
  }
  return {};
}

Result<void> FaultFileSystem::EndOfCall() const {
  if (cutting_) return PowerIsOff(call_log_.back());
  return {};
}

// --- Observation --------------------------------------------------------------------------------------------------

uint64_t FaultFileSystem::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

uint64_t FaultFileSystem::calls(FileCall kind) const {
  std::lock_guard lock(mutex_);
  return calls_by_kind_[static_cast<size_t>(kind)];
}

std::vector<std::string> FaultFileSystem::CallLog() const {
  std::lock_guard lock(mutex_);
  return {call_log_.begin(), call_log_.end()};
}

std::string FaultFileSystem::Content(const std::string& path) const {
  std::lock_guard lock(mutex_);
  const Place place = Find(path);
  CHECK_MSG(place.entry.file != nullptr, path);
  return place.entry.file->content;
}

void FaultFileSystem::SetContent(const std::string& path, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  const Place place = Find(path);
  CHECK_MSG(place.entry.file != nullptr, path);
  Inode& inode = *place.entry.file;
  inode.content = bytes;
  inode.durable = bytes;
  inode.unsynced.clear();
  inode.unsynced_sizes.clear();
}

// --- Names --------------------------------------------------------------------------------------------------------

FaultFileSystem::Place FaultFileSystem::Find(std::string_view path) const {
  Place place{root_, "", {nullptr, root_}};
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    CHECK_MSG(part != "..", "the fault file system does not understand \"..\"");
    place.parent = place.entry.directory;
    place.name = part;
    place.entry = {};
    if (!place.parent) return place;
    const auto found = place.parent->entries.find(place.name);
    if (found != place.parent->entries.end()) place.entry = found->second;
  }
  return place;
}

Result<FaultFileSystem::Place> FaultFileSystem::FindExisting(std::string_view call, const std::string& path) const {
  Place place = Find(path);
  if (place.entry.empty()) return NotFound(call, path);
  return place;
}

Result<std::shared_ptr<FaultFileSystem::Directory>> FaultFileSystem::FindDirectory(std::string_view call,
                                                                                   const std::string& path) const {
  ASSIGN_OR_RETURN(const Place place, FindExisting(call, path));
  if (!place.entry.directory) return Error{ErrorCode::kIo, std::string(call) + " " + path + ": Not a directory"};
  return place.entry.directory;
}

void FaultFileSystem::Apply(Directory& directory, const Change& change) {
  for (const auto& [name, entry] : change) {
    const auto old = directory.entries.find(name);
    if (old != directory.entries.end() && old->second.file) old->second.file->links--;
    if (entry.file) entry.file->links++;
    if (entry.empty()) {
      directory.entries.erase(name);
    } else {
      directory.entries[name] = entry;
    }
  }
  directory.unsynced.push_back(change);
}

std::shared_ptr<FaultFileSystem::Inode> FaultFileSystem::NewInode(Directory& parent, const std::string& name) {
  auto inode = std::make_shared<Inode>();
  Apply(parent, {{name, Entry{inode, nullptr}}});
  return inode;
}

Result<std::shared_ptr<FaultFileSystem::Inode>> FaultFileSystem::OpenInode(const std::string& path, OpenMode mode) {
  const Place place = Find(path);
  if (place.entry.directory) return Error{ErrorCode::kIo, "open " + path + ": Is a directory"};
  const bool creates = mode == OpenMode::kCreate || mode == OpenMode::kCreateOrReplace;
  if (!place.entry.file) {
    if (!creates || !place.parent) return NotFound("open", path);
    return NewInode(*place.parent, place.name);
  }
  if (mode == OpenMode::kCreate) return Error{ErrorCode::kAlreadyExists, "open " + path + ": File exists"};
  if (mode == OpenMode::kCreateOrReplace) TruncateInode(*place.entry.file, 0);
  return place.entry.file;
}

Result<std::unique_ptr<File>> FaultFileSystem::Open(const std::string& path, OpenOptions options) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kOpen, "open " + path));
  ASSIGN_OR_RETURN(std::shared_ptr<Inode> inode, OpenInode(path, options.mode));
  RETURN_IF_ERROR(EndOfCall());
  return std::unique_ptr<File>(std::make_unique<Handle>(*this, std::move(inode), path, options));
}

Result<void> FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kRename, "rename " + from + " to " + to));
  ASSIGN_OR_RETURN(const Place source, FindExisting("rename", from));
  const Place target = Find(to);
  if (!target.parent) return NotFound("rename", to);
  if (!target.entry.empty() && (target.entry.directory != nullptr) != (source.entry.directory != nullptr)) {
    return Error{ErrorCode::kIo, "rename " + from + " to " + to + ": one is a directory, the other is not"};
  }
  if (target.entry.directory && !target.entry.directory->entries.empty()) {
    return Error{ErrorCode::kAlreadyExists, "rename " + from + " to " + to + ": Directory not empty"};
  }
  if (source.entry.file && source.entry.file == target.entry.file) return EndOfCall();
  if (source.parent == target.parent) {
    Apply(*source.parent, {{target.name, source.entry}, {source.name, Entry{}}});
  } else {
    Apply(*target.parent, {{target.name, source.entry}});
    Apply(*source.parent, {{source.name, Entry{}}});
  }
  return EndOfCall();
}

Result<void> FaultFileSystem::Remove(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kRemove, "remove " + path));
  ASSIGN_OR_RETURN(const Place place, FindExisting("unlink", path));
  if (place.entry.directory) return Error{ErrorCode::kIo, "unlink " + path + ": Is a directory"};
  Apply(*place.parent, {{place.name, Entry{}}});
  return EndOfCall();
}

Result<void> FaultFileSystem::Link(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kLink, "link " + from + " to " + to));
  ASSIGN_OR_RETURN(const Place source, FindExisting("link", from));
  const Place target = Find(to);
  if (!target.parent) return NotFound("link", to);
  if (!source.entry.file) return Error{ErrorCode::kIo, "link " + from + ": Operation not permitted"};
  if (!target.entry.empty()) return Error{ErrorCode::kAlreadyExists, "link " + to + ": File exists"};
  Apply(*target.parent, {{target.name, source.entry}});
  return EndOfCall();
}

Result<void> FaultFileSystem::CreateDirectory(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kCreateDirectory, "mkdir " + path));
  const Place place = Find(path);
  if (!place.parent) return NotFound("mkdir", path);
  if (place.entry.file) return Error{ErrorCode::kAlreadyExists, "mkdir " + path + ": File exists"};
  if (!place.entry.directory) Apply(*place.parent, {{place.name, Entry{nullptr, std::make_shared<Directory>()}}});
  return EndOfCall();
}

void FaultFileSystem::RemoveEntries(Directory& directory) {
  const std::map<std::string, Entry> entries = directory.entries;
  for (const auto& [name, entry] : entries) {
    if (entry.directory) RemoveEntries(*entry.directory);
    Apply(directory, {{name, Entry{}}});
  }
}

Result<void> FaultFileSystem::RemoveTree(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kRemoveTree, "remove tree " + path));
  const Place place = Find(path);
  if (place.entry.directory) RemoveEntries(*place.entry.directory);
  if (!place.entry.empty() && !place.name.empty()) Apply(*place.parent, {{place.name, Entry{}}});
  return EndOfCall();
}

Result<void> FaultFileSystem::SyncDirectory(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kSyncDirectory, "sync directory " + path));
  ASSIGN_OR_RETURN(const std::shared_ptr<Directory> directory, FindDirectory("fsync directory", path));
  // All of `entries` again, without a copy of every name: seeded simulations sync directories more often than they
  // change them.
  for (const Change& change : directory->unsynced) {
    for (const auto& [name, entry] : change) {
      if (entry.empty()) {
        directory->durable.erase(name);
      } else {
        directory->durable[name] = entry;
      }
    }
  }
  directory->unsynced.clear();
  return {};
}

Result<std::vector<std::string>> FaultFileSystem::List(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kList, "list " + path));
  ASSIGN_OR_RETURN(const std::shared_ptr<Directory> directory, FindDirectory("opendir", path));
  std::vector<std::string> names;
  for (const auto& [name, entry] : directory->entries) names.push_back(name);
  return names;
}

Result<bool> FaultFileSystem::Exists(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kExists, "exists " + path));
  return !Find(path).entry.empty();
}

Result<SpaceInfo> FaultFileSystem::Space(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kSpace, "space " + path));
  const uint64_t total = space_limit_.value_or(uint64_t{1} << 40);
  return SpaceInfo{.total_bytes = total, .free_bytes = total - std::min(total, UsedBytesLocked())};
}

Result<std::unique_ptr<FileLock>> FaultFileSystem::Lock(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin(FileCall::kLock, "lock " + path));
  const Place place = Find(path);
  if (!place.parent) return NotFound("open", path);
  if (place.entry.directory) return Error{ErrorCode::kIo, "open " + path + ": Is a directory"};
  std::shared_ptr<Inode> inode = place.entry.file ? place.entry.file : NewInode(*place.parent, place.name);
  if (!locked_.insert(inode.get()).second) {
    return Error{ErrorCode::kBusy, "lock " + path + ": another process holds it"};
  }
  return std::unique_ptr<FileLock>(std::make_unique<HeldLock>(*this, std::move(inode)));
}

// --- Bytes --------------------------------------------------------------------------------------------------------

void FaultFileSystem::StoreBytes(Inode& inode, uint64_t position, std::string_view bytes) {
  if (bytes.empty()) return;
  const uint64_t end = position + bytes.size();
  const uint64_t old_size = inode.content.size();
  if (end > old_size) {
    inode.content.resize(end, '\0');
    inode.unsynced_sizes.push_back(end);
  }
  inode.content.replace(position, bytes.size(), bytes);
  // A gap that the write left between the old end and its own start is a hole: it reads as zeros whether synced or not.
  for (uint64_t sector = position / sector_size_; sector * sector_size_ < end; sector++) {
    inode.unsynced[sector].push_back(inode.content.substr(sector * sector_size_, sector_size_));
  }
}

Result<void> FaultFileSystem::WriteInode(Inode& inode, uint64_t position, std::string_view bytes, bool direct_sync) {
  bool full = false;
  if (space_limit_ && position + bytes.size() > inode.content.size()) {
    const uint64_t used = UsedBytesLocked();
    const uint64_t end_max = inode.content.size() + (*space_limit_ - std::min(*space_limit_, used));
    if (position + bytes.size() > end_max) {
      full = true;
      bytes = bytes.substr(0, end_max > position ? (end_max - position) / sector_size_ * sector_size_ : 0);
    }
  }
  StoreBytes(inode, position, bytes);
  RETURN_IF_ERROR(EndOfCall());
  if (full) return Error{ErrorCode::kNoSpace, call_log_.back() + ": No space left on device"};
  if (!direct_sync) return {};
  inode.durable.resize(inode.content.size(), '\0');
  inode.unsynced_sizes.clear();
  inode.durable.replace(position, bytes.size(), bytes);
  const uint64_t first = position / sector_size_;
  const uint64_t last = (position + bytes.size() + sector_size_ - 1) / sector_size_;
  inode.unsynced.erase(inode.unsynced.lower_bound(first), inode.unsynced.lower_bound(last));
  return {};
}

Result<void> FaultFileSystem::SyncInode(Inode& inode) {
  inode.durable.resize(inode.content.size(), '\0');
  for (const auto& [sector, versions] : inode.unsynced) {
    const uint64_t start = sector * sector_size_;
    if (start >= inode.content.size()) continue;
    const std::string bytes = inode.content.substr(start, sector_size_);
    inode.durable.replace(start, bytes.size(), bytes);
  }
  inode.unsynced.clear();
  inode.unsynced_sizes.clear();
  return {};
}

void FaultFileSystem::TruncateInode(Inode& inode, uint64_t size) {
  const uint64_t old_size = inode.content.size();
  if (size == old_size) return;
  inode.content.resize(size, '\0');
  inode.unsynced_sizes.push_back(size);
  if (size > old_size) return;
  // The bytes cut off are zeros if the file grows over them again.
  for (uint64_t sector = size / sector_size_; sector * sector_size_ < old_size; sector++) {
    const uint64_t start = sector * sector_size_;
    std::string bytes = start < size ? inode.content.substr(start) : std::string();
    bytes.resize(sector_size_, '\0');
    inode.unsynced[sector].push_back(std::move(bytes));
  }
}

void FaultFileSystem::ReloadClean(Inode& inode) const {
  if (!inode.sync_failed) return;
  inode.sync_failed = false;
  for (uint64_t start = 0; start < inode.content.size(); start += sector_size_) {
    if (inode.unsynced.contains(start / sector_size_)) continue;
    const size_t size = std::min<size_t>(sector_size_, inode.content.size() - start);
    std::string bytes = start < inode.durable.size() ? inode.durable.substr(start, size) : std::string();
    bytes.resize(size, '\0');
    inode.content.replace(start, size, bytes);
  }
}

}  // namespace holdfast::testing
