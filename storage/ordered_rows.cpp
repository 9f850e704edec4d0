#include "storage/ordered_rows.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/memtable.h"

namespace holdfast {
namespace {

constexpr size_t kHeadBytes = 8;

size_t CommonPrefix(std::string_view a, std::string_view b) {
  const size_t size = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(size), b.begin()).first -
                             a.begin());
}

// The eight bytes from `from` on, as a number; missing ones are zeros, so equal heads do not mean equal keys.
uint64_t Head(std::string_view key, size_t from) {
  if (key.size() >= from + kHeadBytes) return LoadBig<uint64_t>(key.data() + from);
  char bytes[kHeadBytes] = {};
  if (key.size() > from) std::memcpy(bytes, key.data() + from, key.size() - from);
  return LoadBig<uint64_t>(bytes);
}

// The first of `count` ascending numbers that is not below `wanted`.
size_t FirstNotBelow(const uint64_t* numbers, size_t count, uint64_t wanted) {
  const uint64_t* base = numbers;
  while (count > 1) {
    const size_t half = count / 2;
    base += base[half - 1] < wanted ? half : 0;
    count -= half;
  }
  return static_cast<size_t>(base - numbers) + (count == 1 && *base < wanted ? 1 : 0);
}

}  // namespace

// What inner nodes and leaves share: what their keys begin with, and the heads behind that.
struct OrderedRows::Node {
  bool is_leaf;
  uint8_t skip = 0;  // bytes of `prefix` in use
  uint16_t count = 0;
  char prefix[kPrefixMax] = {};
  Node* next_spare = nullptr;  // when it was taken out

  explicit Node(bool leaf) : is_leaf(leaf) {}
  [[nodiscard]] std::string_view Prefix() const { return {prefix, skip}; }
  void SetPrefix(std::string_view key, size_t size) {
    skip = static_cast<uint8_t>(std::min(size, kPrefixMax));
    std::memcpy(prefix, key.data(), skip);
  }
};

struct OrderedRows::Leaf : Node {
  Leaf* previous = nullptr;
  Leaf* next = nullptr;
  uint64_t heads[kLeafMax];
  Row* rows[kLeafMax];

  Leaf() : Node(true) {}
  [[nodiscard]] std::string_view Key(size_t i) const { return rows[i]->key(); }
};

// Child i holds keys below key i, and not below key i - 1.
struct OrderedRows::Inner : Node {
  uint64_t heads[kInnerMax];
  std::string_view keys[kInnerMax];
  Node* children[kInnerMax + 1];

  Inner() : Node(false) {}
  [[nodiscard]] std::string_view Key(size_t i) const { return keys[i]; }
};

namespace {

// The first place whose key is not below `key`, or (`after`) that is above it.
template <typename NodeType>
size_t Search(const NodeType& node, std::string_view key, bool after) {
  const int order = key.substr(0, node.skip).compare(node.Prefix());
  if (order != 0) return order < 0 ? 0 : node.count;
  const uint64_t head = Head(key, node.skip);
  size_t at = FirstNotBelow(node.heads, node.count, head);
  while (at < node.count && node.heads[at] == head) {
    const int compared = node.Key(at).compare(key);
    if (after ? compared > 0 : compared >= 0) break;
    ++at;
  }
  return at;
}

template <typename NodeType>
void SetHeads(NodeType& node) {
  if (node.count == 0) return;
  const std::string_view first = node.Key(0);
  const std::string_view last = node.Key(node.count - 1u);
  // A single key shows as much of itself as fits.
  const size_t common = node.count == 1 ? first.size() - std::min(first.size(), kHeadBytes) : CommonPrefix(first, last);
  node.SetPrefix(first, common);
  for (size_t i = 0; i < node.count; ++i) node.heads[i] = Head(node.Key(i), node.skip);
}

// Makes the node's prefix one of `key`, too.
template <typename NodeType>
void AdmitKey(NodeType& node, std::string_view key) {
  if (key.substr(0, node.skip) == node.Prefix()) return;
  node.skip = static_cast<uint8_t>(CommonPrefix(key, node.Prefix()));
  for (size_t i = 0; i < node.count; ++i) node.heads[i] = Head(node.Key(i), node.skip);
}

template <typename T>
void ShiftUp(T* items, size_t at, size_t count) {
  std::move_backward(items + at, items + count, items + count + 1);
}

template <typename T>
void ShiftDown(T* items, size_t at, size_t count) {
  std::move(items + at + 1, items + count, items + at);
}

}  // namespace

// ---- walking --------------------------------------------------------------------------------------------------------

Row* OrderedRows::Iterator::operator*() const { return leaf_->rows[at_]; }

OrderedRows::Iterator& OrderedRows::Iterator::operator++() {
  if (++at_ < leaf_->count) return *this;
  leaf_ = leaf_->next;
  at_ = 0;
  return *this;
}

OrderedRows::Iterator& OrderedRows::Iterator::operator--() {
  if (leaf_ != nullptr && at_ > 0) {
    --at_;
    return *this;
  }
  leaf_ = leaf_ == nullptr ? tree_->last_ : leaf_->previous;
  at_ = leaf_->count - 1u;
  return *this;
}

OrderedRows::OrderedRows(RowArena& arena) : arena_(arena) {
  first_ = last_ = NewNode<Leaf>(spare_leaves_);
  root_ = first_;
}

template <typename NodeType>
NodeType* OrderedRows::NewNode(Node*& spare) {
  static_assert(std::is_trivially_destructible_v<NodeType>);  // the arena destroys nothing
  static_assert(alignof(NodeType) <= 8);
  void* place = spare;
  if (spare != nullptr) {
    spare = spare->next_spare;
  } else {
    place = arena_.Allocate(sizeof(NodeType));
  }
  return new (place) NodeType();
}

std::string_view OrderedRows::Kept(std::string_view key) {
  char* place = arena_.Allocate(key.size());
  std::memcpy(place, key.data(), key.size());
  return {place, key.size()};
}

OrderedRows::Iterator OrderedRows::begin() const { return size_ == 0 ? end() : Iterator(this, first_, 0); }

OrderedRows::Leaf* OrderedRows::LeafFor(std::string_view key) const {
  Node* node = root_;
  while (!node->is_leaf) {
    auto* inner = static_cast<Inner*>(node);
    node = inner->children[Search(*inner, key, /*after=*/true)];
  }
  return static_cast<Leaf*>(node);
}

OrderedRows::Iterator OrderedRows::LowerBound(std::string_view key) const {
  Leaf* leaf = LeafFor(key);
  const size_t at = Search(*leaf, key, /*after=*/false);
  if (at < leaf->count) return {this, leaf, at};
  return {this, leaf->next, 0};
}

OrderedRows::Iterator OrderedRows::UpperBound(std::string_view key) const {
  Leaf* leaf = LeafFor(key);
  const size_t at = Search(*leaf, key, /*after=*/true);
  if (at < leaf->count) return {this, leaf, at};
  return {this, leaf->next, 0};
}

Row* OrderedRows::Find(std::string_view key) const {
  const Leaf* leaf = LeafFor(key);
  const size_t at = Search(*leaf, key, /*after=*/false);
  return at < leaf->count && leaf->Key(at) == key ? leaf->rows[at] : nullptr;
}

// ---- changing -------------------------------------------------------------------------------------------------------

Row* OrderedRows::Locate(std::string_view key, Path& path) const {
  Node* node = root_;
  while (!node->is_leaf) {
    auto* inner = static_cast<Inner*>(node);
    const size_t child = Search(*inner, key, /*after=*/true);
    CHECK(path.depth < kDepthMax);
    path.steps[path.depth++] = {inner, child};
    node = inner->children[child];
  }
  path.leaf = static_cast<Leaf*>(node);
  path.at = Search(*path.leaf, key, /*after=*/false);
  const bool here = path.at < path.leaf->count && path.leaf->Key(path.at) == key;
  return here ? path.leaf->rows[path.at] : nullptr;
}

void OrderedRows::InsertAt(Path& path, Row* row) {
  const std::string_view key = row->key();
  Leaf* leaf = path.leaf;
  ++size_;
  if (leaf->count == kLeafMax) {
    // At an end: the full leaf stays as it is, the new row begins another one.
    const size_t stay = path.at == kLeafMax ? kLeafMax : path.at == 0 ? 0 : kLeafMax / 2;
    Leaf* right = NewNode<Leaf>(spare_leaves_);
    right->count = static_cast<uint16_t>(kLeafMax - stay);
    std::copy(leaf->rows + stay, leaf->rows + kLeafMax, right->rows);
    leaf->count = static_cast<uint16_t>(stay);
    right->previous = leaf;
    right->next = leaf->next;
    (right->next == nullptr ? last_ : right->next->previous) = right;
    leaf->next = right;
    SetHeads(*leaf);
    SetHeads(*right);
    const std::string_view separator = Kept(stay == kLeafMax ? key : right->Key(0));
    if (path.at > stay || stay == kLeafMax) {
      path.at -= stay;
      path.leaf = right;
    }
    AddChild(path, separator, right);
    leaf = path.leaf;
  }
  if (leaf->count == 0) {
    leaf->rows[0] = row;
    leaf->count = 1;
    SetHeads(*leaf);
    return;
  }
  AdmitKey(*leaf, key);
  ShiftUp(leaf->rows, path.at, leaf->count);
  ShiftUp(leaf->heads, path.at, leaf->count);
  leaf->rows[path.at] = row;
  leaf->heads[path.at] = Head(key, leaf->skip);
  ++leaf->count;
}

// Puts a child in behind the one that the path's last step took. The separator's bytes are the arena's.
void OrderedRows::AddChild(Path& path, std::string_view separator, Node* child) {
  if (path.depth == 0) {
    auto* root = NewNode<Inner>(spare_inners_);
    root->count = 1;
    root->keys[0] = separator;
    root->children[0] = root_;
    root->children[1] = child;
    SetHeads(*root);
    root_ = root;
    return;
  }
  auto [node, at] = path.steps[--path.depth];
  if (node->count == kInnerMax) {
    constexpr size_t kStay = kInnerMax / 2;
    auto* right = NewNode<Inner>(spare_inners_);
    const std::string_view middle = node->keys[kStay];
    right->count = static_cast<uint16_t>(kInnerMax - kStay - 1);
    std::copy(node->keys + kStay + 1, node->keys + kInnerMax, right->keys);
    std::copy(node->children + kStay + 1, node->children + kInnerMax + 1, right->children);
    node->count = kStay;
    SetHeads(*node);
    SetHeads(*right);
    AddChild(path, middle, right);
    if (at > kStay) {
      at -= kStay + 1;
      node = right;
    }
  }
  AdmitKey(*node, separator);
  ShiftUp(node->keys, at, node->count);
  ShiftUp(node->heads, at, node->count);
  ShiftUp(node->children, at + 1, node->count + 1u);
  node->keys[at] = separator;
  node->heads[at] = Head(separator, node->skip);
  node->children[at + 1] = child;
  ++node->count;
}

void OrderedRows::Replace(Row* row) {
  Leaf* leaf = LeafFor(row->key());
  const size_t at = Search(*leaf, row->key(), /*after=*/false);
  CHECK(at < leaf->count);
  leaf->rows[at] = row;
}

void OrderedRows::Erase(std::string_view key) {
  Path path;
  CHECK(Locate(key, path) != nullptr);
  Leaf* leaf = path.leaf;
  ShiftDown(leaf->rows, path.at, leaf->count);
  ShiftDown(leaf->heads, path.at, leaf->count);
  --leaf->count;
  --size_;
  if (leaf->count == 0 && path.depth > 0) RemoveLeaf(path);
}

void OrderedRows::RemoveLeaf(Path& path) {
  Leaf* leaf = path.leaf;
  (leaf->previous == nullptr ? first_ : leaf->previous->next) = leaf->next;
  (leaf->next == nullptr ? last_ : leaf->next->previous) = leaf->previous;
  leaf->next_spare = spare_leaves_;
  spare_leaves_ = leaf;
  const auto take_out = [this](Node* inner) {
    inner->next_spare = spare_inners_;
    spare_inners_ = inner;
  };
  while (path.depth > 0) {
    auto [node, at] = path.steps[--path.depth];
    if (node->count == 0) {  // it was the only child
      CHECK(path.depth > 0);
      take_out(node);
      continue;
    }
    const size_t key = at == 0 ? 0 : at - 1;
    ShiftDown(node->keys, key, node->count);
    ShiftDown(node->heads, key, node->count);
    ShiftDown(node->children, at, node->count + 1u);
    --node->count;
    break;
  }
  while (!root_->is_leaf && root_->count == 0) {
    auto* old = static_cast<Inner*>(root_);
    root_ = old->children[0];
    take_out(old);
  }
}

}  // namespace holdfast
