// Sorts more records than memory should hold: what does not fit is spilled to files in sorted runs, which are merged,
// over several levels if there are many. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast {

class RecordSorter {
 public:
  // `path`: what the names of files begin with; they are made when they are needed, and removed at the end. Memory:
  // `memory_bytes` and the longest record while adding; about as much while merging.
  RecordSorter(FileSystem& fs, std::string path, uint64_t memory_bytes);
  ~RecordSorter();
  RecordSorter(const RecordSorter&) = delete;
  RecordSorter& operator=(const RecordSorter&) = delete;

  // Both shorter than 4 GiB.
  Result<void> Add(std::string_view order, std::string_view record);
  // Next() then gives all records by the bytes of `order`, equal ones one after the other; may be called again to begin
  // anew. No Add between the two.
  Result<void> Rewind();
  // False at the end. Views live until the next call.
  Result<bool> Next(std::string_view& order, std::string_view& record);
  // The sorter is empty and can be used again.
  void Clear();

  // All records in order; afterwards the sorter is empty. Views live until `take` returns; its error ends the walk, and
  // the sorter is of no more use.
  using Take = std::function<Result<void>(std::string_view order, std::string_view record)>;
  Result<void> Drain(const Take& take);

 private:
  struct Entry {
    uint64_t position;  // in bytes_
    uint32_t order_size;
    uint32_t record_size;
  };
  class Spill;
  // The smallest of several spills, again and again.
  struct Merge {
    Result<void> Start(const std::vector<Spill*>& spills, size_t window);
    // Null at the end.
    Result<Spill*> Next();
    std::vector<Spill*> heap;
    Spill* given = nullptr;
  };

  [[nodiscard]] std::string_view OrderOf(const Entry& entry) const;
  [[nodiscard]] std::string_view RecordOf(const Entry& entry) const;
  [[nodiscard]] size_t Window(size_t spills) const;
  void SortEntries();
  Result<std::unique_ptr<Spill>> NewSpill(int level);
  Result<void> SpillEntries();
  Result<void> MergeNewest();

  FileSystem& fs_;
  const std::string path_;
  const uint64_t memory_bytes_;
  std::string bytes_;  // order and record of each entry
  std::vector<Entry> entries_;
  size_t next_entry_ = 0;
  std::vector<std::unique_ptr<Spill>> spills_;  // levels descend
  uint64_t spill_number_ = 0;
  Merge merge_;
};

}  // namespace holdfast
