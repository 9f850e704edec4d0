#include "storage/types/rank_index.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"

namespace holdfast {
namespace {

// The order of score rows, of which long ones are folded.
bool RowIsBelow(std::string_view a, std::string_view b) {
  if (!CollectionRowFolds(a) && !CollectionRowFolds(b)) return a < b;
  if (a == b) return false;
  return CollectionRowKey(0, CollectionKind::kScore, a) < CollectionRowKey(0, CollectionKind::kScore, b);
}

// The last node whose fence is at or below the place (`before`: below it); the first one is below all.
size_t NodeOf(const std::vector<RankNode>& nodes, std::string_view suffix, bool before) {
  // Scores are compared first: they are at hand.
  const auto sortable = LoadBig<uint64_t>(suffix.data());
  const auto stays_left = [&](const RankNode& node) {
    if (node.sortable != sortable) return node.sortable < sortable;
    return before ? node.suffix < suffix : node.suffix <= suffix;
  };
  const auto next = std::partition_point(nodes.begin() + 1, nodes.end(), stays_left);
  return static_cast<size_t>(next - nodes.begin()) - 1;
}

}  // namespace

RankIndex::RankIndex(Transaction& transaction, CollectionId id)
    : transaction_(&transaction), id_(id), tree_(&transaction.rank_trees().Of(id)) {
  transaction.SawWriter(tree_->seen_offset);
}

Error RankIndex::Damaged() const {
  return {ErrorCode::kCorruption, "the fence rows of a sorted set (collection " + std::to_string(id_) +
                                      ") do not fit each other or its members"};
}

Result<void> RankIndex::Build(Transaction& transaction, CollectionId id) {
  FenceCounter counter;
  RETURN_IF_ERROR(transaction.VisitRows(id, CollectionKind::kScore, {}, /*reverse=*/false,
                                        [&counter](std::string_view suffix, std::string_view) {
                                          counter.Add(suffix);
                                          return true;
                                        }));
  counter.Finish();
  for (const FenceCounter::Fence& fence : counter.Take()) {
    std::string value;
    AppendLittle<uint64_t>(value, fence.count);
    transaction.PutRow(id, FenceKind(fence.level), fence.suffix, value);
  }
  return {};
}

// ---- reading rows ---------------------------------------------------------------------------------------------------

// Rows of a level from a fence on, up to `end` (empty: all).
Result<RankIndex::Nodes> RankIndex::ReadNodes(int level, std::string_view from, std::string_view end) {
  Nodes nodes;
  bool sound = true;
  RETURN_IF_ERROR(transaction_->VisitRows(id_, FenceKind(level), from, /*reverse=*/false,
                                          [&](std::string_view suffix, std::string_view value) {
                                            if (!end.empty() && suffix >= end) return false;
                                            sound = value.size() == sizeof(uint64_t) && suffix.size() >= 8;
                                            if (!sound) return false;
                                            RankNode& node = nodes.emplace_back();
                                            node.sortable = LoadBig<uint64_t>(suffix.data());
                                            node.suffix = suffix;
                                            node.count = LoadLittle<uint64_t>(value.data());
                                            return true;
                                          }));
  if (!sound || nodes.empty() || nodes.front().suffix != from) return Damaged();
  transaction_->rank_trees().AddNodes(nodes.size());
  tree_->seen_offset = std::max(tree_->seen_offset, transaction_->seen_offset());
  return nodes;
}

Result<void> RankIndex::ReadTop() {
  if (!tree_->top.empty()) return {};
  ASSIGN_OR_RETURN(tree_->top, ReadNodes(kFenceLevels, FirstFence(), {}));
  return {};
}

Result<void> RankIndex::ReadChildren(RankNode& node, int level, std::string_view end) {
  if (node.children != nullptr) return {};
  ASSIGN_OR_RETURN(Nodes nodes, ReadNodes(level - 1, node.suffix, end));
  uint64_t sum = 0;
  for (const RankNode& child : nodes) sum += child.count;
  if (sum != node.count) return Damaged();
  node.children = std::make_unique<Nodes>(std::move(nodes));
  return {};
}

Result<RankIndex::Path> RankIndex::Descend(std::string_view score_suffix, bool before) {
  RETURN_IF_ERROR(ReadTop());
  Path path;
  Nodes* nodes = &tree_->top;
  std::string_view end;  // of the part that `nodes` covers
  for (int level = kFenceLevels;; --level) {
    const size_t at = NodeOf(*nodes, score_suffix, before);
    path.nodes[static_cast<size_t>(level - 1)] = nodes;
    path.at[static_cast<size_t>(level - 1)] = at;
    if (level == 1) return path;
    if (at + 1 < nodes->size()) end = (*nodes)[at + 1].suffix;
    RETURN_IF_ERROR(ReadChildren((*nodes)[at], level, end));
    nodes = (*nodes)[at].children.get();
  }
}

uint64_t RankIndex::Path::CountBefore(int level) const {
  const Nodes& all = *nodes[static_cast<size_t>(level - 1)];
  uint64_t count = 0;
  for (size_t i = 0; i < at[static_cast<size_t>(level - 1)]; ++i) count += all[i].count;
  return count;
}

Result<uint64_t> RankIndex::CountFromFence(const RankNode& leaf, std::string_view score_suffix) {
  uint64_t count = 0;
  if (leaf.count == 0) return count;
  RETURN_IF_ERROR(transaction_->VisitRows(id_, CollectionKind::kScore, leaf.suffix, /*reverse=*/false,
                                          [&](std::string_view suffix, std::string_view) {
                                            if (count >= leaf.count || !RowIsBelow(suffix, score_suffix)) return false;
                                            ++count;
                                            return true;
                                          }));
  return count;
}

// ---- ranks ----------------------------------------------------------------------------------------------------------

Result<uint64_t> RankIndex::Before(std::string_view score_suffix) {
  ASSIGN_OR_RETURN(const Path path, Descend(score_suffix));
  ASSIGN_OR_RETURN(uint64_t count, CountFromFence(path.node(1), score_suffix));
  for (int level = 1; level <= kFenceLevels; ++level) count += path.CountBefore(level);
  return count;
}

Result<RankIndex::Place> RankIndex::At(uint64_t rank) {
  RETURN_IF_ERROR(ReadTop());
  Nodes* nodes = &tree_->top;
  std::string_view end;
  for (int level = kFenceLevels;; --level) {
    size_t at = 0;
    while (at < nodes->size() && rank >= (*nodes)[at].count) rank -= (*nodes)[at++].count;
    if (at == nodes->size()) return Damaged();
    if (level == 1) return Place{(*nodes)[at].suffix, rank};
    if (at + 1 < nodes->size()) end = (*nodes)[at + 1].suffix;
    RETURN_IF_ERROR(ReadChildren((*nodes)[at], level, end));
    nodes = (*nodes)[at].children.get();
  }
}

Result<void> RankIndex::CheckNotEmpty(const Path& path) const {
  for (int level = 1; level <= kFenceLevels; ++level) {
    if (path.node(level).count == 0) return Damaged();
  }
  return {};
}

// ---- changes --------------------------------------------------------------------------------------------------------

void RankIndex::Put(RankNode& node, int level) {
  transaction_->PutCounter(id_, FenceKind(level), node.suffix, node.count, node.place);
  tree_->seen_offset = std::max(tree_->seen_offset, transaction_->writer_offset());
}

Result<void> RankIndex::Prepare(std::string_view score_suffix, bool is_there) {
  const int fence_level = FenceLevel(score_suffix);
  ASSIGN_OR_RETURN(const Path path, Descend(score_suffix));
  for (int level = 1; level <= kFenceLevels; ++level) {
    const RankNode& node = path.node(level);
    const bool is_fence = node.suffix == score_suffix;
    if (is_fence != (is_there && level <= fence_level) || (is_there && node.count == 0)) return Damaged();
  }
  if (fence_level == 0) return {};
  if (is_there) {
    ASSIGN_OR_RETURN(const Path previous, Descend(score_suffix, /*before=*/true));
    ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t count, CountFromFence(previous.node(1), score_suffix));
    return {};
  }
  ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t count, CountFromFence(path.node(1), score_suffix));
  return {};
}

Result<void> RankIndex::Add(std::string_view score_suffix) {
  const int fence_level = FenceLevel(score_suffix);
  if (fence_level > 0) RETURN_IF_ERROR(Prepare(score_suffix, /*is_there=*/false));
  ASSIGN_OR_RETURN(const Path path, Descend(score_suffix));
  if (fence_level > 0) RETURN_IF_ERROR(Split(path, fence_level, score_suffix));
  for (int level = fence_level + 1; level <= kFenceLevels; ++level) {
    ++path.node(level).count;
    Put(path.node(level), level);
  }
  return {};
}

// A new fence cuts the nodes it falls into, from the lowest level up to its own.
Result<void> RankIndex::Split(const Path& path, int fence_level, std::string_view score_suffix) {
  ASSIGN_OR_RETURN(uint64_t left, CountFromFence(path.node(1), score_suffix));
  std::array<uint64_t, kFenceLevels> counts_left{};
  for (int level = 1; level <= fence_level; ++level) {
    if (level > 1) left += path.CountBefore(level - 1);
    counts_left[static_cast<size_t>(level - 1)] = left;
    if (left > path.node(level).count) return Damaged();
  }
  for (int level = 1; level <= fence_level; ++level) {
    const auto index = static_cast<size_t>(level - 1);
    RankNode& node = path.node(level);
    RankNode fence;
    fence.sortable = LoadBig<uint64_t>(score_suffix.data());
    fence.suffix = score_suffix;
    fence.count = node.count - counts_left[index] + 1;
    node.count = counts_left[index];
    if (level > 1) {
      Nodes& children = *path.nodes[index - 1];
      const auto first = children.begin() + static_cast<std::ptrdiff_t>(path.at[index - 1]) + 1;
      fence.children = std::make_unique<Nodes>(std::make_move_iterator(first), std::make_move_iterator(children.end()));
      children.erase(first, children.end());
    }
    Put(node, level);
    Put(fence, level);
    Nodes& nodes = *path.nodes[index];
    nodes.insert(nodes.begin() + static_cast<std::ptrdiff_t>(path.at[index]) + 1, std::move(fence));
  }
  transaction_->rank_trees().AddNodes(static_cast<uint64_t>(fence_level));
  return {};
}

Result<void> RankIndex::Remove(std::string_view score_suffix) {
  const int fence_level = FenceLevel(score_suffix);
  if (fence_level > 0) RETURN_IF_ERROR(Prepare(score_suffix, /*is_there=*/true));
  ASSIGN_OR_RETURN(const Path path, Descend(score_suffix));
  RETURN_IF_ERROR(CheckNotEmpty(path));
  for (int level = fence_level + 1; level <= kFenceLevels; ++level) {
    --path.node(level).count;
    Put(path.node(level), level);
  }
  if (fence_level > 0) Merge(path, fence_level, score_suffix);
  return {};
}

// What a fence that goes away had counted goes to the one before it, from its level down to the lowest.
void RankIndex::Merge(const Path& path, int fence_level, std::string_view score_suffix) {
  Nodes* nodes = path.nodes[static_cast<size_t>(fence_level - 1)];
  size_t at = path.at[static_cast<size_t>(fence_level - 1)];
  for (int level = fence_level; level >= 1; --level) {
    CHECK(at > 0);
    RankNode& previous = (*nodes)[at - 1];
    RankNode gone = std::move((*nodes)[at]);
    nodes->erase(nodes->begin() + static_cast<std::ptrdiff_t>(at));
    CHECK(gone.suffix == score_suffix);
    transaction_->EraseRow(id_, FenceKind(level), score_suffix);
    previous.count += gone.count - 1;
    Put(previous, level);
    if (level == 1) return;
    CHECK(previous.children != nullptr);
    CHECK(gone.children != nullptr);
    Nodes& children = *previous.children;
    at = children.size();
    children.insert(children.end(), std::make_move_iterator(gone.children->begin()),
                    std::make_move_iterator(gone.children->end()));
    nodes = &children;
  }
}

Result<void> RankIndex::Move(std::string_view from, std::string_view to) {
  if (FenceLevel(from) > 0) {  // of its member: both or none
    RETURN_IF_ERROR(Prepare(from, /*is_there=*/true));
    RETURN_IF_ERROR(Prepare(to, /*is_there=*/false));
    const Result<void> removed = Remove(from);
    CHECK_MSG(removed.ok(), removed.error().message);  // it was readable a moment ago
    transaction_->EraseRow(id_, CollectionKind::kScore, from);
    const Result<void> added = Add(to);
    CHECK_MSG(added.ok(), added.error().message);
    transaction_->PutRow(id_, CollectionKind::kScore, to, {});
    return {};
  }
  ASSIGN_OR_RETURN(const Path old_path, Descend(from));
  ASSIGN_OR_RETURN(const Path new_path, Descend(to));
  RETURN_IF_ERROR(CheckNotEmpty(old_path));
  for (int level = 1; level <= kFenceLevels; ++level) {
    RankNode& old_node = old_path.node(level);
    RankNode& new_node = new_path.node(level);
    if (&old_node == &new_node) continue;
    --old_node.count;
    ++new_node.count;
    Put(old_node, level);
    Put(new_node, level);
  }
  transaction_->EraseRow(id_, CollectionKind::kScore, from);
  transaction_->PutRow(id_, CollectionKind::kScore, to, {});
  return {};
}

}  // namespace holdfast
