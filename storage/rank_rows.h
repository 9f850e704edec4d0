// Fence rows: how many members of a sorted set lie between places of its score index, so that a rank is found without
// counting members one by one.
//
//   row     kFence1, kFence2, kFence3; suffix: as the score row of the member that is the fence; value: count u64 LE
//
// A member is a fence of level 1 if the last five bits of its row hash are 0, of level 2 if the last ten are, of level
// 3 if the last fifteen are. A fence row counts the members from the fence on, itself included, up to the next fence of
// its level. What comes before the first fence is counted by a row with eight zero bytes as suffix, at each level; it
// is below every score. So the rows of a level sum up to the size, those of a lower level between two fences of a
// higher one to that one's count, and which rows there are depends on the members alone, not on how they came there.
//
// Members of kFenceMemberMax bytes and more are no fences. Only sorted sets that once had more than kFencedFrom members
// have fence rows: their header says so.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/row.h"

namespace holdfast {

inline constexpr int kFenceLevels = 3;
inline constexpr uint64_t kMembersPerFence = 32;  // about, and fences of one level per fence of the next
inline constexpr size_t kFenceMemberMax = 400;
inline constexpr uint64_t kFencedFrom = 256;
// What the header then has behind it.
inline constexpr char kFencedMark = 1;

// `level` from 1 to kFenceLevels.
[[nodiscard]] CollectionKind FenceKind(int level);
// Of the member with this score row: the highest level of which it is a fence, 0 for none.
[[nodiscard]] int FenceLevel(std::string_view score_suffix);
// The suffix of the row that counts what comes before the first fence.
[[nodiscard]] std::string_view FirstFence();

// Makes the fence rows of score rows that are added in order.
class FenceCounter {
 public:
  struct Fence {
    int level;
    std::string suffix;
    uint64_t count;
  };
  FenceCounter();
  void Add(std::string_view score_suffix);
  // Those that are complete. Finish() completes the last ones.
  void Finish();
  [[nodiscard]] std::vector<Fence> Take();
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  void Close(int level);

  std::array<Fence, kFenceLevels> open_;
  std::vector<Fence> done_;
  uint64_t bytes_ = 0;
};

}  // namespace holdfast
