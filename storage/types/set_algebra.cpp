// Unions, intersections and differences of sets. Nothing is gathered in memory: one set is walked, the others are asked
// for each of its members.
#include <algorithm>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/sets.h"

namespace holdfast::sets {
namespace {

using Sets = std::vector<std::optional<MemberReader>>;
using Visitor = std::function<bool(std::string_view member)>;

Result<Sets> OpenAll(Transaction& transaction, std::span<const std::string_view> keys, bool for_write) {
  Sets sets;
  for (const std::string_view key : keys) {
    ASSIGN_OR_RETURN(auto set, for_write ? MemberReader::OpenForWrite(transaction, key, ValueType::kSet)
                                         : MemberReader::Open(transaction, key, ValueType::kSet));
    sets.push_back(set);
  }
  return sets;
}

// Which sets to walk, and which of the others a member must be in, or must not be in.
struct Plan {
  std::vector<MemberReader> walked;
  std::vector<MemberReader> others;
  // kUnion: a member of walked[i] counts unless it is in an earlier one.
  Combination combination;
};

Plan MakePlan(Combination combination, const Sets& sets) {
  Plan plan{{}, {}, combination};
  if (combination == Combination::kUnion) {
    for (const auto& set : sets) {
      if (set) plan.walked.push_back(*set);
    }
    return plan;
  }
  if (combination == Combination::kDifference) {
    if (!sets[0]) return plan;
    plan.walked.push_back(*sets[0]);
    for (size_t i = 1; i < sets.size(); ++i) {
      if (sets[i]) plan.others.push_back(*sets[i]);
    }
    return plan;
  }
  for (const auto& set : sets) {
    if (!set) return Plan{{}, {}, combination};
    plan.others.push_back(*set);
  }
  std::sort(plan.others.begin(), plan.others.end(),
            [](const MemberReader& a, const MemberReader& b) { return a.count() < b.count(); });
  plan.walked.push_back(plan.others.front());
  plan.others.erase(plan.others.begin());
  return plan;
}

Result<bool> Counts(const Plan& plan, size_t walked, std::string_view member) {
  if (plan.combination == Combination::kUnion) {
    for (size_t i = 0; i < walked; ++i) {
      ASSIGN_OR_RETURN(const bool known, plan.walked[i].Has(member));
      if (known) return false;
    }
    return true;
  }
  const bool wanted = plan.combination == Combination::kIntersection;
  for (const MemberReader& other : plan.others) {
    ASSIGN_OR_RETURN(const bool known, other.Has(member));
    if (known != wanted) return false;
  }
  return true;
}

// Redis takes one of two ways to a difference; in the second the first set as a whole goes through the result, which
// then stays in the large form.
bool RedisCopiesFirst(const Sets& sets) {
  uint64_t one = 0, two = 0;
  for (const auto& set : sets) {
    if (!set) continue;
    one += sets[0]->count();
    two += set->count();
  }
  return one / 2 > two;
}

struct Names {
  std::string_view effect;
  std::string_view event;
};
Names NamesOf(Combination combination) {
  switch (combination) {
    case Combination::kUnion:
      return {"SUNIONSTORE", "sunionstore"};
    case Combination::kIntersection:
      return {"SINTERSTORE", "sinterstore"};
    case Combination::kDifference:
      return {"SDIFFSTORE", "sdiffstore"};
  }
  return {};
}

}  // namespace

Result<void> Combine(Transaction& transaction, Combination combination, std::span<const std::string_view> keys,
                     const Visitor& visit) {
  ASSIGN_OR_RETURN(const Sets sets, OpenAll(transaction, keys, /*for_write=*/false));
  const Plan plan = MakePlan(combination, sets);
  bool more = true;
  for (size_t i = 0; i < plan.walked.size() && more; ++i) {
    Result<void> failed;
    RETURN_IF_ERROR(plan.walked[i].Visit([&](std::string_view member, std::string_view) {
      auto counts = Counts(plan, i, member);
      if (!counts.ok()) {
        failed = std::move(counts).error();
        return false;
      }
      if (*counts) more = visit(member);
      return more;
    }));
    RETURN_IF_ERROR(std::move(failed));
  }
  return {};
}

Result<uint64_t> Store(Transaction& transaction, Combination combination, std::string_view target,
                       std::span<const std::string_view> keys) {
  // Expired sources must go first: replay has no clock.
  ASSIGN_OR_RETURN(const Sets sets, OpenAll(transaction, keys, /*for_write=*/true));
  const Plan plan = MakePlan(combination, sets);
  ASSIGN_OR_RETURN(MemberEditor editor, MemberEditor::Replace(transaction, target, ValueType::kSet));
  const bool copies = combination == Combination::kDifference && sets[0] && RedisCopiesFirst(sets);
  bool large = copies && sets[0]->count() > kCompactMembersMax;
  for (size_t i = 0; i < plan.walked.size(); ++i) {
    RETURN_IF_ERROR(plan.walked[i].VisitBatches([&](const std::vector<MemberReader::Member>& batch) -> Result<void> {
      for (const MemberReader::Member& one : batch) {
        ASSIGN_OR_RETURN(const bool counts, Counts(plan, i, one.member));
        if (!large && (counts || copies) && !ParseInteger(one.member)) large = true;
        if (counts) editor.PutNew(one.member, {});
      }
      return {};
    }));
  }
  const uint64_t size = editor.header().count;
  if (large || size > kCompactMembersMax) editor.SetLarge();
  const Names names = NamesOf(combination);
  editor.Finish(names.event);
  if (size == 0) {
    if (editor.exists()) transaction.Emit({"DEL", target});
    return size;
  }
  std::vector<std::string_view> effect = {names.effect, target};
  effect.insert(effect.end(), keys.begin(), keys.end());
  transaction.Emit(effect);
  return size;
}

}  // namespace holdfast::sets
