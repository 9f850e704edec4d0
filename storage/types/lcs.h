// LCS: the longest common subsequence of two strings. Read only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast::strings {

struct LcsOptions {
  bool sequence = true;  // fill LcsResult::sequence
  bool ranges = false;   // fill LcsResult::matches
  int64_t min_match_length = 0;
};
struct LcsMatch {
  uint32_t a_first, a_last, b_first, b_last;
  uint32_t length;
};
struct LcsResult {
  uint32_t length = 0;
  std::string sequence;
  std::vector<LcsMatch> matches;  // from the strings' ends to their starts, as Redis lists them
};

// Missing keys are empty strings. Time and memory grow with the product of the lengths; kLimit when the table would
// exceed kStringLengthMax bytes.
Result<LcsResult> Lcs(Transaction& transaction, std::string_view key_a, std::string_view key_b,
                      const LcsOptions& options);

}  // namespace holdfast::strings
