// Client: what the server knows of one connection, without its socket. Owned by the registry (net/clients.h); handlers
// and other clients name it by id, because it may be gone by the time they look. Executor only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "storage/base/clock.h"

namespace holdfast::net {

using ClientId = uint64_t;

struct CommandSpec;

// What a client can listen to. Channels and patterns are one world, shard channels another.
enum class Subscription : uint8_t { kChannel, kPattern, kShardChannel };
inline constexpr size_t kSubscriptionKinds = 3;

enum class ClientKind : uint8_t { kNormal, kPubSub, kReplica, kMaster };

// What a client that is about to become a replica said of itself by REPLCONF; bits.
enum ReplicaCapability : uint32_t {
  kReplicaTakesEof = 1,
  kReplicaKnowsPsync2 = 2,
  kReplicaIsHoldfast = 4,
  kReplicaWantsRdbOnly = 8,
  kReplicaWantsNoData = 16,
};

// A command queued by MULTI. Owns its arguments.
struct QueuedCommand {
  const CommandSpec* spec = nullptr;
  std::vector<std::string> arguments;
};

struct TransactionState {
  bool active = false;      // between MULTI and EXEC/DISCARD
  bool dirty_exec = false;  // a command was rejected at queue time: EXECABORT
  bool dirty_cas = false;   // a watched key changed: EXEC answers null
  std::vector<QueuedCommand> queue;
  size_t queued_bytes = 0;
  uint32_t flags = 0;                                // of all queued commands, or'ed
  bool writes_need_space = false;                    // one of them is a write that frees no space
  std::vector<std::pair<int, std::string>> watched;  // (db, key)
  // Those of them that were there when WATCH came: EXEC fails if their time has passed since.
  std::vector<std::pair<int, std::string>> watched_present;
  size_t watched_bytes = 0;  // that these take
};

// The transport under a client, as the core sees it. net/session.cpp implements it over asio; the offline tool and
// tests bring their own.
class ClientTransport {
 public:
  virtual ~ClientTransport() = default;
  // There is something in client.output to be sent (or gated). Called once after output was appended from outside the
  // client's own command processing (pub/sub, unblocking, monitor).
  virtual void OutputReady() = 0;
  // Closes after what is in output has been sent (`now`: drop it). The client object is freed at the end of the turn.
  virtual void Close(bool now) = 0;
  // Detaches the socket for replication: from here on the file descriptor and the bytes already read but not parsed
  // belong to the caller; the client disappears from the registry once its output has been flushed.
  virtual int ReleaseSocket(std::string* unread) = 0;
  // Command processing may go on (a blocked command was answered, CLIENT PAUSE ended).
  virtual void Resume() = 0;
};

// What a reply waits for beyond this node's disk: `members` of the group to have it, too (0: nothing). A push that is
// given up vanishes, a reply becomes an error.
struct AwaitedMembers {
  uint16_t members = 0;
  bool push = false;
  int64_t since_ms = 0;  // monotonic
};

// Output of a client: bytes with the offset that must be durable before they may leave. Order is kept: a later byte
// never overtakes an earlier gated one. Positions count from the connection's start.
class GatedOutput {
 public:
  // An offset no log reaches: waits until ReleaseHeld().
  static constexpr uint64_t kHeld = UINT64_MAX;

  // Not yet sent, the first unsent byte at bytes[sent_]. Handlers append through Reply; Gate() then says when it may
  // leave.
  std::string bytes;

  // Everything appended since the last call waits until the log is durable to `offset`. `open` is the offset up to
  // which the gate is open now; `sealed` the end of the batch in flight: offsets beyond it become durable together, so
  // that one gate does for all of them.
  void Gate(uint64_t offset, uint64_t open, uint64_t sealed, AwaitedMembers awaited = {});
  // Opens gates up to `open`, of those that wait for n members up to confirmed[n]; returns the bytes that may be sent
  // now.
  [[nodiscard]] std::string_view Sendable(uint64_t open, std::span<const uint64_t> confirmed = {});
  // What is durable here and waits for members since `since_ms` or longer is given up: `error` makes the line to be
  // sent instead. Returns how many replies became errors.
  size_t GiveUp(uint64_t open, std::span<const uint64_t> confirmed, int64_t since_ms,
                const std::function<std::string(int members, uint64_t offset)>& error);
  void Sent(size_t count);
  // What was gated at kHeld waits for `offset` from now on.
  void ReleaseHeld(uint64_t offset);
  // Forgets everything not sent.
  void Drop();
  [[nodiscard]] bool HasGates() const { return first_gate_ < gates_.size(); }
  [[nodiscard]] size_t unsent() const { return bytes.size() - sent_; }
  [[nodiscard]] bool empty() const { return unsent() == 0; }

 private:
  struct GateMark {
    uint64_t end;     // position up to which it applies
    uint64_t offset;  // opens once the log is durable to here
    AwaitedMembers awaited;

    [[nodiscard]] bool Open(uint64_t open, std::span<const uint64_t> confirmed) const {
      if (offset > open) return false;
      return awaited.members == 0 || (awaited.members < confirmed.size() && offset <= confirmed[awaited.members]);
    }
  };
  size_t sent_ = 0;              // of `bytes`
  uint64_t base_ = 0;            // position of bytes[0]
  uint64_t free_end_ = 0;        // position below which everything may leave
  std::vector<GateMark> gates_;  // from first_gate_ on
  size_t first_gate_ = 0;
};

struct Client {
  ClientId id = 0;
  ClientTransport* transport = nullptr;
  ClientKind kind = ClientKind::kNormal;

  std::string peer_address;  // "127.0.0.1:5000" or "/path/sock:0"
  std::string local_address;
  int fd = -1;
  bool is_unix_socket = false;
  int64_t created_ms = 0;           // monotonic
  int64_t last_interaction_ms = 0;  // monotonic

  int db = 0;
  int resp = 2;
  bool authenticated = false;
  std::string user = "default";
  std::string name;
  std::string lib_name, lib_version;

  TransactionState multi;

  // Pub/sub subscriptions of this client (the server's index is in net/pubsub.h).
  using Names = std::unordered_set<std::string>;
  std::array<Names, kSubscriptionKinds> subscriptions;
  size_t subscription_bytes = 0;  // that these take
  [[nodiscard]] Names& Subscribed(Subscription what) { return subscriptions[static_cast<size_t>(what)]; }
  [[nodiscard]] const Names& Subscribed(Subscription what) const { return subscriptions[static_cast<size_t>(what)]; }
  // What confirmations count: those of the world `what` belongs to.
  [[nodiscard]] size_t SubscriptionCount(Subscription what) const {
    if (what == Subscription::kShardChannel) return Subscribed(what).size();
    return Subscribed(Subscription::kChannel).size() + Subscribed(Subscription::kPattern).size();
  }
  [[nodiscard]] size_t TotalSubscriptions() const {
    return SubscriptionCount(Subscription::kChannel) + SubscriptionCount(Subscription::kShardChannel);
  }

  bool monitor = false;
  bool readonly = false;  // CLUSTER READONLY flag, kept for clients that set it
  bool no_evict = false;
  bool no_touch = false;
  enum class ReplyMode : uint8_t { kOn, kOff, kSkipNext, kSkipping } reply_mode = ReplyMode::kOn;
  bool close_after_reply = false;
  bool close_asap = false;
  bool asking = false;

  // Blocked: its command will be answered later (WAIT, CLIENT PAUSE, blocking reads, writers slowed down while a
  // checkpoint lags, replies that wait for a change of role to be on disk, MIGRATE); no further command is processed.
  enum class Blocked : uint8_t {
    kNo,
    kWait,
    kWaitAof,
    kPaused,
    kKeys,
    kShutdown,
    kThrottled,
    kCommit,
    kMigrate,
    kCompare
  } blocked = Blocked::kNo;
  // The present reply leaves only once this batch of the log is on disk (Server::HoldUntilCommitted); 0: no need.
  uint64_t hold_ticket = 0;
  // Set by the dispatcher when it did not run the command (CLIENT PAUSE, writers slowed): the transport offers the same
  // command again after Resume().
  bool retry_command = false;
  uint32_t write_debt_us = 0;       // pause this client owes for its writes under pressure
  int64_t blocked_deadline_ms = 0;  // monotonic; 0 none

  // HOLDFAST DURABLE: how many members must have what this client is told; -1: min-replicas-durable of them.
  int durable_members = -1;

  // End offset of the last write of this client (WAIT counts replicas past it).
  uint64_t last_write_offset = 0;

  // REPLCONF state gathered before PSYNC.
  int replica_listening_port = 0;
  std::string replica_announced_ip;
  uint32_t replica_capabilities = 0;                                 // ReplicaCapability, what REPLCONF said
  std::vector<std::pair<std::string, std::string>> replica_options;  // REPLCONF pairs in order, for the dialect's use

  const CommandSpec* last_command = nullptr;
  std::string last_command_name = "NULL";
  uint64_t input_bytes_total = 0, output_bytes_total = 0, commands_total = 0;
  size_t query_buffer_bytes = 0, query_buffer_capacity = 0;

  GatedOutput output;
  bool ready_listed = false;        // in the server's list of clients with output from elsewhere
  bool gate_listed = false;         // in the server's list of clients with closed gates
  int64_t soft_limit_since_ms = 0;  // monotonic; output above the soft limit since then, 0: it is not

  // What the client has the server keep beyond the bytes that it sent and is sent.
  [[nodiscard]] size_t KeptBytes() const { return multi.queued_bytes + multi.watched_bytes + subscription_bytes; }
  [[nodiscard]] bool InSubscribeMode() const { return resp == 2 && TotalSubscriptions() > 0; }
};

}  // namespace holdfast::net
