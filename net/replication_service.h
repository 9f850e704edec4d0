// What commands and the dispatcher ask of replication. Implemented by net/replication_driver.h over replication/'s pure
// step functions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/client.h"
#include "storage/base/result.h"

namespace holdfast::net {

class Reply;

struct ReplicaView {  // one attached replica, for INFO and ROLE
  std::string address;
  int port = 0;
  std::string state;  // wait_bgsave, send_bulk, online
  uint64_t acked_offset = 0;
  int64_t lag_seconds = 0;
};

class ReplicationService {
 public:
  virtual ~ReplicationService() = default;

  [[nodiscard]] virtual bool IsReplica() const = 0;        // configured to follow somebody
  [[nodiscard]] virtual bool LinkUp() const = 0;           // replica: streaming from its master
  [[nodiscard]] virtual bool LoadingSnapshot() const = 0;  // replica: old data served while the new set is loaded
  // False while the newest change of role or history is not on disk: who is told of it must wait
  // (Server::HoldUntilCommitted).
  [[nodiscard]] virtual bool RoleSettled() const = 0;
  // Replicas online whose last ack is at most `max_lag_seconds` old (0: any online one).
  [[nodiscard]] virtual int GoodReplicas(int64_t max_lag_seconds) const = 0;
  [[nodiscard]] virtual int AttachedReplicas() const = 0;
  // Replicas that acked at least `offset`, and those of them that ack only what is on their disks: Redis' do not.
  [[nodiscard]] virtual int ReplicasAcked(uint64_t offset) const = 0;
  [[nodiscard]] virtual int ReplicasDurable(uint64_t offset) const = 0;
  [[nodiscard]] virtual std::vector<ReplicaView> Replicas() const = 0;

  // ---- the group (docs/replication.md "Semi-synchronous commit") ----
  // [n]: the offset that n members have on disk. Empty while there is no group, or another node is its master.
  [[nodiscard]] virtual std::span<const uint64_t> Confirmed() const { return {}; }
  // How many must have a write of a client that asked for nothing else.
  [[nodiscard]] virtual int DurableMembers() const { return 0; }
  [[nodiscard]] virtual int MembersInGoodStanding() const { return 0; }
  [[nodiscard]] virtual int MembersWith(uint64_t) const { return 0; }
  struct PromiseQuestion {
    uint64_t epoch = 0;
    std::string_view candidate, member;  // ids of the asking node, and of the asked one as the group's record has it
  };
  // HOLDFAST MEMBERS [SET ...], PROMISE, PROMOTE FORCE. Errors: kInvalidArgument with the text to answer.
  virtual void WriteMembers(Reply& reply) const = 0;
  virtual Result<void> SetMembers(std::span<const std::string_view> names) = 0;
  virtual void HandlePromise(Client& client, const PromiseQuestion& question, Reply& reply) = 0;
  virtual Result<void> PromoteByForce() = 0;

  // ---- proof of equality (docs/replication.md "Comparing nodes") ----
  struct ComparedNode {
    std::string id, address;
    std::string outcome;  // equal, different, not comparable, failed
    uint64_t offset = 0;  // at which it was compared, 0: it was not
    std::string detail;   // where they first differ, or why it failed
  };
  struct ComparisonResult {
    bool done = false;
    std::string failure;  // of all of it
    uint64_t offset = 0;  // of the digest
    std::string digest;
    std::vector<ComparedNode> nodes;
  };
  // The result fills up while ComparisonResult::done is false.
  virtual Result<std::shared_ptr<const ComparisonResult>> StartComparison(int64_t timeout_ms) = 0;
  // Another node's questions: whether we could digest now ("PREPARE"), for our digest at its marker, for parts of it;
  // and what it found.
  virtual void AnswerDigest(std::string_view marker, std::span<const std::string_view> part, Reply& reply) = 0;
  virtual void TakeVerdict(std::string_view marker, std::string_view verdict) = 0;
  // Replica: everything is copied anew from the master.
  virtual Result<void> Resync() = 0;

  // REPLICAOF host port / NO ONE. A member of a group becomes master later, once the promotion barrier is passed. Harms
  // nothing before the new master has proved good.
  virtual Result<void> Follow(const std::string& host, int port) = 0;
  // A replica that tries no more, or is refused each time, until somebody acts: REPLICAOF of the same master does.
  [[nodiscard]] virtual bool FollowsInVain() const { return false; }
  // CONFIG REWRITE: what is in force now is what the next start reads, unless the command line says otherwise.
  virtual void ConfigRewritten() {}
  virtual Result<void> Promote() = 0;
  // FAILOVER: pauses writes, waits until a replica (`to`, or any) has everything, and changes places with it. With
  // `force` it does so at the latest after `timeout_ms` (0: no timeout). kInvalidArgument in Redis' words.
  struct FailoverRequest {
    std::optional<std::pair<std::string, int>> to;
    bool force = false;
    int64_t timeout_ms = 0;
  };
  virtual Result<void> StartFailover(const FailoverRequest& request) = 0;
  virtual Result<void> AbortFailover() = 0;
  [[nodiscard]] virtual bool FailingOver() const = 0;
  [[nodiscard]] virtual bool WritesPaused() const = 0;  // by a failover
  // REPLCONF, PSYNC and SYNC from a client that wants to be a replica (or is one: acks).
  virtual void HandleReplconf(Client& client, std::span<const std::string_view> args, Reply& reply) = 0;
  virtual void HandlePsync(Client& client, std::span<const std::string_view> args, Reply& reply) = 0;
  // For CLIENT LIST and KILL: attached replicas, and the master while it streams, as the clients that they are to
  // Redis.
  virtual void ForEachLink(const std::function<void(Client&)>& /*visit*/) {}
  virtual void CloseLink(ClientId /*id*/) {}
  // ROLE's answer and INFO's section body (lines "field:value\r\n", in Redis' order).
  virtual void WriteRole(Reply& reply) const = 0;
  virtual void AppendInfo(std::string& to) const = 0;
  // WAIT / WAITAOF: asks replicas for acks now; `done` conditions are re-checked by the caller when acks come.
  virtual void RequestAcks() = 0;

  // From the server: the durable offset advanced; a turn ended; 100 ms passed; shutting down (closes links in order).
  virtual void OnDurable(uint64_t durable_offset) = 0;
  virtual void OnTick(int64_t monotonic_ms) = 0;
  virtual void OnEngineReplaced() = 0;
  virtual void Shutdown() = 0;
};

}  // namespace holdfast::net
