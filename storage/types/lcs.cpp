#include "storage/types/lcs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "storage/types/string_value.h"

namespace holdfast::strings {
namespace {

Result<std::string> Operand(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.Find(key));
  if (!found) return std::string();
  if (found->type != ValueType::kString) {
    return Error{ErrorCode::kInvalidArgument, "The specified keys must contain string values"};
  }
  ASSIGN_OR_RETURN(StringValue value, StringValue::From(transaction, *found));
  // Longer ones are refused by the size of the table, whatever the other operand is.
  if (value.Length() >= kStringLengthMax) {
    return Error{ErrorCode::kLimit, "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"};
  }
  return value.Whole();
}

class LcsTable {
 public:
  LcsTable(std::string_view a, std::string_view b) : a_(a), b_(b), cells_((a.size() + 1) * (b.size() + 1), 0) {
    for (size_t i = 1; i <= a.size(); ++i) {
      for (size_t j = 1; j <= b.size(); ++j) {
        At(i, j) = a[i - 1] == b[j - 1] ? At(i - 1, j - 1) + 1 : std::max(At(i - 1, j), At(i, j - 1));
      }
    }
  }

  uint32_t Length() { return At(a_.size(), b_.size()); }

  // Walks one longest common subsequence backwards: `match(i, j)` for each common byte a[i] == b[j].
  template <typename Match>
  void Walk(const Match& match) {
    size_t i = a_.size();
    size_t j = b_.size();
    while (i > 0 && j > 0) {
      if (a_[i - 1] == b_[j - 1]) {
        --i;
        --j;
        match(i, j);
      } else if (At(i - 1, j) > At(i, j - 1)) {
        --i;
      } else {
        --j;
      }
    }
  }

 private:
  uint32_t& At(size_t i, size_t j) { return cells_[i * (b_.size() + 1) + j]; }

  std::string_view a_;
  std::string_view b_;
  std::vector<uint32_t> cells_;
};

// Collects runs of matches that are next to each other in both strings.
class RangeCollector {
 public:
  RangeCollector(int64_t min_length, std::vector<LcsMatch>& matches) : min_length_(min_length), matches_(matches) {}

  void Add(size_t i, size_t j) {
    const auto a = static_cast<uint32_t>(i);
    const auto b = static_cast<uint32_t>(j);
    if (open_ && open_->a_first == a + 1 && open_->b_first == b + 1) {
      open_->a_first = a;
      open_->b_first = b;
      ++open_->length;
      return;
    }
    Close();
    open_ = LcsMatch{a, a, b, b, 1};
  }
  void Close() {
    if (open_ && static_cast<int64_t>(open_->length) >= min_length_) matches_.push_back(*open_);
    open_.reset();
  }

 private:
  int64_t min_length_;
  std::vector<LcsMatch>& matches_;
  std::optional<LcsMatch> open_;
};

}  // namespace

Result<LcsResult> Lcs(Transaction& transaction, std::string_view key_a, std::string_view key_b,
                      const LcsOptions& options) {
  ASSIGN_OR_RETURN(std::string a, Operand(transaction, key_a));
  ASSIGN_OR_RETURN(std::string b, Operand(transaction, key_b));
  const uint64_t cells = (a.size() + 1) * (b.size() + 1);
  if (cells > kStringLengthMax / sizeof(uint32_t)) {
    return Error{ErrorCode::kLimit, "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"};
  }
  LcsTable table(a, b);
  LcsResult result;
  result.length = table.Length();
  if (!options.sequence && !options.ranges) return result;
  RangeCollector ranges(options.min_match_length, result.matches);
  table.Walk([&](size_t i, size_t j) {
    if (options.sequence) result.sequence.push_back(a[i]);
    if (options.ranges) ranges.Add(i, j);
  });
  if (options.ranges) ranges.Close();
  std::reverse(result.sequence.begin(), result.sequence.end());
  return result;
}

}  // namespace holdfast::strings
