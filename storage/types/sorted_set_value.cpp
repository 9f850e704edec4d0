#include "storage/types/sorted_set_value.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/base/coding.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

constexpr ValueType kType = ValueType::kSortedSet;
constexpr size_t kScoreBytes = sizeof(uint64_t);
constexpr size_t kBatchBytes = 1 << 20;
// Places this near to an end are reached by walking there.
constexpr uint64_t kNear = 64;
constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();

std::string ScoreSuffix(uint64_t sortable, std::string_view member = {}) {
  std::string suffix;
  suffix.reserve(kScoreBytes + member.size());
  AppendBig<uint64_t>(suffix, sortable);
  suffix += member;
  return suffix;
}

// What counts for the order of rows in any case.
std::string_view Ordered(std::string_view member) { return member.substr(0, kOrderedMemberBytes); }

// Not below any row of a member that begins with the ordered part of `member`, and not folded itself.
std::string SuffixNotBelow(uint64_t sortable, std::string_view member) {
  if (member.size() < kOrderedMemberBytes) return ScoreSuffix(sortable, member);
  return ScoreSuffix(sortable, std::string(Ordered(member)) + std::string(15, '\xff'));
}

Error DamagedScoreRow() { return {ErrorCode::kCorruption, "a score row that is too short to hold a score"}; }

Result<std::optional<SortedSetReader>> Wrap(Transaction& transaction, const std::optional<MemberReader>& members) {
  if (!members) return std::optional<SortedSetReader>();
  return std::optional<SortedSetReader>(SortedSetReader(transaction, *members));
}

}  // namespace

// ---- reading --------------------------------------------------------------------------------------------------------

Result<std::optional<SortedSetReader>> SortedSetReader::Open(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto members, MemberReader::Open(transaction, key, kType));
  return Wrap(transaction, members);
}

Result<std::optional<SortedSetReader>> SortedSetReader::OpenForWrite(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto members, MemberReader::OpenForWrite(transaction, key, kType));
  return Wrap(transaction, members);
}

Result<std::optional<double>> SortedSetReader::Score(std::string_view member) const {
  ASSIGN_OR_RETURN(const auto value, members_.Get(member));
  if (!value) return std::optional<double>();
  ASSIGN_OR_RETURN(const double score, DecodeScore(*value));
  return std::optional<double>(score);
}

Result<std::optional<uint64_t>> SortedSetReader::Rank(std::string_view member, bool reverse) const {
  ASSIGN_OR_RETURN(const auto score, Score(member));
  if (!score) return std::optional<uint64_t>();
  const std::string wanted = ScoreSuffix(SortableScore(*score), member);
  if (members_.header().fenced) {
    ASSIGN_OR_RETURN(const uint64_t below, ranks().Before(wanted, /*is_there=*/true));
    if (below >= count()) return Error{ErrorCode::kCorruption, "a sorted set has more score rows than members"};
    return std::optional<uint64_t>(reverse ? count() - 1 - below : below);
  }
  uint64_t before = 0;
  bool found = false;
  RETURN_IF_ERROR(transaction_->VisitRows(members_.header().id, CollectionKind::kScore, {}, reverse,
                                          [&](std::string_view suffix, std::string_view) {
                                            found = suffix == wanted;
                                            if (!found) ++before;
                                            return !found;
                                          }));
  if (!found) return Error{ErrorCode::kCorruption, "a member of a sorted set has no score row"};
  return std::optional<uint64_t>(before);
}

Result<void> SortedSetReader::VisitScores(std::string_view from, bool reverse,
                                          const Transaction::RowVisitor& visit) const {
  if (members_.header().fenced) return ranks().VisitScores(from, reverse, visit);
  return transaction_->VisitRows(members_.header().id, CollectionKind::kScore, from, reverse, visit);
}

RankIndex SortedSetReader::ranks() const { return {*transaction_, members_.header().id}; }

Result<std::string> SortedSetReader::SuffixAt(uint64_t place, bool reverse) const {
  std::string found;
  std::string from;
  if (members_.header().fenced && place >= kNear && place < count()) {
    ASSIGN_OR_RETURN(RankIndex::Place near, ranks().At(reverse ? count() - 1 - place : place));
    from = std::move(near.from);
    place = near.skip;
    reverse = false;
  }
  RETURN_IF_ERROR(VisitScores(from, reverse, [&](std::string_view suffix, std::string_view) {
    if (place-- > 0) return true;
    found = suffix;
    return false;
  }));
  if (found.size() < kScoreBytes)
    return Error{ErrorCode::kCorruption, "a sorted set has fewer score rows than members"};
  return found;
}

Result<void> SortedSetReader::PlanRank(const SortedSetRange& range, Walk& walk) const {
  const auto length = static_cast<int64_t>(count());
  const int64_t start = std::max<int64_t>(range.start < 0 ? range.start + length : range.start, 0);
  const int64_t stop = std::min(range.stop < 0 ? range.stop + length : range.stop, length - 1);
  if (start > stop || start >= length) return {};
  walk.take = static_cast<uint64_t>(stop - start) + 1;
  const bool near = static_cast<uint64_t>(start) < kNear;
  if (near || (start <= length / 2 && !members_.header().fenced)) {
    walk.skip = static_cast<uint64_t>(start);
    return {};
  }
  if (members_.header().fenced && range.reverse) {
    ASSIGN_OR_RETURN(walk.from, SuffixAt(static_cast<uint64_t>(start), /*reverse=*/true));
    return {};
  }
  if (members_.header().fenced) {
    ASSIGN_OR_RETURN(RankIndex::Place place, ranks().At(static_cast<uint64_t>(start)));
    walk.from = std::move(place.from);
    walk.skip = place.skip;
    return {};
  }
  ASSIGN_OR_RETURN(walk.from, SuffixAt(static_cast<uint64_t>(length - 1 - start), !range.reverse));
  return {};
}

void SortedSetReader::PlanScores(const SortedSetRange& range, Walk& walk) const {
  const uint64_t low = SortableScore(range.scores.min) + (range.scores.min_open ? 1 : 0);
  const uint64_t high = SortableScore(range.scores.max) - (range.scores.max_open ? 1 : 0);
  if (low > high) return;
  walk.take = kAll;
  walk.from = ScoreSuffix(range.reverse ? high + 1 : low);
  walk.judge = [low, high, reverse = range.reverse](uint64_t sortable, std::string_view) {
    if (sortable >= low && sortable <= high) return Verdict::kTake;
    return (sortable > high) == reverse ? Verdict::kSkip : Verdict::kStop;
  };
}

// Redis says nothing of what comes if scores differ. Here it is what Redis does with small sorted sets: it walks all of
// them for the first member that is not below the range, and on from there to the first one above it.
Result<void> SortedSetReader::PlanLex(const SortedSetRange& range, Walk& walk) const {
  if (range.members.Empty()) return {};
  ASSIGN_OR_RETURN(const std::string first, SuffixAt(0, /*reverse=*/false));
  ASSIGN_OR_RETURN(const std::string last, SuffixAt(0, /*reverse=*/true));
  const LexRange& lex = range.members;
  const auto sortable = LoadBig<uint64_t>(first.data());
  if (last.compare(0, kScoreBytes, first, 0, kScoreBytes) != 0) {
    if (!lex.IsAboveMin(last.substr(kScoreBytes)) || !lex.IsBelowMax(first.substr(kScoreBytes))) return {};
    walk.take = kAll;
    walk.judge = [&lex, reverse = range.reverse, started = false](uint64_t, std::string_view member) mutable {
      const bool past_begin = reverse ? lex.IsBelowMax(member) : lex.IsAboveMin(member);
      if (!started && !past_begin) return Verdict::kSkip;
      started = true;
      return (reverse ? lex.IsAboveMin(member) : lex.IsBelowMax(member)) ? Verdict::kTake : Verdict::kStop;
    };
    return {};
  }
  walk.take = kAll;
  if (!range.reverse) {
    walk.from = ScoreSuffix(sortable, Ordered(lex.min.member));
  } else if (lex.max.kind == LexBound::Kind::kMember) {
    walk.from = SuffixNotBelow(sortable, lex.max.member);
  }
  // Around a bound whose ordered part others share the order is open: all of those are looked at.
  walk.judge = [&lex, reverse = range.reverse](uint64_t, std::string_view member) {
    const bool above = lex.IsAboveMin(member);
    const bool below = lex.IsBelowMax(member);
    if (above && below) return Verdict::kTake;
    const bool beyond = reverse ? !above && Ordered(member) < Ordered(lex.min.member)
                                : !below && Ordered(member) > Ordered(lex.max.member);
    return beyond ? Verdict::kStop : Verdict::kSkip;
  };
  return {};
}

Result<SortedSetReader::Walk> SortedSetReader::Plan(const SortedSetRange& range) const {
  Walk walk;
  walk.reverse = range.reverse;
  walk.exact_scores = range.exact_scores && members_.large();
  if (range.by == SortedSetRange::By::kRank) {
    RETURN_IF_ERROR(PlanRank(range, walk));
    return walk;
  }
  if (range.offset < 0) return walk;
  if (range.by == SortedSetRange::By::kScore) {
    PlanScores(range, walk);
  } else {
    RETURN_IF_ERROR(PlanLex(range, walk));
  }
  walk.skip = static_cast<uint64_t>(range.offset);
  if (range.limit >= 0) walk.take = std::min(walk.take, static_cast<uint64_t>(range.limit));
  if (range.by == SortedSetRange::By::kScore) RETURN_IF_ERROR(PlanOffset(walk));
  return walk;
}

Result<void> SortedSetReader::PlanOffset(Walk& walk) const {
  if (walk.take == 0 || walk.skip < kNear || !members_.header().fenced) return {};
  ASSIGN_OR_RETURN(const uint64_t below, ranks().Before(walk.from));
  // Backwards, `from` is above the range.
  const uint64_t there = walk.reverse ? below : count() - std::min(below, count());
  if (walk.skip >= there) {
    walk.take = 0;
    return {};
  }
  const uint64_t rank = walk.reverse ? below - 1 - walk.skip : below + walk.skip;
  ASSIGN_OR_RETURN(walk.from, SuffixAt(rank, /*reverse=*/false));
  walk.skip = 0;
  return {};
}

Result<uint64_t> SortedSetReader::CountBetween(const std::string& from, const std::string& end) const {
  ASSIGN_OR_RETURN(const uint64_t first, ranks().Before(from));
  ASSIGN_OR_RETURN(const uint64_t last, ranks().Before(end));
  return last > first ? last - first : 0;
}

// nullopt where rows must be looked at.
Result<std::optional<uint64_t>> SortedSetReader::CountByRanks(const SortedSetRange& range) const {
  using Counted = std::optional<uint64_t>;
  if (!members_.header().fenced || range.offset != 0 || range.limit >= 0) return Counted();
  if (range.by == SortedSetRange::By::kScore) {
    Walk walk;
    PlanScores(range, walk);
    if (walk.take == 0) return Counted(0);
    const uint64_t low = SortableScore(range.scores.min) + (range.scores.min_open ? 1 : 0);
    const uint64_t high = SortableScore(range.scores.max) - (range.scores.max_open ? 1 : 0);
    ASSIGN_OR_RETURN(const uint64_t counted, CountBetween(ScoreSuffix(low), ScoreSuffix(high + 1)));
    return Counted(counted);
  }
  const LexRange& lex = range.members;
  if (range.by != SortedSetRange::By::kLex || lex.Empty() || lex.min.kind == LexBound::Kind::kHighest ||
      lex.max.kind == LexBound::Kind::kLowest) {
    return Counted();
  }
  if (lex.min.member.size() + 1 >= kOrderedMemberBytes || lex.max.member.size() + 1 >= kOrderedMemberBytes) {
    return Counted();
  }
  ASSIGN_OR_RETURN(const std::string first, SuffixAt(0, /*reverse=*/false));
  ASSIGN_OR_RETURN(const std::string last, SuffixAt(0, /*reverse=*/true));
  const auto sortable = LoadBig<uint64_t>(first.data());
  if (sortable != LoadBig<uint64_t>(last.data())) return Counted();
  // What follows a member is its bytes and a zero byte.
  std::string from = ScoreSuffix(sortable, lex.min.member);
  std::string end =
      lex.max.kind == LexBound::Kind::kMember ? ScoreSuffix(sortable, lex.max.member) : ScoreSuffix(sortable + 1);
  if (lex.min.kind == LexBound::Kind::kMember && lex.min.open) from += '\0';
  if (lex.max.kind == LexBound::Kind::kMember && !lex.max.open) end += '\0';
  ASSIGN_OR_RETURN(const uint64_t counted, CountBetween(from, end));
  return Counted(counted);
}

Result<bool> SortedSetReader::Run(Walk& walk, const ScoredVisitor& visit) const {
  bool finished = true;
  Result<void> failed;
  if (walk.take == 0) return finished;
  const auto take = [&](std::string_view suffix, std::string_view) {
    if (suffix.size() < kScoreBytes) {
      failed = DamagedScoreRow();
      return false;
    }
    const auto sortable = LoadBig<uint64_t>(suffix.data());
    const std::string_view member = suffix.substr(kScoreBytes);
    if (walk.judge) {
      const Verdict verdict = walk.judge(sortable, member);
      if (verdict != Verdict::kTake) return verdict == Verdict::kSkip;
    }
    if (walk.skip > 0) {
      --walk.skip;
      return true;
    }
    double score = ScoreFromSortable(sortable);
    if (score == 0 && walk.exact_scores) {
      auto exact = Score(member);
      if (!exact.ok()) {
        failed = std::move(exact).error();
        return false;
      }
      score = exact->value_or(score);
    }
    if (!visit(member, score)) {
      finished = false;
      walk.from = suffix;
      return false;
    }
    return --walk.take > 0;
  };
  // By reference: a copy would be an allocation.
  RETURN_IF_ERROR(VisitScores(walk.from, walk.reverse, std::ref(take)));
  RETURN_IF_ERROR(std::move(failed));
  return finished;
}

Result<void> SortedSetReader::Visit(const SortedSetRange& range, const ScoredVisitor& visit) const {
  ASSIGN_OR_RETURN(Walk walk, Plan(range));
  ASSIGN_OR_RETURN([[maybe_unused]] const bool finished, Run(walk, visit));
  return {};
}

Result<void> SortedSetReader::VisitBatches(
    const SortedSetRange& range,
    const std::function<Result<void>(const std::vector<ScoredMember>& batch)>& take) const {
  ASSIGN_OR_RETURN(Walk walk, Plan(range));
  std::vector<ScoredMember> batch;
  for (bool finished = false; !finished;) {
    size_t bytes = 0;
    batch.clear();
    ASSIGN_OR_RETURN(finished, Run(walk, [&](std::string_view member, double score) {
                       if (bytes >= kBatchBytes) return false;
                       batch.push_back({std::string(member), score});
                       bytes += member.size() + sizeof(ScoredMember);
                       return true;
                     }));
    RETURN_IF_ERROR(take(batch));
  }
  return {};
}

Result<uint64_t> SortedSetReader::Count(const SortedSetRange& range) const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const ScoreRange& scores = range.scores;
  if (range.by == SortedSetRange::By::kScore && range.offset == 0 && range.limit < 0 && scores.min == -kInfinity &&
      scores.max == kInfinity && !scores.min_open && !scores.max_open) {
    return count();
  }
  ASSIGN_OR_RETURN(const auto by_ranks, CountByRanks(range));
  if (by_ranks) return *by_ranks;
  SortedSetRange counted = range;
  counted.exact_scores = false;
  uint64_t members = 0;
  RETURN_IF_ERROR(Visit(counted, [&members](std::string_view, double) {
    ++members;
    return true;
  }));
  return members;
}

// ---- writing --------------------------------------------------------------------------------------------------------

Result<SortedSetEditor> SortedSetEditor::Open(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const MemberEditor members, MemberEditor::Open(transaction, key, kType));
  return SortedSetEditor(transaction, members);
}

Result<SortedSetEditor> SortedSetEditor::Replace(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const MemberEditor members, MemberEditor::Replace(transaction, key, kType));
  return SortedSetEditor(transaction, members);
}

Result<std::optional<double>> SortedSetEditor::Score(std::string_view member) const {
  if (members_.header().count == 0) return std::optional<double>();
  return reader().Score(member);
}

// Redis' listpack does not know -0.
double SortedSetEditor::Kept(double score) const {
  return score == 0 && members_.header().shape == CollectionShape::kCompact ? 0.0 : score;
}

Result<void> SortedSetEditor::PutNew(std::string_view member, double score) {
  if (members_.header().count >= kCompactSortedSetMax || member.size() > kCompactBytesMax) members_.SetLarge();
  return PutNewSigned(member, Kept(score));
}

Result<void> SortedSetEditor::DropSignsOfZero() {
  if (members_.header().shape == CollectionShape::kLarge || members_.header().count == 0) return {};
  std::vector<std::string> zeros;
  SortedSetRange range;
  range.by = SortedSetRange::By::kScore;
  RETURN_IF_ERROR(reader().Visit(range, [&zeros](std::string_view member, double) {
    zeros.emplace_back(member);
    return true;
  }));
  for (const std::string& member : zeros) members_.PutOver(member, EncodeScore(0));
  return {};
}

Result<void> SortedSetEditor::PutNewSigned(std::string_view member, double score) {
  const std::string suffix = ScoreSuffix(SortableScore(score), member);
  const MembersHeader& header = members_.header();
  if (!header.fenced && header.count >= kFencedFrom) {
    RETURN_IF_ERROR(RankIndex::Build(*transaction_, header.id));
    members_.SetFenced();
  }
  if (header.fenced) RETURN_IF_ERROR(RankIndex(*transaction_, header.id).Add(suffix));
  if (header.count >= kCompactSortedSetMax || member.size() > kCompactBytesMax) members_.SetLarge();
  members_.PutNew(member, EncodeScore(score));
  transaction_->PutRow(header.id, CollectionKind::kScore, suffix, {});
  return {};
}

Result<void> SortedSetEditor::PutOver(std::string_view member, double old, double score) {
  const CollectionId id = members_.header().id;
  const std::string from = ScoreSuffix(SortableScore(old), member);
  const std::string to = ScoreSuffix(SortableScore(score), member);
  if (from != to) {
    members_.ErasedOtherRow();
    if (members_.header().fenced) {
      RETURN_IF_ERROR(RankIndex(*transaction_, id).Move(from, to));
    } else {
      transaction_->EraseRow(id, CollectionKind::kScore, from);
      transaction_->PutRow(id, CollectionKind::kScore, to, {});
    }
  }
  members_.PutOver(member, EncodeScore(Kept(score)));
  return {};
}

Result<void> SortedSetEditor::EraseKnown(std::string_view member, double score) {
  const CollectionId id = members_.header().id;
  const std::string suffix = ScoreSuffix(SortableScore(score), member);
  if (members_.header().fenced) RETURN_IF_ERROR(RankIndex(*transaction_, id).Remove(suffix));
  members_.EraseKnown(member);
  transaction_->EraseRow(id, CollectionKind::kScore, suffix);
  return {};
}

}  // namespace holdfast
