// Counts keys by the parts of their names: a tree of prefixes. Memory is bounded: when there are too many branches the
// smallest go, and count in what is above them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

class PrefixTree {
 public:
  struct Node {
    uint32_t parent = 0;
    uint32_t part_size = 0;
    uint64_t part_at = 0;  // in the names
    uint64_t hash = 0;
    uint64_t keys = 0;
    uint64_t bytes = 0;
  };
  static constexpr uint32_t kRoot = 0;

  // A name is divided behind each of `delimiters`, `depth` times at most.
  PrefixTree(std::string delimiters, size_t depth, size_t nodes_max);

  void Add(std::string_view key, uint64_t bytes);

  [[nodiscard]] const Node& node(uint32_t id) const { return nodes_[id]; }
  // The part of the name that a node adds to its parent's.
  [[nodiscard]] std::string_view Part(uint32_t id) const {
    return std::string_view(names_).substr(nodes_[id].part_at, nodes_[id].part_size);
  }
  // What is directly below each node.
  [[nodiscard]] std::vector<std::vector<uint32_t>> Children() const;
  [[nodiscard]] size_t size() const { return nodes_.size(); }

 private:
  // The node below `parent`, made if it is not there.
  uint32_t Below(uint32_t parent, std::string_view part);
  void Place(uint32_t id);
  // Branches of few keys go until half is left. Keys come in the order of hashes: what is small until now is small as a
  // whole.
  void Prune();

  const std::string delimiters_;
  const size_t depth_;
  const size_t nodes_max_;
  std::vector<Node> nodes_;      // the root first, parents before what is below them
  std::string names_;            // parts, one after the other
  std::vector<uint32_t> slots_;  // open addressing; kRoot: free
};

}  // namespace holdfast::cli
