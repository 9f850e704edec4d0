#include "storage/snapshot_parser.h"

#include <algorithm>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/types/list_value.h"
#include "storage/types/scores.h"

namespace holdfast::snapshot_format {

namespace {

Error Corrupt(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

// The body begins with the element count; a collection id stands before it in a store.
Result<StreamHeader> ParseStreamBody(std::string_view body) {
  return StreamHeader::Parse(std::string(sizeof(CollectionId), '\0').append(body));
}

// Types whose header begins with the number of their item or member rows. Never empty: a key goes with its last one.
bool CountsElements(ValueType type) {
  return type == ValueType::kList || type == ValueType::kHash || type == ValueType::kSet ||
         type == ValueType::kSortedSet;
}

}  // namespace

void RecordParser::SkipGap() {
  in_gap_ = true;
  in_key_ = false;
  cut_left_ = 0;
  cut_payload_.clear();
}

Result<void> RecordParser::FromVisitor(Result<void> result) {
  if (!result.ok()) visitor_failed_ = true;
  return result;
}

// A collection whose header counts other elements than it has would answer LEN commands with one and reads with the
// other for ever.
Result<void> RecordParser::CheckCounts() const {
  if (!CountsElements(type_)) return {};
  const std::string name(ValueTypeName(type_));
  if (elements_seen_ != elements_) {
    return Corrupt("a " + name + " of " + std::to_string(elements_) + " elements that has " +
                   std::to_string(elements_seen_));
  }
  if (type_ == ValueType::kSortedSet && scores_seen_ != elements_) {
    return Corrupt("a " + name + " of " + std::to_string(elements_) + " elements that has " +
                   std::to_string(scores_seen_) + " scores");
  }
  return {};
}

Result<void> RecordParser::EndKey(SnapshotVisitor& visitor) {
  if (!in_key_) return {};
  in_key_ = false;
  RETURN_IF_ERROR(CheckCounts());
  if (type_ == ValueType::kStream) RETURN_IF_ERROR(CheckStream());
  return FromVisitor(visitor.KeyEnd());
}

Result<void> RecordParser::TakeStreamRow(CollectionKind kind, std::string_view suffix, std::string_view value) {
  constexpr size_t kNumber = sizeof(uint64_t);
  if (kind == CollectionKind::kEntry) {
    ++stream_rows_.entries;
    if (suffix.size() != StreamId::kBytes) return Corrupt("an entry of a stream without id");
    const StreamId id = StreamId::FromBytes(suffix);
    if (id > stream_.last || (stream_rows_.entries == 1 && id != stream_.first)) {
      return Corrupt("an entry outside of its stream");
    }
    StreamFields fields;
    return DecodeStreamFields(value, fields);
  }
  if (kind == CollectionKind::kGroup) {
    ++stream_rows_.groups;
    ASSIGN_OR_RETURN(const GroupState group, GroupState::Parse(value));
    if (group.number >= stream_.next_group) return Corrupt("a group of a stream with an impossible number");
    stream_counts_.consumers += group.consumers;
    stream_counts_.pending += group.pending;
    return {};
  }
  if (kind == CollectionKind::kConsumer) {
    ++stream_rows_.consumers;
    if (suffix.size() < kNumber) return Corrupt("a consumer of no group");
    const auto consumer = ConsumerState::Parse(value);
    return consumer.ok() ? Result<void>() : consumer.error();
  }
  const bool owned = kind == CollectionKind::kOwned;
  ++(owned ? stream_rows_.owned : stream_rows_.pending);
  if (suffix.size() != (owned ? 2 : 1) * kNumber + StreamId::kBytes) return Corrupt("a pending entry without id");
  if (owned) return value.empty() ? Result<void>() : Corrupt("an owned row with a value");
  const auto pending = PendingState::Parse(value);
  return pending.ok() ? Result<void>() : pending.error();
}

Result<void> RecordParser::CheckStream() const {
  if (stream_rows_.entries != stream_.length) {
    return Corrupt("a stream of " + std::to_string(stream_.length) + " entries that has " +
                   std::to_string(stream_rows_.entries));
  }
  if (stream_rows_.groups != stream_.groups || stream_rows_.consumers != stream_counts_.consumers ||
      stream_rows_.pending != stream_counts_.pending || stream_rows_.owned != stream_counts_.pending) {
    return Corrupt("a stream whose groups do not count what they have");
  }
  return {};
}

Result<void> RecordParser::Finish(SnapshotVisitor& visitor) {
  if (cut_left_ != 0) return Corrupt("the last record is cut short");
  return EndKey(visitor);
}

// What a block's header says against what came before.
Result<void> RecordParser::EnterBlock(const BlockHeader& header) {
  if (header.db >= databases_) {
    return Corrupt("keys of database " + std::to_string(header.db) + ", but the header says there are " +
                   std::to_string(databases_));
  }
  if (!header.continues_key()) {
    return cut_left_ == 0 ? Result<void>() : Corrupt("the record cut at the end of the block before does not go on");
  }
  if (in_gap_) return {};
  if (!in_key_ && cut_left_ == 0) return Corrupt("goes on with a key that was not begun");
  const uint64_t expected = cut_left_ != 0 ? cut_hash_ : hash_;
  if (header.db != block_db_ || header.first_hash != expected) return Corrupt("goes on with another key");
  return {};
}

// The front of a block that belongs to the record cut at the end of the block before; returns where records begin.
Result<size_t> RecordParser::TakeContinued(const BlockHeader& header, std::string_view raw, SnapshotVisitor& visitor) {
  if (cut_left_ == 0) {
    if (header.continued != 0 && !in_gap_) return Corrupt("goes on with a record that was not begun");
    return static_cast<size_t>(header.continued);
  }
  const uint64_t expected = std::min<uint64_t>(cut_left_, raw.size());
  if (header.continued != expected) return Corrupt("the record cut at the end of the block before goes on differently");
  cut_payload_ += raw.substr(0, header.continued);
  cut_left_ -= header.continued;
  if (cut_left_ == 0) {
    const std::string payload = std::move(cut_payload_);
    cut_payload_.clear();
    RETURN_IF_ERROR(Dispatch(cut_head_, payload, visitor));
    if (cut_head_.is_key && hash_ != cut_hash_) return Corrupt("a key's hash is not what the block header says");
  }
  return static_cast<size_t>(header.continued);
}

Result<void> RecordParser::Consume(const BlockHeader& header, std::string_view raw, SnapshotVisitor& visitor) {
  RETURN_IF_ERROR(EnterBlock(header));
  if (!header.continues_key()) RETURN_IF_ERROR(EndKey(visitor));
  block_db_ = header.db;
  ASSIGN_OR_RETURN(size_t at, TakeContinued(header, raw, visitor));
  uint64_t records = 0;
  uint64_t keys = 0;
  while (at < raw.size()) {
    auto parsed = ParseRecordHead(raw.substr(at));
    if (!parsed.ok()) return std::move(parsed).error().WithContext("record at raw byte " + std::to_string(at));
    const RecordHead& head = *parsed;
    if (records == 0 && at == 0 && !header.continues_key() && !head.is_key)
      return Corrupt("begins with a row of no key");
    ++records;
    if (head.is_key) ++keys;
    const std::string_view payload = raw.substr(at + head.head_size);
    if (head.payload_size() > payload.size()) {
      if (in_gap_ && !head.is_key) break;  // a row of a lost key; the next block skips its rest
      if (head.is_key) RETURN_IF_ERROR(EndKey(visitor));
      cut_head_ = head;
      cut_payload_ = payload;
      cut_left_ = head.payload_size() - payload.size();
      cut_hash_ = header.last_hash;
      if (head.is_key) {
        in_gap_ = false;
        if (keys == 1 && !header.continues_key() && header.first_hash != header.last_hash) {
          return Corrupt("one key, but the block header says two hashes");
        }
      }
      break;
    }
    auto done = Dispatch(head, payload.substr(0, head.payload_size()), visitor);
    if (!done.ok()) {
      if (visitor_failed_) return done;
      return std::move(done).error().WithContext("record at raw byte " + std::to_string(at));
    }
    if (head.is_key && keys == 1 && !header.continues_key() && hash_ != header.first_hash) {
      return Corrupt("the first key's hash is not what the block header says");
    }
    at += head.head_size + head.payload_size();
  }
  if (records != header.records || keys != header.keys) {
    return Corrupt("has " + std::to_string(records) + " records and " + std::to_string(keys) +
                   " keys, its header says " + std::to_string(header.records) + " and " + std::to_string(header.keys));
  }
  if (in_key_ && cut_left_ == 0 && hash_ != header.last_hash) {
    return Corrupt("the last key's hash is not what the block header says");
  }
  return {};
}

Result<void> RecordParser::Dispatch(const RecordHead& head, std::string_view payload, SnapshotVisitor& visitor) {
  return head.is_key ? DispatchKey(head, payload, visitor) : DispatchRow(head, payload, visitor);
}

Result<void> RecordParser::DispatchKey(const RecordHead& head, std::string_view payload, SnapshotVisitor& visitor) {
  RETURN_IF_ERROR(EndKey(visitor));
  const std::string_view key = payload.substr(0, head.first_size);
  KeyValue value = head.value;
  value.body = payload.substr(head.first_size);
  const uint64_t hash = RowHash(key);
  if (any_key_ && db_ == block_db_) {
    // Keys of one hash are in the order of their row keys, which fold long keys.
    const bool ordered = hash_ < hash || (hash_ == hash && KeyRowKey(0, hash_, key_) < KeyRowKey(0, hash, key));
    if (!ordered) return Corrupt("keys are not in order");
  }
  if (any_key_ && db_ > block_db_) return Corrupt("databases are not in order");
  if (value.type != ValueType::kString && value.body.size() < 8) return Corrupt("a collection without element count");
  if (value.chunked && value.body.size() != 8) return Corrupt("a chunked string without length");
  if (value.type == ValueType::kString && !value.chunked && value.body.size() > kInlineStringMax) {
    return Corrupt("an inline string of " + std::to_string(value.body.size()) + " bytes");
  }
  if (value.type == ValueType::kList && value.body.size() != 8) return Corrupt("a list with a strange header");
  in_gap_ = false;
  any_key_ = true;
  any_row_ = false;
  db_ = block_db_;
  hash_ = hash;
  key_ = key;
  type_ = value.type;
  chunked_ = value.chunked;
  string_length_ = chunked_ ? LoadLittle<uint64_t>(value.body.data()) : 0;
  elements_ = CountsElements(type_) ? LoadLittle<uint64_t>(value.body.data()) : 0;
  elements_seen_ = 0;
  scores_seen_ = 0;
  if (CountsElements(type_) && elements_ == 0) return Corrupt("a " + std::string(ValueTypeName(type_)) + " of nothing");
  stream_rows_ = stream_counts_ = {};
  if (type_ == ValueType::kStream) {
    ASSIGN_OR_RETURN(stream_, ParseStreamBody(value.body));
  }
  ++counts_.records;
  ++counts_.keys;
  ++counts_.keys_by_type[static_cast<size_t>(type_)];
  in_key_ = true;
  return FromVisitor(visitor.Key({static_cast<int>(db_), key, value}));
}

Result<void> RecordParser::DispatchRow(const RecordHead& head, std::string_view payload, SnapshotVisitor& visitor) {
  if (!in_key_) {
    return in_gap_ ? Result<void>() : Corrupt("a row of no key");
  }
  const std::string_view suffix = payload.substr(0, head.first_size);
  const std::string_view value = payload.substr(head.first_size);
  RETURN_IF_ERROR(CheckRowShape(head.kind, suffix, value));
  if (any_row_ && head.kind < kind_) return Corrupt("rows are not in order");
  if (any_row_ && head.kind == kind_ && suffix <= suffix_) {
    // Long suffixes are in the order of their row keys, which fold them.
    if (suffix == suffix_ || CollectionRowKey(0, kind_, suffix) <= CollectionRowKey(0, kind_, suffix_)) {
      return Corrupt("rows are not in order");
    }
  }
  any_row_ = true;
  kind_ = head.kind;
  suffix_ = suffix;
  if (kind_ == CollectionKind::kItem || kind_ == CollectionKind::kMember) ++elements_seen_;
  if (kind_ == CollectionKind::kScore) ++scores_seen_;
  if (type_ == ValueType::kStream) RETURN_IF_ERROR(TakeStreamRow(head.kind, suffix, value));
  ++counts_.records;
  return FromVisitor(visitor.Row({head.kind, suffix, value}));
}

Result<void> RecordParser::CheckRowShape(CollectionKind kind, std::string_view suffix, std::string_view value) const {
  if (KindsOf(type_, chunked_).find(static_cast<char>(kind)) == std::string_view::npos) {
    return Corrupt("a row of kind " + std::to_string(static_cast<unsigned>(kind)) + " in a " +
                   std::string(ValueTypeName(type_)));
  }
  size_t fixed = 0;
  switch (kind) {
    case CollectionKind::kChunk: {
      if (suffix.size() != 4) return Corrupt("a chunk without index");
      const uint64_t start = LoadBig<uint32_t>(suffix.data()) * uint64_t{kChunkSize};
      if (value.size() > kChunkSize || start + value.size() > string_length_) {
        return Corrupt("a chunk outside of its string of " + std::to_string(string_length_) + " bytes");
      }
      return {};
    }
    case CollectionKind::kMember:
      if (suffix.size() < 8) return Corrupt("a member without hash");
      if (LoadBig<uint64_t>(suffix.data()) != RowHash(suffix.substr(8))) return Corrupt("a member under a wrong hash");
      if (type_ == ValueType::kSortedSet) {
        if (const auto score = DecodeScore(value); !score.ok()) return Corrupt(score.error().message);
      }
      return {};
    case CollectionKind::kScore:
      if (!value.empty()) return Corrupt("a score row with a value");
      fixed = 8;
      break;
    case CollectionKind::kItem:
      if (suffix.size() != 8 || LoadBig<uint64_t>(suffix.data()) != ListBody::kStart + elements_seen_) {
        return Corrupt("an item of a list at a wrong position");
      }
      return {};
    case CollectionKind::kEntry:
    case CollectionKind::kGroup:
    case CollectionKind::kConsumer:
    case CollectionKind::kPending:
    case CollectionKind::kOwned:
      break;  // see TakeStreamRow
    case CollectionKind::kFence1:
    case CollectionKind::kFence2:
    case CollectionKind::kFence3:
      break;  // no type has them in a snapshot
  }
  if (suffix.size() < fixed) return Corrupt("a row with a short name");
  return {};
}

}  // namespace holdfast::snapshot_format
