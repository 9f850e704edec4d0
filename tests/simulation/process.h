// What a node's process holds in memory. Included by node*.cpp only.
#pragma once

#include "tests/simulation/node.h"

namespace holdfast::simulation {

inline const std::string kDataDirectory = "data";

// A failure that waits for the next write of the log may meet another one: that work is left for later.
inline bool WasInjected(const Error& error) { return error.message.ends_with("(injected)"); }

// The master's end of a connection.
struct Node::Feed {
  Feed(std::shared_ptr<Connection> its_connection, int64_t now_ms)
      : connection(std::move(its_connection)), link({.timeout_ms = 8000, .keepalive_ms = 1000}, now_ms) {}

  std::shared_ptr<Connection> connection;
  replication::MasterLink link;
  replication::ReplicaCommandParser handshake;
  // Of the handshake.
  replication::HistoryClaim claim;
  wal::Lineage offered;  // our history as we told it
  uint64_t offered_end = 0;
  bool fork = false;
  std::string held_answer;   // until all that it tells of is on disk
  uint64_t held_ticket = 0;  // ... with this batch
  bool asks_for_all = false;
  enum class Stage { kHandshake, kWaiting, kAttached } stage = Stage::kHandshake;

  std::unique_ptr<wal::LogCursor> cursor;
  std::unique_ptr<wal::Log::Pin> pin;
  bool has_more = false;  // than we, when we took its place
  bool waiting_for_snapshot = false;
  std::string snapshot;
  std::string full_sync_reason;
  std::string node_id;  // of the replica's disk
};

// The replica's end of its link.
struct Node::Follower {
  std::shared_ptr<Connection> connection;
  std::unique_ptr<replication::ReplicaLink> link;
  replication::HistoryClaim claim;
  uint64_t first_offset = 0;
  uint64_t rewind_floor = 0;  // as it was told to the link
  std::string rewind_impossible;
  bool no_history = false;
  std::unique_ptr<File> spool;
};

struct Node::Process {
  explicit Process(uint64_t seed) : random(seed) {}

  SeededRandom random;
  std::unique_ptr<wal::DataDirectory> directory;
  std::unique_ptr<wal::Log> log;
  StreamPosition checkpoint;  // what the store holds: it is durable
  replication::RoleRecord role;
  uint64_t sealed = 0, committed = 0;  // batches
  uint64_t role_ticket = 0;            // the batch that carries the newest role or lineage frame
  bool writing = false;
  std::deque<WaitingWrite> waiting;
  std::unique_ptr<wal::Log::Pin> own_pin;           // while a copy is loaded that will replace what we have
  std::map<uint64_t, std::unique_ptr<Feed>> feeds;  // by connection

  std::optional<Follower> follower;
  uint64_t epoch = 0;  // of the link
  uint64_t load = 0;   // of a snapshot being loaded
  // Of the last attempt to connect: the end of a log that has not changed is not read again.
  replication::HistoryClaim last_claim;
  uint64_t last_claim_first_offset = 0;
  bool linked = false, loading = false;
  int refusals = 0;  // of the stream in a row, at one end of ours
  uint64_t refused_at = 0;
  replication::Backoff backoff;

  std::string group_text;  // `group` is this, parsed
  replication::GroupRecord group;
  replication::Confirmation confirmation;
  std::optional<replication::Candidacy> candidacy;
  std::optional<replication::Failover> failover;
  bool handover_sure = false;  // the target has everything and stays
  int64_t handover_ms = 0;
  std::vector<uint64_t> takeovers;  // connections of masters that wait for our candidacy's end
  std::optional<int> fetch_from;    // followed during the candidacy, instead of our master
  replication::Renewal renewal;
  uint64_t fence = 0;                     // what the link was told
  wal::Lineage at_link_up;                // our lineage when the master began to send
  replication::LogStanding copy_reaches;  // what the master had when it gave the copy being loaded
  std::deque<std::pair<uint64_t, std::function<void()>>> held_promises;  // until this batch is on disk
};

}  // namespace holdfast::simulation
