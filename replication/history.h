// Two nodes and their pasts: may a replica go on from where it stands, must it be copied anew, or must nothing happen?
// Pure functions over what both sides know. docs/replication.md "Deciding" has the rules as a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "wal/lineage.h"

namespace holdfast::replication {

inline constexpr uint32_t kTailBytesMax = 1 << 20;

// What a replica says of its past when it asks to continue.
struct HistoryClaim {
  wal::Lineage lineage;
  uint64_t end_offset = 0;     // durable, a unit end
  uint64_t digest_base = 0;    // stream offset where its running digest began
  uint64_t digest = 0;         // at end_offset
  uint32_t tail_length = 0;    // newest retained bytes [end_offset - tail_length, end_offset)
  uint64_t tail_checksum = 0;  // Checksum64 of them
  friend bool operator==(const HistoryClaim&, const HistoryClaim&) = default;
};

void AppendClaim(std::string& to, const HistoryClaim& claim);
Result<HistoryClaim> ParseClaim(std::string_view bytes);

// What this node has.
struct OwnHistory {
  wal::Lineage lineage;
  uint64_t first_offset = 0;  // oldest still in the log
  uint64_t end_offset = 0;    // durable
  uint64_t digest_base = 0;
};

struct CommonHistory {
  std::string id;     // newest id both know
  uint64_t fork = 0;  // both have the same stream up to here
};
// The newest common point of two histories, nullopt if they share no id.
[[nodiscard]] std::optional<CommonHistory> FindCommon(const wal::Lineage& own, uint64_t own_end,
                                                      const wal::Lineage& peer, uint64_t peer_end);

enum class Verdict {
  kContinue,  // from the claim's end
  kFullSync,  // copy everything; the reason says why continuing is impossible
  kRefuse,    // neither: one of the two would lose data that should not be lost; for people to decide
};
struct Decision {
  Verdict verdict = Verdict::kFullSync;
  std::string reason;
};

// First half: ids and offsets. `claim` is null when the replica has no history and asks for everything ("?").
[[nodiscard]] Decision DecideByLineage(const OwnHistory& own, const HistoryClaim* claim);

// What our own log says about the past the claim names. Gathered by whoever reads the log.
struct DigestEvidence {
  uint64_t digest_base = 0;
  std::optional<uint64_t> digest;         // at the claim's end offset, if retained
  std::optional<uint64_t> tail_checksum;  // of the claim's tail range, if all of it is retained
  // A frame of ours begins before the claim's end and ends behind it, and digests do not compare. Frames travel as they
  // are, and only a full synchronization ends inside of one: then the digests begin at the same offset.
  bool inside_frame = false;
};
// Second half, after DecideByLineage said kContinue. With `must_prove` an equal past must be seen here and now: the
// replica is going to cut its log there, or has refused our stream at this point.
[[nodiscard]] Decision DecideByDigest(const HistoryClaim& claim, const DigestEvidence& evidence, bool must_prove);

// Replica: may what we have be replaced by a copy of this master? The refusal's reason, or nullopt.
struct FullSyncOffer {
  wal::Lineage lineage;
  uint64_t end_offset = 0;
  std::string group = {};  // the master's group record, if it has one
};
struct OwnSituation {
  wal::Lineage lineage;
  uint64_t end_offset = 0;
  std::vector<std::string> ids_made_here;  // ids under which this node was a master
  bool operator_consents = false;          // REPLICAOF was given by a person for this master
  uint64_t rewind_floor = UINT64_MAX;      // lowest offset to which our log and data can go back
  // Overrides (accept-full-sync): of an empty master, of one that lost data of ours, of one without shared history.
  bool accept_empty = false, accept_shorter = false, accept_foreign = false;
  bool accept_superseded = false;  // of a master of an earlier epoch of the group
  uint64_t group_epoch = 0;        // the latest we know of
};
[[nodiscard]] std::optional<std::string> RefuseFullSync(const OwnSituation& own, const FullSyncOffer& offer);

// Replica: a master of our history that was replaced is not followed, and nothing given up for it: what we have of a
// later epoch may be confirmed, and what it still writes is not.
[[nodiscard]] std::optional<std::string> RefuseSuperseded(const OwnSituation& own, const FullSyncOffer& master);

// Replica: the master has less than we of a history it has not left.
[[nodiscard]] bool HasLostData(const OwnSituation& own, const FullSyncOffer& master);

// Replica: when a legitimately newer history parts from ours before our end, how far must we go back for the master to
// continue? nullopt and no reason: there is nothing to go back from. nullopt and a reason: not possible, a full sync
// is.
struct RewindPlan {
  std::optional<uint64_t> fork;
  std::string impossible;
};
[[nodiscard]] RewindPlan PlanRewind(const OwnSituation& own, const FullSyncOffer& master);

// A master's description of its history in its answer to REPLCONF holdfast-history: "<durable end> <table in hex>".
[[nodiscard]] std::string FormatOffer(const FullSyncOffer& offer);
Result<FullSyncOffer> ParseOffer(std::string_view text);

// 40 hex digits in lower case.
[[nodiscard]] bool IsHistoryId(std::string_view id);
// An empty node with nothing but the id it made for itself. Offset 0 of a master's history is a history.
[[nodiscard]] bool HasNoHistory(const HistoryClaim& claim, const OwnSituation& own);

// The entries of a master's table that concern a node whose stream ends at `end_offset`: later ones arrive as frames.
[[nodiscard]] wal::Lineage LineageUpTo(const wal::Lineage& lineage, uint64_t end_offset);

}  // namespace holdfast::replication
