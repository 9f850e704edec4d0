// Reads a run file: all of it, or by its index the rows of some keys.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "storage/run_file.h"

namespace holdfast {

class RunReader {
 public:
  // `run` has its path and an empty memtable.
  RunReader(File& file, Run& run) : file_(file), run_(run) {}

  Result<void> ReadAll();
  // See ReadRunOfKeys.
  Result<void> ReadKeys(const std::vector<std::string>& keys, const CollectionBelow& below);

 private:
  struct BlockPlace {
    uint64_t position;
    uint64_t end;
    std::string first_key;
  };
  struct RowBytes {
    std::string_view key, value;
    bool tombstone;
  };
  struct Found {
    std::string value;
    bool tombstone;
    uint64_t block;  // its position
  };

  [[nodiscard]] Error Damaged(uint64_t position, std::string_view what) const;
  [[nodiscard]] Error BadRow(uint64_t block, size_t row) const;
  Result<void> Read(size_t count, std::string& to);
  Result<void> ReadHeader();
  Result<bool> ReadBlock();
  Result<void> ParseBlock(uint64_t start, uint32_t rows);
  Result<void> ReadFooter();
  Result<void> ReadRest();
  Result<void> ReadIndex();
  Result<void> ParseIndex(std::string_view entries, uint32_t blocks, uint64_t end);
  Result<void> LoadPlace(size_t number);
  Result<void> Collect(std::string_view from, std::string_view to);
  Result<void> CollectKey(const StoreMeta::Database& database, std::string_view key, const CollectionBelow& below);
  bool AddRow(std::string_view key, std::string_view value, bool tombstone);
  bool AddHashed(RowTable& table, std::string_view hash_and_key, std::string_view value, bool tombstone);
  void FillTable();

  File& file_;
  Run& run_;
  uint64_t size_ = 0;
  uint64_t position_ = 0;
  uint32_t version_ = 0;
  uint64_t header_checksum_ = 0;
  std::string block_;
  std::vector<RowBytes> block_rows_;      // views into block_
  RowTable* table_ = nullptr;             // the table whose rows are being read ...
  std::vector<RowTable::Slot> gathered_;  // ... and those so far
  uint64_t rows_ = 0;
  uint64_t chain_ = 0;
  uint32_t blocks_ = 0;
  std::string entries_;  // what the index has to say

  std::vector<BlockPlace> places_;  // by the index
  size_t loaded_ = SIZE_MAX;        // number of the block in block_
  std::map<std::string, Found, std::less<>> found_;
};

}  // namespace holdfast
