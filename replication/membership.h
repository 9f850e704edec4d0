// What a node of a replication group decides by the group's record in its log, its role and what it has promised: pure
// rules, which the server and the simulation follow alike. docs/replication.md "Semi-synchronous commit".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "replication/group.h"
#include "replication/history.h"
#include "replication/role.h"

namespace holdfast::replication {

// A node as it is now. Refers to what must outlive it.
struct GroupMember {
  const GroupRecord& group;  // as its log has it
  const RoleRecord& role;
  std::string_view self;        // its id
  uint64_t durable_offset = 0;  // of its log
  std::string_view history;     // its current lineage id
  bool copying = false;         // a copy is about to replace what it has

  [[nodiscard]] bool IsMaster() const { return !role.master.has_value(); }
  // Whether it is a copy that lacks what its master had then, and so may lack what it has confirmed itself before. One
  // of a later epoch has all of that which counts, even if it went back: that epoch's master began with all confirmed.
  [[nodiscard]] bool LacksOfItsCopy() const { return Standing() < role.copied; }
  [[nodiscard]] LogStanding Standing() const { return {group.EpochAt(durable_offset), durable_offset}; }
};

// Whether a node counts confirmations: as a master of a group that has promised itself to nobody. Also a promise to
// itself whose candidacy came to nothing counts: an earlier one to somebody else may stand behind it.
[[nodiscard]] bool MayConfirm(const GroupRecord& group, const RoleRecord& role);

// Not 0: the epoch of the candidate for whose sake the master of our log's record gets no acknowledgements.
[[nodiscard]] uint64_t FenceOf(const GroupRecord& group, const Promise& given);

// The answer to a candidate that asks `member`, which we need not be: the disk at an address may be another one by now.
// If it is granted, `asked` must be on disk as our promise before the answer leaves, and a candidacy of our own ends.
[[nodiscard]] PromiseAnswer AnswerPromise(const GroupMember& own, const Promise& asked, std::string_view member);

// What a master has that gives us a copy: what the copy must come to before it counts. If its record cannot be read,
// only what a later one says.
[[nodiscard]] LogStanding StandingOf(const FullSyncOffer& master);

// Why this replica may not ask for promises: it was copied anew and lacks what its master had.
[[nodiscard]] std::optional<std::string> RefuseCandidacy(const GroupMember& own);

// The epoch of a master that is made without promises; 0: there is no group.
[[nodiscard]] uint64_t EpochByForce(const GroupRecord& group, const Promise& given, std::string_view self);

// The role of a node that becomes master, writing the history `id`. `epoch` is 0 where there is no group.
void TakeMastership(RoleRecord& role, const std::string& id, uint64_t epoch, std::string_view self);

// The record that the master of `epoch` writes, whose history begins at `fork`.
[[nodiscard]] GroupRecord RecordOfEpoch(const GroupRecord& before, uint64_t epoch, uint64_t fork);

// The record with another N, which has to be settled anew.
[[nodiscard]] GroupRecord RecordWithDurable(const GroupRecord& before, int durable);

// The record of a group of these nodes, of which one is its master; it has to be settled anew. No nodes: the group
// ends.
[[nodiscard]] Result<GroupRecord> RecordWithMembers(const GroupRecord& before, std::vector<GroupNode> nodes,
                                                    int durable);

// When a master whose members have promised themselves to a candidate asks for a later epoch itself: that candidate may
// come through first.
class Renewal {
 public:
  static constexpr int64_t kPauseMs = 60'000;

  enum class Advice { kNothing, kFencedNow, kWait, kAskAnew };
  // `fence`: the epoch promised to somebody else, 0: none. `busy`: something else will decide who is master.
  [[nodiscard]] Advice Next(uint64_t fence, bool busy, int64_t now_ms);
  void Reset() { since_ms_ = 0; }

 private:
  int64_t since_ms_ = 0;  // 0: no member is promised away
};

}  // namespace holdfast::replication
