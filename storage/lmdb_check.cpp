#include "storage/lmdb_check.h"

#include <fmt/format.h>

#include <bit>
#include <memory>

#include "storage/base/coding.h"

namespace holdfast {
namespace {

// Layout of LMDB 0.9 (64-bit, little-endian): mdb.c, struct MDB_page, MDB_meta, MDB_db, MDB_node.
constexpr size_t kPageHeader = 16;
constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint32_t kDataVersion = 1;
constexpr uint16_t kBranch = 0x01;
constexpr uint16_t kLeaf = 0x02;
constexpr uint16_t kMeta = 0x08;
constexpr uint16_t kNodeBigData = 0x01;
constexpr uint16_t kNodeSubTree = 0x02;
constexpr uint64_t kNoPage = ~uint64_t{0};
constexpr size_t kTreeRecord = 48;
constexpr size_t kNodeHeader = 8;
constexpr int kDepthMax = 32;  // CURSOR_STACK

struct Tree {
  uint16_t depth = 0;
  uint64_t entries = 0;
  uint64_t root = kNoPage;
};

struct Meta {
  uint32_t page_size = 0;
  Tree free_list;
  Tree main;
  uint64_t last_page = 0;
  uint64_t transaction = 0;
};

Tree ReadTree(const char* record) {
  Tree tree;
  tree.depth = LoadLittle<uint16_t>(record + 6);
  tree.entries = LoadLittle<uint64_t>(record + 32);
  tree.root = LoadLittle<uint64_t>(record + 40);
  return tree;
}

class Checker {
 public:
  Checker(File& file, std::string path, LmdbCheckDepth depth) : file_(file), path_(std::move(path)), depth_(depth) {}

  Result<void> Run() {
    ASSIGN_OR_RETURN(size_, file_.Size());
    ASSIGN_OR_RETURN(const Meta first, ReadMeta(0, kDirectAlignment));
    page_size_ = first.page_size;
    ASSIGN_OR_RETURN(const Meta second, ReadMeta(page_size_, page_size_));
    if (second.page_size != page_size_) return Damaged(1, "its page size differs from page 0's");
    meta_ = second.transaction > first.transaction ? second : first;
    pages_ = size_ / page_size_;
    RETURN_IF_ERROR(WalkTree(meta_.free_list, false));
    return WalkTree(meta_.main, true);
  }

 private:
  [[nodiscard]] Error Damaged(uint64_t page, std::string_view what) const {
    return Error{ErrorCode::kCorruption, fmt::format("{}: page {} (byte {}): {}; the file has {} bytes", path_, page,
                                                     page * page_size_, what, size_)};
  }

  Result<Meta> ReadMeta(uint64_t position, size_t page_size) {
    char page[kPageHeader + 256];
    ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(position, page, sizeof(page)));
    const uint64_t number = position == 0 ? 0 : 1;
    if (count < sizeof(page) || position + page_size > size_) {
      return Error{ErrorCode::kCorruption,
                   fmt::format("{}: truncated: {} bytes are too few for meta page {}", path_, size_, number)};
    }
    const char* meta = page + kPageHeader;
    if ((LoadLittle<uint16_t>(page + 10) & kMeta) == 0 || LoadLittle<uint32_t>(meta) != kMagic) {
      return Error{ErrorCode::kCorruption, fmt::format("{}: page {} is no LMDB meta page", path_, number)};
    }
    if (LoadLittle<uint32_t>(meta + 4) != kDataVersion) {
      return Error{ErrorCode::kUnsupported, fmt::format("{}: LMDB data version {}, this build reads {}", path_,
                                                        LoadLittle<uint32_t>(meta + 4), kDataVersion)};
    }
    Meta result;
    result.page_size = LoadLittle<uint32_t>(meta + 24);
    if (!std::has_single_bit(result.page_size) || result.page_size < 512 || result.page_size > 65536) {
      return Error{ErrorCode::kCorruption,
                   fmt::format("{}: meta page {} names a page size of {}", path_, number, result.page_size)};
    }
    result.free_list = ReadTree(meta + 24);
    result.main = ReadTree(meta + 24 + kTreeRecord);
    result.last_page = LoadLittle<uint64_t>(meta + 24 + 2 * kTreeRecord);
    result.transaction = LoadLittle<uint64_t>(meta + 24 + 2 * kTreeRecord + 8);
    return result;
  }

  Result<void> WalkTree(const Tree& tree, bool is_main) {
    if (tree.root == kNoPage) return {};
    if (tree.depth == 0 || tree.depth > kDepthMax) return Damaged(tree.root, "its tree has an impossible depth");
    return WalkPage(tree.root, tree.depth, is_main);
  }

  Result<void> CheckNumber(uint64_t page, uint64_t count) const {
    if (page < 2 || page > meta_.last_page || count > meta_.last_page + 1 - page) {
      return Damaged(page, fmt::format("outside of the {} pages the meta page knows", meta_.last_page + 1));
    }
    if (page + count > pages_) return Damaged(page, "beyond the end of the file: the file is truncated");
    return {};
  }

  // `level` counts down to 1, the leaves. Leaves of the main tree hold the named databases and are always read.
  Result<void> WalkPage(uint64_t number, int level, bool is_main) {
    RETURN_IF_ERROR(CheckNumber(number, 1));
    if (level == 1 && !is_main && depth_ == LmdbCheckDepth::kQuick) return {};
    std::string page(page_size_, '\0');
    ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(number * page_size_, page.data(), page.size()));
    if (count != page.size()) return Damaged(number, "cannot be read whole");
    if (LoadLittle<uint64_t>(page.data()) != number) return Damaged(number, "carries another page's number");
    const auto flags = LoadLittle<uint16_t>(page.data() + 10);
    if ((flags & (kBranch | kLeaf)) != (level == 1 ? kLeaf : kBranch)) {
      return Damaged(number, fmt::format("flags {:#x} do not fit its place in the tree", flags));
    }
    const auto lower = LoadLittle<uint16_t>(page.data() + 12);
    const auto upper = LoadLittle<uint16_t>(page.data() + 14);
    if (lower < kPageHeader || lower > upper || upper > page_size_) {
      return Damaged(number, fmt::format("free space from {} to {} is impossible", lower, upper));
    }
    const size_t nodes = (lower - kPageHeader) / 2;
    for (size_t i = 0; i < nodes; ++i) {
      const size_t at = LoadLittle<uint16_t>(page.data() + kPageHeader + 2 * i);
      if (at < upper || at + kNodeHeader > page_size_) {
        return Damaged(number, fmt::format("node {} lies at {}, outside of the page", i, at));
      }
      const size_t key_size = LoadLittle<uint16_t>(page.data() + at + 6);
      if (at + kNodeHeader + key_size > page_size_) {
        return Damaged(number, fmt::format("node {} has a key of {} bytes, too long", i, key_size));
      }
      RETURN_IF_ERROR(level > 1 ? WalkPage(ChildOf(page.data() + at), level - 1, is_main)
                                : CheckLeafNode(number, page, at, key_size, is_main));
    }
    return {};
  }

  static uint64_t ChildOf(const char* node) {
    return LoadLittle<uint16_t>(node) | static_cast<uint64_t>(LoadLittle<uint16_t>(node + 2)) << 16 |
           static_cast<uint64_t>(LoadLittle<uint16_t>(node + 4)) << 32;
  }

  Result<void> CheckLeafNode(uint64_t number, const std::string& page, size_t at, size_t key_size, bool is_main) {
    const char* node = page.data() + at;
    const uint64_t data_size = LoadLittle<uint16_t>(node) | static_cast<uint64_t>(LoadLittle<uint16_t>(node + 2)) << 16;
    const auto flags = LoadLittle<uint16_t>(node + 4);
    const size_t data_at = at + kNodeHeader + key_size;
    const bool big = (flags & kNodeBigData) != 0;
    if (data_at + (big ? 8 : data_size) > page_size_) {
      return Damaged(number, fmt::format("a node at {} has {} bytes of data, too many", at, data_size));
    }
    if (big) {
      const auto first = LoadLittle<uint64_t>(page.data() + data_at);
      return CheckNumber(first, (data_size + kPageHeader + page_size_ - 1) / page_size_);
    }
    if (!is_main) return {};
    if ((flags & kNodeSubTree) == 0 || data_size != kTreeRecord) {
      return Damaged(number, "the list of databases holds something else");
    }
    return WalkTree(ReadTree(page.data() + data_at), false);
  }

  File& file_;
  std::string path_;
  LmdbCheckDepth depth_;
  uint64_t size_ = 0;
  uint64_t page_size_ = kDirectAlignment;
  uint64_t pages_ = 0;
  Meta meta_;
};

}  // namespace

Result<void> CheckLmdbFile(FileSystem& fs, const std::string& path, LmdbCheckDepth depth) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kRead, false}));
  return Checker(*file, path, depth).Run();
}

}  // namespace holdfast
