// A file system in memory that loses power, tears writes, fills up and fails the Nth call.
//
// What the model says is durable, and nothing more:
//  - a file's bytes and size: after Sync, or when a write of a direct_sync file returned;
//  - a directory's entries: after SyncDirectory of that directory. Sync of a new file does not make its name durable.
// After a power cut each unsynced sector holds any one of the contents it had since it was last durable, the size is
// any size the file had, and each unsynced change of a directory happened or not. Sectors are never torn inside.
// A failed Sync loses what was unsynced for good although reads still show it, until DropCache or a direct read.
//
// Paths are taken from one root: "/a/b" and "a/b" are the same file; ".." is not understood. Thread-safe. Files and
// locks may outlive a crash (their calls fail with kIo) but not the file system itself.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/file.h"

namespace holdfast::testing {

enum class FileCall {
  kOpen,
  kRead,
  kWrite,
  kSync,
  kTruncate,
  kSize,
  kLinkCount,
  kRename,
  kRemove,
  kLink,
  kCreateDirectory,
  kRemoveTree,
  kSyncDirectory,
  kList,
  kExists,
  kSpace,
  kLock,
};
inline constexpr size_t kFileCalls = 17;

class FaultFileSystem : public FileSystem {
 public:
  explicit FaultFileSystem(size_t sector_size = 512);
  ~FaultFileSystem() override;

  // --- Faults -----------------------------------------------------------------------------------------------------

  // The `nth` call from now on (1 is the next one), of one kind or of any, fails with `code`; with `forever` also all
  // later ones of that kind. A failed write leaves the first half of its sectors written, unsynced.
  void FailCall(uint64_t nth, ErrorCode code, bool forever = false, std::optional<FileCall> kind = std::nullopt);
  // During the `nth` call from now on the power goes: its effect is unsynced at best, it and all calls after it fail
  // with kIo, until Crash brings the machine up again.
  void CutPowerAtCall(uint64_t nth);
  void ClearFaults();
  // Ahead of each call, on its thread, as if another thread were scheduled there: it may use this file system itself,
  // and is called for those calls, too. Null: nothing any more.
  void BeforeEachCall(std::function<void()> act);
  [[nodiscard]] bool power_is_off() const;

  // Power cut and restart: what is left is durable. Open files and locks are dead. Faults are cleared.
  void Crash(Random& random);
  // The kindest and the cruellest outcome of Crash.
  void CrashKeepingAll();
  void CrashLosingAll();
  // One possible state after a power cut now, as a file system of its own. This one goes on. With this, one run of a
  // workload yields any number of crash states.
  [[nodiscard]] std::unique_ptr<FaultFileSystem> CrashedCopy(Random& random) const;

  // Writes that would make the sum of all files' sizes exceed this fail with kNoSpace, after writing what fits.
  void SetSpaceLimit(uint64_t bytes);
  [[nodiscard]] uint64_t UsedBytes() const;

  // --- Observation --------------------------------------------------------------------------------------------------

  // Calls so far, of all kinds or of one. DropCache is not counted.
  [[nodiscard]] uint64_t calls() const;
  [[nodiscard]] uint64_t calls(FileCall kind) const;
  // The newest calls (10,000 at most), oldest first: "write wal/1.log 4096+8192", with the error where one came back.
  [[nodiscard]] std::vector<std::string> CallLog() const;
  // A file's bytes as a reader sees them, past all faults; CHECKs that it exists.
  [[nodiscard]] std::string Content(const std::string& path) const;
  // Replaces a file's bytes, durably, past all faults: for damage. CHECKs that it exists.
  void SetContent(const std::string& path, std::string_view bytes);

  // --- FileSystem
  // -----------------------------------------------------------------------------------------------------

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override;
  Result<void> Rename(const std::string& from, const std::string& to) override;
  Result<void> Remove(const std::string& path) override;
  Result<void> Link(const std::string& from, const std::string& to) override;
  Result<void> CreateDirectory(const std::string& path) override;
  Result<void> RemoveTree(const std::string& path) override;
  Result<void> SyncDirectory(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Result<SpaceInfo> Space(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;

 private:
  class Handle;
  class HeldLock;
  struct Inode;
  struct Directory;
  // A file, a directory, or (both null) no entry.
  struct Entry {
    std::shared_ptr<Inode> file;
    std::shared_ptr<Directory> directory;
    [[nodiscard]] bool empty() const { return !file && !directory; }
  };
  // One atomic change of a directory: what each of its names became.
  using Change = std::vector<std::pair<std::string, Entry>>;
  struct Fault {
    uint64_t countdown;
    ErrorCode code;
    bool forever;
    std::optional<FileCall> kind;
  };
  // How a crash decides; null random: keep or lose everything.
  struct Chooser {
    Random* random;
    bool keep;
  };
  class CrashBuilder;
  struct Place {
    std::shared_ptr<Directory> parent;  // null: a directory on the way is missing
    std::string name;                   // empty: the root
    Entry entry;
  };

  // Counts, logs, and says whether this call must fail.
  Result<void> Begin(FileCall kind, std::string description);
  // The end of a call during which the power went.
  Result<void> EndOfCall() const;
  [[nodiscard]] Place Find(std::string_view path) const;
  Result<Place> FindExisting(std::string_view call, const std::string& path) const;
  Result<std::shared_ptr<Directory>> FindDirectory(std::string_view call, const std::string& path) const;
  static void Apply(Directory& directory, const Change& change);
  void RemoveEntries(Directory& directory);
  Result<std::shared_ptr<Inode>> OpenInode(const std::string& path, OpenMode mode);
  std::shared_ptr<Inode> NewInode(Directory& parent, const std::string& name);
  void CrashWith(const Chooser& chooser);
  [[nodiscard]] uint64_t UsedBytesLocked() const;

  // Bodies of Handle's calls.
  Result<void> WriteInode(Inode& inode, uint64_t position, std::string_view bytes, bool direct_sync);
  void StoreBytes(Inode& inode, uint64_t position, std::string_view bytes);
  Result<void> SyncInode(Inode& inode);
  void TruncateInode(Inode& inode, uint64_t size);
  void ReloadClean(Inode& inode) const;

  const size_t sector_size_;
  mutable std::recursive_mutex mutex_;  // guards everything below; recursive for `before_call_`
  std::shared_ptr<Directory> root_;
  std::set<const Inode*> locked_;
  uint64_t epoch_ = 0;  // number of crashes; handles of an earlier one are dead
  std::vector<Fault> faults_;
  std::optional<uint64_t> power_countdown_;
  bool cutting_ = false;    // the power goes during the present call
  bool power_off_ = false;  // it has gone
  std::optional<uint64_t> space_limit_;
  uint64_t calls_ = 0;
  std::array<uint64_t, kFileCalls> calls_by_kind_{};
  std::deque<std::string> call_log_;
  std::function<void()> before_call_;
};

}  // namespace holdfast::testing
