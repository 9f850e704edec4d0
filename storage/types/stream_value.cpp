#include "storage/types/stream_value.h"

#include <algorithm>

#include "storage/base/coding.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

Error Damaged(const std::string& what) { return {ErrorCode::kCorruption, "stream: " + what}; }

void AppendId(std::string& to, StreamId id) {
  AppendLittle<uint64_t>(to, id.ms);
  AppendLittle<uint64_t>(to, id.sequence);
}

StreamId ReadId(ByteReader& reader) {
  const auto ms = reader.Little<uint64_t>();
  return {ms, reader.Little<uint64_t>()};
}

void AppendVarint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

// The shortest form is the only one, so that equal fields are equal bytes.
std::optional<uint64_t> TakeVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 63 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[0]);
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return byte == 0 && shift > 0 ? std::nullopt : std::optional<uint64_t>(value);
  }
  return std::nullopt;
}

std::string Numbered(uint64_t number) {
  std::string suffix;
  AppendBig<uint64_t>(suffix, number);
  return suffix;
}

}  // namespace

// ---- rows as bytes --------------------------------------------------------------------------------------------------

std::string StreamHeader::Encode() const {
  std::string body;
  body.reserve(kSize);
  AppendLittle<uint64_t>(body, id);
  AppendLittle<uint64_t>(body, length);
  for (const StreamId one : {last, first, max_deleted}) AppendId(body, one);
  for (const uint64_t number : {entries_added, groups, next_group}) AppendLittle<uint64_t>(body, number);
  return body;
}

Result<StreamHeader> StreamHeader::Parse(std::string_view body) {
  ByteReader reader(body);
  StreamHeader header;
  header.id = reader.Little<uint64_t>();
  header.length = reader.Little<uint64_t>();
  for (StreamId* one : {&header.last, &header.first, &header.max_deleted}) *one = ReadId(reader);
  for (uint64_t* number : {&header.entries_added, &header.groups, &header.next_group}) {
    *number = reader.Little<uint64_t>();
  }
  if (!reader.AtEnd()) {
    return Damaged("row body has " + std::to_string(body.size()) + " bytes, expected " + std::to_string(kSize));
  }
  if (header.first.IsZero() != (header.length == 0) || header.first > header.last) {
    return Damaged("impossible row body, " + std::to_string(header.length) + " entries from " + header.first.Text() +
                   " to " + header.last.Text());
  }
  if (header.next_group == 0 || header.groups >= header.next_group) {
    return Damaged("impossible row body, " + std::to_string(header.groups) + " groups");
  }
  return header;
}

std::string EncodeStreamFields(std::span<const std::string_view> fields) {
  size_t size = 0;
  for (const std::string_view field : fields) size += field.size() + 2;
  std::string value;
  value.reserve(size);
  for (const std::string_view field : fields) {
    AppendVarint(value, field.size());
    value += field;
  }
  return value;
}

Result<void> DecodeStreamFields(std::string_view value, StreamFields& fields) {
  fields.clear();
  while (!value.empty()) {
    const auto size = TakeVarint(value);
    if (!size || *size > value.size()) return Damaged("an entry is cut short");
    fields.push_back(value.substr(0, *size));
    value.remove_prefix(*size);
  }
  if (fields.empty() || fields.size() % 2 != 0) return Damaged("an entry without pairs of fields and values");
  return {};
}

std::string GroupState::Encode() const {
  std::string value;
  AppendLittle<uint64_t>(value, number);
  AppendId(value, last_delivered);
  AppendLittle<int64_t>(value, entries_read);
  for (const uint64_t one : {pending, consumers, next_consumer}) AppendLittle<uint64_t>(value, one);
  return value;
}

Result<GroupState> GroupState::Parse(std::string_view value) {
  ByteReader reader(value);
  GroupState group;
  group.number = reader.Little<uint64_t>();
  group.last_delivered = ReadId(reader);
  group.entries_read = reader.Little<int64_t>();
  for (uint64_t* one : {&group.pending, &group.consumers, &group.next_consumer}) *one = reader.Little<uint64_t>();
  if (!reader.AtEnd() || group.number == 0 || group.entries_read < kUnknownReads || group.next_consumer == 0 ||
      group.consumers >= group.next_consumer) {
    return Damaged("impossible row of a group, " + std::to_string(value.size()) + " bytes");
  }
  return group;
}

std::string ConsumerState::Encode() const {
  std::string value;
  AppendLittle<uint64_t>(value, number);
  AppendLittle<int64_t>(value, seen_ms);
  AppendLittle<uint64_t>(value, pending);
  return value;
}

Result<ConsumerState> ConsumerState::Parse(std::string_view value) {
  ByteReader reader(value);
  ConsumerState consumer;
  consumer.number = reader.Little<uint64_t>();
  consumer.seen_ms = reader.Little<int64_t>();
  consumer.pending = reader.Little<uint64_t>();
  if (!reader.AtEnd() || consumer.number == 0) {
    return Damaged("impossible row of a consumer, " + std::to_string(value.size()) + " bytes");
  }
  return consumer;
}

std::string PendingState::Encode() const {
  std::string value;
  AppendLittle<int64_t>(value, delivered_ms);
  AppendLittle<uint64_t>(value, deliveries);
  value += consumer;
  return value;
}

Result<PendingState> PendingState::Parse(std::string_view value) {
  ByteReader reader(value);
  PendingState pending;
  pending.delivered_ms = reader.Little<int64_t>();
  pending.deliveries = reader.Little<uint64_t>();
  if (!reader.ok()) return Damaged("a pending row of " + std::to_string(value.size()) + " bytes");
  pending.consumer = reader.rest();
  return pending;
}

std::string ConsumerSuffix(uint64_t group, std::string_view name) { return Numbered(group).append(name); }
std::string PendingSuffix(uint64_t group, StreamId id) { return Numbered(group) + id.Bytes(); }
std::string OwnedSuffix(uint64_t group, uint64_t consumer, StreamId id) {
  return Numbered(group) + Numbered(consumer) + id.Bytes();
}

// ---- entries --------------------------------------------------------------------------------------------------------

Result<StreamReader> StreamReader::From(Transaction& transaction, const KeyValue& value) {
  if (value.type != ValueType::kStream) return WrongTypeError();
  ASSIGN_OR_RETURN(const StreamHeader header, StreamHeader::Parse(value.body));
  return StreamReader(transaction, header);
}

Result<std::optional<StreamReader>> StreamReader::Open(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
  if (!found) return std::optional<StreamReader>();
  ASSIGN_OR_RETURN(const StreamReader reader, From(transaction, *found));
  return std::optional<StreamReader>(reader);
}

Result<void> StreamReader::VisitRows(CollectionKind kind, std::string_view prefix, std::string_view from, bool reverse,
                                     const Rows& visit) const {
  Result<void> failed;
  RETURN_IF_ERROR(
      transaction_->VisitRows(header_.id, kind, from, reverse, [&](std::string_view suffix, std::string_view value) {
        if (!suffix.starts_with(prefix)) return false;
        auto go_on = visit(suffix, value);
        if (go_on.ok()) return *go_on;
        failed = std::move(go_on).error();
        return false;
      }));
  return failed;
}

Result<void> StreamReader::Visit(StreamId low, StreamId high, bool reverse, const EntryVisitor& visit) const {
  // Nothing lies outside of these; trimmed and removed entries may have left traces there.
  low = std::max(low, header_.first);
  high = std::min(high, header_.last);
  if (header_.length == 0 || low > high) return {};
  StreamFields fields;
  return VisitRows(CollectionKind::kEntry, {}, (reverse ? high : low).Bytes(), reverse,
                   [&](std::string_view suffix, std::string_view value) -> Result<bool> {
                     if (suffix.size() != StreamId::kBytes) return Damaged("an entry without id");
                     const StreamId id = StreamId::FromBytes(suffix);
                     if (reverse ? id < low : id > high) return false;
                     RETURN_IF_ERROR(DecodeStreamFields(value, fields));
                     return visit(id, fields);
                   });
}

Result<void> StreamReader::VisitIds(StreamId low, StreamId high, bool reverse, const IdVisitor& visit) const {
  low = std::max(low, header_.first);
  high = std::min(high, header_.last);
  if (header_.length == 0 || low > high) return {};
  return VisitRows(CollectionKind::kEntry, {}, (reverse ? high : low).Bytes(), reverse,
                   [&](std::string_view suffix, std::string_view) -> Result<bool> {
                     if (suffix.size() != StreamId::kBytes) return Damaged("an entry without id");
                     const StreamId id = StreamId::FromBytes(suffix);
                     return (reverse ? id >= low : id <= high) && visit(id);
                   });
}

Result<bool> StreamReader::Has(StreamId id) const {
  if (header_.length == 0) return false;
  ASSIGN_OR_RETURN(const auto row, transaction_->FindRow(header_.id, CollectionKind::kEntry, id.Bytes()));
  return row.has_value();
}

Result<std::optional<StreamId>> StreamReader::LastEntry() const {
  std::optional<StreamId> last;
  RETURN_IF_ERROR(VisitIds({}, StreamId::Max(), /*reverse=*/true, [&last](StreamId id) {
    last = id;
    return false;
  }));
  return last;
}

// ---- groups ---------------------------------------------------------------------------------------------------------

Result<std::optional<GroupState>> StreamReader::FindGroup(std::string_view name) const {
  if (header_.groups == 0) return std::optional<GroupState>();
  ASSIGN_OR_RETURN(const auto row, transaction_->FindRow(header_.id, CollectionKind::kGroup, name));
  if (!row) return std::optional<GroupState>();
  ASSIGN_OR_RETURN(const GroupState group, GroupState::Parse(*row));
  return std::optional<GroupState>(group);
}

Result<void> StreamReader::VisitGroups(
    const std::function<bool(std::string_view name, const GroupState& group)>& visit) const {
  if (header_.groups == 0) return {};
  return VisitRows(CollectionKind::kGroup, {}, {}, /*reverse=*/false,
                   [&](std::string_view name, std::string_view value) -> Result<bool> {
                     ASSIGN_OR_RETURN(const GroupState group, GroupState::Parse(value));
                     return visit(name, group);
                   });
}

Result<std::optional<ConsumerState>> StreamReader::FindConsumer(const GroupState& group, std::string_view name) const {
  ASSIGN_OR_RETURN(const auto row,
                   transaction_->FindRow(header_.id, CollectionKind::kConsumer, ConsumerSuffix(group.number, name)));
  if (!row) return std::optional<ConsumerState>();
  ASSIGN_OR_RETURN(const ConsumerState consumer, ConsumerState::Parse(*row));
  return std::optional<ConsumerState>(consumer);
}

Result<void> StreamReader::VisitConsumers(
    const GroupState& group,
    const std::function<bool(std::string_view name, const ConsumerState& consumer)>& visit) const {
  const std::string prefix = Numbered(group.number);
  return VisitRows(CollectionKind::kConsumer, prefix, prefix, /*reverse=*/false,
                   [&](std::string_view suffix, std::string_view value) -> Result<bool> {
                     ASSIGN_OR_RETURN(const ConsumerState consumer, ConsumerState::Parse(value));
                     return visit(suffix.substr(prefix.size()), consumer);
                   });
}

Result<std::optional<PendingState>> StreamReader::FindPending(const GroupState& group, StreamId id) const {
  if (group.pending == 0) return std::optional<PendingState>();
  ASSIGN_OR_RETURN(const auto row,
                   transaction_->FindRow(header_.id, CollectionKind::kPending, PendingSuffix(group.number, id)));
  if (!row) return std::optional<PendingState>();
  ASSIGN_OR_RETURN(PendingState pending, PendingState::Parse(*row));
  return std::optional<PendingState>(std::move(pending));
}

Result<void> StreamReader::VisitPending(const GroupState& group, StreamId low, StreamId high,
                                        const PendingVisitor& visit) const {
  const std::string prefix = Numbered(group.number);
  if (group.pending == 0 || low > high) return {};
  return VisitRows(CollectionKind::kPending, prefix, PendingSuffix(group.number, low), /*reverse=*/false,
                   [&](std::string_view suffix, std::string_view value) -> Result<bool> {
                     if (suffix.size() != prefix.size() + StreamId::kBytes) return Damaged("a pending row without id");
                     const StreamId id = StreamId::FromBytes(suffix.substr(prefix.size()));
                     if (id > high) return false;
                     ASSIGN_OR_RETURN(const PendingState pending, PendingState::Parse(value));
                     return visit(id, pending);
                   });
}

Result<std::optional<StreamId>> StreamReader::LastPending(const GroupState& group) const {
  const std::string prefix = Numbered(group.number);
  std::optional<StreamId> last;
  if (group.pending == 0) return last;
  RETURN_IF_ERROR(VisitRows(CollectionKind::kPending, prefix, PendingSuffix(group.number, StreamId::Max()),
                            /*reverse=*/true, [&](std::string_view suffix, std::string_view) -> Result<bool> {
                              if (suffix.size() != prefix.size() + StreamId::kBytes) {
                                return Damaged("a pending row without id");
                              }
                              last = StreamId::FromBytes(suffix.substr(prefix.size()));
                              return false;
                            }));
  return last;
}

Result<void> StreamReader::VisitOwned(const GroupState& group, const ConsumerState& consumer, StreamId low,
                                      StreamId high, const IdVisitor& visit) const {
  const std::string prefix = Numbered(group.number) + Numbered(consumer.number);
  if (consumer.pending == 0 || low > high) return {};
  return VisitRows(CollectionKind::kOwned, prefix, OwnedSuffix(group.number, consumer.number, low), /*reverse=*/false,
                   [&](std::string_view suffix, std::string_view) -> Result<bool> {
                     if (suffix.size() != prefix.size() + StreamId::kBytes) return Damaged("an owned row without id");
                     const StreamId id = StreamId::FromBytes(suffix.substr(prefix.size()));
                     return id <= high && visit(id);
                   });
}

// ---- counting reads, by Redis' rules --------------------------------------------------------------------------------
// Counters can be set to anything by XSETID and by files: differences are taken without a sign, where they may wrap.
// What then is no count tells nothing.

int64_t StreamHeader::EstimateReads(StreamId id_asked) const {
  const auto known = [](uint64_t reads) {
    return reads > kStreamCounterMax ? GroupState::kUnknownReads : static_cast<int64_t>(reads);
  };
  if (entries_added == 0) return 0;
  if (length == 0 && id_asked <= last) return known(entries_added);
  if (id_asked == last) return known(entries_added);
  if (id_asked > last) return GroupState::kUnknownReads;
  if (max_deleted.IsZero() || max_deleted < first) {
    if (id_asked < first) return known(entries_added - length);
    if (id_asked == first) return known(entries_added - length + 1);
  }
  return GroupState::kUnknownReads;
}

bool StreamReader::MayLackEntries(StreamId low) const {
  if (header_.length == 0 || header_.max_deleted.IsZero()) return false;
  return header_.first <= header_.max_deleted && low <= header_.max_deleted;
}

std::optional<int64_t> StreamReader::Lag(const GroupState& group) const {
  const auto behind = [this](int64_t reads) {
    return static_cast<int64_t>(header_.entries_added - static_cast<uint64_t>(reads));
  };
  if (header_.entries_added == 0) return 0;
  if (group.entries_read != GroupState::kUnknownReads && !MayLackEntries(group.last_delivered)) {
    return behind(group.entries_read);
  }
  const int64_t reads = EstimateReads(group.last_delivered);
  if (reads == GroupState::kUnknownReads) return std::nullopt;
  return behind(reads);
}

}  // namespace holdfast
