// The words of stream commands, as clients write them and as effects have them. Errors are Redis'.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/types/stream_groups.h"
#include "storage/types/streams.h"

namespace holdfast::streams {

// Whose words: a client's, or those of an effect, whose trims are exact and know no limit whatever they say.
enum class WordsFrom { kClient, kEffect };

struct AddWords {
  AddOptions options;
  std::span<const std::string_view> fields;  // empty or odd: the number of words is wrong
};
// XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value ...
Result<AddWords> ParseAdd(std::span<const std::string_view> words, WordsFrom from);
// XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]
Result<Trim> ParseTrim(std::span<const std::string_view> words, WordsFrom from);
// XSETID key id [ENTRIESADDED n] [MAXDELETEDID id]
Result<SetIdOptions> ParseSetId(std::span<const std::string_view> words);

struct GroupWords {
  bool make_stream = false;
  int64_t entries_read = GroupState::kUnknownReads;
};
// What follows the id in XGROUP CREATE or XGROUP SETID. `subcommand` as given, for the error.
Result<GroupWords> ParseGroupOptions(std::span<const std::string_view> options, std::string_view subcommand,
                                     bool may_make_stream);

struct ClaimWords {
  ClaimOptions options;
  std::vector<StreamId> ids;
};
// XCLAIM key group consumer min-idle-time id ... [IDLE ms] [TIME ms] [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id]
Result<ClaimWords> ParseClaim(std::span<const std::string_view> words);
// XAUTOCLAIM key group consumer min-idle-time start [COUNT n] [JUSTID]
Result<AutoClaimOptions> ParseAutoClaim(std::span<const std::string_view> words);

// A trim with ~ takes at most this many entries if the client does not say.
inline constexpr uint64_t kTrimMaxByDefault = 10000;

}  // namespace holdfast::streams
