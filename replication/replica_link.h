// The replica's side of a link as a pure step function: events in, actions out. No sockets, files or clocks; the caller
// brings bytes and the time and does what the actions say, in order. docs/replication.md "Handshake" has the exchange.
//
//   kConnecting -> kPing -> kHandshake -> kPsync -> kStreaming
//                              |              |\-> kSnapshot -> kLoading -> kStreaming
//                              \-> kForking ->+
//                                             \-> kRewinding -> kStreaming     (only after kForking)
// A master that does not answer `holdfast-history` is of Redis' kind: from there on RedisReplicaLink goes on, with the
// states kPsync, kSnapshot, kLoading and kStreaming.
//
//   any state -> kClosed (a Close action says why; nothing is accepted afterwards)
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "replication/history.h"
#include "replication/wire.h"
#include "wal/log.h"

namespace holdfast::replication {

inline constexpr int kRefusalsMax = 3;

struct ReplicaLinkOptions {
  std::string user, password;  // password empty: no AUTH
  int listening_port = 0;
  std::string run_id;        // so that a server notices when it is told to follow itself
  std::string node_id;       // of the data directory: stays over restarts
  std::string announced_ip;  // empty: the master takes the address it sees
  // A transfer that broke: the file's offset, size and name, and how many of its bytes are here.
  std::optional<SnapshotBegin> partial;
  // Of a Redis master: what this node can take.
  int databases = 16;
  bool skip_functions = false;
  uint64_t unit_bytes_max = 1ull << 30;
  int64_t wall_ms = 0;     // the beginning of a history that is learnt
  uint64_t fenced_by = 0;  // acknowledge nothing: promised to a candidate of this epoch; see SetFence
  bool copy_anew = false;  // everything is asked for, whatever the past is
  // How often in a row our log has refused this master's stream at our end. From the first time on the master must
  // prove that it has our past; from kRefusalsMax on we ask for a copy, whatever it proves.
  int refusals = 0;
  bool take_over = false;  // FAILOVER: the peer, a replica so far, is asked to become master
  int64_t timeout_ms = 60'000;
  int64_t ack_period_ms = 1000;
};

// Actions.
struct SendBytes {
  std::string bytes;
};
// The master goes on from our end. `lineage` is its table as far as it concerns us now.
struct Continued {
  wal::Lineage lineage;
};
// The master's history parts from ours at `offset`, and we can go back there. Answer with ForkClaim().
struct ForkFound {
  uint64_t offset;
};
// Ours cannot be continued, and here is why we do not go back: what follows is a full sync.
struct RewindImpossible {
  std::string reason;
};
// The master knows the past up to the fork, its digest included: everything behind `offset` is to be cut. The link
// takes nothing more until Rewound().
struct RewindAgreed {
  uint64_t offset;
  wal::Lineage lineage;
};
struct SnapshotStarted {
  SnapshotBegin begin;  // its first `start` bytes are here already
};
struct SnapshotBytes {
  uint64_t position;
  std::string bytes;
};
// All bytes came and match the checksum. The link takes nothing more until Loaded().
struct SnapshotComplete {
  uint64_t offset;
  FullSyncOffer master;  // what it said of itself when the link came up
  bool rdb = false;      // a Redis master's file
};
// Continues our stream exactly; a unit's parts come in order.
struct FrameReceived {
  std::shared_ptr<const wal::SharedFrame> frame;
};
// Whole units of a Redis master, one after the other; they continue our stream exactly.
struct UnitsReceived {
  uint64_t offset = 0;
  std::string bytes;
  std::vector<size_t> ends;  // of each unit, in `bytes`
};
enum class CloseKind {
  kRetry,          // connect again after a backoff
  kRefused,        // one of the refusals: retrying will not help until somebody acts, so rarely
  kPsyncRejected,  // an error in answer to PSYNC: as kRetry, but ends a failover
  kStopped,        // the stream holds what this node cannot take: only somebody can help
  kTookOver,       // the peer is master now, at an earlier point: connect again at once
};
struct Close {
  CloseKind kind;
  std::string reason;
};
using ReplicaAction = std::variant<SendBytes, Continued, ForkFound, RewindImpossible, RewindAgreed, SnapshotStarted,
                                   SnapshotBytes, SnapshotComplete, FrameReceived, UnitsReceived, Close>;
using ReplicaActions = std::vector<ReplicaAction>;

enum class ReplicaState {
  kConnecting,
  kPing,
  kHandshake,
  kForking,
  kPsync,
  kSnapshot,
  kLoading,
  kRewinding,
  kStreaming,
  kClosed
};

class RedisReplicaLink;

class ReplicaLink {
 public:
  // `claim` is our past at the moment of connecting; a node without history asks for everything.
  ReplicaLink(ReplicaLinkOptions options, HistoryClaim claim, OwnSituation situation, int64_t now_ms);

  ~ReplicaLink();

  void Connected(int64_t now_ms, ReplicaActions& actions);
  // Bytes from the master, cut anywhere. In kLoading and kRewinding they are kept, so the caller should pass no more
  // then.
  void Received(std::string_view bytes, int64_t now_ms, ReplicaActions& actions);
  // What we are at the fork; nullopt if the log cannot tell, then the whole past is offered and a full sync follows.
  void ForkClaim(std::optional<HistoryClaim> claim, ReplicaActions& actions);
  // Our log ends at the fork now. Goes on with what came behind it.
  void Rewound(int64_t now_ms, ReplicaActions& actions);
  // The snapshot is in force: our stream now ends at its offset. Goes on with what came behind it.
  void Loaded(int64_t now_ms, ReplicaActions& actions);
  // Our log is durable, and our data applied, up to these offsets. Acks at once.
  void Durable(uint64_t durable_offset, uint64_t applied_offset, std::string_view lineage_id, ReplicaActions& actions);
  // The master sent something that is passed later.
  void Heard(int64_t now_ms) { last_io_ms_ = now_ms; }
  // A master of Redis' kind keeps nothing for long: it wants to be read, whatever happens here.
  [[nodiscard]] bool ToBeReadAlways() const { return redis_ != nullptr; }
  // Not 0: from now on nothing is acknowledged, as a candidate of this epoch was promised; 0: no more so.
  void SetFence(uint64_t epoch) { fenced_by_ = epoch; }
  void SetTimeout(int64_t timeout_ms) { timeout_ms_ = timeout_ms; }
  // At least once a second: acks, timeouts.
  void Tick(int64_t now_ms, ReplicaActions& actions);

  [[nodiscard]] ReplicaState state() const { return state_; }
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  [[nodiscard]] int64_t last_io_ms() const { return last_io_ms_; }
  [[nodiscard]] uint64_t snapshot_size() const { return snapshot_size_; }
  [[nodiscard]] uint64_t snapshot_read() const { return snapshot_read_; }
  [[nodiscard]] uint64_t master_offset() const { return master_offset_; }
  // Wall clock of the master in its last keepalive, 0: none yet.
  [[nodiscard]] int64_t master_time_ms() const { return master_time_ms_; }

 private:
  enum class Expected { kAuth, kPort, kAddress, kCapabilities, kHistory, kForkHistory };

  void Line(std::string_view line, int64_t now_ms, ReplicaActions& actions);
  void PingReply(std::string_view line, ReplicaActions& actions);
  void HandshakeReply(std::string_view line, ReplicaActions& actions);
  // False: we wait for ForkClaim().
  bool LookForFork(std::string_view line, ReplicaActions& actions);
  void SendClaim(Expected expected, SendBytes& send);
  void SendPsync(ReplicaActions& actions);
  void SpeakRedis(std::string_view line, ReplicaActions& actions);
  void FollowRedis();
  [[nodiscard]] bool NoHistory() const;
  // Proof or not: its stream does not continue ours.
  [[nodiscard]] bool StreamRefused() const;
  void PsyncReply(std::string_view line, ReplicaActions& actions);
  void Messages(ReplicaActions& actions);
  Result<void> OnMessage(const Message& message, ReplicaActions& actions);
  Result<void> OnHistory(std::string_view body, ReplicaActions& actions);
  Result<void> OnFrame(std::string_view body, ReplicaActions& actions);
  Result<void> OnSnapshotBegin(std::string_view body, ReplicaActions& actions);
  Result<void> OnSnapshotData(std::string_view body, ReplicaActions& actions);
  Result<void> OnSnapshotEnd(std::string_view body, ReplicaActions& actions);
  void SendAck(ReplicaActions& actions);
  void End(CloseKind kind, std::string reason, ReplicaActions& actions);

  const ReplicaLinkOptions options_;
  HistoryClaim claim_;
  std::unique_ptr<RedisReplicaLink> redis_;  // the dialect from PSYNC on, if the master is of that kind
  const OwnSituation situation_;
  ReplicaState state_ = ReplicaState::kConnecting;
  std::deque<Expected> expected_;
  std::string line_;  // the handshake's lines; what follows the PSYNC answer goes to parser_
  MessageParser parser_;
  bool full_sync_ = false;
  bool rewind_ = false;  // claim_ is of a fork before our end
  bool history_seen_ = false;
  bool snapshot_seen_ = false;
  uint64_t full_sync_offset_ = 0;
  FullSyncOffer master_;
  std::string full_sync_reason_;
  bool ask_for_all_ = false;  // an override lets us take over a copy that the master would refuse to offer
  uint64_t snapshot_size_ = 0, snapshot_read_ = 0, snapshot_checksum_ = 0;
  uint64_t next_offset_ = 0;
  bool in_unit_ = false;  // a first part came, its last did not
  uint64_t durable_ = 0, applied_ = 0;
  std::string lineage_id_;
  uint64_t fenced_by_ = 0;
  uint64_t master_offset_ = 0;
  int64_t master_time_ms_ = 0;
  int64_t timeout_ms_;
  int64_t last_io_ms_ = 0, last_ack_ms_ = 0;
};

// A command as RESP.
void AppendCommand(std::string& to, std::initializer_list<std::string_view> arguments);

}  // namespace holdfast::replication
