// The rows of a stream and what reads them.
//
//   key row body   = collection id u64 | length u64 | last id 16 | first id 16 | max deleted id 16 | entries added u64
//   |
//                    groups u64 | next group number u64                                       (all LE; ids: ms,
//                    sequence)
//   entry row      : id, 16 bytes BE -> string ..., field and value by turns; string = length varint | bytes
//   group row      : name -> number u64 | last delivered id 16 | entries read i64 | pending u64 | consumers u64 |
//                    next consumer number u64
//   consumer row   : group number u64 BE | name -> number u64 | seen at i64 ms | pending u64
//   pending row    : group number u64 BE | id -> delivered at i64 ms | deliveries u64 | consumer's name
//   owned row      : group number u64 BE | consumer number u64 BE | id -> nothing
//
// Names may be longer than row keys; so rows of a group and of a consumer begin with numbers, which are given in the
// order of creation and never twice in a stream. Numbers, `seen at` and `next ...` are no content: two streams are
// equal if everything else is. A stream without entries goes on to exist.
//
// What they cost: a range is a walk from its first entry; every group operation reads and writes the rows it names.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"
#include "storage/types/stream_id.h"

namespace holdfast {

// Counters that are told as signed numbers, in effects too, stay at this one.
inline constexpr uint64_t kStreamCounterMax = std::numeric_limits<int64_t>::max();

struct StreamHeader {
  static constexpr size_t kSize = 88;
  CollectionId id = 0;
  uint64_t length = 0;
  StreamId last;               // the greatest id ever given, or what XSETID said
  StreamId first;              // of the first entry that is there; 0-0 without entries
  StreamId max_deleted;        // the greatest id that XDEL removed
  uint64_t entries_added = 0;  // up to kStreamCounterMax
  uint64_t groups = 0;
  uint64_t next_group = 1;

  friend bool operator==(const StreamHeader&, const StreamHeader&) = default;
  [[nodiscard]] std::string Encode() const;
  // kCorruption if a body cannot be a stream's.
  static Result<StreamHeader> Parse(std::string_view body);
  // How many of the entries ever added were up to `id_asked`; GroupState::kUnknownReads if nobody can tell.
  [[nodiscard]] int64_t EstimateReads(StreamId id_asked) const;
};

// Field, value, field, value ...
using StreamFields = std::vector<std::string_view>;
[[nodiscard]] std::string EncodeStreamFields(std::span<const std::string_view> fields);
// Views into `value`. kCorruption if these are no pairs, or none.
Result<void> DecodeStreamFields(std::string_view value, StreamFields& fields);

struct GroupState {
  static constexpr int64_t kUnknownReads = -1;
  uint64_t number = 0;
  StreamId last_delivered;
  int64_t entries_read = kUnknownReads;  // how many entries, of all ever added, up to last_delivered
  uint64_t pending = 0;
  uint64_t consumers = 0;
  uint64_t next_consumer = 1;

  [[nodiscard]] std::string Encode() const;
  static Result<GroupState> Parse(std::string_view value);
};
struct ConsumerState {
  uint64_t number = 0;
  int64_t seen_ms = 0;
  uint64_t pending = 0;

  [[nodiscard]] std::string Encode() const;
  static Result<ConsumerState> Parse(std::string_view value);
};
struct PendingState {
  int64_t delivered_ms = 0;
  uint64_t deliveries = 1;  // up to kStreamCounterMax
  std::string consumer;

  [[nodiscard]] std::string Encode() const;
  static Result<PendingState> Parse(std::string_view value);
};

// Suffixes of rows.
[[nodiscard]] std::string ConsumerSuffix(uint64_t group, std::string_view name);
[[nodiscard]] std::string PendingSuffix(uint64_t group, StreamId id);
[[nodiscard]] std::string OwnedSuffix(uint64_t group, uint64_t consumer, StreamId id);

// Reads a stream as found by a transaction. Valid until the transaction's next write or end. Visitors may not write;
// they return false to end the visit.
class StreamReader {
 public:
  StreamReader(Transaction& transaction, const StreamHeader& header) : transaction_(&transaction), header_(header) {}
  // kWrongType if `value` is of another type.
  static Result<StreamReader> From(Transaction& transaction, const KeyValue& value);
  // nullopt if there is no such key.
  static Result<std::optional<StreamReader>> Open(Transaction& transaction, std::string_view key);

  [[nodiscard]] const StreamHeader& header() const { return header_; }
  [[nodiscard]] uint64_t Length() const { return header_.length; }

  // ---- entries ----
  // From `low` to `high`, both included, or back. Fields live until the visitor returns.
  using EntryVisitor = std::function<bool(StreamId id, const StreamFields& fields)>;
  Result<void> Visit(StreamId low, StreamId high, bool reverse, const EntryVisitor& visit) const;
  Result<void> VisitAll(const EntryVisitor& visit) const { return Visit({}, StreamId::Max(), false, visit); }
  // The same without looking into entries.
  using IdVisitor = std::function<bool(StreamId id)>;
  Result<void> VisitIds(StreamId low, StreamId high, bool reverse, const IdVisitor& visit) const;
  Result<bool> Has(StreamId id) const;
  // Of the last entry that is there.
  Result<std::optional<StreamId>> LastEntry() const;

  // ---- groups ----
  Result<std::optional<GroupState>> FindGroup(std::string_view name) const;
  Result<void> VisitGroups(const std::function<bool(std::string_view name, const GroupState& group)>& visit) const;
  Result<std::optional<ConsumerState>> FindConsumer(const GroupState& group, std::string_view name) const;
  Result<void> VisitConsumers(
      const GroupState& group,
      const std::function<bool(std::string_view name, const ConsumerState& consumer)>& visit) const;
  Result<std::optional<PendingState>> FindPending(const GroupState& group, StreamId id) const;
  using PendingVisitor = std::function<bool(StreamId id, const PendingState& pending)>;
  Result<void> VisitPending(const GroupState& group, StreamId low, StreamId high, const PendingVisitor& visit) const;
  Result<std::optional<StreamId>> LastPending(const GroupState& group) const;
  // What one consumer owns.
  Result<void> VisitOwned(const GroupState& group, const ConsumerState& consumer, StreamId low, StreamId high,
                          const IdVisitor& visit) const;

  // How many of the entries ever added were up to `id`; GroupState::kUnknownReads if nobody can tell.
  [[nodiscard]] int64_t EstimateReads(StreamId id) const { return header_.EstimateReads(id); }
  // Whether entries that XDEL removed may lie from `low` on: counts do not help beyond them.
  [[nodiscard]] bool MayLackEntries(StreamId low) const;
  // How many entries the group has still to be given; nullopt if nobody can tell.
  [[nodiscard]] std::optional<int64_t> Lag(const GroupState& group) const;

 private:
  using Rows = std::function<Result<bool>(std::string_view suffix, std::string_view value)>;
  // Rows whose suffix begins with `prefix`, from `from` on.
  Result<void> VisitRows(CollectionKind kind, std::string_view prefix, std::string_view from, bool reverse,
                         const Rows& visit) const;

  Transaction* transaction_;
  StreamHeader header_;
};

}  // namespace holdfast
