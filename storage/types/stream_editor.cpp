#include "storage/types/stream_editor.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/types/row_copies.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

constexpr size_t kBatchRows = 4096;
constexpr CollectionKind kGroupKinds[] = {CollectionKind::kGroup, CollectionKind::kConsumer, CollectionKind::kPending,
                                          CollectionKind::kOwned};

}  // namespace

Result<StreamEditor> StreamEditor::Open(Transaction& transaction, std::string_view key) {
  StreamEditor editor(transaction, key);
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  if (!found) return editor;
  if (found->type != ValueType::kStream) return WrongTypeError();
  ASSIGN_OR_RETURN(editor.header_, StreamHeader::Parse(found->body));
  editor.TakeOld(found);
  editor.before_ = editor.header_;
  editor.exists_ = true;
  return editor;
}

Result<StreamEditor> StreamEditor::Replace(Transaction& transaction, std::string_view key) {
  StreamEditor editor(transaction, key);
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  editor.TakeOld(found);
  editor.replaces_ = true;
  return editor;
}

void StreamEditor::TakeOld(const std::optional<KeyValue>& old) {
  if (!old) return;
  old_ = old;
  old_body_ = old->body;
}

CollectionId StreamEditor::Id() {
  if (header_.id == 0) header_.id = transaction_->NewCollectionId();
  return header_.id;
}

void StreamEditor::PutRow(CollectionKind kind, std::string_view suffix, std::string_view value) {
  transaction_->PutRow(Id(), kind, suffix, value);
  wrote_ = true;
}

void StreamEditor::EraseRow(CollectionKind kind, std::string_view suffix) {
  transaction_->EraseRow(Id(), kind, suffix);
  wrote_ = true;
}

Result<void> StreamEditor::EraseRows(CollectionKind kind, const std::string& prefix) {
  std::vector<std::string> batch;
  do {
    batch.clear();
    RETURN_IF_ERROR(transaction_->VisitRows(header_.id, kind, prefix, /*reverse=*/false,
                                            [&](std::string_view suffix, std::string_view) {
                                              if (!suffix.starts_with(prefix)) return false;
                                              batch.emplace_back(suffix);
                                              return batch.size() < kBatchRows;
                                            }));
    for (const std::string& suffix : batch) EraseRow(kind, suffix);
  } while (batch.size() == kBatchRows);
  return {};
}

// ---- entries --------------------------------------------------------------------------------------------------------

void StreamEditor::Append(StreamId id, std::span<const std::string_view> fields) {
  CHECK(id > header_.last);
  PutRow(CollectionKind::kEntry, id.Bytes(), EncodeStreamFields(fields));
  wrote_entries_ = true;
  header_.last = id;
  if (header_.length == 0) header_.first = id;
  ++header_.length;
  if (header_.entries_added < kStreamCounterMax) ++header_.entries_added;
}

Result<bool> StreamEditor::Erase(StreamId id) {
  ASSIGN_OR_RETURN(const bool there, reader().Has(id));
  if (!there) return false;
  StreamId first = header_.first;
  if (header_.length == 1) {
    first = {};
  } else if (id == first) {
    RETURN_IF_ERROR(reader().VisitIds(first, StreamId::Max(), /*reverse=*/false, [&](StreamId next) {
      first = next;
      return next == id;
    }));
  }
  EraseRow(CollectionKind::kEntry, id.Bytes());
  wrote_entries_ = true;
  header_.first = first;
  --header_.length;
  return true;
}

Result<void> StreamEditor::DropFirst(uint64_t count) {
  CHECK(count <= header_.length);
  wrote_entries_ = wrote_entries_ || count > 0;
  if (count > kBatchRows) {
    ASSIGN_OR_RETURN(const bool little, StaysLittle(count));
    if (little) return MoveRest(count);
  }
  while (count > 0) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(count, kBatchRows));
    std::vector<StreamId> ids;  // and the one behind
    RETURN_IF_ERROR(reader().VisitIds({}, StreamId::Max(), /*reverse=*/false, [&](StreamId id) {
      ids.push_back(id);
      return ids.size() <= wanted;
    }));
    if (ids.size() < wanted) return Error{ErrorCode::kCorruption, "stream: has fewer entries than it counts"};
    for (size_t i = 0; i < wanted; ++i) EraseRow(CollectionKind::kEntry, ids[i].Bytes());
    header_.length -= wanted;
    header_.first = header_.length == 0 ? StreamId{} : ids.back();
    count -= wanted;
  }
  return {};
}

// Whether copying what stays takes fewer rows than erasing what goes.
Result<bool> StreamEditor::StaysLittle(uint64_t dropped) const {
  uint64_t stays = header_.length - dropped;
  RETURN_IF_ERROR(reader().VisitGroups([&](std::string_view, const GroupState& group) {
    stays += 1 + group.consumers + 2 * group.pending;
    return stays < dropped;
  }));
  return stays < dropped;
}

// The few rows that stay become those of a new collection, and the old one is collected in the background.
Result<void> StreamEditor::MoveRest(uint64_t dropped) {
  StreamId first;
  if (dropped < header_.length) {
    uint64_t seen = 0;
    RETURN_IF_ERROR(reader().VisitIds({}, StreamId::Max(), /*reverse=*/false, [&](StreamId id) {
      first = id;
      return seen++ < dropped;
    }));
    if (seen <= dropped) return Error{ErrorCode::kCorruption, "stream: has fewer entries than it counts"};
  }
  const CollectionId id = transaction_->NewCollectionId();
  for (const CollectionKind kind : kGroupKinds) RETURN_IF_ERROR(CopyRows(*transaction_, header_.id, id, kind));
  if (!first.IsZero()) {
    RETURN_IF_ERROR(CopyRows(*transaction_, header_.id, id, CollectionKind::kEntry, first.Bytes()));
  }
  header_.id = id;
  header_.length -= dropped;
  header_.first = first;
  wrote_ = true;
  return {};
}

void StreamEditor::SetCounters(const Counters& counters) {
  header_.last = counters.last;
  header_.max_deleted = counters.max_deleted;
  header_.entries_added = counters.entries_added;
}

// ---- groups ---------------------------------------------------------------------------------------------------------

GroupState StreamEditor::MakeGroup(std::string_view name, StreamId last_delivered, int64_t entries_read) {
  GroupState group;
  group.number = header_.next_group++;
  group.last_delivered = last_delivered;
  group.entries_read = entries_read;
  ++header_.groups;
  PutRow(CollectionKind::kGroup, name, group.Encode());
  return group;
}

Result<void> StreamEditor::EraseGroup(std::string_view name, const GroupState& group) {
  const std::string prefix = ConsumerSuffix(group.number, {});
  for (const CollectionKind kind : {CollectionKind::kOwned, CollectionKind::kPending, CollectionKind::kConsumer}) {
    RETURN_IF_ERROR(EraseRows(kind, prefix));
  }
  EraseRow(CollectionKind::kGroup, name);
  --header_.groups;
  return {};
}

void StreamEditor::Finish() {
  using Change = Transaction::Change;
  const Change change = exists_ && !wrote_entries_ ? Change::kBeside : Change::kContent;
  if (exists_ && header_ == before_) {
    if (wrote_) transaction_->TouchKey(transaction_->db(), key_, change);
    return;
  }
  if (old_) old_->body = old_body_;
  KeyValue value;
  value.type = ValueType::kStream;
  value.expire_at_ms = old_ && !replaces_ ? old_->expire_at_ms : kNoExpiry;
  Id();  // a stream has one even while it has no rows
  const std::string body = header_.Encode();
  value.body = body;
  transaction_->Put(transaction_->db(), key_, value, old_, change);
}

// ---- one group ------------------------------------------------------------------------------------------------------

Result<GroupEditor::Consumer*> GroupEditor::Find(std::string_view name) {
  if (const auto known = consumers_.find(name); known != consumers_.end()) return &known->second;
  ASSIGN_OR_RETURN(const auto found, stream_->reader().FindConsumer(group_, name));
  if (!found) return static_cast<Consumer*>(nullptr);
  return &consumers_.emplace(std::string(name), Consumer{*found}).first->second;
}

Result<bool> GroupEditor::HasConsumer(std::string_view name) {
  ASSIGN_OR_RETURN(const Consumer* consumer, Find(name));
  return consumer != nullptr;
}

void GroupEditor::MakeConsumer(std::string_view name, int64_t seen_ms) {
  Consumer consumer;
  consumer.state.number = group_.next_consumer++;
  consumer.state.seen_ms = seen_ms;
  consumer.changed = true;
  ++group_.consumers;
  consumers_.insert_or_assign(std::string(name), consumer);
}

void GroupEditor::SetSeen(std::string_view name, int64_t seen_ms) {
  const auto found = consumers_.find(name);
  if (found == consumers_.end()) return;
  found->second.state.seen_ms = seen_ms;
  found->second.changed = true;
}

Result<std::optional<uint64_t>> GroupEditor::EraseConsumer(std::string_view name) {
  ASSIGN_OR_RETURN(const Consumer* found, Find(name));
  if (found == nullptr) return std::optional<uint64_t>();
  const ConsumerState consumer = found->state;
  std::vector<StreamId> ids;
  RETURN_IF_ERROR(stream_->reader().VisitOwned(group_, consumer, {}, StreamId::Max(), [&ids](StreamId id) {
    ids.push_back(id);
    return true;
  }));
  for (const StreamId id : ids) {
    stream_->EraseRow(CollectionKind::kPending, PendingSuffix(group_.number, id));
    stream_->EraseRow(CollectionKind::kOwned, OwnedSuffix(group_.number, consumer.number, id));
  }
  stream_->EraseRow(CollectionKind::kConsumer, ConsumerSuffix(group_.number, name));
  consumers_.erase(consumers_.find(name));
  group_.pending -= std::min<uint64_t>(group_.pending, ids.size());
  --group_.consumers;
  return std::optional<uint64_t>(ids.size());
}

Result<void> GroupEditor::Give(StreamId id, const std::optional<PendingState>& old, const PendingState& pending) {
  ASSIGN_OR_RETURN(Consumer * to, Find(pending.consumer));
  CHECK(to != nullptr);
  if (!old || old->consumer != pending.consumer) {
    if (old) RETURN_IF_ERROR(Release(id, *old));
    stream_->PutRow(CollectionKind::kOwned, OwnedSuffix(group_.number, to->state.number, id), {});
    ++to->state.pending;
    to->changed = true;
    ++group_.pending;
  }
  stream_->PutRow(CollectionKind::kPending, PendingSuffix(group_.number, id), pending.Encode());
  return {};
}

Result<void> GroupEditor::Release(StreamId id, const PendingState& old) {
  ASSIGN_OR_RETURN(Consumer * from, Find(old.consumer));
  if (from == nullptr || from->state.pending == 0 || group_.pending == 0) {
    return Error{ErrorCode::kCorruption, "stream: a pending entry of a consumer that does not know it"};
  }
  stream_->EraseRow(CollectionKind::kPending, PendingSuffix(group_.number, id));
  stream_->EraseRow(CollectionKind::kOwned, OwnedSuffix(group_.number, from->state.number, id));
  --from->state.pending;
  from->changed = true;
  --group_.pending;
  return {};
}

void GroupEditor::Finish() {
  for (const auto& [name, consumer] : consumers_) {
    if (!consumer.changed) continue;
    stream_->PutRow(CollectionKind::kConsumer, ConsumerSuffix(group_.number, name), consumer.state.Encode());
  }
  stream_->PutRow(CollectionKind::kGroup, name_, group_.Encode());
}

}  // namespace holdfast
