// Operations on sorted sets. Effects as named; database: the transaction's. All fail with kWrongType if a key that is
// read as a sorted set holds something else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/sorted_set_value.h"

namespace holdfast::sorted_sets {

struct AddOptions {
  bool if_new = false;      // NX
  bool if_known = false;    // XX
  bool if_greater = false;  // GT: members that are there change only to a higher score
  bool if_less = false;     // LT
  bool changed = false;     // CH: the reply counts changed members, too
  bool increment = false;   // INCR: one pair, whose score is added
};
struct ScorePair {
  double score = 0;
  std::string_view member;
};
struct AddResult {
  uint64_t added = 0;
  uint64_t changed = 0;         // of those that were there
  std::optional<double> score;  // of the last member, if nothing forbade it
};
// Effect: ZADD key score member ... with the members added or changed and the scores they have then.
Result<AddResult> Add(Transaction& transaction, std::string_view key, const AddOptions& options,
                      std::span<const ScorePair> pairs);
// Returns how many there were. Effect: ZREM key member ... with those that were there.
Result<uint64_t> Remove(Transaction& transaction, std::string_view key, std::span<const std::string_view> members);
// Removes a range; returns its size. Effect: `effect`, which says that range, if there was anything to remove.
Result<uint64_t> RemoveRange(Transaction& transaction, std::string_view key, SortedSetRange range,
                             std::span<const std::string_view> effect);

enum class ScoreEnd { kMin, kMax };
// Takes out the `count` members of the lowest or highest scores, or all. nullopt if there is no such key. Effect:
// ZPOPMIN key count or ZPOPMAX key count.
Result<std::optional<std::vector<ScoredMember>>> Pop(Transaction& transaction, std::string_view key, ScoreEnd end,
                                                     uint64_t count);

// Makes a range of `source` the value of `target`, or deletes that if the range is empty. Returns its size. Effects:
// `effect`, which says that range, or DEL target.
Result<uint64_t> StoreRange(Transaction& transaction, std::string_view target, std::string_view source,
                            const SortedSetRange& range, std::span<const std::string_view> effect);

// Makes these members the value of `target`, or deletes that if there are none. Effects: DEL target, ZADD target score
// member ... `event` is what subscribers are told.
Result<void> StoreMembers(Transaction& transaction, std::string_view target, std::span<const ScoredMember> members,
                          std::string_view event);

// ---- several sorted sets (sorted_set_algebra.cpp) -------------------------------------------------------------------

enum class Combination { kUnion, kIntersection, kDifference };
enum class Aggregate { kSum, kMin, kMax };
struct CombineOptions {
  Combination combination = Combination::kUnion;
  std::span<const std::string_view> keys;  // of sorted sets, or sets, whose members have score 1
  std::vector<double> weights;             // none: 1 each; not for differences
  Aggregate aggregate = Aggregate::kSum;
};
// kWrongType if a key holds neither a sorted set nor a set.
Result<void> CheckSources(Transaction& transaction, std::span<const std::string_view> keys);
// Visits each member once, in no particular order, until `visit` returns false. The visitor may read, but not write.
// Memory does not grow with the sets.
Result<void> Combine(Transaction& transaction, const CombineOptions& options, const ScoredVisitor& visit);
// Makes the combination the value of `target`, which may be among the keys, or deletes that. Returns its size. Effects:
// `effect`, which says that combination, or DEL target.
Result<uint64_t> Store(Transaction& transaction, const CombineOptions& options, std::string_view target,
                       std::span<const std::string_view> effect);

}  // namespace holdfast::sorted_sets
