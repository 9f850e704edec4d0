// The replica's side of its link: one thread with an event loop that connects, runs the handshake, verifies every
// message and spools a full sync's snapshot to a file. What concerns data or history goes to the executor through
// Events, which run on the thread and must only post; at most kReceiverBytesMax of frames are on their way there, then
// the socket is not read until the executor has taken some; from a master of Redis' kind it is read into a file then,
// and while a snapshot is loaded. docs/replication.md "Receiving".
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "replication/replica_link.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "wal/log.h"

namespace holdfast::net {

inline constexpr uint64_t kReceiverBytesMax = 8ull << 20;

enum class LinkState : int { kNone, kConnect, kConnecting, kHandshake, kSync, kConnected };

// Readable from any thread: INFO and ROLE.
struct LinkProgress {
  std::atomic<LinkState> state{LinkState::kNone};
  std::atomic<bool> loading{false};
  std::atomic<int64_t> last_io_ms{0};  // monotonic
  std::atomic<uint64_t> snapshot_size{0}, snapshot_read{0};
  std::atomic<uint64_t> received_offset{0};  // end of the stream received
  std::atomic<uint64_t> received_bytes{0};
  std::atomic<uint64_t> master_offset{0};         // its durable end as far as it is known
  std::atomic<int64_t> master_clock_ahead_ms{0};  // its wall clock less ours, when it last said
};

// One attempt: whom to reach and what our past is.
struct LinkRequest {
  uint64_t epoch = 0;  // comes back with every event
  std::string host;
  int port = 0;
  replication::ReplicaLinkOptions options;
  replication::HistoryClaim claim;  // its tail is filled in by the thread
  replication::OwnSituation situation;
  uint64_t first_offset = 0;
  wal::Log* log = nullptr;  // stays while the attempt lasts
  std::string spool_path;   // where a snapshot goes
};

using FrameBatch = std::vector<std::shared_ptr<const wal::SharedFrame>>;

struct LinkEvents {
  std::function<void(uint64_t epoch, wal::Lineage lineage)> continued;
  // Our log is to be cut at `offset`. Answer with Rewound() or Disconnect().
  std::function<void(uint64_t epoch, uint64_t offset, wal::Lineage lineage)> rewind;
  std::function<void(uint64_t epoch, std::string reason)> rewind_impossible;
  // A copy begins; why, as the master says.
  std::function<void(uint64_t epoch, std::string reason)> full_sync;
  // `bytes` must come back through FramesTaken().
  std::function<void(uint64_t epoch, FrameBatch frames, uint64_t bytes)> frames;
  std::function<void(uint64_t epoch, replication::UnitsReceived units, uint64_t bytes)> units;  // of a Redis master
  // The snapshot lies complete at the spool path. Answer with Loaded() or Disconnect().
  std::function<void(uint64_t epoch, replication::SnapshotComplete complete)> snapshot_complete;
  std::function<void(uint64_t epoch, replication::CloseKind kind, std::string reason)> closed;
};

class MasterReceiver {
 public:
  MasterReceiver(Clock& clock, FileSystem& fs, LinkEvents events);
  ~MasterReceiver();  // Stop()

  // All: executor.
  void Connect(LinkRequest request);
  // repl-timeout has been changed.
  void SetTimeout(int64_t timeout_ms);
  // Drops the link without a closed event. Returns when the thread uses nothing of the log any more.
  void Disconnect();
  void FramesTaken(uint64_t bytes);
  void Loaded();
  void Rewound();
  void Durable(uint64_t durable_offset, uint64_t applied_offset, const std::string& lineage_id);
  // Acknowledge nothing from now on (epoch of a candidate), or again (0).
  void SetFence(uint64_t epoch);
  void Stop();
  [[nodiscard]] const LinkProgress& progress() const { return progress_; }

 private:
  struct Link;  // the thread's own

  // The link goes on from a state in which nothing was read.
  void Resume(void (replication::ReplicaLink::*event)(int64_t, replication::ReplicaActions&));

  std::unique_ptr<Link> link_;
  LinkProgress progress_;
  std::thread thread_;
};

}  // namespace holdfast::net
