// Fence rows (storage/rank_rows.h) in memory: for sorted sets in use, the parts of the tree of fences that were needed,
// and the scores behind the fences that were looked for more than once. What is here equals the rows as the executor
// sees them; it may be dropped at any time and is read again. Which sorted set is meant is said by its collection id,
// so that nothing needs to be done when keys are renamed, deleted or flushed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/row.h"
#include "storage/walks_ahead.h"

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
  // Level 1: the sortable scores of the members from the fence to the next one, ascending; null: not read.
  std::unique_ptr<std::vector<uint64_t>> scores;
  CounterPlace place;
  bool used = false;  // highest level: since the hand passed; level 1: once, before its scores were read
};

struct RankTree {
  std::vector<RankNode> top;  // of the highest level; empty: not read
  // Newest writer of anything read from here.
  uint64_t seen_offset = 0;
  // No row of the score index is below the one, above the other; empty: not known. What was taken from the ends lies
  // there as tombstones until a checkpoint, and is not walked over again and again.
  std::string lowest, highest;
  EndAhead ahead_of_lowest, ahead_of_highest;
  bool used = false;
};

class RankTrees {
 public:
  static constexpr uint64_t kNodeCost = sizeof(RankNode) + 48;
  static constexpr uint64_t kTreeCost = sizeof(RankTree) + 128;

  explicit RankTrees(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  // Made when missing. Valid until the next Of(), which drops something when all take too much memory: of the parts it
  // comes by the scores, and all of those that were not used since it last came by. Few at a time, as a part is about a
  // thousand nodes. Scores take three times what the nodes take, and save less.
  RankTree& Of(CollectionId id);
  void AddNodes(uint64_t nodes) { bytes_ += nodes * kNodeCost; }
  void RemoveNodes(uint64_t nodes) { bytes_ -= nodes * kNodeCost; }
  // Before and after the scores of a node change.
  void RemoveScores(const RankNode& node) { bytes_ -= ScoresCost(node); }
  void AddScores(const RankNode& node) { bytes_ += ScoresCost(node); }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  using Trees = std::map<CollectionId, RankTree>;

  [[nodiscard]] static uint64_t ScoresCost(const RankNode& node) {
    return node.scores == nullptr ? 0 : 48 + node.scores->capacity() * sizeof(uint64_t);
  }
  [[nodiscard]] static uint64_t CostBelow(const RankNode& node);
  // What they took.
  static uint64_t DropScoresBelow(RankNode& node);
  void Evict();
  void EvictAt(Trees::iterator tree);

  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  Trees trees_;
  // The hand that goes round: the tree, and the node of its highest level, it looks at next.
  CollectionId hand_tree_ = 0;
  size_t hand_node_ = 0;
};

}  // namespace holdfast
