// Checks LMDB's file by its page structure, with bounded reads, without mapping it: LMDB itself believes its file, and
// a truncated one kills the process with SIGBUS. Reads the format of LMDB 0.9 (data version 1).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "storage/lmdb_env.h"

namespace holdfast {

enum class LmdbCheckDepth {
  kQuick,     // meta pages, the trees' records and inner pages: every reachable page lies inside the file
  kAllPages,  // leaves and values' overflow pages, too; reads the whole file
};

// Stops at the first damage: kCorruption names the file, the page and what is wrong. Works beside a live writer only in
// as far as the newest state stays the newest while it reads.
Result<void> CheckLmdbFile(FileSystem& fs, const std::string& path, LmdbCheckDepth depth = LmdbCheckDepth::kQuick);

struct LmdbFinding {
  uint64_t position;  // byte in the file
  std::string message;
  bool value_alone = false;  // a value does not match its checksum; the page is in order
};

struct LmdbWalkVisitor {
  // Each row of the five tables in order; the stored value's checksum was verified and taken off. An error ends the
  // walk.
  std::function<Result<void>(LmdbTable table, std::string_view key, std::string_view value, uint64_t position)> row;
  // Damage; the walk goes on with what it does not hit.
  std::function<void(const LmdbFinding& finding)> damage;
  std::function<void(uint64_t pages_done, uint64_t pages_total)> progress;
};

struct LmdbWalkReport {
  uint64_t page_size = 0;
  uint64_t pages = 0;        // that the newest state knows
  uint64_t tree_pages = 0;   // reachable from it
  uint64_t free_pages = 0;   // to be reused
  uint64_t transaction = 0;  // number of the newest state
  uint64_t rows[kLmdbTables] = {};
};

// Walks every page of the newest state with all rules: what a page is and where, order and bounds of keys, counts, that
// no page is used twice or both used and free, every value's checksum. Beside a live writer a read transaction of the
// environment must be open all the while, begun before: its pages and newer ones then stay.
// ok and no damage told: the whole state is good. Errors: of reading, kUnsupported, and the visitor's.
Result<LmdbWalkReport> WalkLmdbFile(FileSystem& fs, const std::string& path, const LmdbWalkVisitor& visitor);

// The checksum that follows each value in LMDB's file: over row key and value.
[[nodiscard]] uint32_t LmdbRowChecksum(std::string_view row_key, std::string_view value);
inline constexpr size_t kLmdbRowChecksumSize = 4;

}  // namespace holdfast
