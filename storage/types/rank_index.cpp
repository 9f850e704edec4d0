#include "storage/types/rank_index.h"

#include <algorithm>
#include <functional>
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

// A node with more members has few fences because its members are long: their scores are not kept.
constexpr uint64_t kScoresMax = 1024;

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

// Rows of a level from a fence on, up to `end` (empty: all), or until they count `most` members. What was taken from
// the ends left its fences there as tombstones, too: these are not walked over.
Result<RankIndex::Nodes> RankIndex::ReadNodes(int level, std::string_view from, std::string_view end, uint64_t most) {
  Nodes nodes;
  bool sound = true;
  uint64_t counted = 0;
  std::string_view next = from;
  const auto take = [&](std::string_view suffix, std::string_view value) {
    if (!end.empty() && suffix >= end) return false;
    sound = value.size() == sizeof(uint64_t) && suffix.size() >= 8;
    if (!sound) return false;
    RankNode& node = nodes.emplace_back();
    node.sortable = LoadBig<uint64_t>(suffix.data());
    node.suffix = suffix;
    node.count = LoadLittle<uint64_t>(value.data());
    counted += node.count;
    return counted < most && next >= tree_->lowest;
  };
  RETURN_IF_ERROR(transaction_->VisitRows(id_, FenceKind(level), next, /*reverse=*/false, take));
  if (sound && counted < most && next < tree_->lowest) {  // only the row before the first fence can be below
    next = tree_->lowest;
    RETURN_IF_ERROR(transaction_->VisitRows(id_, FenceKind(level), next, /*reverse=*/false, take));
  }
  if (!sound || nodes.empty() || nodes.front().suffix != from) return Damaged();
  transaction_->rank_trees().AddNodes(nodes.size());
  tree_->seen_offset = std::max(tree_->seen_offset, transaction_->seen_offset());
  return nodes;
}

Result<void> RankIndex::ReadTop() {
  if (!tree_->top.empty()) return {};
  ASSIGN_OR_RETURN(tree_->top, ReadNodes(kFenceLevels, FirstFence(), {}, ~uint64_t{0}));
  return {};
}

Result<void> RankIndex::ReadChildren(RankNode& node, int level, std::string_view end) {
  if (node.children != nullptr) return {};
  ASSIGN_OR_RETURN(Nodes nodes, ReadNodes(level - 1, node.suffix, end, node.count));
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
    if (level == kFenceLevels) (*nodes)[at].used = true;
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

// ---- scores behind a fence ------------------------------------------------------------------------------------------

Result<bool> RankIndex::HasScores(RankNode& leaf) {
  if (leaf.scores != nullptr) return true;
  if (leaf.count > kScoresMax || !std::exchange(leaf.used, true)) return false;
  auto scores = std::make_unique<std::vector<uint64_t>>();
  scores->reserve(leaf.count + leaf.count / 4 + 4);
  bool sound = true;
  if (leaf.count > 0) {
    RETURN_IF_ERROR(VisitScores(leaf.suffix, /*reverse=*/false, [&](std::string_view suffix, std::string_view) {
      sound = suffix.size() >= 8;
      if (!sound) return false;
      scores->push_back(LoadBig<uint64_t>(suffix.data()));
      return scores->size() < leaf.count;
    }));
  }
  if (!sound || scores->size() != leaf.count || !std::is_sorted(scores->begin(), scores->end())) return Damaged();
  leaf.scores = std::move(scores);
  transaction_->rank_trees().AddScores(leaf);
  tree_->seen_offset = std::max(tree_->seen_offset, transaction_->seen_offset());
  return true;
}

void RankIndex::DropScores(RankNode& leaf) {
  transaction_->rank_trees().RemoveScores(leaf);
  leaf.scores.reset();
}

void RankIndex::AddScore(RankNode& leaf, uint64_t sortable) {
  if (leaf.scores == nullptr) return;
  if (leaf.scores->size() >= kScoresMax) return DropScores(leaf);
  transaction_->rank_trees().RemoveScores(leaf);
  std::vector<uint64_t>& scores = *leaf.scores;
  scores.insert(std::upper_bound(scores.begin(), scores.end(), sortable), sortable);
  transaction_->rank_trees().AddScores(leaf);
}

void RankIndex::RemoveScore(RankNode& leaf, uint64_t sortable) {
  if (leaf.scores == nullptr) return;
  std::vector<uint64_t>& scores = *leaf.scores;
  const auto found = std::lower_bound(scores.begin(), scores.end(), sortable);
  if (found == scores.end() || *found != sortable) return DropScores(leaf);  // damaged rows: the next look tells
  scores.erase(found);
}

Result<uint64_t> RankIndex::CountRows(std::string_view from, uint64_t most, std::string_view score_suffix) {
  uint64_t count = 0;
  if (most == 0) return count;
  RETURN_IF_ERROR(VisitScores(from, /*reverse=*/false, [&](std::string_view suffix, std::string_view) {
    if (!RowIsBelow(suffix, score_suffix)) return false;
    return ++count < most;
  }));
  return count;
}

Result<uint64_t> RankIndex::CountFromFence(RankNode& leaf, std::string_view score_suffix, bool is_there) {
  ASSIGN_OR_RETURN(const bool known, HasScores(leaf));
  if (!known) return CountRows(leaf.suffix, leaf.count, score_suffix);
  const std::vector<uint64_t>& scores = *leaf.scores;
  const auto sortable = LoadBig<uint64_t>(score_suffix.data());
  const auto [first, end] = std::equal_range(scores.begin(), scores.end(), sortable);
  const auto below = static_cast<uint64_t>(first - scores.begin());
  if (first == end || (is_there && end - first == 1) || score_suffix.size() == sizeof(sortable)) return below;
  // Members decide among those of the same score.
  std::string from = leaf.suffix;
  if (below > 0) {
    from.clear();
    AppendBig<uint64_t>(from, sortable);
  }
  ASSIGN_OR_RETURN(const uint64_t more, CountRows(from, static_cast<uint64_t>(end - first), score_suffix));
  return below + more;
}

Result<void> RankIndex::VisitScores(std::string_view from, bool reverse, const Transaction::RowVisitor& visit) {
  std::string& end = reverse ? tree_->highest : tree_->lowest;
  // Without fences that can be read the walk begins where nothing may be left.
  if (end.empty()) static_cast<void>(FindEnd(reverse));
  const bool from_end = from.empty() || (!end.empty() && (reverse ? RowIsBelow(end, from) : RowIsBelow(from, end)));
  if (!from_end) return transaction_->VisitRows(id_, CollectionKind::kScore, from, reverse, visit);
  uint64_t rows = 0;
  std::string found;
  const std::string begin = end.empty() ? std::string(from) : end;
  const auto visit_all = [&](std::string_view suffix, std::string_view value) {
    if (rows++ == 0 && suffix != begin) found = suffix;
    return visit(suffix, value);
  };
  RETURN_IF_ERROR(transaction_->VisitRows(id_, CollectionKind::kScore, begin, reverse, std::ref(visit_all)));
  // Rows that fold are not in the order of their bytes, where a walk begins.
  if (!found.empty() && !CollectionRowFolds(found)) {
    EndMoved(reverse, rows, found);
    end = std::move(found);
    tree_->seen_offset = std::max(tree_->seen_offset, transaction_->seen_offset());
  }
  return {};
}

// As many rows as are visited now were probably taken the last time.
void RankIndex::EndMoved(bool highest, uint64_t rows, std::string_view end) {
  const uint64_t width = (highest ? tree_->ahead_of_highest : tree_->ahead_of_lowest).Moved(rows);
  if (width > 0) transaction_->WantWalkAhead({id_, CollectionKind::kScore, std::string(end), highest, width});
}

// The leaf of the lowest or highest rank tells how many rows there are, and rows from the inner side of it are looked
// at.
Result<void> RankIndex::FindEnd(bool highest) {
  RETURN_IF_ERROR(ReadTop());
  Nodes* nodes = &tree_->top;
  std::string end;
  size_t at = 0;
  const auto is_empty = [](const RankNode& node) { return node.count == 0; };
  for (int level = kFenceLevels;; --level) {
    at = highest ? nodes->size() - 1
                 : static_cast<size_t>(std::find_if_not(nodes->begin(), nodes->end(), is_empty) - nodes->begin());
    if (at == nodes->size() || (*nodes)[at].count == 0) return Damaged();
    if (at + 1 < nodes->size()) end = (*nodes)[at + 1].suffix;
    if (level == 1) break;
    RETURN_IF_ERROR(ReadChildren((*nodes)[at], level, end));
    nodes = (*nodes)[at].children.get();
  }
  const RankNode& leaf = (*nodes)[at];
  const bool is_first = leaf.suffix == FirstFence();
  if (leaf.count > kScoresMax || (highest && is_first) || (!highest && is_first && end.empty())) return {};
  std::string found;
  if (!highest && !is_first) {
    found = leaf.suffix;  // a fence is the first of what it counts
  } else {
    uint64_t left = leaf.count;
    const std::string_view from = highest ? std::string_view(leaf.suffix) : std::string_view(end);
    const auto take = [&](std::string_view suffix, std::string_view) {
      if (!highest && suffix == end) return true;
      found = suffix;
      return --left > 0;
    };
    RETURN_IF_ERROR(transaction_->VisitRows(id_, CollectionKind::kScore, from, /*reverse=*/!highest, take));
    if (left > 0) return Damaged();
  }
  if (CollectionRowFolds(found)) return {};
  (highest ? tree_->highest : tree_->lowest) = std::move(found);
  tree_->seen_offset = std::max(tree_->seen_offset, transaction_->seen_offset());
  return {};
}

void RankIndex::Widen(std::string_view score_suffix) {
  const std::string_view known = CollectionRowFolds(score_suffix) ? std::string_view() : score_suffix;
  if (!tree_->lowest.empty() && RowIsBelow(score_suffix, tree_->lowest)) tree_->lowest = known;
  if (!tree_->highest.empty() && RowIsBelow(tree_->highest, score_suffix)) tree_->highest = known;
}

// ---- ranks ----------------------------------------------------------------------------------------------------------

Result<uint64_t> RankIndex::Before(std::string_view score_suffix, bool is_there) {
  ASSIGN_OR_RETURN(const Path path, Descend(score_suffix));
  ASSIGN_OR_RETURN(uint64_t count, CountFromFence(path.node(1), score_suffix, is_there));
  for (int level = 1; level <= kFenceLevels; ++level) count += path.CountBefore(level);
  return count;
}

// The member that has `rank` others of this node before it.
Result<RankIndex::Place> RankIndex::PlaceIn(RankNode& leaf, uint64_t rank) {
  ASSIGN_OR_RETURN(const bool known, HasScores(leaf));
  if (!known) return Place{leaf.suffix, rank};
  if (rank >= leaf.scores->size()) return Damaged();
  const std::vector<uint64_t>& scores = *leaf.scores;
  const uint64_t sortable = scores[rank];
  const auto first = std::lower_bound(scores.begin(), scores.end(), sortable);
  const auto below = static_cast<uint64_t>(first - scores.begin());
  if (below == 0) return Place{leaf.suffix, rank};  // others before the fence may have the same score
  Place place;
  AppendBig<uint64_t>(place.from, sortable);
  place.skip = rank - below;
  return place;
}

Result<RankIndex::Place> RankIndex::At(uint64_t rank) {
  RETURN_IF_ERROR(ReadTop());
  Nodes* nodes = &tree_->top;
  std::string_view end;
  for (int level = kFenceLevels;; --level) {
    size_t at = 0;
    while (at < nodes->size() && rank >= (*nodes)[at].count) rank -= (*nodes)[at++].count;
    if (at == nodes->size()) return Damaged();
    if (level == 1) return PlaceIn((*nodes)[at], rank);
    if (level == kFenceLevels) (*nodes)[at].used = true;
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
  if (fence_level == 0) AddScore(path.node(1), LoadBig<uint64_t>(score_suffix.data()));
  Widen(score_suffix);
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
    if (level == 1) SplitScores(node, fence);
    Put(node, level);
    Put(fence, level);
    Nodes& nodes = *path.nodes[index];
    nodes.insert(nodes.begin() + static_cast<std::ptrdiff_t>(path.at[index]) + 1, std::move(fence));
  }
  transaction_->rank_trees().AddNodes(static_cast<uint64_t>(fence_level));
  return {};
}

// The new fence has taken its part of the count of the node it falls into.
void RankIndex::SplitScores(RankNode& node, RankNode& fence) {
  if (node.scores == nullptr) return;
  transaction_->rank_trees().RemoveScores(node);
  std::vector<uint64_t>& scores = *node.scores;
  const auto cut = scores.begin() + static_cast<std::ptrdiff_t>(node.count);
  fence.scores = std::make_unique<std::vector<uint64_t>>();
  fence.scores->reserve(fence.count + fence.count / 4 + 4);
  fence.scores->push_back(fence.sortable);
  fence.scores->insert(fence.scores->end(), cut, scores.end());
  scores.erase(cut, scores.end());
  transaction_->rank_trees().AddScores(node);
  transaction_->rank_trees().AddScores(fence);
}

// The fence behind the node has gone, and what it counted but itself comes to the node. Counts are as before.
void RankIndex::JoinScores(RankNode& node, RankNode& gone) {
  if (node.scores == nullptr && gone.scores == nullptr) return;
  transaction_->rank_trees().RemoveScores(node);
  transaction_->rank_trees().RemoveScores(gone);
  const bool keep = node.scores != nullptr && gone.scores != nullptr && !gone.scores->empty() &&
                    node.scores->size() + gone.scores->size() <= kScoresMax;
  if (keep) {
    node.scores->insert(node.scores->end(), gone.scores->begin() + 1, gone.scores->end());
  } else {
    node.scores.reset();
  }
  gone.scores.reset();
  transaction_->rank_trees().AddScores(node);
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
  if (fence_level == 0) RemoveScore(path.node(1), LoadBig<uint64_t>(score_suffix.data()));
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
    if (level == 1) JoinScores(previous, gone);
    transaction_->rank_trees().RemoveNodes(1);
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
  RemoveScore(old_path.node(1), LoadBig<uint64_t>(from.data()));
  AddScore(new_path.node(1), LoadBig<uint64_t>(to.data()));
  Widen(to);
  tree_->seen_offset = std::max(tree_->seen_offset, transaction_->writer_offset());
  transaction_->EraseRow(id_, CollectionKind::kScore, from);
  transaction_->PutRow(id_, CollectionKind::kScore, to, {});
  return {};
}

}  // namespace holdfast
