#include "storage/lmdb_page.h"

#include <fmt/format.h>

#include <bit>

#include "storage/base/coding.h"

namespace holdfast::lmdb_page {
namespace {

constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint32_t kDataVersion = 1;
constexpr uint16_t kBranch = 0x01;
constexpr uint16_t kLeaf = 0x02;
constexpr uint16_t kOverflow = 0x04;
constexpr uint16_t kMeta = 0x08;
constexpr size_t kNodeHeader = 8;

Result<Meta> ReadMeta(File& file, const std::string& path, uint64_t size, uint64_t position, size_t page_size) {
  char page[kPageHeader + 256];
  ASSIGN_OR_RETURN(const size_t count, file.ReadAt(position, page, sizeof(page)));
  const uint64_t number = position == 0 ? 0 : 1;
  if (count < sizeof(page) || position + page_size > size) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("{}: truncated: {} bytes are too few for meta page {}", path, size, number)};
  }
  const char* meta = page + kPageHeader;
  if ((LoadLittle<uint16_t>(page + 10) & kMeta) == 0 || LoadLittle<uint32_t>(meta) != kMagic) {
    return Error{ErrorCode::kCorruption, fmt::format("{}: page {} is no LMDB meta page", path, number)};
  }
  if (LoadLittle<uint32_t>(meta + 4) != kDataVersion) {
    return Error{ErrorCode::kUnsupported, fmt::format("{}: LMDB data version {}, this build reads {}", path,
                                                      LoadLittle<uint32_t>(meta + 4), kDataVersion)};
  }
  Meta result;
  result.page_size = LoadLittle<uint32_t>(meta + 24);
  if (!std::has_single_bit(result.page_size) || result.page_size < 512 || result.page_size > 65536) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("{}: meta page {} names a page size of {}", path, number, result.page_size)};
  }
  result.free_list = ReadTree(meta + 24);
  result.main = ReadTree(meta + 24 + kTreeRecord);
  result.last_page = LoadLittle<uint64_t>(meta + 24 + 2 * kTreeRecord);
  result.transaction = LoadLittle<uint64_t>(meta + 24 + 2 * kTreeRecord + 8);
  return result;
}

// nullopt and the fault if it lies outside of the page.
std::optional<Node> ReadNode(std::string_view page, size_t i, bool is_leaf, std::string& fault) {
  const auto upper = LoadLittle<uint16_t>(page.data() + 14);
  const size_t at = LoadLittle<uint16_t>(page.data() + kPageHeader + 2 * i);
  if (at < upper || at + kNodeHeader > page.size()) {
    fault = fmt::format("node {} lies at {}, outside of the page", i, at);
    return std::nullopt;
  }
  const char* bytes = page.data() + at;
  const size_t key_size = LoadLittle<uint16_t>(bytes + 6);
  if (at + kNodeHeader + key_size > page.size()) {
    fault = fmt::format("node {} has a key of {} bytes, too long", i, key_size);
    return std::nullopt;
  }
  Node node;
  node.key = page.substr(at + kNodeHeader, key_size);
  const uint64_t low = LoadLittle<uint16_t>(bytes) | static_cast<uint64_t>(LoadLittle<uint16_t>(bytes + 2)) << 16;
  const auto flags = LoadLittle<uint16_t>(bytes + 4);
  if (!is_leaf) {
    node.child = low | static_cast<uint64_t>(flags) << 32;
    return node;
  }
  node.flags = flags;
  node.data_size = low;
  node.data_at = at + kNodeHeader + key_size;
  if (node.data_at + (node.big() ? sizeof(uint64_t) : node.data_size) > page.size()) {
    fault = fmt::format("a node at {} has {} bytes of data, too many", at, node.data_size);
    return std::nullopt;
  }
  return node;
}

}  // namespace

Tree ReadTree(const char* record) {
  Tree tree;
  tree.flags = LoadLittle<uint16_t>(record + 4);
  tree.depth = LoadLittle<uint16_t>(record + 6);
  tree.branch_pages = LoadLittle<uint64_t>(record + 8);
  tree.leaf_pages = LoadLittle<uint64_t>(record + 16);
  tree.overflow_pages = LoadLittle<uint64_t>(record + 24);
  tree.entries = LoadLittle<uint64_t>(record + 32);
  tree.root = LoadLittle<uint64_t>(record + 40);
  return tree;
}

Result<Metas> ReadMetas(File& file, const std::string& path, uint64_t size) {
  Metas metas;
  ASSIGN_OR_RETURN(metas.first, ReadMeta(file, path, size, 0, kDirectAlignment));
  const uint32_t page_size = metas.first.page_size;
  ASSIGN_OR_RETURN(metas.second, ReadMeta(file, path, size, page_size, page_size));
  if (metas.second.page_size == page_size) return metas;
  return Error{ErrorCode::kCorruption, fmt::format("{}: page 1 (byte {}): its page size differs from page 0's; the "
                                                   "file has {} bytes",
                                                   path, page_size, size)};
}

std::string MetasFault(const Metas& metas) {
  const uint64_t first = metas.first.transaction;
  const uint64_t second = metas.second.transaction;
  const bool is_new = first == 0 && second == 0;
  const bool neighbours = first + 1 == second || second + 1 == first;
  const bool in_place = first % 2 == 0 && (second % 2 == 1 || second == 0);
  if (is_new || (neighbours && in_place)) return {};
  return fmt::format("the meta pages are of transactions {} and {}: one is damaged", first, second);
}

std::string HeaderFault(std::string_view page, uint64_t number, bool is_leaf) {
  if (LoadLittle<uint64_t>(page.data()) != number) return "carries another page's number";
  const auto flags = LoadLittle<uint16_t>(page.data() + 10);
  if (flags != (is_leaf ? kLeaf : kBranch)) return fmt::format("flags {:#x} do not fit its place in the tree", flags);
  const auto lower = LoadLittle<uint16_t>(page.data() + 12);
  const auto upper = LoadLittle<uint16_t>(page.data() + 14);
  if (lower < kPageHeader || lower > upper || upper > page.size() || lower % 2 != 0) {
    return fmt::format("free space from {} to {} is impossible", lower, upper);
  }
  return {};
}

std::optional<std::vector<Node>> ReadNodes(std::string_view page, bool is_leaf, std::string& fault) {
  const size_t count = (LoadLittle<uint16_t>(page.data() + 12) - kPageHeader) / 2;
  std::vector<Node> nodes;
  nodes.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const std::optional<Node> node = ReadNode(page, i, is_leaf, fault);
    if (!node) return std::nullopt;
    nodes.push_back(*node);
  }
  return nodes;
}

std::string FillFault(std::string_view page, const std::vector<Node>& nodes, bool is_leaf) {
  if (nodes.size() < (is_leaf ? 1u : 2u)) return fmt::format("has {} nodes", nodes.size());
  size_t packed = 0;
  for (const Node& node : nodes) {
    packed += (kNodeHeader + node.key.size() + (is_leaf ? node.Stored(page).size() : 0) + 1) & ~size_t{1};
  }
  const auto upper = LoadLittle<uint16_t>(page.data() + 14);
  if (packed == page.size() - upper) return {};
  return fmt::format("its nodes take {} bytes, {} were expected", packed, page.size() - upper);
}

uint64_t OverflowPages(uint64_t value_size, size_t page_size) {
  return (value_size + kPageHeader + page_size - 1) / page_size;
}

bool IsOverflow(std::string_view bytes, uint64_t number, uint64_t pages) {
  return LoadLittle<uint64_t>(bytes.data()) == number && LoadLittle<uint16_t>(bytes.data() + 10) == kOverflow &&
         LoadLittle<uint32_t>(bytes.data() + 12) == pages;
}

}  // namespace holdfast::lmdb_page
