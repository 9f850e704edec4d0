// The replication group: which nodes make a write confirmed, and how many of them it takes. Payload of membership
// frames, so that every node of a history knows it; text, one fact a line. docs/replication.md "Semi-synchronous
// commit" has the rules and why they hold.
//
// A group of nodes (its master among them) has R = nodes - 1 members beside the master. A write is confirmed when N of
// them have it on disk: N + 1 nodes hold it. Whoever wants to be master next asks until R - N + 1 nodes, itself
// included, have promised to acknowledge no older master any more: one of them has every confirmed write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace holdfast::replication {

struct RoleRecord;

struct GroupNode {
  std::string id;    // of the data directory, 40 hex digits
  std::string host;  // where the others reach it
  int port = 0;
  bool joins = false;  // was no node of the last settled record
  friend bool operator==(const GroupNode&, const GroupNode&) = default;
};

struct GroupRecord {
  // Numbers the masters of the group: each one's is higher than that of all before. 0: none was made by election.
  uint64_t epoch = 0;
  uint64_t epoch_offset = 0;  // the epoch's master wrote what is behind this
  uint64_t epoch_before = 0;  // the epoch before this one, whose master wrote what is behind epoch_before_offset
  uint64_t epoch_before_offset = 0;
  uint64_t since = 0;            // offset of the frame with this record; the unit behind it proves that a node has it
  int durable = 0;               // N; 0: nothing is confirmed, and nothing waits
  bool settled = false;          // every member is known to have these nodes and this N
  std::vector<GroupNode> nodes;  // in order of their ids; empty: there is no group
  // While it is not settled: what the last settled record said besides. Somebody may be master by that one.
  int durable_before = 0;       // its N; 0: nothing was confirmed by it
  std::vector<GroupNode> left;  // its nodes that are none any more
  friend bool operator==(const GroupRecord&, const GroupRecord&) = default;

  [[nodiscard]] bool Active() const { return durable > 0 && nodes.size() > 1; }
  [[nodiscard]] int Members() const { return nodes.empty() ? 0 : static_cast<int>(nodes.size()) - 1; }
  [[nodiscard]] const GroupNode* Find(std::string_view id) const;
  // The last settled record's nodes and N, if this one is not settled and something was confirmed by that one.
  [[nodiscard]] std::optional<GroupRecord> Before() const;
  // Whom a candidate asks.
  [[nodiscard]] std::vector<GroupNode> Voters() const;
  // The epoch of a log with this record that ends at `end`: that of the newest master whose beginning it has. A record
  // that came with a copy may be of a later moment than the copy. 0: it cannot be told.
  [[nodiscard]] uint64_t EpochAt(uint64_t end) const;
};

[[nodiscard]] std::string FormatGroup(const GroupRecord& record);
Result<GroupRecord> ParseGroup(std::string_view text);

// An epoch above `known` that no other candidate can have: the next number above, a hash of the candidate's id below.
// Two candidates may each have enough promises at a time; they must not share an epoch.
[[nodiscard]] uint64_t NextEpoch(uint64_t known, std::string_view candidate);
// For people: the first master of a group made by election has 1.
[[nodiscard]] inline uint64_t EpochNumber(uint64_t epoch) { return epoch >> 32; }

// How many other nodes of the group `self` needs the promise of before it may be master, by this record alone.
[[nodiscard]] int PromisesNeeded(const GroupRecord& record, std::string_view self);

// Whether these other nodes' promises are enough for `self`. While the record is not settled they have to be enough by
// the record before, too: a master of a later epoch, which whoever wrote this record did not know of, may confirm by
// that one.
[[nodiscard]] bool PromisesSuffice(const GroupRecord& record, std::string_view self,
                                   const std::vector<std::string_view>& promised);

// What a node has, for comparing: more of a later epoch is more.
struct LogStanding {
  uint64_t epoch = 0;
  uint64_t offset = 0;  // durable
  friend auto operator<=>(const LogStanding&, const LogStanding&) = default;
};

// The promise to acknowledge nobody of a lower epoch, given to a candidate. Kept in the role record.
struct Promise {
  uint64_t epoch = 0;  // 0: none was given
  std::string candidate;
  friend bool operator==(const Promise&, const Promise&) = default;
};

// Whether a node may promise `asked`. The refusal names the epoch to exceed, if that is why.
struct PromiseRefusal {
  uint64_t promised_epoch = 0;
  std::string reason;
};
struct PromiseSituation {
  bool is_master = false;
  LogStanding standing;
  LogStanding copied;  // of a copy: the master had this much when it gave it
};
[[nodiscard]] std::optional<PromiseRefusal> RefusePromise(const GroupRecord& record, const Promise& given,
                                                          const PromiseSituation& own, const Promise& asked);

// Whether acknowledgements must be withheld from the master whose stream ends in this record's epoch.
[[nodiscard]] bool IsFenced(const GroupRecord& record, const Promise& given);

// A member's answer to a candidate: "PROMISED <epoch> <offset> <history id>", "REFUSED <promised epoch> <reason>".
struct PromiseAnswer {
  bool granted = false;
  LogStanding standing;
  std::string history;
  PromiseRefusal refusal;
};
[[nodiscard]] std::string FormatPromiseAnswer(const PromiseAnswer& answer);
Result<PromiseAnswer> ParsePromiseAnswer(std::string_view text);

}  // namespace holdfast::replication
