#include "storage/types/stream_words.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::streams {
namespace {

using Words = std::span<const std::string_view>;

Error Refused(const char* why) { return {ErrorCode::kInvalidArgument, why}; }

Result<int64_t> Integer(std::string_view text, const char* error = nullptr) {
  const auto value = ParseInteger(text);
  if (value) return *value;
  if (error != nullptr) return Refused(error);
  return NotAnIntegerError();
}

// MAXLEN, MINID and LIMIT of XADD and XTRIM.
struct TrimReader {
  Trim trim;
  bool approximate = false;
  std::optional<uint64_t> limit;

  // The option at words[at], if it is one: how many words it has. 0: it is none.
  Result<size_t> Take(Words words, size_t at) {
    const size_t more = words.size() - at - 1;
    const bool by_length = EqualsIgnoreCase(words[at], "MAXLEN");
    if (more > 0 && EqualsIgnoreCase(words[at], "LIMIT")) {
      ASSIGN_OR_RETURN(const int64_t count, Integer(words[at + 1]));
      if (count < 0) return Refused("The LIMIT argument must be >= 0.");
      limit = static_cast<uint64_t>(count);
      return size_t{2};
    }
    if (more == 0 || (!by_length && !EqualsIgnoreCase(words[at], "MINID"))) return size_t{0};
    if (trim.by != Trim::By::kNothing) {
      return Refused("syntax error, MAXLEN and MINID options at the same time are not compatible");
    }
    size_t value = at + 1;
    if (more >= 2 && (words[value] == "~" || words[value] == "=")) {
      approximate = words[value] == "~";
      ++value;
    }
    if (by_length) {
      ASSIGN_OR_RETURN(const int64_t length, Integer(words[value]));
      if (length < 0) return Refused("The MAXLEN argument must be >= 0.");
      trim.length_max = static_cast<uint64_t>(length);
    } else {
      ASSIGN_OR_RETURN(trim.id_min, ParseStreamId(words[value], 0));
    }
    trim.by = by_length ? Trim::By::kLength : Trim::By::kId;
    return value + 1 - at;
  }

  Result<Trim> Finish(WordsFrom from) {
    if (limit.value_or(0) > 0 && trim.by == Trim::By::kNothing) {
      return Refused("syntax error, LIMIT cannot be used without specifying a trimming strategy");
    }
    if (from == WordsFrom::kEffect) return trim;
    if (limit && !approximate) return Refused("syntax error, LIMIT cannot be used without the special ~ option");
    if (approximate) trim.removed_max = limit.value_or(kTrimMaxByDefault);
    return trim;
  }
};

}  // namespace

Result<AddWords> ParseAdd(Words words, WordsFrom from) {
  TrimReader reader;
  AddWords parsed;
  size_t at = 2;
  for (; at < words.size(); ++at) {
    if (words[at] == "*") break;
    ASSIGN_OR_RETURN(const size_t taken, reader.Take(words, at));
    if (taken > 0) {
      at += taken - 1;
    } else if (EqualsIgnoreCase(words[at], "NOMKSTREAM")) {
      parsed.options.only_existing = true;
    } else {
      ASSIGN_OR_RETURN(parsed.options.id, ParseWantedStreamId(words[at]));
      break;
    }
  }
  ASSIGN_OR_RETURN(parsed.options.trim, reader.Finish(from));
  parsed.fields = words.subspan(std::min(at + 1, words.size()));
  return parsed;
}

Result<Trim> ParseTrim(Words words, WordsFrom from) {
  TrimReader reader;
  for (size_t at = 2; at < words.size();) {
    ASSIGN_OR_RETURN(const size_t taken, reader.Take(words, at));
    if (taken == 0) return SyntaxError();
    at += taken;
  }
  ASSIGN_OR_RETURN(const Trim trim, reader.Finish(from));
  if (trim.by == Trim::By::kNothing) {
    return Refused("syntax error, XTRIM must be called with at least one trimming strategy");
  }
  return trim;
}

Result<SetIdOptions> ParseSetId(Words words) {
  SetIdOptions options;
  ASSIGN_OR_RETURN(options.last, ParseStreamId(words[2], 0));
  for (size_t at = 3; at < words.size(); at += 2) {
    const bool has_value = at + 1 < words.size();
    if (has_value && EqualsIgnoreCase(words[at], "ENTRIESADDED")) {
      ASSIGN_OR_RETURN(const int64_t added, Integer(words[at + 1]));
      if (added < 0) return Refused("entries_added must be positive");
      options.entries_added = static_cast<uint64_t>(added);
    } else if (has_value && EqualsIgnoreCase(words[at], "MAXDELETEDID")) {
      ASSIGN_OR_RETURN(options.max_deleted, ParseStreamId(words[at + 1], 0));
      if (options.last < options.max_deleted) {
        return Refused("The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
      }
    } else {
      return SyntaxError();
    }
  }
  return options;
}

Result<GroupWords> ParseGroupOptions(Words options, std::string_view subcommand, bool may_make_stream) {
  GroupWords parsed;
  for (size_t at = 0; at < options.size(); ++at) {
    if (may_make_stream && EqualsIgnoreCase(options[at], "MKSTREAM")) {
      parsed.make_stream = true;
    } else if (EqualsIgnoreCase(options[at], "ENTRIESREAD") && at + 1 < options.size()) {
      ASSIGN_OR_RETURN(parsed.entries_read, Integer(options[++at]));
      if (parsed.entries_read < GroupState::kUnknownReads) {
        return Refused("value for ENTRIESREAD must be positive or -1");
      }
    } else {
      return Error{ErrorCode::kInvalidArgument, "unknown subcommand or wrong number of arguments for '" +
                                                    std::string(subcommand.substr(0, 128)) + "'. Try XGROUP HELP."};
    }
  }
  return parsed;
}

Result<ClaimWords> ParseClaim(Words words) {
  ClaimWords parsed;
  ClaimOptions& options = parsed.options;
  ASSIGN_OR_RETURN(const int64_t idle, Integer(words[4], "Invalid min-idle-time argument for XCLAIM"));
  options.idle_min_ms = std::max<int64_t>(idle, 0);
  size_t at = 5;
  for (; at < words.size(); ++at) {
    const auto id = ParseStreamId(words[at], 0);
    if (!id.ok()) break;
    parsed.ids.push_back(*id);
  }
  for (; at < words.size(); ++at) {
    const std::string_view word = words[at];
    const bool has_value = at + 1 < words.size();
    if (EqualsIgnoreCase(word, "FORCE")) {
      options.force = true;
    } else if (EqualsIgnoreCase(word, "JUSTID")) {
      options.only_ids = true;
    } else if (has_value && EqualsIgnoreCase(word, "IDLE")) {
      ASSIGN_OR_RETURN(options.idle_ms, Integer(words[++at], "Invalid IDLE option argument for XCLAIM"));
      options.delivered_ms.reset();
    } else if (has_value && EqualsIgnoreCase(word, "TIME")) {
      ASSIGN_OR_RETURN(options.delivered_ms, Integer(words[++at], "Invalid TIME option argument for XCLAIM"));
      options.idle_ms.reset();
    } else if (has_value && EqualsIgnoreCase(word, "RETRYCOUNT")) {
      ASSIGN_OR_RETURN(const int64_t count, Integer(words[++at], "Invalid RETRYCOUNT option argument for XCLAIM"));
      options.deliveries.reset();
      if (count >= 0) options.deliveries = static_cast<uint64_t>(count);
    } else if (has_value && EqualsIgnoreCase(word, "LASTID")) {
      ASSIGN_OR_RETURN(options.last_delivered, ParseStreamId(words[++at], 0));
    } else {
      return Error{ErrorCode::kInvalidArgument,
                   "Unrecognized XCLAIM option '" + std::string(word.substr(0, word.find('\0'))) + "'"};
    }
  }
  return parsed;
}

Result<AutoClaimOptions> ParseAutoClaim(Words words) {
  constexpr int64_t kCountMax = std::numeric_limits<int64_t>::max() / 16;
  AutoClaimOptions options;
  ASSIGN_OR_RETURN(const int64_t idle, Integer(words[4], "Invalid min-idle-time argument for XAUTOCLAIM"));
  options.idle_min_ms = std::max<int64_t>(idle, 0);
  ASSIGN_OR_RETURN(options.start, ParseRangeStart(words[5]));
  for (size_t at = 6; at < words.size(); ++at) {
    if (at + 1 < words.size() && EqualsIgnoreCase(words[at], "COUNT")) {
      ASSIGN_OR_RETURN(const int64_t count, Integer(words[++at], "COUNT must be > 0"));
      if (count < 1 || count > kCountMax) return Refused("COUNT must be > 0");
      options.count = static_cast<uint64_t>(count);
    } else if (EqualsIgnoreCase(words[at], "JUSTID")) {
      options.only_ids = true;
    } else {
      return SyntaxError();
    }
  }
  return options;
}

}  // namespace holdfast::streams
