// Fence rows (storage/rank_rows.h) in memory: for sorted sets in use, the parts of the tree of fences that were needed.
// What is here equals the rows as the executor sees them; it may be dropped at any time and is read again. Which sorted
// set is meant is said by its collection id, so that nothing needs to be done when keys are renamed, deleted or
// flushed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/row.h"

namespace holdfast {

struct Row;

// Where a counter's row is in the active memtable, if it is there; see Transaction::PutCounter.
struct CounterPlace {
  Row* row = nullptr;
  uint64_t freeze = 0;  // the memtable's
};

struct RankNode {
  uint64_t sortable = 0;  // the first eight bytes of the suffix, as a number
  std::string suffix;
  uint64_t count = 0;
  std::unique_ptr<std::vector<RankNode>> children;  // of the level below; null: not read
  CounterPlace place;
};

struct RankTree {
  std::vector<RankNode> top;  // of the highest level; empty: not read
  // Newest writer of anything read from here.
  uint64_t seen_offset = 0;
};

class RankTrees {
 public:
  static constexpr uint64_t kNodeCost = sizeof(RankNode) + 48;

  explicit RankTrees(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  // Made when missing. Drops all others first when they take too much memory; so valid until the next Of().
  RankTree& Of(CollectionId id) {
    if (bytes_ > bytes_max_) {
      trees_.clear();
      bytes_ = 0;
    }
    const auto [found, made] = trees_.try_emplace(id);
    if (made) bytes_ += sizeof(RankTree) + 64;
    return found->second;
  }
  void AddNodes(uint64_t nodes) { bytes_ += nodes * kNodeCost; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  std::unordered_map<CollectionId, RankTree> trees_;
};

}  // namespace holdfast
