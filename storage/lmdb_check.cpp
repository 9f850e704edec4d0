#include "storage/lmdb_check.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/lmdb_page.h"
#include "storage/row.h"

namespace holdfast {
namespace {

using lmdb_page::kNoPage;
using lmdb_page::kPageHeader;
using lmdb_page::Meta;
using lmdb_page::Node;
using lmdb_page::Tree;

constexpr uint64_t kProgressPages = 4096;

class Walker {
 public:
  enum class TreeKind { kFreeList, kMain, kTable };

  // `visitor` null: stops at the first damage.
  Walker(File& file, std::string path, LmdbCheckDepth depth, const LmdbWalkVisitor* visitor)
      : file_(file), path_(std::move(path)), depth_(depth), visitor_(visitor) {}

  Result<void> Run() {
    ASSIGN_OR_RETURN(size_, file_.Size());
    ASSIGN_OR_RETURN(const lmdb_page::Metas metas, lmdb_page::ReadMetas(file_, path_, size_));
    page_size_ = metas.first.page_size;
    meta_ = metas.newest();
    pages_ = size_ / page_size_;
    report_.page_size = page_size_;
    report_.pages = meta_.last_page + 1;
    report_.transaction = meta_.transaction;
    if (full()) {
      RETURN_IF_ERROR(CheckMetas(metas));
      if (report_.pages > pages_) {
        RETURN_IF_ERROR(Report(meta_.last_page, "beyond the end of the file: the file is truncated"));
      }
      used_.resize(pages_);
    }
    RETURN_IF_ERROR(WalkTree(meta_.main, TreeKind::kMain, "main"));
    RETURN_IF_ERROR(WalkTree(meta_.free_list, TreeKind::kFreeList, "free list"));
    return full() ? CheckFree() : Result<void>();
  }

  [[nodiscard]] const LmdbWalkReport& report() const { return report_; }

 private:
  struct Counted {
    uint64_t branch_pages = 0, leaf_pages = 0, overflow_pages = 0, entries = 0;
    bool damaged = false;
  };

  [[nodiscard]] bool full() const { return visitor_ != nullptr; }

  [[nodiscard]] Error Damaged(uint64_t page, std::string_view what) const {
    return Error{ErrorCode::kCorruption, fmt::format("{}: page {} (byte {}): {}; the file has {} bytes", path_, page,
                                                     page * page_size_, what, size_)};
  }
  // Ends a check that stops at the first damage; else tells, and the caller goes on elsewhere.
  Result<void> Report(uint64_t page, std::string_view what, bool value_alone = false) {
    if (!full()) return Damaged(page, what);
    counted_.damaged = counted_.damaged || !value_alone;
    visitor_->damage({page * page_size_, fmt::format("page {}: {}", page, what), value_alone});
    return {};
  }

  Result<void> CheckMetas(const lmdb_page::Metas& metas) {
    if (const std::string fault = lmdb_page::MetasFault(metas); !fault.empty()) RETURN_IF_ERROR(Report(0, fault));
    return {};
  }

  Result<void> WalkTree(const Tree& tree, TreeKind kind, std::string_view name) {
    const Counted outer = std::exchange(counted_, {});
    last_key_.reset();
    // LMDB orders keys by these flags: with others it finds none of them, and says nothing.
    if (tree.flags != (kind == TreeKind::kFreeList ? lmdb_page::kIntegerKeys : 0)) {
      RETURN_IF_ERROR(Report(0, fmt::format("database '{}' has flags {:#x}", name, tree.flags)));
    }
    if (tree.root != kNoPage) {
      if (tree.depth == 0 || tree.depth > lmdb_page::kDepthMax) {
        RETURN_IF_ERROR(Report(tree.root, "its tree has an impossible depth"));
      } else {
        RETURN_IF_ERROR(WalkPage(tree.root, tree.depth, kind, {}, std::nullopt));
      }
    }
    const Counted& seen = counted_;
    const bool agrees = seen.branch_pages == tree.branch_pages && seen.leaf_pages == tree.leaf_pages &&
                        seen.overflow_pages == tree.overflow_pages && seen.entries == tree.entries;
    if (full() && !seen.damaged && !agrees) {
      RETURN_IF_ERROR(Report(tree.root == kNoPage ? 0 : tree.root,
                             fmt::format("database '{}' has {} rows on {}+{}+{} pages, its record says {} on {}+{}+{}",
                                         name, seen.entries, seen.branch_pages, seen.leaf_pages, seen.overflow_pages,
                                         tree.entries, tree.branch_pages, tree.leaf_pages, tree.overflow_pages)));
    }
    const bool damaged = counted_.damaged;
    counted_ = outer;
    counted_.damaged = counted_.damaged || damaged;
    last_key_.reset();
    return {};
  }

  // False, told, if it cannot be.
  Result<bool> ClaimPages(uint64_t page, uint64_t count) {
    std::string what;
    if (page < 2 || page > meta_.last_page || count > meta_.last_page + 1 - page) {
      what = fmt::format("outside of the {} pages the meta page knows", meta_.last_page + 1);
    } else if (page + count > pages_) {
      what = "beyond the end of the file: the file is truncated";
    }
    if (what.empty() && full()) {
      for (uint64_t i = page; i < page + count && what.empty(); ++i) {
        if (used_[i]) what = "is used twice";
        used_[i] = true;
      }
      report_.tree_pages += count;
      if (visitor_->progress && report_.tree_pages >= next_progress_) {
        next_progress_ = report_.tree_pages + kProgressPages;
        visitor_->progress(report_.tree_pages, report_.pages);
      }
    }
    if (what.empty()) return true;
    RETURN_IF_ERROR(Report(page, what));
    return false;
  }

  // Reads and checks one page of a tree. Null, told, if it is damaged.
  Result<std::unique_ptr<std::string>> ReadPage(uint64_t number, int level) {
    auto page = std::make_unique<std::string>(page_size_, '\0');
    ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(number * page_size_, page->data(), page->size()));
    const std::string fault =
        count != page->size() ? "cannot be read whole" : lmdb_page::HeaderFault(*page, number, level == 1);
    if (fault.empty()) return page;
    RETURN_IF_ERROR(Report(number, fault));
    return std::unique_ptr<std::string>();
  }

  // `level` counts down to 1, the leaves. Leaves of the main tree hold the named databases and are always read.
  // Keys lie in [from, to).
  Result<void> WalkPage(uint64_t number, int level, TreeKind kind, std::string_view from,
                        std::optional<std::string_view> to) {
    ASSIGN_OR_RETURN(const bool mine, ClaimPages(number, 1));
    if (!mine) return {};
    if (level == 1 && kind != TreeKind::kMain && depth_ == LmdbCheckDepth::kQuick) return {};
    ASSIGN_OR_RETURN(const std::unique_ptr<std::string> page, ReadPage(number, level));
    if (page == nullptr) return {};
    const bool is_leaf = level == 1;
    ++(is_leaf ? counted_.leaf_pages : counted_.branch_pages);
    std::string fault;
    const auto read = lmdb_page::ReadNodes(*page, is_leaf, fault);
    if (!read) return Report(number, fault);
    const std::vector<Node>& nodes = *read;
    if (full()) {
      if (fault = lmdb_page::FillFault(*page, nodes, is_leaf); !fault.empty()) RETURN_IF_ERROR(Report(number, fault));
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (is_leaf) {
        if (full()) RETURN_IF_ERROR(CheckKey(number, nodes[i].key, from, to, kind));
        RETURN_IF_ERROR(WalkLeafNode(number, *page, nodes[i], kind));
        continue;
      }
      // The first key of a branch page is not looked at: all below it is less than the second.
      const std::string_view lower = i == 0 ? from : nodes[i].key;
      const auto upper = i + 1 < nodes.size() ? std::optional(nodes[i + 1].key) : to;
      RETURN_IF_ERROR(WalkPage(nodes[i].child, level - 1, kind, lower, upper));
    }
    return {};
  }

  Result<void> CheckKey(uint64_t number, std::string_view key, std::string_view from,
                        std::optional<std::string_view> to, TreeKind kind) {
    if (kind == TreeKind::kFreeList) return {};  // numbers; few
    const bool in_bounds = key >= from && (!to || key < *to);
    const bool ascends = !last_key_ || *last_key_ < key;
    last_key_ = key;
    return in_bounds && ascends ? Result<void>() : Report(number, "its keys are not in order");
  }

  Result<void> WalkLeafNode(uint64_t number, const std::string& page, const Node& node, TreeKind kind) {
    ++counted_.entries;
    std::string_view value = node.Stored(page);
    if (full() && (node.flags & ~(kind == TreeKind::kMain ? lmdb_page::kNodeSubTree : lmdb_page::kNodeBigData)) != 0) {
      return Report(number, fmt::format("a node has flags {:#x}", node.flags));
    }
    uint64_t position = number * page_size_ + node.data_at;
    std::string joined;
    if (node.big()) {
      const auto first = LoadLittle<uint64_t>(value.data());
      const uint64_t count = lmdb_page::OverflowPages(node.data_size, page_size_);
      ASSIGN_OR_RETURN(const bool mine, ClaimPages(first, count));
      if (!mine || !full()) return {};
      counted_.overflow_pages += count;
      joined.resize(kPageHeader + node.data_size);
      ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(first * page_size_, joined.data(), joined.size()));
      if (got != joined.size() || !lmdb_page::IsOverflow(joined, first, count))
        return Report(first, "is not the page of a long value that it should be");
      value = std::string_view(joined).substr(kPageHeader);
      position = first * page_size_ + kPageHeader;
    }
    if (kind == TreeKind::kMain) return WalkTable(number, node, value);
    if (!full()) return {};
    return kind == TreeKind::kFreeList ? TakeFree(number, node.key, value) : GiveRow(number, node.key, value, position);
  }

  Result<void> WalkTable(uint64_t number, const Node& node, std::string_view value) {
    if ((node.flags & lmdb_page::kNodeSubTree) == 0 || value.size() != lmdb_page::kTreeRecord) {
      return Report(number, "the list of databases holds something else");
    }
    const std::string name(node.key);
    const std::optional<std::string> outer_key = last_key_;
    for (size_t i = 0; i < kLmdbTables; ++i) {
      if (name == LmdbTableName(static_cast<LmdbTable>(i))) table_ = static_cast<LmdbTable>(i);
    }
    if (full()) {
      if (name != LmdbTableName(table_)) return Report(number, "the list of databases has a name that is not known");
      found_[static_cast<size_t>(table_)] = true;
    }
    RETURN_IF_ERROR(WalkTree(lmdb_page::ReadTree(value.data()), TreeKind::kTable, name));
    last_key_ = outer_key;
    return {};
  }

  Result<void> GiveRow(uint64_t number, std::string_view key, std::string_view stored, uint64_t position) {
    ++report_.rows[static_cast<size_t>(table_)];
    if (stored.size() >= kLmdbRowChecksumSize) {
      const std::string_view value = stored.substr(0, stored.size() - kLmdbRowChecksumSize);
      if (LoadLittle<uint32_t>(stored.data() + value.size()) == LmdbRowChecksum(key, value)) {
        return visitor_->row ? visitor_->row(table_, key, value, position) : Result<void>();
      }
    }
    return Report(number,
                  fmt::format("database '{}', row '{}': the value ({} bytes) does not match its checksum",
                              LmdbTableName(table_), PrintableKey(key), stored.size()),
                  true);
  }

  // key: transaction u64; value: count u64, pages.
  Result<void> TakeFree(uint64_t number, std::string_view key, std::string_view value) {
    const uint64_t count = value.size() < 8 ? 0 : LoadLittle<uint64_t>(value.data());
    if (key.size() != 8 || value.size() < 8 || count > value.size() / 8 - 1) {
      return Report(number, "a list of free pages that cannot be");
    }
    for (uint64_t i = 0; i < count; ++i) free_.push_back(LoadLittle<uint64_t>(value.data() + 8 * (i + 1)));
    report_.free_pages += count;
    return {};
  }

  Result<void> CheckFree() {
    for (const uint64_t page : free_) {
      if (page < 2 || page > meta_.last_page) {
        RETURN_IF_ERROR(Report(page, "is listed as free, and does not exist"));
      } else if (page < used_.size() && used_[page]) {
        RETURN_IF_ERROR(Report(page, "is listed as free, and in use or listed twice: it would be overwritten"));
      } else if (page < used_.size()) {
        used_[page] = true;
      }
    }
    for (size_t i = 0; i < kLmdbTables; ++i) {
      if (!found_[i]) {
        RETURN_IF_ERROR(Report(meta_.main.root == kNoPage ? 0 : meta_.main.root,
                               fmt::format("database '{}' is missing", LmdbTableName(static_cast<LmdbTable>(i)))));
      }
    }
    return {};
  }

  File& file_;
  std::string path_;
  LmdbCheckDepth depth_;
  const LmdbWalkVisitor* visitor_;
  uint64_t size_ = 0;
  uint64_t page_size_ = kDirectAlignment;
  uint64_t pages_ = 0;
  Meta meta_;
  LmdbWalkReport report_;
  Counted counted_;
  std::vector<bool> used_;
  std::vector<uint64_t> free_;
  std::optional<std::string> last_key_;
  LmdbTable table_ = LmdbTable::kKeys;
  bool found_[kLmdbTables] = {};
  uint64_t next_progress_ = kProgressPages;
};

}  // namespace

uint32_t LmdbRowChecksum(std::string_view row_key, std::string_view value) {
  return static_cast<uint32_t>(Checksum64(value, Checksum64(row_key)));
}

Result<void> CheckLmdbFile(FileSystem& fs, const std::string& path, LmdbCheckDepth depth) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kRead, false}));
  return Walker(*file, path, depth, nullptr).Run();
}

Result<LmdbWalkReport> WalkLmdbFile(FileSystem& fs, const std::string& path, const LmdbWalkVisitor& visitor) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kRead, false}));
  Walker walker(*file, path, LmdbCheckDepth::kAllPages, &visitor);
  auto run = walker.Run();
  if (run.ok()) return walker.report();
  if (run.error().code != ErrorCode::kCorruption) return std::move(run).error();
  visitor.damage({0, run.error().message});
  return walker.report();
}

}  // namespace holdfast
