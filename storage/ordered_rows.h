// The byte-ordered rows of a memtable: a B+ tree of row pointers, ordered by row key.
//
// A node keeps the bytes that all of its keys begin with once, and of each key the eight bytes that follow, as a
// number. So a search compares numbers that lie side by side, and looks at a row only where those are equal: the rows
// of a collection agree in their first ten bytes, and nearly always differ in the eight behind them.
//
// A node that becomes empty is taken out; others are not joined. Keys put in at an end of a leaf leave full leaves
// behind, as queues and logs do.
//
// Nodes lie in the arena of the rows, and go with it. Were they allocated one by one, the thread that lets go of a
// memtable would free as many of the allocator's pieces as the executor is just taking, and hold its lock meanwhile.
//
// Does not own the rows. Not synchronised: one writer, or any readers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/row_arena.h"

namespace holdfast {

struct Row;

class OrderedRows {
 private:
  struct Node;
  struct Leaf;
  struct Inner;

 public:
  // Walks in both directions; end() can be stepped back from. Valid until the next insertion or removal.
  class Iterator {
   public:
    Iterator() = default;
    Row* operator*() const;
    Iterator& operator++();
    Iterator& operator--();
    bool operator==(const Iterator& other) const { return leaf_ == other.leaf_ && at_ == other.at_; }

   private:
    friend class OrderedRows;
    Iterator(const OrderedRows* tree, Leaf* leaf, size_t at) : tree_(tree), leaf_(leaf), at_(at) {}
    const OrderedRows* tree_ = nullptr;
    Leaf* leaf_ = nullptr;  // null: the end
    size_t at_ = 0;
  };

  // The arena outlives it.
  explicit OrderedRows(RowArena& arena);
  OrderedRows(const OrderedRows&) = delete;
  OrderedRows& operator=(const OrderedRows&) = delete;

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] Iterator begin() const;
  [[nodiscard]] Iterator end() const { return {this, nullptr, 0}; }
  // The first row whose key is >= `key`, > `key`.
  [[nodiscard]] Iterator LowerBound(std::string_view key) const;
  [[nodiscard]] Iterator UpperBound(std::string_view key) const;
  // The row of this key, null if there is none.
  [[nodiscard]] Row* Find(std::string_view key) const;

  // `make(key)` gives the row for a key that is not here yet. Returns the row that was here, or null and puts the new
  // one in. One search for both.
  template <typename Make>
  Row* FindOrInsert(std::string_view key, const Make& make) {
    Path path;
    if (Row* found = Locate(key, path)) return found;
    InsertAt(path, make());
    return nullptr;
  }
  // Puts another row of the same key in the place of the one that is here.
  void Replace(Row* row);
  // Takes the row of this key out. It must be here.
  void Erase(std::string_view key);

 private:
  static constexpr size_t kLeafMax = 64;
  static constexpr size_t kInnerMax = 64;
  static constexpr size_t kPrefixMax = 32;
  static constexpr size_t kDepthMax = 16;

  // The way to a place in a leaf.
  struct Path {
    struct Step {
      Inner* node;
      size_t child;
    };
    Step steps[kDepthMax];
    size_t depth = 0;
    Leaf* leaf = nullptr;
    size_t at = 0;
  };

  // The row of the key, if it is here, and the place where it stands or should.
  Row* Locate(std::string_view key, Path& path) const;
  void InsertAt(Path& path, Row* row);
  void AddChild(Path& path, std::string_view separator, Node* child);
  void RemoveLeaf(Path& path);
  Leaf* LeafFor(std::string_view key) const;
  // Of nodes that were taken out, or new.
  template <typename NodeType>
  NodeType* NewNode(Node*& spare);
  [[nodiscard]] std::string_view Kept(std::string_view key);

  RowArena& arena_;
  Node* spare_leaves_ = nullptr;
  Node* spare_inners_ = nullptr;
  Node* root_;
  Leaf* first_;
  Leaf* last_;
  size_t size_ = 0;
};

}  // namespace holdfast
