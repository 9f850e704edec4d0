#include <algorithm>
#include <set>
#include <utility>

#include "storage/base/coding.h"
#include "storage/rdb/packed.h"
#include "storage/rdb/stream_codec.h"
#include "storage/types/numbers.h"

namespace holdfast::rdb {
namespace {

constexpr uint64_t kDeleted = 1;
constexpr uint64_t kMasterFields = 2;

Error Corrupt(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

// One node's listpack, element by element.
class NodeReader {
 public:
  static Result<NodeReader> Open(std::string_view listpack) {
    NodeReader reader;
    ASSIGN_OR_RETURN(reader.cursor_, OpenPacked(PackedKind::kListpack, listpack));
    return reader;
  }

  Result<std::string_view> Next() {
    std::string_view element;
    ASSIGN_OR_RETURN(const bool more, cursor_->Next(element));
    if (!more) return Corrupt("a node of a stream ends too early");
    ++read_;
    return element;
  }

  Result<int64_t> Number() {
    ASSIGN_OR_RETURN(const std::string_view element, Next());
    const auto number = ParseInteger(element);
    if (!number) return Corrupt("'" + PrintableKey(element) + "' in a node of a stream is no number");
    return *number;
  }

  Result<uint64_t> Count() {
    ASSIGN_OR_RETURN(const int64_t number, Number());
    if (number < 0) return Corrupt("a count of " + std::to_string(number) + " in a node of a stream");
    return static_cast<uint64_t>(number);
  }

  Result<bool> AtEnd() {
    std::string_view element;
    ASSIGN_OR_RETURN(const bool more, cursor_->Next(element));
    return !more;
  }
  [[nodiscard]] uint64_t read() const { return read_; }

 private:
  NodeReader() = default;
  std::unique_ptr<PackedCursor> cursor_;
  uint64_t read_ = 0;
};

class StreamRows {
 public:
  StreamRows(Input& input, StreamForm form, RowSink& rows) : input_(input), form_(form), rows_(rows) {}

  Result<LogicalValue> Read() {
    ASSIGN_OR_RETURN(const uint64_t nodes, input_.Length());
    for (uint64_t i = 0; i < nodes; ++i) RETURN_IF_ERROR(ReadNode());
    RETURN_IF_ERROR(ReadHeader());
    ASSIGN_OR_RETURN(header_.groups, input_.Length());
    if (header_.groups == UINT64_MAX) return input_.Damage("too many groups");
    header_.next_group = header_.groups + 1;
    for (uint64_t i = 1; i <= header_.groups; ++i) RETURN_IF_ERROR(ReadGroup(i));
    LogicalValue value;
    value.type = ValueType::kStream;
    value.elements = header_.length;
    value.body = header_.Encode().substr(sizeof(CollectionId));
    return value;
  }

 private:
  // Damage inside of what begins at `position`.
  static Error At(uint64_t position, const Error& error) {
    return error.code == ErrorCode::kCorruption ? Input::DamageAt(position, error.message) : error;
  }

  Result<StreamId> RawId() {
    char bytes[StreamId::kBytes];
    RETURN_IF_ERROR(input_.Bytes(bytes, sizeof(bytes)));
    return StreamId::FromBytes({bytes, sizeof(bytes)});
  }

  Result<StreamId> Id() {
    ASSIGN_OR_RETURN(const uint64_t ms, input_.Length());
    ASSIGN_OR_RETURN(const uint64_t sequence, input_.Length());
    return StreamId{ms, sequence};
  }

  Result<void> ReadNode() {
    const uint64_t start = input_.position();
    RETURN_IF_ERROR(input_.String(text_));
    if (text_.size() != StreamId::kBytes) return Input::DamageAt(start, "a node of a stream without an id");
    const StreamId master = StreamId::FromBytes(text_);
    const uint64_t node_start = input_.position();
    RETURN_IF_ERROR(input_.String(node_));
    auto read = ReadEntries(master);
    if (!read.ok()) return At(node_start, read.error());
    return {};
  }

  Result<void> ReadEntries(StreamId master) {
    ASSIGN_OR_RETURN(NodeReader node, NodeReader::Open(node_));
    ASSIGN_OR_RETURN(const uint64_t count, node.Count());
    ASSIGN_OR_RETURN(const uint64_t deleted, node.Count());
    ASSIGN_OR_RETURN(const uint64_t names, node.Count());
    master_names_.clear();
    for (uint64_t i = 0; i < names; ++i) {
      ASSIGN_OR_RETURN(const std::string_view name, node.Next());
      master_names_.emplace_back(name);
    }
    ASSIGN_OR_RETURN(const int64_t end, node.Number());
    if (end != 0) return Corrupt("the master entry of a stream's node has no end");
    uint64_t seen_deleted = 0;
    for (uint64_t i = 0; i < count || seen_deleted < deleted;) {
      ASSIGN_OR_RETURN(const bool is_deleted, ReadEntry(node, master));
      if (is_deleted) {
        if (++seen_deleted > deleted) return Corrupt("a node of a stream has more deleted entries than it says");
      } else if (++i > count) {
        return Corrupt("a node of a stream has more entries than it says");
      }
    }
    ASSIGN_OR_RETURN(const bool at_end, node.AtEnd());
    if (!at_end) return Corrupt("a node of a stream goes on behind its last entry");
    return {};
  }

  // Whether it is a deleted one.
  Result<bool> ReadEntry(NodeReader& node, StreamId master) {
    const uint64_t before = node.read();
    ASSIGN_OR_RETURN(const uint64_t flags, node.Count());
    ASSIGN_OR_RETURN(const int64_t ms, node.Number());
    ASSIGN_OR_RETURN(const int64_t sequence, node.Number());
    // Differences wrap around, as in Redis.
    const StreamId id{master.ms + static_cast<uint64_t>(ms), master.sequence + static_cast<uint64_t>(sequence)};
    const bool own_names = (flags & kMasterFields) == 0;
    uint64_t pairs = master_names_.size();
    if (own_names) {
      ASSIGN_OR_RETURN(pairs, node.Count());
    }
    // Nothing is copied of a deleted one: the names of the node's first entry may be long, and the others many.
    const bool deleted = (flags & kDeleted) != 0;
    words_.clear();
    for (uint64_t i = 0; i < pairs; ++i) {
      if (own_names) {
        ASSIGN_OR_RETURN(const std::string_view name, node.Next());
        if (!deleted) words_.emplace_back(name);
      } else if (!deleted) {
        words_.push_back(master_names_[i]);
      }
      ASSIGN_OR_RETURN(const std::string_view value, node.Next());
      if (!deleted) words_.emplace_back(value);
    }
    const uint64_t elements = node.read() - before;
    ASSIGN_OR_RETURN(const uint64_t told, node.Count());
    if (told != elements) return Corrupt("an entry of a stream has a wrong length behind it");
    if (deleted) return true;
    if (words_.empty()) return Corrupt("an entry of a stream has no fields");
    RETURN_IF_ERROR(EmitEntry(id));
    return false;
  }

  Result<void> EmitEntry(StreamId id) {
    if (id.IsZero() || (entries_ > 0 && id <= newest_)) return Corrupt("entries of a stream that are not in order");
    if (entries_++ == 0) header_.first = id;
    newest_ = id;
    const StreamFields fields(words_.begin(), words_.end());
    return rows_.Row({CollectionKind::kEntry, id.Bytes(), EncodeStreamFields(fields)});
  }

  Result<void> ReadHeader() {
    const uint64_t start = input_.position();
    ASSIGN_OR_RETURN(header_.length, input_.Length());
    ASSIGN_OR_RETURN(header_.last, Id());
    header_.entries_added = header_.length;
    if (form_ != StreamForm::kFirst) {
      ASSIGN_OR_RETURN([[maybe_unused]] const StreamId first, Id());  // known from the entries
      ASSIGN_OR_RETURN(header_.max_deleted, Id());
      ASSIGN_OR_RETURN(const uint64_t added, input_.Length());
      header_.entries_added = std::min(added, kStreamCounterMax);
    }
    if (header_.length != entries_) {
      return Input::DamageAt(
          start, "a stream of " + std::to_string(header_.length) + " entries that has " + std::to_string(entries_));
    }
    if (newest_ > header_.last) return Input::DamageAt(start, "a stream with entries behind its last id");
    return {};
  }

  struct Pending {
    StreamId id;
    int64_t delivered_ms;
    uint64_t deliveries;
    bool owned;
  };

  Result<void> ReadPending() {
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    pending_.clear();
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t start = input_.position();
      ASSIGN_OR_RETURN(const StreamId id, RawId());
      ASSIGN_OR_RETURN(const auto time, input_.Little<int64_t>());
      ASSIGN_OR_RETURN(const uint64_t deliveries, input_.Length());
      if (!pending_.empty() && id <= pending_.back().id) {
        return Input::DamageAt(start, "pending entries of a group that are not in order");
      }
      pending_.push_back({id, time, std::min(deliveries, kStreamCounterMax), false});
    }
    return {};
  }

  Result<void> ReadGroup(uint64_t number) {
    const uint64_t start = input_.position();
    RETURN_IF_ERROR(input_.String(text_));
    const std::string name = text_;
    if (!group_names_.insert(name).second) return Input::DamageAt(start, "two groups of one name");
    GroupState group;
    group.number = number;
    ASSIGN_OR_RETURN(group.last_delivered, Id());
    group.entries_read = header_.EstimateReads(group.last_delivered);
    if (form_ != StreamForm::kFirst) {
      ASSIGN_OR_RETURN(const uint64_t reads, input_.Length());
      group.entries_read = static_cast<int64_t>(reads);
      if (group.entries_read < GroupState::kUnknownReads) return Input::DamageAt(start, "an impossible count of reads");
    }
    RETURN_IF_ERROR(ReadPending());
    group.pending = pending_.size();
    ASSIGN_OR_RETURN(group.consumers, input_.Length());
    if (group.consumers == UINT64_MAX) return input_.Damage("too many consumers");
    group.next_consumer = group.consumers + 1;
    std::set<std::string, std::less<>> names;
    for (uint64_t i = 1; i <= group.consumers; ++i) {
      const uint64_t consumer_start = input_.position();
      RETURN_IF_ERROR(input_.String(text_));
      if (!names.insert(text_).second) return Input::DamageAt(consumer_start, "two consumers of one name in a group");
      RETURN_IF_ERROR(ReadConsumer(number, i));
    }
    const bool all_owned = std::all_of(pending_.begin(), pending_.end(), [](const Pending& one) { return one.owned; });
    if (!all_owned) return Input::DamageAt(start, "a pending entry that no consumer has");
    return rows_.Row({CollectionKind::kGroup, name, group.Encode()});
  }

  // The name is in text_.
  Result<void> ReadConsumer(uint64_t group, uint64_t number) {
    ConsumerState consumer;
    consumer.number = number;
    ASSIGN_OR_RETURN(consumer.seen_ms, input_.Little<int64_t>());
    if (form_ == StreamForm::kActiveTimes) {
      ASSIGN_OR_RETURN([[maybe_unused]] const auto active_ms, input_.Little<int64_t>());
    }
    ASSIGN_OR_RETURN(consumer.pending, input_.Length());
    PendingState state;
    state.consumer = text_;
    for (uint64_t i = 0; i < consumer.pending; ++i) {
      const uint64_t start = input_.position();
      ASSIGN_OR_RETURN(const StreamId id, RawId());
      const auto found = std::lower_bound(pending_.begin(), pending_.end(), id,
                                          [](const Pending& one, StreamId wanted) { return one.id < wanted; });
      if (found == pending_.end() || found->id != id) {
        return Input::DamageAt(start, "an entry of a consumer that is not pending in its group");
      }
      if (found->owned) return Input::DamageAt(start, "a pending entry of two consumers");
      found->owned = true;
      state.delivered_ms = found->delivered_ms;
      state.deliveries = found->deliveries;
      RETURN_IF_ERROR(rows_.Row({CollectionKind::kPending, PendingSuffix(group, id), state.Encode()}));
      RETURN_IF_ERROR(rows_.Row({CollectionKind::kOwned, OwnedSuffix(group, number, id), {}}));
    }
    return rows_.Row({CollectionKind::kConsumer, ConsumerSuffix(group, text_), consumer.Encode()});
  }

  Input& input_;
  const StreamForm form_;
  RowSink& rows_;
  StreamHeader header_;
  uint64_t entries_ = 0;
  StreamId newest_;
  std::string text_, node_;
  std::vector<std::string> master_names_, words_;
  std::vector<Pending> pending_;  // of the group, ascending
  std::set<std::string, std::less<>> group_names_;
};

}  // namespace

Result<LogicalValue> ReadStream(Input& input, StreamForm form, RowSink& rows) {
  return StreamRows(input, form, rows).Read();
}

}  // namespace holdfast::rdb
