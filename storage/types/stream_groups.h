// Operations on the consumer groups of streams. As in streams.h; all but DestroyGroup and Acknowledge fail with the
// code word NOGROUP if there is no such stream or group.
//
// When a consumer was last seen is no content: an operation that changes anything for a consumer notes its unit's time,
// on replay its frame's time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/stream_value.h"

namespace holdfast::streams {

// `command` is added to the words if it is given: " in XREADGROUP with GROUP option".
[[nodiscard]] Error NoGroupError(std::string_view key, std::string_view group, std::string_view command = {});
// As XGROUP and XINFO say it.
[[nodiscard]] Error NoGroupOfKeyError(std::string_view key, std::string_view group);

// ---- XGROUP ---------------------------------------------------------------------------------------------------------

struct CreateGroupOptions {
  std::string_view id;  // as clients write it; "$": the stream's last id. Read if there is a stream, or one is made
  bool make_stream = false;  // if there is none
  int64_t entries_read = GroupState::kUnknownReads;
};
// kAlreadyExists, with the code word BUSYGROUP. Effect: XGROUP CREATE key group id [MKSTREAM] [ENTRIESREAD n].
Result<void> CreateGroup(Transaction& transaction, std::string_view key, std::string_view group,
                         const CreateGroupOptions& options);
// `id` as above, or "-" or "+". Effect: XGROUP SETID key group id ENTRIESREAD n.
Result<void> SetGroupId(Transaction& transaction, std::string_view key, std::string_view group, std::string_view id,
                        int64_t entries_read);
// Whether there was one; an error if there is no stream. Effect: XGROUP DESTROY key group.
Result<bool> DestroyGroup(Transaction& transaction, std::string_view key, std::string_view group);
// Whether it is new. Effect: XGROUP CREATECONSUMER key group consumer.
Result<bool> CreateConsumer(Transaction& transaction, std::string_view key, std::string_view group,
                            std::string_view consumer);
// How many pending entries it had. Effect, if there was one: XGROUP DELCONSUMER key group consumer.
Result<uint64_t> DeleteConsumer(Transaction& transaction, std::string_view key, std::string_view group,
                                std::string_view consumer);

// ---- reading and acknowledging --------------------------------------------------------------------------------------

// Fields are null if the entry is not there any more.
using DeliveryVisitor = std::function<void(StreamId id, const StreamFields* fields)>;

struct ReadOptions {
  uint64_t count = 0;         // 0: all
  bool acknowledged = false;  // NOACK: nothing becomes pending
};
// Gives a consumer the entries that nobody of its group was given. How many. Effects, if any: XGROUP CREATECONSUMER for
// a new consumer; XCLAIM key group consumer 0 id ... TIME ms RETRYCOUNT 1 FORCE JUSTID LASTID id, unless acknowledged;
// XGROUP SETID key group id ENTRIESREAD n.
Result<uint64_t> ReadNew(Transaction& transaction, std::string_view key, std::string_view group,
                         std::string_view consumer, const ReadOptions& options, const DeliveryVisitor& visit);
// Gives a consumer again what it was given behind `after` and has not acknowledged. Effects: as above, with the number
// of deliveries.
Result<uint64_t> ReadAgain(Transaction& transaction, std::string_view key, std::string_view group,
                           std::string_view consumer, StreamId after, uint64_t count, const DeliveryVisitor& visit);

// How many were pending. `ids` as clients write them: read if there is a group. Effect: XACK key group id ... with
// those.
Result<uint64_t> Acknowledge(Transaction& transaction, std::string_view key, std::string_view group,
                             std::span<const std::string_view> ids);

// ---- claiming -------------------------------------------------------------------------------------------------------

struct ClaimOptions {
  int64_t idle_min_ms = 0;              // what was delivered more recently stays where it is
  std::optional<int64_t> delivered_ms;  // TIME; none: now
  std::optional<int64_t> idle_ms;       // IDLE: that long ago
  std::optional<uint64_t> deliveries;   // RETRYCOUNT; none: one more, unless only ids are wanted
  bool force = false;                   // also what is not pending
  bool only_ids = false;                // JUSTID
  StreamId last_delivered;              // LASTID: at least that
};
// Makes pending entries those of `consumer`. Those of entries that are not there any more are dropped. `visit` is told
// of each one claimed; without fields if only ids are wanted. Effects: XGROUP CREATECONSUMER for a new consumer that
// got something; XACK for what was dropped; XCLAIM as above; or XGROUP SETID if only the last id has changed.
Result<uint64_t> Claim(Transaction& transaction, std::string_view key, std::string_view group,
                       std::string_view consumer, const ClaimOptions& options, std::span<const StreamId> ids,
                       const DeliveryVisitor& visit);

struct AutoClaimOptions {
  int64_t idle_min_ms = 0;
  StreamId start;
  uint64_t count = 100;  // claimed and dropped ones; ten times as many are looked at
  bool only_ids = false;
};
struct AutoClaimResult {
  uint64_t claimed = 0;
  StreamId next;  // where to go on; 0-0 at the end
  std::vector<StreamId> dropped;
};
// The same with what is pending from `start` on.
Result<AutoClaimResult> AutoClaim(Transaction& transaction, std::string_view key, std::string_view group,
                                  std::string_view consumer, const AutoClaimOptions& options,
                                  const DeliveryVisitor& visit);

}  // namespace holdfast::streams
