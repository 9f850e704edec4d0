// `holdfast stats`, and the figures behind `holdfast report`.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tool_content.h"
#include "cli/tool_context.h"
#include "cli/tool_prefix_tree.h"

namespace holdfast::cli {

struct StatsOptions {
  std::string path;
  size_t top = 20;
  std::string delimiters = ":";
  size_t depth = 4;
};

// Collects figures of keys as they come. Memory is bounded, whatever the number of keys: the tree of prefixes keeps its
// largest branches, the rest is added to "others".
class StatsCollector final : public SnapshotVisitor {
 public:
  StatsCollector(const StatsOptions& options, int64_t now_ms);

  Result<void> Key(const SnapshotKey& key) override;
  Result<void> Row(const SnapshotRow& row) override;
  Result<void> KeyEnd() override;

  [[nodiscard]] uint64_t keys() const { return keys_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // All figures; docs/tool.md names the fields.
  [[nodiscard]] Json ToJson() const;

 private:
  static constexpr size_t kTypes = 6;
  static constexpr size_t kBuckets = 48;

  struct TypeFigures {
    uint64_t keys = 0, elements = 0, key_bytes = 0, value_bytes = 0, elements_max = 0, bytes_max = 0, expiring = 0;
  };
  struct Large {
    uint64_t size;
    int db;
    ValueType type;
    uint64_t elements;
    std::string key;
    std::string element;
  };

  using Children = std::vector<std::vector<uint32_t>>;
  void Keep(std::vector<Large>& heap, uint64_t size, uint64_t elements, std::string_view element);
  [[nodiscard]] Json PrefixJson(const Children& children, uint32_t id, const std::string& name) const;
  [[nodiscard]] static Json LargeJson(std::vector<Large> heap, const char* what);

  const StatsOptions options_;
  const int64_t now_ms_;
  uint64_t keys_ = 0;
  uint64_t bytes_ = 0;
  using DatabaseFigures = std::array<uint64_t, 3>;  // keys, expiring, bytes
  std::map<int, DatabaseFigures> databases_;
  DatabaseFigures* database_ = nullptr;  // of the key under way
  std::array<TypeFigures, kTypes> types_;
  std::array<uint64_t, kBuckets> sizes_{};     // keys by power of two of their bytes
  std::array<uint64_t, kBuckets> elements_{};  // of keys that have elements
  std::array<std::array<uint64_t, 2>, 10> ttls_{};
  std::vector<Large> largest_keys_, longest_keys_, largest_elements_;
  PrefixTree prefixes_;

  // The key under way.
  int db_ = -1;
  std::string key_;
  KeyValue value_;
  uint64_t key_elements_ = 0;
  uint64_t value_bytes_ = 0;
  uint64_t element_max_ = 0;
  std::string element_max_name_;
  std::string scratch_;
};

// Reads all of an input, on two threads, and collects.
Result<Json> CollectStats(const ToolContext& tool, const StatsOptions& options);
int RunStats(const ToolContext& tool, const StatsOptions& options);

}  // namespace holdfast::cli
