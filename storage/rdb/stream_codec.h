// Streams in RDB files and payloads, from and to the rows of storage/types/stream_value.h.
//
//   stream   = nodes { node } length last id [first id, greatest deleted id, entries added] groups { group }
//   node     = master id (16 bytes BE, as a string) listpack
//   listpack = count deleted fields { field } 0 { entry }
//   entry    = flags, ms and sequence minus the master's, [fields], { [field] value }, elements before
//              flags: 1 deleted, 2 the fields are the master's, which then are not repeated
//   group    = name last id [entries read] pending { id (16 bytes) time i64 deliveries }
//              consumers { name seen i64 [active i64] owned { id (16 bytes) } }
//
// What stands in brackets came with type 19 (Redis 7.0), `active` with type 21 (7.2). Numbers outside of listpacks are
// lengths unless their size is given; an id is two of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/rdb/rdb_input.h"
#include "storage/rdb/rdb_output.h"
#include "storage/rdb/value_rows.h"
#include "storage/types/stream_value.h"

namespace holdfast::rdb {

enum class StreamForm { kFirst, kCounters, kActiveTimes };  // types 15, 19, 21

// Delivers the rows of a stream: entries in order, then those of its groups. Memory: one node, and the ids that are
// pending in one group.
Result<LogicalValue> ReadStream(Input& input, StreamForm form, RowSink& rows);

// Takes the rows of a stream in the order of snapshots and writes it. Memory: up to a mebibyte of entries, one node,
// and what is pending in its groups.
class StreamWriter {
 public:
  // `form` is not kActiveTimes. `output` outlives the writer.
  StreamWriter(Output& output, StreamForm form) : output_(output), form_(form) {}

  // `body`: the header without local id. The type's byte, and the key, have been written.
  Result<void> Begin(std::string_view body);
  Result<void> Row(const SnapshotRow& row);
  // kCorruption if the rows were not what the header promised.
  Result<void> End();

 private:
  struct Entry {
    StreamId id;
    std::string fields;  // as in the row
  };
  struct Consumer {
    std::string name;
    ConsumerState state;
  };
  struct Pending {
    StreamId id;
    int64_t delivered_ms = 0;
    uint64_t deliveries = 0;
    size_t consumer = 0;  // by place in the group
  };
  struct Group {
    std::string name;
    GroupState state;
    std::vector<Consumer> consumers;
    std::map<std::string, size_t, std::less<>> places;  // of consumers, by name
    std::vector<Pending> pending;
  };

  Result<void> TakeEntry(StreamId id, std::string_view fields);
  // The number of nodes is written; those that were held are placed.
  Result<void> StopHolding(uint64_t nodes);
  Result<void> Place(Entry entry);
  [[nodiscard]] bool NodeIsFull() const;
  Result<void> WriteNode();
  Result<void> FinishEntries();
  Result<void> TakeGroup(std::string_view name, std::string_view value);
  Result<Group*> GroupOf(std::string_view suffix);
  Result<void> TakePending(const SnapshotRow& row);
  Result<void> WriteGroup(const Group& group);
  Result<void> WriteId(StreamId id);

  Output& output_;
  const StreamForm form_;
  StreamHeader header_;
  uint64_t entries_ = 0;  // seen
  bool entries_done_ = false;

  // The first entries wait: their sizes tell how many nodes there will be, and that number comes first.
  bool holding_ = true;
  std::vector<Entry> held_;
  size_t held_bytes_ = 0;

  std::vector<Entry> node_;  // being filled
  size_t node_bytes_ = 0;
  uint64_t nodes_left_ = 0;    // behind it
  uint64_t entries_left_ = 0;  // not placed yet

  std::map<uint64_t, Group> groups_;  // by number
};

}  // namespace holdfast::rdb
