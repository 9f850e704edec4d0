// Changes a stream of the transaction's database. Rows are written at once, the key row by Finish(); a read that fails
// leaves what was done so far in a state that may be finished.
//
// To build a stream from its content (RESTORE, loading): Replace(); Append() each entry; SetCounters(); for each group
// MakeGroup(), and a GroupEditor that gets MakeConsumer() and Give() for each consumer and pending entry, and Finish();
// then Finish(). Names and fields must not point into the store.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"
#include "storage/types/stream_value.h"

namespace holdfast {

class StreamEditor {
 public:
  // The stream of `key`, to be made if there is none: kWrongType if there is something else. `key` outlives the editor.
  static Result<StreamEditor> Open(Transaction& transaction, std::string_view key);
  // A new stream in place of whatever `key` holds, without its expiry.
  static Result<StreamEditor> Replace(Transaction& transaction, std::string_view key);

  // Whether there was a stream.
  [[nodiscard]] bool exists() const { return exists_; }
  [[nodiscard]] const StreamHeader& header() const { return header_; }
  [[nodiscard]] StreamReader reader() const { return {*transaction_, header_}; }

  // ---- entries ----
  // `id` > header().last.
  void Append(StreamId id, std::span<const std::string_view> fields);
  // Whether it was there.
  Result<bool> Erase(StreamId id);
  // Removes the first `count` <= length entries. Costs them, or what stays if that is less.
  Result<void> DropFirst(uint64_t count);
  struct Counters {
    StreamId last;
    StreamId max_deleted;
    uint64_t entries_added = 0;
  };
  void SetCounters(const Counters& counters);

  // ---- groups ----
  // There is no such group yet.
  GroupState MakeGroup(std::string_view name, StreamId last_delivered, int64_t entries_read);
  // With all its rows: costs its consumers and pending entries.
  Result<void> EraseGroup(std::string_view name, const GroupState& group);

  // Writes the key row if it has changed; a new stream's in any case. An expiry the key had stays, unless replaced.
  void Finish();

 private:
  friend class GroupEditor;
  StreamEditor(Transaction& transaction, std::string_view key) : transaction_(&transaction), key_(key) {}
  void TakeOld(const std::optional<KeyValue>& old);
  CollectionId Id();
  void PutRow(CollectionKind kind, std::string_view suffix, std::string_view value);
  void EraseRow(CollectionKind kind, std::string_view suffix);
  Result<void> EraseRows(CollectionKind kind, const std::string& prefix);
  Result<bool> StaysLittle(uint64_t dropped) const;
  Result<void> MoveRest(uint64_t dropped);

  Transaction* transaction_;
  std::string_view key_;
  bool exists_ = false;
  bool replaces_ = false;
  bool wrote_ = false;
  bool wrote_entries_ = false;
  std::string old_body_;
  std::optional<KeyValue> old_;
  StreamHeader before_;
  StreamHeader header_;
};

// Changes one group of a stream. States are kept here and written by Finish(), before the stream's.
class GroupEditor {
 public:
  // `group` is what the stream's FindGroup() or MakeGroup() returned for `name`. Both outlive the editor.
  GroupEditor(StreamEditor& stream, std::string_view name, const GroupState& group)
      : stream_(&stream), name_(name), group_(group) {}

  [[nodiscard]] const GroupState& group() const { return group_; }
  void SetLastDelivered(StreamId id) { group_.last_delivered = id; }
  void SetEntriesRead(int64_t count) { group_.entries_read = count; }

  Result<bool> HasConsumer(std::string_view name);
  // There is no such consumer yet.
  void MakeConsumer(std::string_view name, int64_t seen_ms);
  // Of a consumer that is there.
  void SetSeen(std::string_view name, int64_t seen_ms);
  // With what it owns. How much that was; nullopt if there is no such consumer.
  Result<std::optional<uint64_t>> EraseConsumer(std::string_view name);

  // Makes an entry pending, or changes what is known of it. `old` is what the reader's FindPending() finds for it. The
  // consumer that `pending` names is there.
  Result<void> Give(StreamId id, const std::optional<PendingState>& old, const PendingState& pending);
  // The entry is not pending any more.
  Result<void> Release(StreamId id, const PendingState& old);

  void Finish();

 private:
  struct Consumer {
    ConsumerState state;
    bool changed = false;
  };
  // Null if there is none.
  Result<Consumer*> Find(std::string_view name);

  StreamEditor* stream_;
  std::string_view name_;
  GroupState group_;
  std::map<std::string, Consumer, std::less<>> consumers_;  // those that were asked for
};

}  // namespace holdfast
