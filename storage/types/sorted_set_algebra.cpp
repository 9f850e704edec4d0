// Unions, intersections and differences of sorted sets and sets. Nothing is gathered in memory: one of them is walked,
// the others are asked for each of its members.
#include <algorithm>
#include <cmath>
#include <utility>

#include "storage/types/sorted_sets.h"
#include "storage/types/type_errors.h"

namespace holdfast::sorted_sets {
namespace {

struct Source {
  std::optional<MemberReader> members;  // none: no such key
  bool is_set = false;
  double weight = 1;

  [[nodiscard]] uint64_t count() const { return members ? members->count() : 0; }
  // Of a member's row.
  [[nodiscard]] Result<double> ScoreOf(std::string_view value) const {
    if (is_set) return 1.0;
    return DecodeScore(value);
  }
  [[nodiscard]] Result<std::optional<double>> Find(std::string_view member) const {
    if (!members) return std::optional<double>();
    ASSIGN_OR_RETURN(const auto value, members->Get(member));
    if (!value) return std::optional<double>();
    ASSIGN_OR_RETURN(const double score, ScoreOf(*value));
    return std::optional<double>(score);
  }
};

Result<Source> OpenSource(Transaction& transaction, std::string_view key, bool for_write) {
  Source source;
  ASSIGN_OR_RETURN(const auto found, for_write ? transaction.FindForWrite(key) : transaction.Find(key));
  if (!found && for_write) transaction.Notify(KeyEventClass::kMiss, "keymiss", key);  // it is read
  if (!found) return source;
  source.is_set = found->type == ValueType::kSet;
  if (!source.is_set && found->type != ValueType::kSortedSet) return WrongTypeError();
  ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(found->body));
  source.members.emplace(transaction, header);
  return source;
}

// In the order in which Redis takes them: it decides how sums of scores are rounded.
Result<std::vector<Source>> OpenAll(Transaction& transaction, const CombineOptions& options, bool for_write) {
  std::vector<Source> sources;
  for (size_t i = 0; i < options.keys.size(); ++i) {
    ASSIGN_OR_RETURN(Source source, OpenSource(transaction, options.keys[i], for_write));
    if (i < options.weights.size()) source.weight = options.weights[i];
    sources.push_back(source);
  }
  if (options.combination != Combination::kDifference) {
    std::stable_sort(sources.begin(), sources.end(),
                     [](const Source& a, const Source& b) { return a.count() < b.count(); });
  }
  return sources;
}

double Weighted(double weight, double score) {
  const double product = weight * score;
  return std::isnan(product) ? 0 : product;
}

double Joined(Aggregate aggregate, double so_far, double other) {
  switch (aggregate) {
    case Aggregate::kSum: {
      const double sum = so_far + other;
      return std::isnan(sum) ? 0 : sum;
    }
    case Aggregate::kMin:
      return other < so_far ? other : so_far;
    case Aggregate::kMax:
      return other > so_far ? other : so_far;
  }
  return so_far;
}

// The score in the result of a member of the source that is walked; nullopt if it is none of the result, or comes from
// another source.
Result<std::optional<double>> ResultScore(const CombineOptions& options, const std::vector<Source>& sources,
                                          size_t walked, std::string_view member, std::string_view value) {
  const Source& own = sources[walked];
  ASSIGN_OR_RETURN(double score, own.ScoreOf(value));
  if (options.combination != Combination::kDifference) score = Weighted(own.weight, score);
  for (size_t i = 0; i < sources.size(); ++i) {
    if (i == walked) continue;
    ASSIGN_OR_RETURN(const auto other, sources[i].Find(member));
    switch (options.combination) {
      case Combination::kDifference:
        if (other) return std::optional<double>();
        break;
      case Combination::kIntersection:
        if (!other) return std::optional<double>();
        score = Joined(options.aggregate, score, *other * sources[i].weight);
        break;
      case Combination::kUnion:
        if (other && i < walked) return std::optional<double>();
        if (other) score = Joined(options.aggregate, score, Weighted(sources[i].weight, *other));
        break;
    }
  }
  return std::optional<double>(score);
}

// All but unions walk the first source alone.
size_t WalkedSources(const CombineOptions& options, const std::vector<Source>& sources) {
  return options.combination == Combination::kUnion ? sources.size() : std::min<size_t>(sources.size(), 1);
}

std::string_view StoreEvent(Combination combination) {
  if (combination == Combination::kUnion) return "zunionstore";
  return combination == Combination::kIntersection ? "zinterstore" : "zdiffstore";
}

}  // namespace

Result<void> CheckSources(Transaction& transaction, std::span<const std::string_view> keys) {
  for (const std::string_view key : keys) {
    ASSIGN_OR_RETURN([[maybe_unused]] const Source source, OpenSource(transaction, key, /*for_write=*/false));
  }
  return {};
}

Result<void> Combine(Transaction& transaction, const CombineOptions& options, const ScoredVisitor& visit) {
  ASSIGN_OR_RETURN(const std::vector<Source> sources, OpenAll(transaction, options, /*for_write=*/false));
  bool more = true;
  for (size_t i = 0; i < WalkedSources(options, sources) && more; ++i) {
    if (!sources[i].members) continue;
    Result<void> failed;
    RETURN_IF_ERROR(sources[i].members->Visit([&](std::string_view member, std::string_view value) {
      auto score = ResultScore(options, sources, i, member, value);
      if (!score.ok()) {
        failed = std::move(score).error();
        return false;
      }
      if (*score) more = visit(member, **score);
      return more;
    }));
    RETURN_IF_ERROR(std::move(failed));
  }
  return {};
}

Result<uint64_t> Store(Transaction& transaction, const CombineOptions& options, std::string_view target,
                       std::span<const std::string_view> effect) {
  // Expired sources must go first: replay has no clock.
  ASSIGN_OR_RETURN(const std::vector<Source> sources, OpenAll(transaction, options, /*for_write=*/true));
  ASSIGN_OR_RETURN(SortedSetEditor editor, SortedSetEditor::Replace(transaction, target));
  for (size_t i = 0; i < WalkedSources(options, sources); ++i) {
    if (!sources[i].members) continue;
    const auto joined =
        sources[i].members->VisitBatches([&](const std::vector<MemberReader::Member>& batch) -> Result<void> {
          for (const MemberReader::Member& one : batch) {
            ASSIGN_OR_RETURN(const auto score, ResultScore(options, sources, i, one.member, one.value));
            if (score) RETURN_IF_ERROR(editor.PutNewSigned(one.member, *score));
          }
          return {};
        });
    RETURN_IF_ERROR(joined);
  }
  RETURN_IF_ERROR(editor.DropSignsOfZero());
  const uint64_t size = editor.count();
  editor.Finish(StoreEvent(options.combination));
  if (size > 0) {
    transaction.Emit(effect);
  } else if (editor.exists()) {
    transaction.Emit({"DEL", target});
  }
  return size;
}

}  // namespace holdfast::sorted_sets
