// Sorts more records than fit into memory: sorted runs are spilled to files and merged. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tool_temporary.h"
#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::cli {

class ExternalSorter {
 public:
  // `memory_bytes` of records are kept before they are spilled.
  ExternalSorter(FileSystem& fs, uint64_t memory_bytes);
  ~ExternalSorter();
  ExternalSorter(const ExternalSorter&) = delete;
  ExternalSorter& operator=(const ExternalSorter&) = delete;

  Result<void> Add(std::string_view key, std::string_view value);
  // No Add afterwards. Then Next() gives all records by ascending key bytes; may be called again to begin anew.
  Result<void> Rewind();
  // False at the end. Views live until the next call.
  Result<bool> Next(std::string_view& key, std::string_view& value);

 private:
  struct Place {
    size_t at;
    uint32_t key_size, value_size;
  };
  class Spill;

  Result<void> SpillMemory();
  Result<void> MergeSpills();
  void SortMemory();
  [[nodiscard]] std::string_view KeyAt(const Place& place) const {
    return std::string_view(bytes_).substr(place.at, place.key_size);
  }

  FileSystem& fs_;
  const uint64_t memory_bytes_;
  std::unique_ptr<TemporaryDirectory> directory_;
  std::string bytes_;
  std::vector<Place> places_;
  size_t next_place_ = 0;
  std::vector<std::unique_ptr<Spill>> spills_;
  std::vector<Spill*> heap_;
  Spill* given_ = nullptr;
  uint64_t spill_number_ = 0;
};

}  // namespace holdfast::cli
