// Ranks in a sorted set that has fence rows (storage/rank_rows.h): from a place in its score index to a rank and back,
// and the counts kept right when members come and go.
//
// What it costs: a search in memory through three levels of fences, at most some hundred of the highest one in a sorted
// set of twenty million, and one among the scores behind a fence of the lowest level. These are kept from the second
// time on; the first time, and among members of the same score, the rows are counted, 32 on average. What is not in
// memory is read: the rows of the highest level when a sorted set is used first, then about 32 rows for each part of a
// level that is needed. A change writes one counter row for each level, in place when it was written before.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/rank_rows.h"
#include "storage/rank_trees.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

class RankIndex {
 public:
  RankIndex(Transaction& transaction, CollectionId id);

  // Writes the fence rows of a sorted set that has none.
  static Result<void> Build(Transaction& transaction, CollectionId id);

  // How many members come before this place of the score index; `is_there`: which is known to be a member's.
  Result<uint64_t> Before(std::string_view score_suffix, bool is_there = false);
  // Where to begin to reach the member of this rank, which is below the count: `skip` members behind the first row not
  // below `from`.
  struct Place {
    std::string from;
    uint64_t skip = 0;
  };
  Result<Place> At(uint64_t rank);

  // Walks over score rows as Transaction::VisitRows does, but not over what was taken from the ends.
  Result<void> VisitScores(std::string_view from, bool reverse, const Transaction::RowVisitor& visit);

  // A member comes, goes; the caller writes its score row, which need not be done yet. On failure nothing has changed.
  Result<void> Add(std::string_view score_suffix);
  Result<void> Remove(std::string_view score_suffix);
  // A member's score changes. Writes the score rows, too.
  Result<void> Move(std::string_view from, std::string_view to);

 private:
  using Nodes = std::vector<RankNode>;
  // The nodes whose range a place is in, [level - 1].
  struct Path {
    std::array<Nodes*, kFenceLevels> nodes{};
    std::array<size_t, kFenceLevels> at{};
    [[nodiscard]] RankNode& node(int level) const {
      return (*nodes[static_cast<size_t>(level - 1)])[at[static_cast<size_t>(level - 1)]];
    }
    // Members of the part of `level` + 1 (of all, for the highest) before the node of `level`.
    [[nodiscard]] uint64_t CountBefore(int level) const;
  };

  // `before`: the last fence below the place, instead of at or below it.
  Result<Path> Descend(std::string_view score_suffix, bool before = false);
  Result<void> ReadTop();
  Result<void> ReadChildren(RankNode& node, int level, std::string_view end);
  Result<Nodes> ReadNodes(int level, std::string_view from, std::string_view end, uint64_t most);
  // Members between the fence of level 1 and the place.
  Result<uint64_t> CountFromFence(RankNode& leaf, std::string_view score_suffix, bool is_there = false);
  // Those of them from `from` on, which is not below the fence; at most `most`.
  Result<uint64_t> CountRows(std::string_view from, uint64_t most, std::string_view score_suffix);
  // Whether the scores of this node of level 1 are at hand. Reads them if they were wanted before.
  Result<bool> HasScores(RankNode& leaf);
  void AddScore(RankNode& leaf, uint64_t sortable);
  void RemoveScore(RankNode& leaf, uint64_t sortable);
  void DropScores(RankNode& leaf);
  void SplitScores(RankNode& node, RankNode& fence);
  void JoinScores(RankNode& node, RankNode& gone);
  Result<Place> PlaceIn(RankNode& leaf, uint64_t rank);
  // Where the lowest or highest row is, from the fences, without a look at what lies beyond it. Not known when there is
  // nearly nothing left.
  Result<void> FindEnd(bool highest);
  // The lowest or highest row is another one than at the last look.
  void EndMoved(bool highest, uint64_t rows, std::string_view end);
  // A row comes: the ends may be further out now.
  void Widen(std::string_view score_suffix);
  // Reads all that a change of this place may need and finds out whether it is as it should be.
  Result<void> Prepare(std::string_view score_suffix, bool is_there);
  [[nodiscard]] Result<void> CheckNotEmpty(const Path& path) const;
  Result<void> Split(const Path& path, int level, std::string_view score_suffix);
  void Merge(const Path& path, int level, std::string_view score_suffix);
  void Put(RankNode& node, int level);
  [[nodiscard]] Error Damaged() const;

  Transaction* transaction_;
  CollectionId id_;
  RankTree* tree_;
};

}  // namespace holdfast
