#include "cli/tool_prefix_tree.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "storage/base/hash.h"

namespace holdfast::cli {

namespace {

constexpr size_t kPartMax = 256;

}  // namespace

PrefixTree::PrefixTree(std::string delimiters, size_t depth, size_t nodes_max)
    : delimiters_(std::move(delimiters)),
      depth_(delimiters_.empty() ? 0 : depth),
      nodes_max_(std::max<size_t>(nodes_max, 16 * (depth + 1))),
      slots_(std::bit_ceil(3 * nodes_max_)) {
  nodes_.emplace_back();
}

void PrefixTree::Add(std::string_view key, uint64_t bytes) {
  if (nodes_.size() + depth_ > nodes_max_) Prune();
  uint32_t id = kRoot;
  ++nodes_[id].keys;
  nodes_[id].bytes += bytes;
  size_t begin = 0;
  for (size_t level = 0; level < depth_; ++level) {
    const size_t end =
        delimiters_.size() == 1 ? key.find(delimiters_[0], begin) : key.find_first_of(delimiters_, begin);
    if (end == std::string_view::npos || end - begin > kPartMax) return;
    id = Below(id, key.substr(begin, end + 1 - begin));
    ++nodes_[id].keys;
    nodes_[id].bytes += bytes;
    begin = end + 1;
  }
}

uint32_t PrefixTree::Below(uint32_t parent, std::string_view part) {
  const uint64_t hash = Checksum64(part, parent);
  for (size_t slot = hash & (slots_.size() - 1); slots_[slot] != kRoot; slot = (slot + 1) & (slots_.size() - 1)) {
    const Node& node = nodes_[slots_[slot]];
    if (node.hash == hash && node.parent == parent && Part(slots_[slot]) == part) return slots_[slot];
  }
  const auto id = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({parent, static_cast<uint32_t>(part.size()), names_.size(), hash, 0, 0});
  names_ += part;
  Place(id);
  return id;
}

void PrefixTree::Place(uint32_t id) {
  size_t slot = nodes_[id].hash & (slots_.size() - 1);
  while (slots_[slot] != kRoot) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = id;
}

void PrefixTree::Prune() {
  // What is below a node never has more keys than the node: whole branches go.
  std::vector<uint64_t> counts;
  for (size_t i = 1; i < nodes_.size(); ++i) counts.push_back(nodes_[i].keys);
  const auto middle = counts.begin() + static_cast<std::ptrdiff_t>(counts.size() / 2);
  std::nth_element(counts.begin(), middle, counts.end());
  const uint64_t bound = *middle;
  std::vector<uint32_t> moved(nodes_.size(), kRoot);
  std::vector<Node> kept = {nodes_[kRoot]};
  std::string names;
  for (uint32_t id = 1; id < nodes_.size(); ++id) {
    Node node = nodes_[id];
    if (node.keys <= bound) continue;
    const std::string_view part = Part(id);
    moved[id] = static_cast<uint32_t>(kept.size());
    node.parent = moved[node.parent];
    node.hash = Checksum64(part, node.parent);
    node.part_at = names.size();
    names += part;
    kept.push_back(node);
  }
  nodes_ = std::move(kept);
  names_ = std::move(names);
  std::fill(slots_.begin(), slots_.end(), kRoot);
  for (uint32_t id = 1; id < nodes_.size(); ++id) Place(id);
}

std::vector<std::vector<uint32_t>> PrefixTree::Children() const {
  std::vector<std::vector<uint32_t>> children(nodes_.size());
  for (uint32_t id = 1; id < nodes_.size(); ++id) children[nodes_[id].parent].push_back(id);
  return children;
}

}  // namespace holdfast::cli
