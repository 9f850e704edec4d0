// The pages of LMDB's file (LMDB 0.9, data version 1, 64-bit, little-endian: mdb.c, struct MDB_page, MDB_meta, MDB_db,
// MDB_node), read with bounds: whatever the bytes are, nothing outside of the given page is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::lmdb_page {

inline constexpr size_t kPageHeader = 16;
inline constexpr uint16_t kNodeBigData = 0x01;  // the value is on overflow pages
inline constexpr uint16_t kNodeSubTree = 0x02;  // the value is a tree's record
inline constexpr uint16_t kIntegerKeys = 0x08;
inline constexpr uint64_t kNoPage = ~uint64_t{0};
inline constexpr size_t kTreeRecord = 48;
inline constexpr int kDepthMax = 32;  // CURSOR_STACK

struct Tree {
  uint16_t flags = 0;
  uint16_t depth = 0;
  uint64_t branch_pages = 0, leaf_pages = 0, overflow_pages = 0;
  uint64_t entries = 0;
  uint64_t root = kNoPage;
};
// `record`: kTreeRecord bytes.
Tree ReadTree(const char* record);

struct Meta {
  uint32_t page_size = 0;
  Tree free_list;
  Tree main;
  uint64_t last_page = 0;
  uint64_t transaction = 0;

  friend bool operator==(const Meta& a, const Meta& b) {
    return a.page_size == b.page_size && a.transaction == b.transaction && a.last_page == b.last_page &&
           a.main.root == b.main.root && a.free_list.root == b.free_list.root;
  }
};
// Both meta pages of a file of `size` bytes, of one page size. kCorruption, kUnsupported.
struct Metas {
  Meta first, second;
  [[nodiscard]] const Meta& newest() const { return second.transaction > first.transaction ? second : first; }
};
Result<Metas> ReadMetas(File& file, const std::string& path, uint64_t size);
// Transaction n is written to meta page n % 2; both say 0 in a new file. "" or what is wrong.
std::string MetasFault(const Metas& metas);

// A node of a page whose bounds were checked.
struct Node {
  std::string_view key;
  uint16_t flags = 0;
  uint64_t child = 0;      // branch
  uint64_t data_size = 0;  // leaf
  size_t data_at = 0;      // in the page

  [[nodiscard]] bool big() const { return (flags & kNodeBigData) != 0; }
  // What a leaf's page itself holds of the value: bytes, or the number of the first overflow page.
  [[nodiscard]] std::string_view Stored(std::string_view page) const {
    return page.substr(data_at, big() ? sizeof(uint64_t) : data_size);
  }
};

// "", or what is wrong with the header of the page.
std::string HeaderFault(std::string_view page, uint64_t number, bool is_leaf);
// The nodes of a page with a good header, as views into it; nullopt and the fault if one lies outside.
std::optional<std::vector<Node>> ReadNodes(std::string_view page, bool is_leaf, std::string& fault);
// "", or that there are too few nodes, or that they do not stand close together up to the page's end.
std::string FillFault(std::string_view page, const std::vector<Node>& nodes, bool is_leaf);

// Pages that a value of so many bytes takes when it is not in its leaf, and whether the first of them, of which `bytes`
// holds the header at least, is what it should be.
uint64_t OverflowPages(uint64_t value_size, size_t page_size);
bool IsOverflow(std::string_view bytes, uint64_t number, uint64_t pages);

}  // namespace holdfast::lmdb_page
