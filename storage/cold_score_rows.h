// The rows of one sorted set that lie where ranks and scores are looked for, brought into memory: score rows and the
// fences above them (storage/rank_rows.h). Part of ColdRows; a hint like all of it, and damage is left to who reads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/cold_rows.h"
#include "storage/lmdb_env.h"
#include "storage/row.h"

namespace holdfast {

class ColdScoreRows {
 public:
  ColdScoreRows(LmdbReader& reader, const KeyValue& value, CollectionId id);

  // What every command may look at: the rows of the highest level, and what lies above the lowest and highest member.
  void TouchEnds();
  // Around the members, and around the numbers among them as scores; or around ranks alone.
  void Fetch(const WantedKey& wanted);
  // Of score rows: with the fences beside them.
  static void Walk(LmdbReader& reader, const WalkAhead& walk);

 private:
  static constexpr uint64_t kRowsMax = 4096;   // of one part of a level; all of the highest one
  static constexpr uint64_t kRangeRows = 256;  // that a range may have behind its first one
  static constexpr uint64_t kPartRows = 128;   // of a level that is read at once, nearly always

  // Rows of the levels below it, and score rows, around a place of the score index.
  void TouchPlace(const std::string& suffix);
  void TouchRank(int64_t rank, bool from_highest);
  // Goes over rows of the level from the fence on, to the one in which the `place`th member is, which becomes `fence`;
  // `place` then counts from there. Reads as many rows as count `members`. False if there is no such row.
  bool Descend(CollectionKind kind, std::string& fence, uint64_t& place, uint64_t& members);

  LmdbReader& reader_;
  CollectionId id_;
  uint64_t count_ = 0;
  bool fenced_ = false;
};

}  // namespace holdfast
