#include "storage/effects/effect_entries.h"
#include "storage/types/numbers.h"
#include "storage/types/stream_words.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

template <typename T>
Result<void> Done(const Result<T>& result) {
  if (!result.ok()) return result.error();
  return {};
}

Result<void> ApplyAdd(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto words, streams::ParseAdd(arguments, streams::WordsFrom::kEffect));
  if (words.fields.empty() || words.fields.size() % 2 != 0) return SyntaxError();
  return Done(streams::Add(transaction, arguments[1], words.options, words.fields));
}

Result<void> ApplyTrim(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto trim, streams::ParseTrim(arguments, streams::WordsFrom::kEffect));
  return Done(streams::TrimFront(transaction, arguments[1], trim));
}

Result<void> ApplyDelete(Transaction& transaction, EffectArguments arguments) {
  return Done(streams::Remove(transaction, arguments[1], arguments.subspan(2)));
}

Result<void> ApplySetId(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto options, streams::ParseSetId(arguments));
  return streams::SetId(transaction, arguments[1], options);
}

Result<void> ApplyGroup(Transaction& transaction, EffectArguments arguments) {
  const std::string_view word = arguments[1], key = arguments[2], group = arguments[3];
  const bool creates = EqualsIgnoreCase(word, "CREATE");
  if (arguments.size() >= 5 && (creates || EqualsIgnoreCase(word, "SETID"))) {
    ASSIGN_OR_RETURN(const auto options, streams::ParseGroupOptions(arguments.subspan(5), word, creates));
    if (!creates) return streams::SetGroupId(transaction, key, group, arguments[4], options.entries_read);
    return streams::CreateGroup(transaction, key, group, {arguments[4], options.make_stream, options.entries_read});
  }
  if (arguments.size() == 4 && EqualsIgnoreCase(word, "DESTROY")) {
    return Done(streams::DestroyGroup(transaction, key, group));
  }
  if (arguments.size() == 5 && EqualsIgnoreCase(word, "CREATECONSUMER")) {
    return Done(streams::CreateConsumer(transaction, key, group, arguments[4]));
  }
  if (arguments.size() == 5 && EqualsIgnoreCase(word, "DELCONSUMER")) {
    return Done(streams::DeleteConsumer(transaction, key, group, arguments[4]));
  }
  return SyntaxError();
}

Result<void> ApplyAcknowledge(Transaction& transaction, EffectArguments arguments) {
  return Done(streams::Acknowledge(transaction, arguments[1], arguments[2], arguments.subspan(3)));
}

Result<void> ApplyClaim(Transaction& transaction, EffectArguments arguments) {
  ASSIGN_OR_RETURN(const auto words, streams::ParseClaim(arguments));
  return Done(streams::Claim(transaction, arguments[1], arguments[2], arguments[3], words.options, words.ids,
                             [](StreamId, const StreamFields*) {}));
}

// XREADGROUP and XAUTOCLAIM arrive as what they did: XCLAIM, XACK and XGROUP.
constexpr EffectEntry kEntries[] = {
    {"XADD", ApplyAdd, 5, kManyEffectArguments},
    {"XTRIM", ApplyTrim, 4, kManyEffectArguments},
    {"XDEL", ApplyDelete, 3, kManyEffectArguments},
    {"XSETID", ApplySetId, 3, 7},
    {"XGROUP", ApplyGroup, 4, 8},
    {"XACK", ApplyAcknowledge, 4, kManyEffectArguments},
    {"XCLAIM", ApplyClaim, 6, kManyEffectArguments},
};

}  // namespace

std::span<const EffectEntry> StreamEffects() { return kEntries; }

}  // namespace holdfast
