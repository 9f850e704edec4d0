#include "storage/rank_trees.h"

#include <algorithm>

#include "storage/base/check.h"

namespace holdfast {
namespace {

// In one call of Of(): what is looked at, and how many parts go.
constexpr int kLooksMax = 64;
constexpr int kPartsMax = 4;

}  // namespace

RankTree& RankTrees::Of(CollectionId id) {
  if (bytes_ > bytes_max_) Evict();
  const auto [found, made] = trees_.try_emplace(id);
  if (made) bytes_ += kTreeCost;
  found->second.used = true;
  return found->second;
}

uint64_t RankTrees::CostBelow(const RankNode& node) {
  uint64_t cost = ScoresCost(node);
  if (node.children == nullptr) return cost;
  for (const RankNode& child : *node.children) cost += kNodeCost + CostBelow(child);
  return cost;
}

uint64_t RankTrees::DropScoresBelow(RankNode& node) {
  uint64_t cost = ScoresCost(node);
  node.scores.reset();
  if (node.children == nullptr) return cost;
  for (RankNode& child : *node.children) cost += DropScoresBelow(child);
  return cost;
}

void RankTrees::Evict() {
  int parts = 0;
  for (int i = 0; i < kLooksMax && parts < kPartsMax && bytes_ > bytes_max_ && !trees_.empty(); ++i) {
    auto tree = trees_.lower_bound(hand_tree_);
    if (tree == trees_.end()) tree = trees_.begin();
    if (tree->first != hand_tree_) hand_node_ = 0;
    hand_tree_ = tree->first;
    const uint64_t before = bytes_;
    EvictAt(tree);
    if (bytes_ < before) ++parts;
  }
}

// One step of the hand: over a node of the highest level, or out of the tree, which goes when nothing needs it.
void RankTrees::EvictAt(Trees::iterator tree) {
  RankTree& ranks = tree->second;
  if (hand_node_ < ranks.top.size()) {
    RankNode& node = ranks.top[hand_node_++];
    if (node.used) {
      node.used = false;
      const uint64_t cost = DropScoresBelow(node);
      CHECK(cost <= bytes_);
      bytes_ -= cost;
    } else if (node.children != nullptr) {
      const uint64_t cost = CostBelow(node);
      CHECK(cost <= bytes_);
      bytes_ -= cost;
      node.children.reset();
    }
    return;
  }
  ++hand_tree_;
  hand_node_ = 0;
  const bool used = ranks.used;
  ranks.used = false;
  const auto has_more = [](const RankNode& node) { return node.children != nullptr; };
  if (used || std::any_of(ranks.top.begin(), ranks.top.end(), has_more)) return;
  const uint64_t cost = kTreeCost + ranks.top.size() * kNodeCost;
  CHECK(cost <= bytes_);
  bytes_ -= cost;
  trees_.erase(tree);
}

}  // namespace holdfast
