// What a node's log says about its past: the claim with which a replica asks to continue, and what a master holds
// against it. Reads logs and leaves the rules to history.h; the server's links and the simulation use it alike.
#pragma once

#include <cstdint>
#include <optional>

#include "replication/history.h"
#include "storage/base/result.h"
#include "wal/diverged_tail.h"
#include "wal/log.h"

namespace holdfast::replication {

// ---- replica ----
// Our past up to the appended end, which must be durable, without a tail. Executor.
[[nodiscard]] HistoryClaim ClaimAtEnd(wal::Log& log);
// Fills in the tail: the newest retained bytes before the claim's end, for a master whose digest began elsewhere. It
// stays empty if the log cannot be read. `first_offset` is the log's. Any thread.
void AddTail(wal::Log& log, uint64_t first_offset, HistoryClaim& claim);
// Our past up to a fork before the end of `claim`, where a frame of ours that ends a unit must end. kNotFound: the log
// cannot tell. Any thread.
Result<HistoryClaim> ClaimAtFork(wal::Log& log, uint64_t first_offset, const HistoryClaim& claim, uint64_t fork);
// The master's name for the past we share, in force from here on: a lineage frame, unless we call it so already. The
// names it gets later come as frames. Returns whether it is another name. Executor.
bool AdoptLineage(wal::Log& log, const wal::Lineage& lineage);
// Whether a frame from the master tells something: not a name of history that was ours when the link came up, with
// `at_link_up`. Once there were others since, a name that we know, too: the master may have taken up a history, and
// left it for the one before, at one offset, and its log tells that in order. Executor.
Result<bool> IsNews(const wal::Log& log, const wal::Lineage& at_link_up, const wal::SharedFrame& frame);

// Before a full sync replaces our log: what it holds behind the fork with the master goes to a file. nullopt: nothing
// to keep. `own` is what our log has, `request` says where it is and where the file goes. Any thread.
Result<std::optional<wal::SavedTail>> KeepWhatMasterLacks(const FullSyncOffer& own, const FullSyncOffer& master,
                                                          wal::TailRequest request);

// ---- master ----
struct OwnPast {
  OwnHistory history;
  uint64_t first_digest = 0;  // at history.first_offset
  uint64_t digest = 0;        // at digest_offset, which may lie behind the durable end
  uint64_t digest_offset = 0;
};
// Executor. What a replica needs must be pinned before.
[[nodiscard]] OwnPast PastOf(wal::Log& log);
// Both halves of the decision over `claim` (null: the replica asks for everything). `fork`: it will cut its log there.
// Without `compare` (a replica of Redis' kind has no digest to show) id and offset must do. Any thread.
[[nodiscard]] Decision DecideByPast(wal::Log& log, const OwnPast& past, const HistoryClaim* claim, bool fork,
                                    bool compare);

}  // namespace holdfast::replication
