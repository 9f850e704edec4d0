// A stream as commands: what redis-server writes into an AOF for one. For Redis >= 7 and Holdfast.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/result.h"
#include "storage/snapshot.h"
#include "storage/types/stream_value.h"

namespace holdfast::cli {

// One stream after the other: Begin, its rows (first the entries in their order), End. What is pending is held until
// then. Lost are when consumers were last seen, and what is pending of entries that are deleted (XCLAIM makes neither).
class StreamCommands {
 public:
  using Emit = std::function<Result<void>(std::span<const std::string_view> words)>;
  explicit StreamCommands(Emit emit) : emit_(std::move(emit)) {}

  // `body` without the collection's id, as in snapshots.
  Result<void> Begin(std::string_view key, std::string_view body);
  Result<void> Row(const SnapshotRow& row);
  Result<void> End();

 private:
  struct Group {
    std::string name;
    GroupState state;
    std::vector<std::string> consumers;
    std::vector<std::pair<StreamId, PendingState>> pending;
  };

  Result<void> Entry(const SnapshotRow& row);
  Result<void> Claim(const Group& group, StreamId id, const PendingState& state);
  // Of a row whose suffix begins with a group's number.
  Result<Group*> GroupOf(std::string_view suffix);

  Emit emit_;
  std::string key_;
  StreamHeader header_;
  std::map<uint64_t, Group> groups_;  // by number
};

}  // namespace holdfast::cli
