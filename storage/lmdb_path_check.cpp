#include "storage/lmdb_path_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/base/coding.h"
#include "storage/lmdb_check.h"
#include "storage/row.h"

namespace holdfast {

using lmdb_page::kNoPage;
using lmdb_page::Meta;
using lmdb_page::Metas;
using lmdb_page::Node;
using lmdb_page::Tree;

LmdbPathCheck::LmdbPathCheck(std::unique_ptr<File> file, std::string path)
    : file_(std::move(file)), path_(std::move(path)) {}
LmdbPathCheck::~LmdbPathCheck() = default;

Error LmdbPathCheck::Damaged(uint64_t page, std::string_view what) const {
  return Error{ErrorCode::kCorruption,
               fmt::format("{}: page {} (byte {}): {}; see holdfast check", path_, page, page * page_size_, what)};
}

Result<std::unique_ptr<LmdbPathCheck>> LmdbPathCheck::Open(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kRead, false}));
  std::unique_ptr<LmdbPathCheck> check(new LmdbPathCheck(std::move(file), path));
  ASSIGN_OR_RETURN(check->size_, check->file_->Size());
  ASSIGN_OR_RETURN(const Metas metas, lmdb_page::ReadMetas(*check->file_, path, check->size_));
  check->page_size_ = metas.first.page_size;
  if (const std::string fault = lmdb_page::MetasFault(metas); !fault.empty()) return check->Damaged(0, fault);
  RETURN_IF_ERROR(check->BindTo(metas.newest()));
  return check;
}

Result<bool> LmdbPathCheck::Bind(uint64_t transaction) {
  ASSIGN_OR_RETURN(size_, file_->Size());
  ASSIGN_OR_RETURN(const Metas metas, lmdb_page::ReadMetas(*file_, path_, size_));
  // A writer may be at a meta page this moment.
  ASSIGN_OR_RETURN(const Metas again, lmdb_page::ReadMetas(*file_, path_, size_));
  if (!(metas.first == again.first) || !(metas.second == again.second)) return false;
  if (const std::string fault = lmdb_page::MetasFault(metas); !fault.empty()) return Damaged(0, fault);
  // A commit that is not over has written the other page already, and syncs it.
  for (const Meta* meta : {&metas.first, &metas.second}) {
    if (meta->transaction != transaction) continue;
    RETURN_IF_ERROR(BindTo(*meta));
    return true;
  }
  return false;
}

Result<void> LmdbPathCheck::BindTo(const Meta& meta) {
  meta_ = meta;
  for (auto& covered : covered_) covered.reset();
  if ((meta.last_page + 1) * page_size_ > size_) {
    return Damaged(meta.last_page, "beyond the end of the file: the file is truncated");
  }
  // The five tables' records fit into one leaf.
  if (meta.main.flags != 0 || meta.main.depth != 1) return Damaged(0, "the list of databases is no leaf");
  RETURN_IF_ERROR(CheckExtent(meta.main.root, 1));
  ASSIGN_OR_RETURN(const Step list, ReadStep(meta.main.root, true, {}, std::nullopt));
  if (list.nodes.size() != kLmdbTables) return Damaged(list.number, "the list of databases has not all of them");
  for (size_t i = 0; i < kLmdbTables; ++i) {
    const std::string_view name = LmdbTableName(static_cast<LmdbTable>(i));
    const auto node =
        std::find_if(list.nodes.begin(), list.nodes.end(), [&](const Node& each) { return each.key == name; });
    if (node == list.nodes.end()) return Damaged(list.number, fmt::format("database '{}' is missing", name));
    const std::string_view record = node->Stored(*list.page);
    if (node->flags != lmdb_page::kNodeSubTree || record.size() != lmdb_page::kTreeRecord) {
      return Damaged(list.number, "the list of databases holds something else");
    }
    trees_[i] = lmdb_page::ReadTree(record.data());
    const Tree& tree = trees_[i];
    const bool empty = tree.root == kNoPage;
    if (tree.flags != 0 || empty != (tree.entries == 0) || empty != (tree.depth == 0) ||
        tree.depth > lmdb_page::kDepthMax) {
      return Damaged(list.number, fmt::format("the record of database '{}' is impossible", name));
    }
  }
  return {};
}

Result<void> LmdbPathCheck::CheckExtent(uint64_t page, uint64_t count) const {
  if (page < 2 || page > meta_.last_page || count > meta_.last_page + 1 - page) {
    return Damaged(page, fmt::format("outside of the {} pages the meta page knows", meta_.last_page + 1));
  }
  return {};
}

Result<LmdbPathCheck::Step> LmdbPathCheck::ReadStep(uint64_t number, bool is_leaf, std::string from,
                                                    std::optional<std::string> to) {
  RETURN_IF_ERROR(CheckExtent(number, 1));
  Step step;
  step.number = number;
  step.from = std::move(from);
  step.to = std::move(to);
  step.page = std::make_unique<std::string>(page_size_, '\0');
  ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(number * page_size_, step.page->data(), page_size_));
  if (got != page_size_) return Damaged(number, "cannot be read whole");
  std::string fault = lmdb_page::HeaderFault(*step.page, number, is_leaf);
  if (!fault.empty()) return Damaged(number, fault);
  auto nodes = lmdb_page::ReadNodes(*step.page, is_leaf, fault);
  if (!nodes) return Damaged(number, fault);
  step.nodes = std::move(*nodes);
  fault = lmdb_page::FillFault(*step.page, step.nodes, is_leaf);
  if (!fault.empty()) return Damaged(number, fault);
  // The first key of a branch page is not looked at: all below it is less than the second.
  for (size_t i = is_leaf ? 0 : 1; i < step.nodes.size(); ++i) {
    const std::string_view key = step.nodes[i].key;
    const bool ascends = i == (is_leaf ? 0u : 1u) || step.nodes[i - 1].key < key;
    if (!ascends || key < step.from || (step.to && key >= *step.to)) {
      return Damaged(number, "its keys are not in order");
    }
  }
  for (const Node& node : step.nodes) {
    if (is_leaf && node.big())
      RETURN_IF_ERROR(CheckOverflow(node, LoadLittle<uint64_t>(step.page->data() + node.data_at)));
    if (!is_leaf) RETURN_IF_ERROR(CheckExtent(node.child, 1));
  }
  return step;
}

Result<void> LmdbPathCheck::CheckOverflow(const Node& node, uint64_t first) {
  const uint64_t count = lmdb_page::OverflowPages(node.data_size, page_size_);
  RETURN_IF_ERROR(CheckExtent(first, count));
  std::string header(lmdb_page::kPageHeader, '\0');
  ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(first * page_size_, header.data(), header.size()));
  if (got == header.size() && lmdb_page::IsOverflow(header, first, count)) return {};
  return Damaged(first, "is not the page of a long value that it should be");
}

Result<void> LmdbPathCheck::CheckLeafValues(const Step& leaf) {
  for (const Node& node : leaf.nodes) {
    std::string joined;
    std::string_view stored = node.Stored(*leaf.page);
    if (node.big()) {
      joined.resize(node.data_size);
      const uint64_t at = LoadLittle<uint64_t>(stored.data()) * page_size_ + lmdb_page::kPageHeader;
      ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(at, joined.data(), joined.size()));
      stored = std::string_view(joined).substr(0, got);
    }
    if (stored.size() >= kLmdbRowChecksumSize) {
      const std::string_view value = stored.substr(0, stored.size() - kLmdbRowChecksumSize);
      if (LoadLittle<uint32_t>(stored.data() + value.size()) == LmdbRowChecksum(node.key, value)) continue;
    }
    return Damaged(leaf.number, fmt::format("row '{}' does not match its checksum: what is not found here may have "
                                            "been there",
                                            PrintableKey(node.key)));
  }
  return {};
}

Result<void> LmdbPathCheck::Descend(Path& path, int depth, const std::string_view* key, Side side) {
  while (path.size() < static_cast<size_t>(depth)) {
    Step& above = path.back();
    const bool fresh = path.back().index == above.nodes.size();  // not placed by MoveToNeighbour
    if (fresh && key != nullptr) {
      const auto behind = std::upper_bound(above.nodes.begin() + 1, above.nodes.end(), *key,
                                           [](std::string_view wanted, const Node& node) { return wanted < node.key; });
      above.index = static_cast<size_t>(behind - above.nodes.begin()) - 1;
    } else if (fresh) {
      above.index = side == Side::kLeft ? 0 : above.nodes.size() - 1;
    }
    const size_t i = above.index;
    std::string from = i == 0 ? above.from : std::string(above.nodes[i].key);
    auto to = i + 1 < above.nodes.size() ? std::optional(std::string(above.nodes[i + 1].key)) : above.to;
    const bool is_leaf = path.size() + 1 == static_cast<size_t>(depth);
    ASSIGN_OR_RETURN(Step step, ReadStep(above.nodes[i].child, is_leaf, std::move(from), std::move(to)));
    step.index = step.nodes.size();
    path.push_back(std::move(step));
  }
  return {};
}

Result<LmdbPathCheck::Path> LmdbPathCheck::PathTo(LmdbTable table, const std::string_view* key, Side side) {
  Path path;
  if (tree(table).root == kNoPage) return path;
  ASSIGN_OR_RETURN(Step root, ReadStep(tree(table).root, tree(table).depth == 1, {}, std::nullopt));
  root.index = root.nodes.size();
  path.push_back(std::move(root));
  RETURN_IF_ERROR(Descend(path, tree(table).depth, key, side));
  return path;
}

Result<bool> LmdbPathCheck::MoveToNeighbour(Path& path, int depth, Side side) {
  path.pop_back();
  while (!path.empty()) {
    Step& above = path.back();
    if (side == Side::kRight ? above.index + 1 < above.nodes.size() : above.index > 0) {
      above.index = side == Side::kRight ? above.index + 1 : above.index - 1;
      // Down along the side that is nearer.
      RETURN_IF_ERROR(Descend(path, depth, nullptr, side == Side::kRight ? Side::kLeft : Side::kRight));
      return true;
    }
    path.pop_back();
  }
  return false;
}

void LmdbPathCheck::Cover(LmdbTable table, const Step& leaf) {
  covered_[static_cast<size_t>(table)] = {std::string(leaf.nodes.front().key), std::string(leaf.nodes.back().key)};
}

Result<void> LmdbPathCheck::Find(LmdbTable table, std::string_view key) {
  const auto& known = covered(table);
  if (known && known->first <= key && key <= known->last) return {};
  ASSIGN_OR_RETURN(const Path path, PathTo(table, &key, Side::kLeft));
  if (!path.empty()) Cover(table, path.back());
  return {};
}

Result<void> LmdbPathCheck::CheckNeighbours(LmdbTable table, std::string_view key) {
  for (const Side side : {Side::kLeft, Side::kRight}) {
    ASSIGN_OR_RETURN(Path path, PathTo(table, &key, Side::kLeft));
    if (path.empty()) return {};
    ASSIGN_OR_RETURN(const bool moved, MoveToNeighbour(path, tree(table).depth, side));
    (void)moved;
  }
  return {};
}

Result<void> LmdbPathCheck::Seek(LmdbTable table, std::string_view key) {
  const auto& known = covered(table);
  if (known && known->first < key && key <= known->last) return {};  // no separator can have moved it
  ASSIGN_OR_RETURN(const Path path, PathTo(table, &key, Side::kLeft));
  if (path.empty()) return {};
  const Step& leaf = path.back();
  if (!(leaf.nodes.front().key < key && key <= leaf.nodes.back().key)) RETURN_IF_ERROR(CheckNeighbours(table, key));
  Cover(table, leaf);
  return {};
}

Result<void> LmdbPathCheck::SeekLast(LmdbTable table) {
  ASSIGN_OR_RETURN(const Path path, PathTo(table, nullptr, Side::kRight));
  if (!path.empty()) Cover(table, path.back());
  return {};
}

Result<void> LmdbPathCheck::Next(LmdbTable table, std::string_view key) { return Move(table, key, Side::kRight); }
Result<void> LmdbPathCheck::Previous(LmdbTable table, std::string_view key) { return Move(table, key, Side::kLeft); }

Result<void> LmdbPathCheck::Move(LmdbTable table, std::string_view key, Side side) {
  const auto& known = covered(table);
  if (known && known->first <= key && key <= known->last) {
    if (side == Side::kRight ? key < known->last : known->first < key) return {};
  }
  ASSIGN_OR_RETURN(Path path, PathTo(table, &key, side));
  if (path.empty()) return {};
  const Step& leaf = path.back();
  const bool inside = side == Side::kRight ? key < leaf.nodes.back().key : leaf.nodes.front().key < key;
  if (!inside) {
    ASSIGN_OR_RETURN(const bool moved, MoveToNeighbour(path, tree(table).depth, side));
    if (!moved) return {};
  }
  Cover(table, path.back());
  return {};
}

Result<void> LmdbPathCheck::Absent(LmdbTable table, std::string_view key) {
  ASSIGN_OR_RETURN(const Path path, PathTo(table, &key, Side::kLeft));
  if (path.empty()) return {};
  const Step& leaf = path.back();
  if (key < leaf.nodes.front().key || leaf.nodes.back().key < key) RETURN_IF_ERROR(CheckNeighbours(table, key));
  return CheckLeafValues(leaf);
}

}  // namespace holdfast
