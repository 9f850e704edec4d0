#include "cli/tool_stream_commands.h"

#include <vector>

#include "storage/base/coding.h"
#include "storage/row.h"

namespace holdfast::cli {

namespace {

Error Corrupt(const char* what) { return Error{ErrorCode::kCorruption, std::string("a stream's rows: ") + what}; }

}  // namespace

Result<void> StreamCommands::Begin(std::string_view key, std::string_view body) {
  std::string stored(sizeof(CollectionId), '\0');
  stored += body;
  ASSIGN_OR_RETURN(header_, StreamHeader::Parse(stored));
  key_ = key;
  groups_.clear();
  // Without entries: one that goes at once.
  if (header_.length == 0) {
    const std::string_view words[] = {"XADD", key_, "MAXLEN", "0", "0-1", "x", "y"};
    return emit_(words);
  }
  return {};
}

Result<void> StreamCommands::Entry(const SnapshotRow& row) {
  if (row.suffix.size() != StreamId::kBytes) return Corrupt("an entry without an id");
  StreamFields fields;
  RETURN_IF_ERROR(DecodeStreamFields(row.value, fields));
  const std::string id = StreamId::FromBytes(row.suffix).Text();
  std::vector<std::string_view> words = {"XADD", key_, id};
  words.insert(words.end(), fields.begin(), fields.end());
  return emit_(words);
}

Result<StreamCommands::Group*> StreamCommands::GroupOf(std::string_view suffix) {
  if (suffix.size() < sizeof(uint64_t)) return Corrupt("one of no group");
  return &groups_[LoadBig<uint64_t>(suffix.data())];
}

Result<void> StreamCommands::Row(const SnapshotRow& row) {
  switch (row.kind) {
    case CollectionKind::kEntry:
      return Entry(row);
    case CollectionKind::kGroup: {
      ASSIGN_OR_RETURN(const GroupState state, GroupState::Parse(row.value));
      Group& group = groups_[state.number];
      group.name = row.suffix;
      group.state = state;
      return {};
    }
    case CollectionKind::kConsumer: {
      ASSIGN_OR_RETURN(Group * group, GroupOf(row.suffix));
      group->consumers.emplace_back(row.suffix.substr(sizeof(uint64_t)));
      return {};
    }
    case CollectionKind::kPending: {
      ASSIGN_OR_RETURN(Group * group, GroupOf(row.suffix));
      if (row.suffix.size() != sizeof(uint64_t) + StreamId::kBytes) return Corrupt("a pending entry without an id");
      ASSIGN_OR_RETURN(PendingState state, PendingState::Parse(row.value));
      group->pending.emplace_back(StreamId::FromBytes(row.suffix.substr(sizeof(uint64_t))), std::move(state));
      return {};
    }
    case CollectionKind::kOwned:
      return {};  // repeats what is pending
    default:
      return Corrupt("one that is none of a stream's");
  }
}

Result<void> StreamCommands::Claim(const Group& group, StreamId id, const PendingState& state) {
  const std::string text = id.Text();
  const std::string time = std::to_string(state.delivered_ms);
  const std::string count = std::to_string(state.deliveries);
  const std::string_view words[] = {"XCLAIM", key_, group.name,   state.consumer, "0",      text,
                                    "TIME",   time, "RETRYCOUNT", count,          "JUSTID", "FORCE"};
  return emit_(words);
}

Result<void> StreamCommands::End() {
  const std::string last = header_.last.Text();
  const std::string added = std::to_string(header_.entries_added);
  const std::string deleted = header_.max_deleted.Text();
  const std::string_view words[] = {"XSETID", key_, last, "ENTRIESADDED", added, "MAXDELETEDID", deleted};
  RETURN_IF_ERROR(emit_(words));
  for (const auto& [number, group] : groups_) {
    if (group.state.number != number) return Corrupt("one of a group that is not there");
    const std::string delivered = group.state.last_delivered.Text();
    const std::string read = std::to_string(group.state.entries_read);
    const std::string_view create[] = {"XGROUP", "CREATE", key_, group.name, delivered, "ENTRIESREAD", read};
    RETURN_IF_ERROR(emit_(create));
    for (const std::string& consumer : group.consumers) {
      const std::string_view names[] = {"XGROUP", "CREATECONSUMER", key_, group.name, consumer};
      RETURN_IF_ERROR(emit_(names));
    }
    for (const auto& [id, state] : group.pending) RETURN_IF_ERROR(Claim(group, id, state));
  }
  groups_.clear();
  return {};
}

}  // namespace holdfast::cli
