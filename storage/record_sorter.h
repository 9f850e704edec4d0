// Sorts more records than memory should hold: what does not fit is written to a file in sorted runs, which are merged
// when everything has come. For building a store in append mode from records in any order. One thread.
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
  // `path`: of a file that is made when it is needed, and removed at the end. Memory: `memory_bytes` and the longest
  // record while adding; about as much while merging.
  RecordSorter(FileSystem& fs, std::string path, uint64_t memory_bytes);
  ~RecordSorter();
  RecordSorter(const RecordSorter&) = delete;
  RecordSorter& operator=(const RecordSorter&) = delete;

  // Both shorter than 4 GiB.
  Result<void> Add(std::string_view order, std::string_view record);
  // All records by the bytes of `order`; equal ones come one after the other. Afterwards the sorter is empty and can be
  // used again. Views live until `take` returns; its error ends the walk, and the sorter is of no more use.
  using Take = std::function<Result<void>(std::string_view order, std::string_view record)>;
  Result<void> Drain(const Take& take);

 private:
  struct Entry {
    uint64_t position;  // in bytes_
    uint32_t order_size;
    uint32_t record_size;
  };
  struct Run {
    uint64_t begin = 0, end = 0;  // in the file
  };
  class RunReader;

  [[nodiscard]] std::string_view OrderOf(const Entry& entry) const;
  void SortEntries();
  Result<void> Spill();
  Result<void> Merge(const Take& take);
  void Clear();

  FileSystem& fs_;
  const std::string path_;
  const uint64_t memory_bytes_;
  std::string bytes_;  // order and record of each entry
  std::vector<Entry> entries_;
  std::unique_ptr<File> file_;
  uint64_t file_end_ = 0;
  std::vector<Run> runs_;
};

}  // namespace holdfast
