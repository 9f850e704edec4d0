// The rows of a sorted set: those of a set (storage/types/members.h) with the score as value, and a second row for each
// member in the order of scores.
//
//   key row     header of members.h; compact is Redis' listpack, large its skiplist
//   member row  kMember, suffix: row hash of the member u64 BE | member;  value: score, f64 bits u64 LE
//   score row   kScore, suffix: sortable score u64 BE | member;  value: empty
//
// Byte order of score rows is the order of (score, member). A row key holds 477 bytes of a member in full: longer ones
// that agree in all of these are in the order of their digests, which is stable, but not that of their bytes.
//
// Large ones have fence rows beside (storage/rank_rows.h), which count members.
//
// What reads cost, with n members: Score O(1); ranges O(rows seen), and the search for a rank where they begin deep
// inside; Rank and Count the search for a rank (storage/types/rank_index.h). Without fence rows, up to kFencedFrom
// members: O(n).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/members.h"
#include "storage/types/rank_index.h"
#include "storage/types/scores.h"

namespace holdfast {

inline constexpr uint64_t kCompactSortedSetMax = 128;
inline constexpr size_t kOrderedMemberBytes = 477;

struct ScoredMember {
  std::string member;
  double score = 0;
};

// Which members, and from which end.
struct SortedSetRange {
  enum class By { kRank, kScore, kLex };
  By by = By::kRank;
  bool reverse = false;
  int64_t start = 0, stop = -1;    // kRank: both inclusive, negative ones count from the end
  ScoreRange scores;               // kScore
  LexRange members;                // kLex
  int64_t offset = 0, limit = -1;  // kScore, kLex; a negative limit is none, a negative offset leaves nothing
  bool exact_scores = true;        // false: a score of -0 may come as 0, which saves a look at the member's row
};

using ScoredVisitor = std::function<bool(std::string_view member, double score)>;

// Reads of one sorted set. Views live until the transaction's next write or end.
class SortedSetReader {
 public:
  explicit SortedSetReader(Transaction& transaction, const MemberReader& members)
      : transaction_(&transaction), members_(members) {}
  // nullopt if there is no such key; kWrongType if it holds something else.
  static Result<std::optional<SortedSetReader>> Open(Transaction& transaction, std::string_view key);
  static Result<std::optional<SortedSetReader>> OpenForWrite(Transaction& transaction, std::string_view key);

  [[nodiscard]] uint64_t count() const { return members_.count(); }
  [[nodiscard]] const MemberReader& members() const { return members_; }

  Result<std::optional<double>> Score(std::string_view member) const;
  // Its place, from the end if `reverse`.
  Result<std::optional<uint64_t>> Rank(std::string_view member, bool reverse) const;
  // Until `visit` returns false. The visitor may read, but not write.
  Result<void> Visit(const SortedSetRange& range, const ScoredVisitor& visit) const;
  // The same in batches of about a megabyte, copied, so that `take` may write: to other collections, or to erase what
  // it was given.
  Result<void> VisitBatches(const SortedSetRange& range,
                            const std::function<Result<void>(const std::vector<ScoredMember>& batch)>& take) const;
  Result<uint64_t> Count(const SortedSetRange& range) const;

 private:
  enum class Verdict { kSkip, kTake, kStop };
  using Judge = std::function<Verdict(uint64_t sortable, std::string_view member)>;
  // A walk over score rows that can be taken up again where it stopped.
  struct Walk {
    std::string from;
    bool reverse = false;
    uint64_t skip = 0;
    uint64_t take = 0;
    bool exact_scores = true;
    Judge judge;  // null: takes all
  };

  Result<Walk> Plan(const SortedSetRange& range) const;
  Result<void> PlanRank(const SortedSetRange& range, Walk& walk) const;
  void PlanScores(const SortedSetRange& range, Walk& walk) const;
  // Begins behind what the range's offset passes over, if that is much.
  Result<void> PlanOffset(Walk& walk) const;
  Result<void> PlanLex(const SortedSetRange& range, Walk& walk) const;
  // False if `visit` refused a row: the walk then stands at that row.
  Result<bool> Run(Walk& walk, const ScoredVisitor& visit) const;
  Result<std::string> SuffixAt(uint64_t place, bool reverse) const;
  Result<void> VisitScores(std::string_view from, bool reverse, const Transaction::RowVisitor& visit) const;
  [[nodiscard]] RankIndex ranks() const;
  Result<uint64_t> CountBetween(const std::string& from, const std::string& end) const;
  Result<std::optional<uint64_t>> CountByRanks(const SortedSetRange& range) const;

  Transaction* transaction_;
  MemberReader members_;
};

// Changes the sorted set of one key. Rows are written at once, the key row by Finish(). Like MemberEditor.
class SortedSetEditor {
 public:
  static Result<SortedSetEditor> Open(Transaction& transaction, std::string_view key);
  static Result<SortedSetEditor> Replace(Transaction& transaction, std::string_view key);

  [[nodiscard]] bool exists() const { return members_.exists(); }
  [[nodiscard]] uint64_t count() const { return members_.header().count; }
  [[nodiscard]] SortedSetReader reader() const { return SortedSetReader(*transaction_, members_.reader()); }

  Result<std::optional<double>> Score(std::string_view member) const;
  // The caller knows that the member is new; has the score `old`; has the score `score`. On failure (damaged rows)
  // nothing has changed.
  Result<void> PutNew(std::string_view member, double score);
  // The same with the sign of zero, which only large sorted sets keep: when all are there, DropSignsOfZero() once.
  Result<void> PutNewSigned(std::string_view member, double score);
  Result<void> DropSignsOfZero();
  Result<void> PutOver(std::string_view member, double old, double score);
  Result<void> EraseKnown(std::string_view member, double score);
  void Finish(std::string_view event) { members_.Finish(event); }

 private:
  SortedSetEditor(Transaction& transaction, const MemberEditor& members)
      : transaction_(&transaction), members_(members) {}
  [[nodiscard]] double Kept(double score) const;

  Transaction* transaction_;
  MemberEditor members_;
};

}  // namespace holdfast
