// Which offsets of a master's stream enough members of its group have on disk: what replies wait for under
// min-replicas-durable. A pure step function: acknowledgements in, offsets out.
//
// An acknowledgement counts if it comes from a member, names the master's present history, and reaches beyond the
// group's record: a node that has less may not know of this master yet, and could be made to follow another one.
// A master beside the group is none of its nodes: all N + 1 that must hold a write are members then.
//
// While the record is not settled a write is confirmed by all members: somebody may still have an older record, with
// another idea of how many nodes a new master must ask.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "replication/group.h"

namespace holdfast::replication {

class Confirmation {
 public:
  // Takes up the group as `self`, its master, sees it, writing the history `lineage_id`. What members of the same
  // history have acknowledged stays known.
  void Begin(const GroupRecord& record, std::string_view self, std::string_view lineage_id);
  // Not a master any more: nothing is confirmed.
  void End();

  // A member has our stream on its disk up to `offset`, and called its history so.
  void Acked(std::string_view node, std::string_view lineage_id, uint64_t offset, int64_t at_ms);
  // It is connected and alive but acknowledges nothing: it has promised so to a candidate of this epoch.
  void Fenced(std::string_view node, uint64_t epoch);
  // Its link is gone. What it has on disk stays there.
  void Gone(std::string_view node);

  // [n]: the offset up to which n members have everything; [0] is UINT64_MAX. Empty while there is no group. Never
  // goes back while the history lasts.
  [[nodiscard]] std::span<const uint64_t> Confirmed() const { return confirmed_; }
  // How many members have everything up to `offset`.
  [[nodiscard]] int MembersWith(uint64_t offset) const;
  // Members that are connected, not fenced, and acknowledged our history within `max_lag_ms` (0: ever), beyond those
  // whom a master beside the group needs in its own place.
  [[nodiscard]] int InGoodStanding(int64_t now_ms, int64_t max_lag_ms) const;
  // The record as settled, once every member is known to have it and while it is not called so.
  [[nodiscard]] std::optional<GroupRecord> Settled() const;
  // The highest epoch a member has promised itself to that is above ours; 0: none.
  [[nodiscard]] uint64_t FencedBy() const;

 private:
  struct Member {
    uint64_t offset = 0;   // acknowledged, of our history
    int64_t acked_ms = 0;  // 0: not since it connected
    bool connected = false;
    uint64_t fenced_by = 0;
  };
  void Recompute();
  [[nodiscard]] bool KnownToAll() const;
  // How many members more than N have to have a write.
  [[nodiscard]] size_t InOurPlace() const { return members_.size() + 1 - record_.nodes.size(); }

  GroupRecord record_;
  std::string lineage_id_;
  std::map<std::string, Member, std::less<>> members_;
  std::vector<uint64_t> confirmed_;
};

}  // namespace holdfast::replication
