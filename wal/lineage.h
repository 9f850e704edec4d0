// Lineage: which histories this node's stream consists of. A bounded table of (id, from offset), newest last.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace holdfast::wal {

inline constexpr size_t kLineageEntriesMax = 64;
inline constexpr size_t kLineageIdSize = 40;  // hex digits, Redis' replication id

struct LineageEntry {
  std::string id;            // 40 lower-case hex digits
  uint64_t from_offset = 0;  // the first stream offset that belongs to it
  int64_t time_ms = 0;
  friend bool operator==(const LineageEntry&, const LineageEntry&) = default;
};

class Lineage {
 public:
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] const std::vector<LineageEntry>& entries() const { return entries_; }
  [[nodiscard]] const std::string& current_id() const;  // 40 zeros when empty
  // Redis' replid2 and second_repl_offset: the id before the current one and the first offset no longer under it
  // (from_offset of the current one + 1 in Redis' counting); 40 zeros and -1 when there is none.
  [[nodiscard]] std::string second_id() const;
  [[nodiscard]] int64_t second_offset() const;

  // Starts a new id at `from_offset`, the old ones stay valid up to there. Drops the oldest entries beyond the bound.
  void Push(std::string id, uint64_t from_offset, int64_t time_ms);
  // Forgets everything before: empty start, RDB import.
  void Reset(std::string id, uint64_t from_offset, int64_t time_ms);
  // Offset up to which `id` is valid here: the next entry's from_offset, or UINT64_MAX for the current id; nullopt if
  // the id is unknown. Ids compare case-insensitively.
  [[nodiscard]] std::optional<uint64_t> ValidUntil(std::string_view id) const;

  // Whether the newest id of `table` stands here, too, from the same offset on: who has this knows that.
  [[nodiscard]] bool Knows(const Lineage& table) const;

  // Serialized: u32 count, then per entry the id as 20 bytes, u64 from_offset, i64 time_ms; little-endian.
  static constexpr size_t kSerializedSizeMax = 4 + kLineageEntriesMax * 36;
  void AppendTo(std::string& to) const;
  // kCorruption: wrong size, too many entries, offsets that go back.
  static Result<Lineage> Parse(std::string_view bytes);
  friend bool operator==(const Lineage&, const Lineage&) = default;

 private:
  std::vector<LineageEntry> entries_;
};

}  // namespace holdfast::wal
