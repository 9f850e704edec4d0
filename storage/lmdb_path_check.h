// Checks the pages of LMDB's file that a look-up will touch, before LMDB touches them: the paths from the root to where
// a key is or would be, not the file. LMDB believes its pages; a damaged one would end the process or hide rows.
//
// What is checked of each page on a path: place, kind, bounds, fill, the order of its keys within the bounds its
// parents give; of values on pages of their own their extent. A key that is not there is believed only if the leaves on
// both sides of its place keep to their bounds, too (so no separator was moved), and every row of its leaf matches its
// checksum (so no key was altered). What only a walk of all pages can see (double use, counts, damage elsewhere) is not
// looked for: storage/lmdb_check.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "storage/lmdb_env.h"
#include "storage/lmdb_page.h"

namespace holdfast {

// One thread. Errors: kCorruption names file, page and byte; those of reading.
class LmdbPathCheck {
 public:
  // Checks the meta pages and the list of tables of the newest state.
  static Result<std::unique_ptr<LmdbPathCheck>> Open(FileSystem& fs, const std::string& path);
  ~LmdbPathCheck();

  // Takes the state of this transaction, whose pages must stay from now on: a read transaction has it open. False: the
  // file's meta pages are both newer by now, or being written: begin another one.
  Result<bool> Bind(uint64_t transaction);

  // Before a look-up, a seek to the first key >= `key`, a seek to the end.
  Result<void> Find(LmdbTable table, std::string_view key);
  Result<void> Seek(LmdbTable table, std::string_view key);
  Result<void> SeekLast(LmdbTable table);
  // Before a cursor at `key` moves on or back.
  Result<void> Next(LmdbTable table, std::string_view key);
  Result<void> Previous(LmdbTable table, std::string_view key);
  // After LMDB did not find it.
  Result<void> Absent(LmdbTable table, std::string_view key);

 private:
  // One page on the way to a leaf.
  struct Step {
    uint64_t number = 0;
    std::unique_ptr<std::string> page;
    std::vector<lmdb_page::Node> nodes;  // views into `page`
    size_t index = 0;                    // the child that is taken
    // Its keys lie in [from, to).
    std::string from;
    std::optional<std::string> to;
  };
  using Path = std::vector<Step>;
  // Keys of a leaf that was checked, with what a cursor touches to get to them.
  struct Covered {
    std::string first, last;
  };
  enum class Side { kLeft, kRight };

  LmdbPathCheck(std::unique_ptr<File> file, std::string path);

  [[nodiscard]] Error Damaged(uint64_t page, std::string_view what) const;
  Result<void> BindTo(const lmdb_page::Meta& meta);
  Result<void> CheckExtent(uint64_t page, uint64_t count) const;
  Result<Step> ReadStep(uint64_t number, bool is_leaf, std::string from, std::optional<std::string> to);
  Result<void> CheckLeafValues(const Step& leaf);
  Result<void> CheckOverflow(const lmdb_page::Node& node, uint64_t first);
  // From the last step down to a leaf; `key` null: along that side.
  Result<void> Descend(Path& path, int depth, const std::string_view* key, Side side);
  // An empty path if the table is empty.
  Result<Path> PathTo(LmdbTable table, const std::string_view* key, Side side);
  // False if there is no leaf on that side.
  Result<bool> MoveToNeighbour(Path& path, int depth, Side side);
  Result<void> CheckNeighbours(LmdbTable table, std::string_view key);
  Result<void> Move(LmdbTable table, std::string_view key, Side side);
  void Cover(LmdbTable table, const Step& leaf);
  [[nodiscard]] const std::optional<Covered>& covered(LmdbTable table) const {
    return covered_[static_cast<size_t>(table)];
  }
  [[nodiscard]] const lmdb_page::Tree& tree(LmdbTable table) const { return trees_[static_cast<size_t>(table)]; }

  std::unique_ptr<File> file_;
  const std::string path_;
  uint64_t size_ = 0;
  size_t page_size_ = 0;
  lmdb_page::Meta meta_;
  lmdb_page::Tree trees_[kLmdbTables];
  std::optional<Covered> covered_[kLmdbTables];
};

}  // namespace holdfast
