#include "tests/faults/disk_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "storage/base/file.h"
#include "storage/base/hash.h"

namespace holdfast::faults {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kFileSizeMax = 1ull << 30;

Error Broken(const std::string& what) { return Error{ErrorCode::kCorruption, "trace: " + what}; }

Error FromErrno(const std::string& what) { return Error{ErrorCode::kIo, what + ": " + std::strerror(errno)}; }

// Who may change a page in place.
constexpr uint64_t kOfModel = 1;
constexpr uint64_t kOfState = 2;

// Zeros stay holes: most of a segment is zeros.
Result<void> WriteSparse(const std::string& path, const Content& content) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return FromErrno("open " + path);
  bool failed = ::ftruncate(fd, static_cast<off_t>(content.size())) != 0;
  content.ForEachRun([&](uint64_t position, std::string_view run) {
    failed = failed || ::pwrite(fd, run.data(), run.size(), static_cast<off_t>(position)) < 0;
  });
  ::close(fd);
  if (failed) return FromErrno("write " + path);
  return {};
}

}  // namespace

// How one state is chosen. Changes before `all_before` are all there, this one may be in part; behind it each piece is
// there with a chance, which is zero in an ordered state.
struct DiskModel::Choice {
  Random* random;
  uint64_t all_before;
  uint64_t grain;
  uint64_t data_percent;
  uint64_t name_percent;
  bool each_its_own;  // chances are chosen for each file and directory anew

  [[nodiscard]] bool Takes(uint64_t number, uint64_t percent) const {
    return number < all_before || random->Below(100) < (number == all_before ? 50 : percent);
  }
  [[nodiscard]] uint64_t Chance() const {
    constexpr uint64_t kChances[] = {0, 10, 50, 90, 100};
    return kChances[random->Below(std::size(kChances))];
  }
};

Result<std::vector<TraceEntry>> ParseTrace(std::string_view bytes) {
  std::vector<TraceEntry> entries;
  while (bytes.size() >= sizeof(TraceRecord)) {
    TraceEntry entry;
    std::memcpy(&entry.record, bytes.data(), sizeof(TraceRecord));
    if (entry.record.magic != kTraceMagic) return Broken("no record where one should be");
    const uint64_t paths = uint64_t{entry.record.path_size} + entry.record.second_path_size;
    if (entry.record.data_size > bytes.size() || sizeof(TraceRecord) + paths + entry.record.data_size > bytes.size()) {
      break;
    }
    bytes.remove_prefix(sizeof(TraceRecord));
    entry.path = bytes.substr(0, entry.record.path_size);
    entry.second_path = bytes.substr(entry.path.size(), entry.record.second_path_size);
    entry.data = bytes.substr(paths, entry.record.data_size);
    bytes.remove_prefix(paths + entry.record.data_size);
    entries.push_back(entry);
  }
  return entries;
}

bool ChangesDisk(const TraceRecord& record) {
  return record.kind != TraceKind::kRoot && record.kind != TraceKind::kSyncBegin && record.kind != TraceKind::kMark;
}

Result<std::pair<DiskModel::Directory*, std::string>> DiskModel::Find(std::string_view path) const {
  if (!root_ || path.substr(0, root_path_.size()) != root_path_) return Broken("a path outside: " + std::string(path));
  path.remove_prefix(root_path_.size());
  Directory* directory = root_.get();
  std::string name;
  while (!path.empty()) {
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    if (part.empty() || part == ".") continue;
    if (!name.empty()) {
      const auto found = directory->now.find(name);
      if (found == directory->now.end() || !found->second.directory) return Broken("no directory " + name);
      directory = found->second.directory.get();
    }
    name = part;
  }
  return std::pair(directory, name);
}

void DiskModel::Change(Directory& directory, DirectoryChange change) {
  for (const auto& [name, entry] : change.names) {
    if (entry.empty()) {
      directory.now.erase(name);
    } else {
      directory.now[name] = entry;
    }
  }
  directory.pending.push_back(std::move(change));
}

Result<void> DiskModel::Rename(std::string_view from, std::string_view to) {
  ASSIGN_OR_RETURN(const auto source, Find(from));
  ASSIGN_OR_RETURN(const auto target, Find(to));
  const auto found = source.first->now.find(source.second);
  if (found == source.first->now.end()) return Broken("rename of " + std::string(from) + ", which is not there");
  const Entry moved = found->second;
  if (source.first == target.first) {
    Change(*source.first, {number_, {{source.second, {}}, {target.second, moved}}});
  } else {
    Change(*target.first, {number_, {{target.second, moved}}});
    Change(*source.first, {number_, {{source.second, {}}}});
  }
  return {};
}

void DiskModel::Store(Content& content, const FileChange& change, PagePool& pool, uint64_t owner) {
  if (change.truncates) {
    content.Resize(change.position, pool, owner);
  } else {
    content.Store(change.position, change.size, change.data.empty() ? nullptr : change.data.data(), pool, owner);
  }
}

Result<void> DiskModel::Write(const TraceEntry& entry) {
  const TraceRecord& record = entry.record;
  const auto found = by_inode_.find(record.inode);
  if (found == by_inode_.end() || !found->second.file) return Broken("a write to a file that was never made");
  File& file = *found->second.file;
  if (record.position > kFileSizeMax || record.size > kFileSizeMax) return Broken("a file too large for the model");
  const bool truncates = record.kind == TraceKind::kTruncate;
  file.pending.push_back({number_, record.token, truncates, record.position, record.size, entry.data});
  file.size = truncates ? record.position : std::max(file.size, record.position + record.size);
  return {};
}

void DiskModel::Synced(uint64_t inode, uint64_t before) {
  const auto found = by_inode_.find(inode);
  if (found == by_inode_.end()) return;
  if (File* file = found->second.file.get()) {
    while (!file->pending.empty() && file->pending.front().number < before) {
      Store(file->durable, file->pending.front(), pool_, kOfModel);
      file->pending.pop_front();
    }
    return;
  }
  Directory& directory = *found->second.directory;
  while (!directory.pending.empty() && directory.pending.front().number < before) {
    for (auto& [name, entry] : directory.pending.front().names) {
      if (entry.empty()) {
        directory.durable.erase(name);
      } else {
        directory.durable[name] = entry;
      }
    }
    directory.pending.pop_front();
  }
}

// A write through O_DSYNC has returned. Older versions of its sectors can't come back: what is pending of them goes.
void DiskModel::WrittenDurably(File& file, uint64_t token) {
  const auto found = std::find_if(file.pending.begin(), file.pending.end(),
                                  [&](const FileChange& change) { return change.token == token; });
  if (found == file.pending.end()) return;
  const FileChange done = *found;
  const uint64_t begin = done.position, end = done.position + done.size;
  std::deque<FileChange> left;
  bool size_changed = false;
  for (const FileChange& change : file.pending) {
    if (change.number == done.number) continue;
    if (change.number > done.number || change.truncates) {
      size_changed = size_changed || change.truncates;
      left.push_back(change);
      continue;
    }
    const auto part = [&](uint64_t from, uint64_t to) {
      if (from >= to) return;
      FileChange piece = change;
      if (!piece.data.empty()) piece.data = piece.data.substr(from - change.position, to - from);
      piece.position = from;
      piece.size = to - from;
      left.push_back(piece);
    };
    part(change.position, std::min(change.position + change.size, std::max(begin, change.position)));
    part(std::max(end, change.position), change.position + change.size);
  }
  if (size_changed) {
    // The file's size went with the write. Whatever else was under way is taken to be there as well.
    while (!file.pending.empty() && file.pending.front().number <= done.number) {
      Store(file.durable, file.pending.front(), pool_, kOfModel);
      file.pending.pop_front();
    }
    return;
  }
  file.pending = std::move(left);
  Store(file.durable, done, pool_, kOfModel);
}

Result<void> DiskModel::Apply(const TraceEntry& entry) {
  number_++;
  const TraceRecord& record = entry.record;
  switch (record.kind) {
    case TraceKind::kRoot:
      root_path_ = entry.path;
      root_ = std::make_shared<Directory>();
      by_inode_[record.inode] = {nullptr, root_};
      return {};
    case TraceKind::kCreate:
    case TraceKind::kMakeDirectory: {
      ASSIGN_OR_RETURN(const auto place, Find(entry.path));
      Entry made;
      if (record.kind == TraceKind::kCreate) made.file = std::make_shared<File>();
      if (record.kind == TraceKind::kMakeDirectory) made.directory = std::make_shared<Directory>();
      by_inode_[record.inode] = made;
      Change(*place.first, {number_, {{place.second, made}}});
      return {};
    }
    case TraceKind::kWrite:
    case TraceKind::kTruncate:
      return Write(entry);
    case TraceKind::kSyncBegin:
      sync_began_[record.token] = number_;
      return {};
    case TraceKind::kSyncEnd:
      Synced(record.inode, sync_began_[record.token]);
      sync_began_.erase(record.token);
      return {};
    case TraceKind::kWriteDurable: {
      const auto found = by_inode_.find(record.inode);
      if (found != by_inode_.end() && found->second.file) WrittenDurably(*found->second.file, record.token);
      return {};
    }
    case TraceKind::kRename:
      return Rename(entry.path, entry.second_path);
    case TraceKind::kRemove: {
      ASSIGN_OR_RETURN(const auto place, Find(entry.path));
      Change(*place.first, {number_, {{place.second, {}}}});
      return {};
    }
    case TraceKind::kLink: {
      ASSIGN_OR_RETURN(const auto from, Find(entry.path));
      ASSIGN_OR_RETURN(const auto to, Find(entry.second_path));
      Change(*to.first, {number_, {{to.second, from.first->now[from.second]}}});
      return {};
    }
    case TraceKind::kMark:
      return {};
  }
  return Broken("a record of an unknown kind");
}

void DiskModel::ChooseContent(const File& file, const Choice& choice, Content& content, PagePool& pool) {
  content = file.durable;
  if (file.pending.empty()) return;
  std::vector<uint64_t> sizes = {content.size()};
  const uint64_t data_percent = choice.each_its_own ? choice.Chance() : choice.data_percent;
  for (const FileChange& change : file.pending) {
    if (change.truncates) {
      if (choice.Takes(change.number, data_percent)) content.Resize(change.position, pool, kOfState);
      sizes.push_back(change.position);
      continue;
    }
    const uint64_t end = change.position + change.size;
    for (uint64_t at = change.position; at < end;) {
      const uint64_t next = std::min(end, (at / choice.grain + 1) * choice.grain);
      if (choice.Takes(change.number, data_percent)) {
        FileChange piece = change;
        piece.position = at;
        piece.size = next - at;
        if (!piece.data.empty()) piece.data = change.data.substr(at - change.position, next - at);
        Store(content, piece, pool, kOfState);
      }
      at = next;
    }
    if (end > sizes.back()) sizes.push_back(end);
  }
  // The newest size, half of the time: else one it had before, or what the pieces that are there make it.
  if (sizes.size() > 1 && choice.all_before == 0 && data_percent > 0) {
    const uint64_t pick = choice.random->Below(4);
    if (pick == 0) content.Resize(sizes.back(), pool, kOfState);
    if (pick == 1) content.Resize(sizes[choice.random->Below(sizes.size())], pool, kOfState);
  }
}

void DiskModel::ChooseDirectory(const Directory& directory, const std::string& path, const Choice& choice,
                                DiskState& state) {
  std::map<std::string, Entry> names = directory.durable;
  const bool by_itself = choice.each_its_own && !directory.pending.empty();
  const uint64_t name_percent = by_itself ? choice.Chance() : choice.name_percent;
  for (const DirectoryChange& change : directory.pending) {
    if (!choice.Takes(change.number, name_percent)) continue;
    for (const auto& [name, entry] : change.names) {
      if (entry.empty()) {
        names.erase(name);
      } else {
        names[name] = entry;
      }
    }
  }
  for (const auto& [name, entry] : names) {
    const std::string below = path.empty() ? name : JoinPath(path, name);
    state.nodes_.push_back({below, entry.directory != nullptr, {}});
    if (entry.directory) {
      ChooseDirectory(*entry.directory, below, choice, state);
    } else {
      ChooseContent(*entry.file, choice, state.nodes_.back().content, state.pool_);
    }
  }
}

Result<void> DiskModel::Choose(Random& random, DiskState& state) const {
  if (!root_) return Broken("it names no directory");
  Choice choice{&random, 0, random.Below(2) == 0 ? kSector : kPage, 0, 0, false};
  switch (random.Below(4)) {
    case 0: {  // in the order of the calls, up to one that is torn
      std::set<uint64_t> pending;
      for (const auto& [inode, entry] : by_inode_) {
        if (entry.file) {
          for (const FileChange& change : entry.file->pending) pending.insert(change.number);
        } else {
          for (const DirectoryChange& change : entry.directory->pending) pending.insert(change.number);
        }
      }
      const uint64_t kept = random.Below(pending.size() + 1);
      choice.all_before = kept == pending.size() ? number_ + 1 : *std::next(pending.begin(), static_cast<long>(kept));
      break;
    }
    case 1:  // names in any order, data as well
      choice.data_percent = choice.Chance();
      choice.name_percent = choice.Chance();
      break;
    case 2:
      choice.each_its_own = true;
      break;
    default:  // one extreme of names, any of data
      choice.data_percent = choice.Chance();
      choice.name_percent = random.Below(2) * 100;
      break;
  }
  state.nodes_.clear();
  state.pool_.Clear();
  ChooseDirectory(*root_, "", choice, state);
  return {};
}

Result<void> DiskState::WriteTo(const std::string& to) const {
  if (::mkdir(to.c_str(), 0755) != 0) return FromErrno("mkdir " + to);
  for (const Node& node : nodes_) {
    const std::string path = JoinPath(to, node.path);
    if (!node.is_directory) {
      RETURN_IF_ERROR(WriteSparse(path, node.content));
    } else if (::mkdir(path.c_str(), 0755) != 0) {
      return FromErrno("mkdir " + path);
    }
  }
  return {};
}

Result<void> RemoveState(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return errno == ENOENT ? Result<void>() : FromErrno("opendir " + path);
  Result<void> removed;
  while (const dirent* entry = removed.ok() ? ::readdir(directory) : nullptr) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entry->d_type == DT_DIR) {
      removed = RemoveState(JoinPath(path, name));
    } else if (::unlinkat(::dirfd(directory), entry->d_name, 0) != 0) {
      removed = FromErrno("unlink " + JoinPath(path, name));
    }
  }
  ::closedir(directory);
  if (removed.ok() && ::rmdir(path.c_str()) != 0) removed = FromErrno("rmdir " + path);
  return removed;
}

uint64_t DiskState::Hash() const {
  uint64_t hash = nodes_.size();
  for (const Node& node : nodes_) {
    hash = Checksum64(node.path, hash);
    const uint64_t content = node.is_directory ? 1 : node.content.Hash();
    hash = Checksum64({reinterpret_cast<const char*>(&content), sizeof(content)}, hash);
  }
  return hash;
}

const Content* DiskState::FindFile(std::string_view name) const {
  for (const Node& node : nodes_) {
    if (node.path == name && !node.is_directory) return &node.content;
  }
  return nullptr;
}

}  // namespace holdfast::faults
