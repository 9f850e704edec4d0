#include "storage/types/sorted_sets.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::sorted_sets {
namespace {

// What ZADD does to one member. nullopt: nothing, and that is no change.
struct Change {
  std::optional<double> old;
  double score = 0;
};
Result<std::optional<Change>> Decide(const SortedSetEditor& editor, const AddOptions& options, const ScorePair& pair) {
  Change change;
  change.score = pair.score;
  ASSIGN_OR_RETURN(change.old, editor.Score(pair.member));
  if (!change.old) return options.if_known ? std::optional<Change>() : std::optional<Change>(change);
  if (options.if_new) return std::optional<Change>();
  if (options.increment) {
    change.score += *change.old;
    if (std::isnan(change.score)) {
      return Error{ErrorCode::kInvalidArgument, "resulting score is not a number (NaN)"};
    }
  }
  if ((options.if_less && change.score >= *change.old) || (options.if_greater && change.score <= *change.old)) {
    return std::optional<Change>();
  }
  return std::optional<Change>(change);
}

void EmitAll(Transaction& transaction, const std::deque<std::string>& words) {
  if (words.size() <= 2) return;
  transaction.Emit(std::vector<std::string_view>(words.begin(), words.end()));
}

// `event`: what took its last members.
Result<void> EraseWhole(Transaction& transaction, std::string_view key, std::string_view event) {
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  if (!found) return {};
  transaction.Notify(KeyEventClass::kSortedSet, event, key);
  transaction.Erase(transaction.db(), key, *found);
  transaction.Notify(KeyEventClass::kGeneric, "del", key);
  return {};
}

std::string_view RemovalEvent(SortedSetRange::By by) {
  if (by == SortedSetRange::By::kRank) return "zremrangebyrank";
  return by == SortedSetRange::By::kScore ? "zremrangebyscore" : "zremrangebylex";
}

}  // namespace

Result<AddResult> Add(Transaction& transaction, std::string_view key, const AddOptions& options,
                      std::span<const ScorePair> pairs) {
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Open(transaction, key));
  // Scores may be longer in the effect than the client wrote them.
  constexpr uint64_t kScoreTextMax = 32;
  uint64_t bytes = key.size();
  for (const ScorePair& pair : pairs) bytes += pair.member.size() + kScoreTextMax;
  RETURN_IF_ERROR(transaction.CheckRoom(bytes, 2 * pairs.size() + 2));
  AddResult result;
  std::deque<std::string> effect = {"ZADD", std::string(key)};
  Result<void> outcome;
  for (const ScorePair& pair : pairs) {
    auto decided = Decide(editor, options, pair);
    if (!decided.ok()) {
      outcome = std::move(decided).error();
      break;
    }
    result.score.reset();
    if (!*decided) continue;
    const Change& change = **decided;
    result.score = change.score;
    if (change.old && *change.old == change.score) continue;
    outcome =
        change.old ? editor.PutOver(pair.member, *change.old, change.score) : editor.PutNew(pair.member, change.score);
    if (!outcome.ok()) break;
    ++(change.old ? result.changed : result.added);
    effect.push_back(FormatDouble(change.score));
    effect.emplace_back(pair.member);
  }
  // A damaged row in the middle must not leave members that the log does not know.
  editor.Finish(options.increment ? "zincr" : "zadd");
  EmitAll(transaction, effect);
  RETURN_IF_ERROR(std::move(outcome));
  return result;
}

Result<uint64_t> Remove(Transaction& transaction, std::string_view key, std::span<const std::string_view> members) {
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Open(transaction, key));
  std::vector<std::string_view> effect = {"ZREM", key};
  Result<void> outcome;
  for (const std::string_view member : members) {
    auto score = editor.Score(member);
    if (!score.ok()) {
      outcome = std::move(score).error();
      break;
    }
    if (!*score) continue;
    outcome = editor.EraseKnown(member, **score);
    if (!outcome.ok()) break;
    effect.push_back(member);
  }
  editor.Finish("zrem");
  if (effect.size() > 2) transaction.Emit(effect);
  RETURN_IF_ERROR(std::move(outcome));
  return uint64_t{effect.size() - 2};
}

Result<uint64_t> RemoveRange(Transaction& transaction, std::string_view key, SortedSetRange range,
                             std::span<const std::string_view> effect) {
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Open(transaction, key));
  if (!editor.exists()) return uint64_t{0};
  range.exact_scores = false;
  const uint64_t before = editor.count();
  const auto outcome =
      editor.reader().VisitBatches(range, [&editor](const std::vector<ScoredMember>& batch) -> Result<void> {
        for (const ScoredMember& one : batch) RETURN_IF_ERROR(editor.EraseKnown(one.member, one.score));
        return {};
      });
  const uint64_t removed = before - editor.count();
  editor.Finish(RemovalEvent(range.by));
  if (removed > 0) transaction.Emit(effect);
  RETURN_IF_ERROR(outcome);
  return removed;
}

Result<std::optional<std::vector<ScoredMember>>> Pop(Transaction& transaction, std::string_view key, ScoreEnd end,
                                                     uint64_t count) {
  using Popped = std::optional<std::vector<ScoredMember>>;
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Open(transaction, key));
  if (!editor.exists()) return Popped();
  if (count == 0) return Popped(std::in_place);
  SortedSetRange range;
  range.reverse = end == ScoreEnd::kMax;
  range.stop = static_cast<int64_t>(std::min<uint64_t>(count, editor.count())) - 1;
  std::vector<ScoredMember> popped;
  RETURN_IF_ERROR(editor.reader().Visit(range, [&popped](std::string_view member, double score) {
    popped.push_back({std::string(member), score});
    return true;
  }));
  const std::string_view event = end == ScoreEnd::kMin ? "zpopmin" : "zpopmax";
  int64_t erased = 0;
  Result<void> outcome;
  if (popped.size() == editor.count()) {
    erased = static_cast<int64_t>(popped.size());
    RETURN_IF_ERROR(EraseWhole(transaction, key, event));
  } else {
    for (const ScoredMember& one : popped) {
      outcome = editor.EraseKnown(one.member, one.score);
      if (!outcome.ok()) break;
      ++erased;
    }
    editor.Finish(event);
  }
  if (erased > 0) {
    transaction.Emit({end == ScoreEnd::kMin ? "ZPOPMIN" : "ZPOPMAX", key, FormatInteger(erased)});
  }
  RETURN_IF_ERROR(std::move(outcome));
  return Popped(std::move(popped));
}

Result<uint64_t> StoreRange(Transaction& transaction, std::string_view target, std::string_view source,
                            const SortedSetRange& range, std::span<const std::string_view> effect) {
  ASSIGN_OR_RETURN(const auto from, SortedSetReader::OpenForWrite(transaction, source));
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Replace(transaction, target));
  if (from) {
    const auto copied = from->VisitBatches(range, [&editor](const std::vector<ScoredMember>& batch) -> Result<void> {
      for (const ScoredMember& one : batch) RETURN_IF_ERROR(editor.PutNew(one.member, one.score));
      return {};
    });
    RETURN_IF_ERROR(copied);
  }
  const uint64_t size = editor.count();
  editor.Finish("zrangestore");
  if (size > 0) {
    transaction.Emit(effect);
  } else if (editor.exists()) {
    transaction.Emit({"DEL", target});
  }
  return size;
}

Result<void> StoreMembers(Transaction& transaction, std::string_view target, std::span<const ScoredMember> members,
                          std::string_view event) {
  std::deque<std::string> effect = {"ZADD", std::string(target)};
  uint64_t bytes = 2 * target.size();
  for (const ScoredMember& one : members) {
    effect.push_back(FormatDouble(one.score));
    effect.push_back(one.member);
    bytes += effect[effect.size() - 2].size() + one.member.size();
  }
  RETURN_IF_ERROR(transaction.CheckRoom(bytes, effect.size() + 2));
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Replace(transaction, target));
  const bool existed = editor.exists();
  for (const ScoredMember& one : members) RETURN_IF_ERROR(editor.PutNew(one.member, one.score));
  editor.Finish(event);
  if (existed) transaction.Emit({"DEL", target});
  EmitAll(transaction, effect);
  return {};
}

}  // namespace holdfast::sorted_sets
