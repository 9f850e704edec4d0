#include "storage/cold_score_rows.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "storage/base/coding.h"
#include "storage/rank_rows.h"
#include "storage/types/members.h"
#include "storage/types/numbers.h"
#include "storage/types/scores.h"

namespace holdfast {
namespace {

std::string ScoreSuffix(double score, std::string_view member) {
  std::string suffix;
  AppendBig<uint64_t>(suffix, SortableScore(score));
  suffix += member;
  return suffix;
}

// Rows of one kind from `from` on, or (`reverse`) from the last one at or below it, until `visit` returns false.
template <typename Visit>
void VisitRows(LmdbReader& reader, CollectionId id, CollectionKind kind, std::string_view from, bool reverse,
               uint64_t rows, const Visit& visit) {
  RowKey prefix, key;
  MakeCollectionRowKey(prefix, id, kind, {});
  MakeCollectionRowKey(key, id, kind, from);
  auto cursor = reader.OpenCursor(LmdbTable::kRows);
  if (!cursor.ok()) return;
  Result<void> moved = reverse ? cursor->SeekBefore(std::string(key.view()) + '\0') : cursor->Seek(key);
  for (; rows > 0 && moved.ok() && cursor->valid(); --rows) {
    if (cursor->key().substr(0, kCollectionRowPrefix) != prefix.view()) return;
    if (!visit(*cursor)) return;
    moved = reverse ? cursor->Previous() : cursor->Next();
  }
}

uint64_t CountOf(const LmdbCursor& cursor) {
  const auto value = cursor.Value();
  return value.ok() && value->size() == sizeof(uint64_t) ? LoadLittle<uint64_t>(value->data()) : 0;
}

bool Touched(const LmdbCursor&) { return true; }

}  // namespace

ColdScoreRows::ColdScoreRows(LmdbReader& reader, const KeyValue& value, CollectionId id) : reader_(reader), id_(id) {
  const auto header = MembersHeader::Parse(value.body);
  if (!header.ok()) return;
  count_ = header->count;
  fenced_ = header->fenced;
}

void ColdScoreRows::Walk(LmdbReader& reader, const WalkAhead& walk) {
  VisitRows(reader, walk.id, walk.kind, walk.from, walk.reverse, walk.rows, Touched);
  if (walk.kind != CollectionKind::kScore) return;
  uint64_t rows = walk.rows;
  for (int level = 1; level <= kFenceLevels; ++level) {
    rows = rows / kMembersPerFence + kPartRows;
    // The fence that counts the first rows is below them.
    VisitRows(reader, walk.id, FenceKind(level), walk.from, /*reverse=*/true, walk.reverse ? rows : kPartRows, Touched);
    if (!walk.reverse) VisitRows(reader, walk.id, FenceKind(level), walk.from, /*reverse=*/false, rows, Touched);
  }
}

void ColdScoreRows::Fetch(const WantedKey& wanted) {
  if (!fenced_) return;
  for (const std::string& word : wanted.members) {
    if (wanted.ranks != WantedKey::Ranks::kNone) {
      const auto rank = ParseInteger(word);
      if (rank) TouchRank(*rank, wanted.ranks == WantedKey::Ranks::kFromHighest);
      continue;
    }
    RowKey key;
    MakeCollectionRowKey(key, id_, CollectionKind::kMember, MemberSuffix(word));
    const auto stored = reader_.Get(LmdbTable::kRows, key);
    if (stored.ok() && stored->has_value()) {
      const auto row = ParseCollectionRow(key.VariablePart(kCollectionRowPrefix), **stored);
      const auto score = row.ok() ? DecodeScore(row->value) : Result<double>(row.error());
      if (score.ok()) TouchPlace(ScoreSuffix(*score, word));
    }
    // "(5" is a bound.
    const std::string_view bound = word;
    const auto score = ParseDouble(bound.substr(bound.starts_with('(') ? 1 : 0));
    if (score && !std::isnan(*score)) TouchPlace(ScoreSuffix(*score, {}));
  }
}

void ColdScoreRows::TouchEnds() {
  if (!fenced_) return;
  VisitRows(reader_, id_, FenceKind(kFenceLevels), FirstFence(), /*reverse=*/false, kRowsMax, Touched);
  TouchPlace(std::string(FirstFence()));
  TouchPlace(std::string(8, '\xff'));
}

void ColdScoreRows::TouchPlace(const std::string& suffix) {
  for (int level = kFenceLevels; level >= 1; --level) {
    // From the fence at or below the place, what that one counts, in the level below it.
    std::string fence(FirstFence());
    uint64_t members = 0;
    VisitRows(reader_, id_, FenceKind(level), suffix, /*reverse=*/true, 1, [&](const LmdbCursor& cursor) {
      fence = cursor.key().substr(kCollectionRowPrefix);
      members = CountOf(cursor);
      return true;
    });
    if (level == 1) {
      const uint64_t rows = std::min(members + kRangeRows, kRowsMax);
      VisitRows(reader_, id_, CollectionKind::kScore, fence, /*reverse=*/false, rows, Touched);
      return;
    }
    uint64_t place = members;
    Descend(FenceKind(level - 1), fence, place, members);
  }
}

void ColdScoreRows::TouchRank(int64_t rank, bool from_highest) {
  const auto count = static_cast<int64_t>(count_);
  if (from_highest) rank = rank < 0 ? -(rank + 1) : count - 1 - rank;
  if (rank < 0) rank += count;
  if (rank < 0 || rank >= count) return;
  auto place = static_cast<uint64_t>(rank);
  uint64_t members = count_;
  std::string fence(FirstFence());
  for (int level = kFenceLevels; level >= 1; --level) {
    if (!Descend(FenceKind(level), fence, place, members)) return;
  }
  const uint64_t rows = std::min(place, kRowsMax) + kRangeRows;
  VisitRows(reader_, id_, CollectionKind::kScore, fence, /*reverse=*/false, rows, Touched);
  if (from_highest) VisitRows(reader_, id_, CollectionKind::kScore, fence, /*reverse=*/true, kRangeRows, Touched);
}

bool ColdScoreRows::Descend(CollectionKind kind, std::string& fence, uint64_t& place, uint64_t& members) {
  uint64_t before = 0;
  bool found = false;
  std::string next;
  const uint64_t wanted = place;
  const uint64_t all = members;
  VisitRows(reader_, id_, kind, fence, /*reverse=*/false, kRowsMax, [&](const LmdbCursor& cursor) {
    const uint64_t count = CountOf(cursor);
    if (!found && wanted < before + count) {
      found = true;
      next = cursor.key().substr(kCollectionRowPrefix);
      place = wanted - before;
      members = count;
    }
    before += count;
    return before < all;
  });
  if (found) fence = std::move(next);
  return found;
}

}  // namespace holdfast
