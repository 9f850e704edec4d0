// The master's side of replica links: one thread with an event loop of its own serves them all from the log, off the
// executor. Per replica it holds one cursor, at most two buffers of about kFeedChunk bytes and the small state of a
// link; a slow replica is simply read less from the log, and costs nothing else.
//
// The executor hands over sockets (Add), durable offsets and snapshots; the thread answers through Events, which run on
// the thread and must only post. docs/replication.md "Feeds".
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "replication/master_link.h"
#include "replication/past.h"
#include "replication/redis_master_link.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "wal/log.h"

namespace holdfast::net {

inline constexpr size_t kFeedChunk = 256 * 1024;
enum class FeedState : int { kPreparing, kSendingSnapshot, kOnline, kClosed };

// What both threads know of one attached replica.
struct FeedStatus {
  std::string address;
  int port = 0;
  std::string node_id;
  uint64_t client_id = 0;  // of its connection, which CLIENT LIST shows and CLIENT KILL closes
  std::string peer_address, local_address;
  int64_t created_ms = 0;    // monotonic
  bool redis = false;        // speaks Redis' dialect
  bool acknowledges = true;  // false: came by SYNC, nobody knows how far it is
  std::atomic<FeedState> state{FeedState::kPreparing};
  std::atomic<uint64_t> acked_offset{0};
  std::atomic<uint64_t> applied_offset{0};
  std::atomic<int64_t> last_ack_ms{0};                       // monotonic
  std::atomic<uint64_t> snapshot_size{0}, snapshot_sent{0};  // while one is sent
  std::atomic<uint64_t> fenced_by{0};  // it acknowledges nothing: promised to a candidate of this epoch
  std::atomic<bool> pinned{true};      // false: it fell too far behind, the log is no longer kept for it

  // The history the newest acknowledgement named.
  [[nodiscard]] std::string AckedLineage() const {
    const std::lock_guard lock(mutex_);
    return acked_lineage_;
  }
  void SetAckedLineage(const std::string& id) {
    const std::lock_guard lock(mutex_);
    acked_lineage_ = id;
  }

 private:
  mutable std::mutex mutex_;
  std::string acked_lineage_;  // guarded by mutex_
};

// What a replica of Redis' kind asks for.
struct RedisRequest {
  replication::RedisPeer peer;
  bool snapshot_only = false;  // the link ends behind the RDB file (redis-cli --rdb)
  bool without_data = false;   // an RDB file without keys (redis-cli --replica, --functions-rdb)
  uint64_t from_offset = 0;    // a copy without a stream behind it must reach this far
};

// A replica's PSYNC, with everything the decision needs; gathered on the executor.
struct FeedRequest {
  int fd = -1;
  std::string unread;  // bytes read behind the PSYNC
  std::string address;
  int port = 0;
  std::string node_id;
  uint64_t client_id = 0;
  std::string peer_address, local_address;
  int64_t created_ms = 0;
  std::optional<replication::HistoryClaim> claim;  // nullopt: asks for everything
  bool fork = false;                               // the claim is of a fork: the replica will cut its log there
  std::optional<RedisRequest> redis;               // nullopt: one of ours
  replication::OwnPast past;
  std::string group;                                  // our group record
  std::string full_sync_refusal;                      // not empty: why there can be none now
  std::optional<replication::SnapshotBegin> partial;  // of a transfer that broke
  std::shared_ptr<wal::Log::Pin> pin;                 // from the claim's end
  wal::Log* log = nullptr;
};

// A file that any number of replicas are copied from.
struct SharedSnapshot {
  std::string path;
  std::shared_ptr<File> rdb;  // for replicas of Redis' kind; has no name any more
  bool with_data = true;
  uint64_t offset = 0;
  std::shared_ptr<wal::Log::Pin> pin;
  wal::Lineage lineage;  // the sender's, at the moment of handing over
  std::string group;     // the same
  wal::Log* log = nullptr;
};

enum class FeedOutcome { kContinued, kFullSync, kRefused };

struct FeedEvents {
  std::function<void(std::shared_ptr<FeedStatus>, FeedOutcome, std::string reason)> decided;
  std::function<void(const std::optional<RedisRequest>& redis)> snapshot_wanted;
  std::function<void()> acks_changed;
  std::function<void(std::shared_ptr<FeedStatus>, std::string reason)> closed;
};

class ReplicaFeeder {
 public:
  ReplicaFeeder(Clock& clock, FileSystem& fs, FeedEvents events);
  ~ReplicaFeeder();  // Stop()

  // All: executor.
  std::shared_ptr<FeedStatus> Add(FeedRequest request);
  struct Limits {
    int64_t timeout_ms = 60'000;
    uint64_t pin_bytes = UINT64_MAX;  // a replica further behind loses its claim on the log
    int64_t transfers = 0;            // of snapshots at a time, 0: any number
    uint64_t transfer_rate = 0;       // bytes a second of all of them, 0: any
  };
  void SetLimits(const Limits& limits);
  void Durable(uint64_t durable_offset);
  // For every replica that waits for one of its kind.
  void SnapshotReady(SharedSnapshot snapshot);
  void SnapshotFailed(const std::string& reason);
  void RdbFailed(const std::string& reason);
  // Ends one link, soon.
  void Close(const std::shared_ptr<FeedStatus>& status, const std::string& reason);
  // Ends all links. Returns when nothing of the log is in use any more.
  void CloseAll(const std::string& reason);
  void Stop();
  [[nodiscard]] uint64_t SentBytes() const { return sent_bytes_.load(std::memory_order_relaxed); }

 private:
  class Feed;
  struct Loop;  // the event loop and what lives on it

  std::unique_ptr<Loop> loop_;
  std::atomic<uint64_t> durable_{0};
  std::atomic<uint64_t> sent_bytes_{0};
  std::atomic<bool> wake_posted_{false};
  std::atomic<int64_t> timeout_ms_{60'000}, transfers_max_{0};
  std::atomic<uint64_t> pin_bytes_{UINT64_MAX}, transfer_rate_{0};
  std::thread thread_;
};

}  // namespace holdfast::net
