// What a disk may hold when the power goes: replays recorded file calls (trace_format.h) up to any of them, and writes
// out one of the directories that could be left.
//
// What the model says is durable, and nothing more:
//  - a file's bytes and size: after a sync that began behind them, or when a write through O_DSYNC returned;
//  - a directory's entries: after a sync of that directory. A file's sync does not make its name durable.
// All else is there or not, in any combination of sectors (512 bytes) or pages (4096), of sizes that the file had, and
// of changed names; two changes of one name, and two versions of one sector, keep their order. A call under way is not
// durable yet. Renames inside a directory are atomic.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/result.h"
#include "tests/faults/disk_pages.h"
#include "tests/faults/trace_format.h"

namespace holdfast::faults {

// One record of a trace; the views are the trace's.
struct TraceEntry {
  TraceRecord record;
  std::string_view path;
  std::string_view second_path;
  std::string_view data;
};

// All records of a trace's bytes. A last one that is cut short is left away: the writer was killed.
Result<std::vector<TraceEntry>> ParseTrace(std::string_view bytes);

// Whether the disk could hold something else after this record than before it.
[[nodiscard]] bool ChangesDisk(const TraceRecord& record);

// A directory tree that a power cut could leave. Valid until the model it came from goes on.
class DiskState {
 public:
  // Makes the directory `to`.
  Result<void> WriteTo(const std::string& to) const;
  // Equal for equal trees, and for those alone as far as 64 bits go.
  [[nodiscard]] uint64_t Hash() const;
  // Null: no such file in the uppermost directory.
  [[nodiscard]] const Content* FindFile(std::string_view name) const;

 private:
  friend class DiskModel;
  struct Node {
    std::string path;  // below the uppermost directory
    bool is_directory;
    Content content;
  };
  std::vector<Node> nodes_;  // directories before what is in them
  PagePool pool_;
};

// Removes what WriteTo made, if it is there, and what was made of it. With few system calls.
Result<void> RemoveState(const std::string& path);

class DiskModel {
 public:
  // Records in order. kCorruption: the trace does not fit together. The entry's bytes must outlive the model.
  Result<void> Apply(const TraceEntry& entry);
  // One state after a power cut now. What is chosen depends on `random` alone.
  Result<void> Choose(Random& random, DiskState& state) const;

 private:
  struct Directory;
  struct File;
  // A file, a directory, or (both null) nothing.
  struct Entry {
    std::shared_ptr<File> file;
    std::shared_ptr<Directory> directory;
    [[nodiscard]] bool empty() const { return !file && !directory; }
  };
  struct FileChange {
    uint64_t number;  // of the record
    uint64_t token;
    bool truncates;
    uint64_t position;  // of a truncation: the size
    uint64_t size;
    std::string_view data;  // empty: zeros
  };
  struct File {
    Content durable;
    uint64_t size = 0;  // as the process sees it
    std::deque<FileChange> pending;
  };
  struct DirectoryChange {
    uint64_t number;
    std::vector<std::pair<std::string, Entry>> names;  // what each became
  };
  struct Directory {
    std::map<std::string, Entry> durable, now;
    std::deque<DirectoryChange> pending;
  };
  struct Choice;

  [[nodiscard]] Result<std::pair<Directory*, std::string>> Find(std::string_view path) const;
  Result<void> Rename(std::string_view from, std::string_view to);
  Result<void> Write(const TraceEntry& entry);
  void Synced(uint64_t inode, uint64_t before);
  void WrittenDurably(File& file, uint64_t token);
  static void Change(Directory& directory, DirectoryChange change);
  static void Store(Content& content, const FileChange& change, PagePool& pool, uint64_t owner);
  static void ChooseContent(const File& file, const Choice& choice, Content& content, PagePool& pool);
  static void ChooseDirectory(const Directory& directory, const std::string& path, const Choice& choice,
                              DiskState& state);

  PagePool pool_;
  std::string root_path_;
  std::shared_ptr<Directory> root_;
  std::map<uint64_t, Entry> by_inode_;
  std::map<uint64_t, uint64_t> sync_began_;  // token -> number of the record
  uint64_t number_ = 0;
};

}  // namespace holdfast::faults
