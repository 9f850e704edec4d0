#include "storage/types/streams.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "storage/types/numbers.h"
#include "storage/types/stream_editor.h"
#include "storage/types/type_errors.h"

namespace holdfast::streams {
namespace {

constexpr uint64_t kEntryBytesMax = 1 << 30;  // Redis' limit for the fields and values of one entry

Error SmallIdError() {
  return {ErrorCode::kInvalidArgument, "The ID specified in XADD is equal or smaller than the target stream top item"};
}

// The id of an entry that is added to a stream whose last id is `last`.
Result<StreamId> NextId(const Transaction& transaction, StreamId last, const std::optional<WantedStreamId>& wanted) {
  if (last == StreamId::Max()) {
    return Error{ErrorCode::kOutOfRange, "The stream has exhausted the last possible ID, unable to add more items"};
  }
  if (!wanted) {
    const auto now = static_cast<uint64_t>(transaction.now_ms());
    return now > last.ms ? StreamId{now, 0} : *last.Next();
  }
  StreamId id = wanted->id;
  if (!wanted->sequence_given && id.ms == last.ms) {
    const auto next = last.Next();
    if (next->ms != last.ms) return SmallIdError();
    id = *next;
  }
  if (id <= last) return SmallIdError();
  return id;
}

// How many entries a trim takes.
Result<uint64_t> CountTrimmed(const StreamReader& stream, const Trim& trim) {
  const uint64_t most = trim.removed_max == 0 ? stream.Length() : std::min(trim.removed_max, stream.Length());
  switch (trim.by) {
    case Trim::By::kNothing:
      return uint64_t{0};
    case Trim::By::kLength:
      return stream.Length() <= trim.length_max ? 0 : std::min(most, stream.Length() - trim.length_max);
    case Trim::By::kId:
      break;
  }
  if (trim.id_min > stream.header().last) return most;
  uint64_t count = 0;
  RETURN_IF_ERROR(stream.VisitIds({}, StreamId::Max(), /*reverse=*/false, [&](StreamId id) {
    if (id >= trim.id_min || count == most) return false;
    ++count;
    return true;
  }));
  return count;
}

// The words that say exactly what a trim that took something left: MAXLEN = n, or MINID = id.
std::vector<std::string> TrimWords(const StreamHeader& header, const Trim& trim) {
  if (trim.by == Trim::By::kLength || header.length == 0) return {"MAXLEN", "=", std::to_string(header.length)};
  return {"MINID", "=", header.first.Text()};
}

}  // namespace

Result<std::optional<StreamId>> Add(Transaction& transaction, std::string_view key, const AddOptions& options,
                                    std::span<const std::string_view> fields) {
  if (options.id && options.id->sequence_given && options.id->id.IsZero()) {
    return Error{ErrorCode::kInvalidArgument, "The ID specified in XADD must be greater than 0-0"};
  }
  ASSIGN_OR_RETURN(StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists() && options.only_existing) return std::optional<StreamId>();
  ASSIGN_OR_RETURN(const StreamId id, NextId(transaction, stream.header().last, options.id));
  uint64_t bytes = 0;
  for (const std::string_view field : fields) bytes += field.size();
  if (bytes > kEntryBytesMax) return Error{ErrorCode::kLimit, "Elements are too large to be stored"};

  stream.Append(id, fields);
  std::vector<std::string> trimmed;
  // A damaged row must not leave an entry that the log does not know.
  Result<void> outcome;
  auto going = CountTrimmed(stream.reader(), options.trim);
  if (!going.ok()) {
    outcome = std::move(going).error();
  } else if (*going > 0) {
    const uint64_t before = stream.header().length;
    outcome = stream.DropFirst(*going);
    if (stream.header().length < before) trimmed = TrimWords(stream.header(), options.trim);
  }
  stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xadd", key);
  if (!trimmed.empty()) transaction.Notify(KeyEventClass::kStream, "xtrim", key);
  const std::string id_text = id.Text();
  std::vector<std::string_view> effect = {"XADD", key};
  effect.insert(effect.end(), trimmed.begin(), trimmed.end());
  effect.push_back(id_text);
  effect.insert(effect.end(), fields.begin(), fields.end());
  transaction.Emit(effect);
  RETURN_IF_ERROR(std::move(outcome));
  return std::optional<StreamId>(id);
}

Result<uint64_t> TrimFront(Transaction& transaction, std::string_view key, const Trim& trim) {
  ASSIGN_OR_RETURN(StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists()) return uint64_t{0};
  ASSIGN_OR_RETURN(const uint64_t going, CountTrimmed(stream.reader(), trim));
  const uint64_t before = stream.header().length;
  Result<void> outcome = stream.DropFirst(going);
  const uint64_t gone = before - stream.header().length;
  if (gone > 0) {
    stream.Finish();
    transaction.Notify(KeyEventClass::kStream, "xtrim", key);
    const auto words = TrimWords(stream.header(), trim);
    transaction.Emit({"XTRIM", key, words[0], words[1], words[2]});
  }
  RETURN_IF_ERROR(std::move(outcome));
  return gone;
}

Result<uint64_t> Remove(Transaction& transaction, std::string_view key, std::span<const std::string_view> ids) {
  ASSIGN_OR_RETURN(StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists()) return uint64_t{0};
  std::vector<StreamId> wanted;
  for (const std::string_view text : ids) {
    ASSIGN_OR_RETURN(const StreamId id, ParseStreamId(text, 0));
    wanted.push_back(id);
  }
  std::vector<std::string> removed;
  Result<void> outcome;
  StreamEditor::Counters counters{stream.header().last, stream.header().max_deleted, stream.header().entries_added};
  for (const StreamId id : wanted) {
    auto there = stream.Erase(id);
    if (!there.ok()) {
      outcome = std::move(there).error();
      break;
    }
    if (!*there) continue;
    counters.max_deleted = std::max(counters.max_deleted, id);
    removed.push_back(id.Text());
  }
  if (!removed.empty()) {
    stream.SetCounters(counters);
    stream.Finish();
    transaction.Notify(KeyEventClass::kStream, "xdel", key);
    std::vector<std::string_view> effect = {"XDEL", key};
    effect.insert(effect.end(), removed.begin(), removed.end());
    transaction.Emit(effect);
  }
  RETURN_IF_ERROR(std::move(outcome));
  return uint64_t{removed.size()};
}

Result<void> SetId(Transaction& transaction, std::string_view key, const SetIdOptions& options) {
  ASSIGN_OR_RETURN(StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists()) return NoSuchKeyError();
  const StreamHeader& header = stream.header();
  const auto refused = [](const char* why) { return Error{ErrorCode::kInvalidArgument, why}; };
  if (header.length > 0) {
    ASSIGN_OR_RETURN(const auto top, stream.reader().LastEntry());
    if (top && options.last < *top) {
      return refused("The ID specified in XSETID is smaller than the target stream top item");
    }
    if (options.entries_added && header.length > *options.entries_added) {
      return refused("The entries_added specified in XSETID is smaller than the target stream length");
    }
  }
  StreamEditor::Counters counters{options.last, header.max_deleted, header.entries_added};
  if (options.entries_added) counters.entries_added = *options.entries_added;
  if (!options.max_deleted.IsZero()) counters.max_deleted = options.max_deleted;
  stream.SetCounters(counters);
  stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xsetid", key);
  const std::string last = counters.last.Text(), added = std::to_string(counters.entries_added);
  const std::string deleted = counters.max_deleted.Text();
  std::vector<std::string_view> effect = {"XSETID", key, last, "ENTRIESADDED", added};
  // Only if it was given: the one that stays may be above the new last id, which no XSETID may name.
  if (!options.max_deleted.IsZero()) effect.insert(effect.end(), {"MAXDELETEDID", deleted});
  transaction.Emit(effect);
  return {};
}

}  // namespace holdfast::streams
