#include <algorithm>
#include <utility>

#include "storage/base/coding.h"
#include "storage/rdb/packed.h"
#include "storage/rdb/stream_codec.h"

namespace holdfast::rdb {
namespace {

// Redis' own sizes of nodes.
constexpr uint64_t kNodeEntries = 100;
constexpr size_t kNodeBytes = 4096;
// With fewer nodes left than that would need, only one this large is closed out of turn.
constexpr size_t kNodeBytesMax = 1 << 20;
constexpr size_t kHeldBytesMax = 1 << 20;

constexpr int64_t kMasterFields = 2;

Error Corrupt(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

// How many nodes entries of these sizes fill, closed as NodeIsFull() does when nodes are not short.
template <typename Entries>
uint64_t NodesOf(const Entries& entries) {
  uint64_t nodes = 0, count = 0;
  size_t bytes = 0;
  for (const auto& entry : entries) {
    if (count == 0) ++nodes;
    bytes += entry.fields.size();
    if (++count < kNodeEntries && bytes < kNodeBytes) continue;
    count = 0;
    bytes = 0;
  }
  return nodes;
}

bool SameNames(const StreamFields& a, const StreamFields& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i += 2) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

}  // namespace

Result<void> StreamWriter::Begin(std::string_view body) {
  std::string stored(sizeof(CollectionId), '\0');
  stored += body;
  ASSIGN_OR_RETURN(header_, StreamHeader::Parse(stored));
  entries_ = 0;
  entries_done_ = false;
  holding_ = true;
  held_.clear();
  held_bytes_ = 0;
  node_.clear();
  node_bytes_ = 0;
  groups_.clear();
  return {};
}

Result<void> StreamWriter::Row(const SnapshotRow& row) {
  if (row.kind == CollectionKind::kEntry) {
    if (entries_done_ || row.suffix.size() != StreamId::kBytes) return Corrupt("an entry of a stream out of place");
    return TakeEntry(StreamId::FromBytes(row.suffix), row.value);
  }
  RETURN_IF_ERROR(FinishEntries());
  switch (row.kind) {
    case CollectionKind::kGroup:
      return TakeGroup(row.suffix, row.value);
    case CollectionKind::kConsumer: {
      ASSIGN_OR_RETURN(Group * group, GroupOf(row.suffix));
      Consumer consumer;
      consumer.name = row.suffix.substr(sizeof(uint64_t));
      ASSIGN_OR_RETURN(consumer.state, ConsumerState::Parse(row.value));
      group->places.emplace(consumer.name, group->consumers.size());
      group->consumers.push_back(std::move(consumer));
      return {};
    }
    case CollectionKind::kPending:
      return TakePending(row);
    case CollectionKind::kOwned:
      return {};  // repeats what is pending
    default:
      return Corrupt("a row in a stream that is none of its own");
  }
}

// ---- entries --------------------------------------------------------------------------------------------------------

Result<void> StreamWriter::TakeEntry(StreamId id, std::string_view fields) {
  if (++entries_ > header_.length) {
    return Corrupt("more entries than the " + std::to_string(header_.length) + " the header says");
  }
  if (!holding_) return Place({id, std::string(fields)});
  held_.push_back({id, std::string(fields)});
  held_bytes_ += fields.size() + sizeof(Entry);
  if (held_bytes_ < kHeldBytesMax) return {};
  // As many as the rest would need if it were like these; when that is wrong, nodes get larger or smaller.
  const uint64_t nodes = NodesOf(held_) * (header_.length / held_.size() + 1);
  return StopHolding(std::min(nodes, header_.length));
}

Result<void> StreamWriter::StopHolding(uint64_t nodes) {
  holding_ = false;
  RETURN_IF_ERROR(output_.Length(nodes));
  nodes_left_ = nodes;
  entries_left_ = header_.length;
  for (Entry& entry : held_) RETURN_IF_ERROR(Place(std::move(entry)));
  held_ = {};
  return {};
}

// Every node gets at least one entry, and the last one ends with the last entry.
bool StreamWriter::NodeIsFull() const {
  if (nodes_left_ == 0) return entries_left_ == 0;
  if (entries_left_ == nodes_left_) return true;
  if (node_bytes_ >= kNodeBytesMax) return true;
  if (nodes_left_ * kNodeEntries < entries_left_) {
    return node_.size() >= (entries_left_ + node_.size()) / (nodes_left_ + 1);
  }
  return node_.size() >= kNodeEntries || node_bytes_ >= kNodeBytes;
}

Result<void> StreamWriter::Place(Entry entry) {
  if (node_.empty()) --nodes_left_;
  --entries_left_;
  node_bytes_ += entry.fields.size();
  node_.push_back(std::move(entry));
  return NodeIsFull() ? WriteNode() : Result<void>();
}

Result<void> StreamWriter::WriteNode() {
  const StreamId master = node_.front().id;
  ListpackBuilder packed;
  StreamFields master_fields, fields;
  RETURN_IF_ERROR(DecodeStreamFields(node_.front().fields, master_fields));
  packed.AppendInteger(static_cast<int64_t>(node_.size()));
  packed.AppendInteger(0);  // deleted ones
  packed.AppendInteger(static_cast<int64_t>(master_fields.size() / 2));
  for (size_t i = 0; i < master_fields.size(); i += 2) packed.Append(master_fields[i]);
  packed.AppendInteger(0);
  for (const Entry& entry : node_) {
    RETURN_IF_ERROR(DecodeStreamFields(entry.fields, fields));
    const bool same = SameNames(fields, master_fields);
    const uint64_t before = packed.count();
    packed.AppendInteger(same ? kMasterFields : 0);
    packed.AppendInteger(static_cast<int64_t>(entry.id.ms - master.ms));
    packed.AppendInteger(static_cast<int64_t>(entry.id.sequence - master.sequence));
    if (!same) packed.AppendInteger(static_cast<int64_t>(fields.size() / 2));
    for (size_t i = same ? 1 : 0; i < fields.size(); i += same ? 2 : 1) packed.Append(fields[i]);
    packed.AppendInteger(static_cast<int64_t>(packed.count() - before));
  }
  node_.clear();
  node_bytes_ = 0;
  RETURN_IF_ERROR(output_.String(master.Bytes()));
  return output_.String(packed.Finish());
}

Result<void> StreamWriter::FinishEntries() {
  if (entries_done_) return {};
  entries_done_ = true;
  if (entries_ != header_.length) {
    return Corrupt("has " + std::to_string(entries_) + " entries, the header says " + std::to_string(header_.length));
  }
  if (holding_) RETURN_IF_ERROR(StopHolding(NodesOf(held_)));
  RETURN_IF_ERROR(output_.Length(header_.length));
  RETURN_IF_ERROR(WriteId(header_.last));
  if (form_ == StreamForm::kFirst) return {};
  RETURN_IF_ERROR(WriteId(header_.first));
  RETURN_IF_ERROR(WriteId(header_.max_deleted));
  return output_.Length(header_.entries_added);
}

Result<void> StreamWriter::WriteId(StreamId id) {
  RETURN_IF_ERROR(output_.Length(id.ms));
  return output_.Length(id.sequence);
}

// ---- groups ---------------------------------------------------------------------------------------------------------

Result<void> StreamWriter::TakeGroup(std::string_view name, std::string_view value) {
  Group group;
  group.name = name;
  ASSIGN_OR_RETURN(group.state, GroupState::Parse(value));
  const uint64_t number = group.state.number;
  if (!groups_.emplace(number, std::move(group)).second) return Corrupt("two groups of one number");
  return {};
}

Result<StreamWriter::Group*> StreamWriter::GroupOf(std::string_view suffix) {
  const auto found = suffix.size() < sizeof(uint64_t) ? groups_.end() : groups_.find(LoadBig<uint64_t>(suffix.data()));
  if (found == groups_.end()) return Corrupt("a row of a group that is not there");
  return &found->second;
}

Result<void> StreamWriter::TakePending(const SnapshotRow& row) {
  ASSIGN_OR_RETURN(Group * group, GroupOf(row.suffix));
  if (row.suffix.size() != sizeof(uint64_t) + StreamId::kBytes) return Corrupt("a pending entry without id");
  ASSIGN_OR_RETURN(const PendingState state, PendingState::Parse(row.value));
  const auto place = group->places.find(state.consumer);
  if (place == group->places.end()) return Corrupt("a pending entry of a consumer that is not there");
  group->pending.push_back(
      {StreamId::FromBytes(row.suffix.substr(sizeof(uint64_t))), state.delivered_ms, state.deliveries, place->second});
  return {};
}

Result<void> StreamWriter::WriteGroup(const Group& group) {
  RETURN_IF_ERROR(output_.String(group.name));
  RETURN_IF_ERROR(WriteId(group.state.last_delivered));
  if (form_ != StreamForm::kFirst) RETURN_IF_ERROR(output_.Length(static_cast<uint64_t>(group.state.entries_read)));
  RETURN_IF_ERROR(output_.Length(group.pending.size()));
  std::vector<std::vector<StreamId>> owned(group.consumers.size());
  for (const Pending& one : group.pending) {
    RETURN_IF_ERROR(output_.Bytes(one.id.Bytes()));
    RETURN_IF_ERROR(output_.Little<int64_t>(one.delivered_ms));
    RETURN_IF_ERROR(output_.Length(one.deliveries));
    owned[one.consumer].push_back(one.id);
  }
  RETURN_IF_ERROR(output_.Length(group.consumers.size()));
  for (size_t i = 0; i < group.consumers.size(); ++i) {
    const Consumer& consumer = group.consumers[i];
    RETURN_IF_ERROR(output_.String(consumer.name));
    RETURN_IF_ERROR(output_.Little<int64_t>(consumer.state.seen_ms));
    RETURN_IF_ERROR(output_.Length(owned[i].size()));
    for (const StreamId id : owned[i]) RETURN_IF_ERROR(output_.Bytes(id.Bytes()));
  }
  return {};
}

Result<void> StreamWriter::End() {
  RETURN_IF_ERROR(FinishEntries());
  RETURN_IF_ERROR(output_.Length(groups_.size()));
  if (groups_.size() != header_.groups) {
    return Corrupt("has " + std::to_string(groups_.size()) + " groups, the header says " +
                   std::to_string(header_.groups));
  }
  for (const auto& [number, group] : groups_) RETURN_IF_ERROR(WriteGroup(group));
  groups_.clear();
  return {};
}

}  // namespace holdfast::rdb
