// One thread, one seed: nodes with their own fake disks and clocks, and a network between them, driven by a queue of
// events in simulated time. Everything random comes from the seed, so a failing seed replays exactly.
// docs/simulation.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "tests/simulation/confirmed_writes.h"

namespace holdfast::simulation {

class Node;

// What one seed is like; drawn from it.
struct Profile {
  int nodes = 3;
  int64_t chaos_ms = 40'000;       // faults fall within this time, then the network heals
  int64_t fault_pause_ms = 1500;   // mean time between two of them
  int64_t write_pause_ms = 60;     // mean time between two writes on a master
  uint64_t segment_bytes = 16384;  // of the logs
  uint64_t ring_bytes = 1 << 20;
  uint64_t backlog_bytes = 1 << 20;
  bool tail_rewrite = true;
  bool old_copies = false;  // a disk is replaced by an older copy of itself
  bool many_old_copies = false;
  bool wipes = false;  // a disk is replaced by an empty one
  bool flips = false;  // bytes change on the wire
  // Semi-synchronous commit: so many of `members` beside node 0 confirm a write; 0: there is no group. Members are the
  // nodes that follow node 0 by number, others are replicas beside the group.
  int durable = 0, members = 0;
  bool forces = false;   // masters are made by force, too
  bool changes = false;  // of the group's members, and of how many confirm
  bool rivals = false;   // rivalry.h
};

// One direction of a connection: bytes arrive in order, cut anywhere, some time later.
struct Pipe {
  std::string bytes;
  bool closed = false;     // by the sender: nothing follows
  bool scheduled = false;  // a delivery is due
  uint64_t carried = 0;
  uint64_t cut_after = UINT64_MAX;  // the connection breaks when so much was carried
};

struct Connection {
  uint64_t id = 0;
  int replica = 0, master = 0;
  Pipe to_master, to_replica;
  bool replica_open = true, master_open = true;  // whether the process at that end still holds it
};

// An acknowledged write: a client was told that it is on disk.
struct Acked {
  int node = 0;
  std::string lineage_id;
  uint64_t from = 0;
  std::string bytes;
};

struct WorldOptions {
  bool trace = false;      // events go to standard error
  bool immediate = false;  // no delays and no random cuts of bytes: for exhaustive tests that cut by themselves
};

class World {
 public:
  World(uint64_t seed, const Profile& profile, WorldOptions options = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // ---- time ----
  [[nodiscard]] int64_t now_ms() const { return now_ms_; }
  void After(int64_t delay_ms, std::function<void()> event);
  // Runs events until `time_ms`, a failure, or none is left.
  void RunUntil(int64_t time_ms);

  // ---- chance ----
  Random& random() { return random_; }
  [[nodiscard]] uint64_t Below(uint64_t bound) { return random_.Below(bound); }
  [[nodiscard]] bool OneIn(uint64_t n) { return random_.Below(n) == 0; }

  // ---- network ----
  std::shared_ptr<Connection> Connect(int replica, int master);
  void Send(const std::shared_ptr<Connection>& connection, bool to_master, std::string_view bytes);
  // A process lets go of its end. `silently`: its machine is gone, the other end learns nothing for a while.
  void Close(const std::shared_ptr<Connection>& connection, bool replica_end, bool silently);
  [[nodiscard]] static size_t OnTheWay(const Pipe& pipe) { return pipe.bytes.size(); }
  // One message outside of any connection: it arrives, or does not.
  void Tell(int from, int to, std::function<void()> arrived);
  void Partition(int a, int b);  // what a sends does not reach b
  void Heal();
  [[nodiscard]] bool Reaches(int from, int to) const { return !blocked_.contains({from, to}); }
  // Breaks one connection, drawn at random.
  void CutSomeConnection();
  // The connection that comes next breaks after so many bytes in one direction.
  uint64_t cut_to_master = UINT64_MAX, cut_to_replica = UINT64_MAX;
  uint64_t cuts_made = 0;

  // ---- nodes ----
  [[nodiscard]] Node& node(int index) { return *nodes_[static_cast<size_t>(index)]; }
  [[nodiscard]] int node_count() const { return static_cast<int>(nodes_.size()); }

  // ---- what must hold ----
  // The first violation ends the run.
  void Fail(const std::string& violation);
  [[nodiscard]] const std::string& violation() const { return violation_; }
  void Trace(const std::string& line);
  [[nodiscard]] std::string NextUnit(size_t size);
  void NoteAcked(Acked acked);
  [[nodiscard]] const std::vector<Acked>& acked() const { return acked_; }
  // Ends of histories that nodes gave up, each kept in a file: (first offset, bytes).
  std::vector<std::pair<uint64_t, std::string>> kept_tails;

  const Profile profile;
  bool at_rest = false;           // the last part: no faults any more
  bool pasts_may_differ = false;  // a disk was replaced: one history has two contents
  uint64_t flipped_bytes = 0;
  bool group_formed = false;
  bool group_bypassed = false;  // a member that had not got the group's record was made master
  // Nodes that an operator has left out of the group, and in which epoch: nobody promotes them (docs/replication.md).
  std::map<int, uint64_t> left_out;
  ConfirmedWrites confirmed;
  // For the report.
  struct Counts {
    uint64_t events = 0, writes = 0, acked = 0, crashes = 0, power_cuts = 0, failed_writes = 0, connections = 0,
             continued = 0, rewinds = 0, full_syncs = 0, refused = 0, promotions = 0, checkpoints = 0, confirmed = 0,
             elections = 0, changes = 0, settled = 0, handovers = 0;
    void Add(const Counts& other);
    [[nodiscard]] std::string Describe() const;
  } counts;

 private:
  struct Event {
    int64_t time_ms;
    uint64_t number;
    std::function<void()> run;
    bool operator<(const Event& other) const {  // the queue's top is the largest
      return time_ms != other.time_ms ? time_ms > other.time_ms : number > other.number;
    }
  };
  void Schedule(const std::shared_ptr<Connection>& connection, bool to_master, int64_t delay_ms);
  void Deliver(const std::shared_ptr<Connection>& connection, bool to_master);
  void DeliverBytes(const std::shared_ptr<Connection>& connection, bool to_master);
  [[nodiscard]] int64_t Delay();

  const WorldOptions options_;
  SeededRandom random_;
  int64_t now_ms_ = 0;
  uint64_t event_number_ = 0;
  std::priority_queue<Event> events_;
  std::vector<std::unique_ptr<Node>> nodes_;
  uint64_t connection_number_ = 0;
  std::vector<std::weak_ptr<Connection>> connections_;
  std::set<std::pair<int, int>> blocked_;
  uint64_t unit_number_ = 0;
  std::vector<Acked> acked_;
  std::map<std::pair<std::string, uint64_t>, size_t> acked_at_;  // (lineage id, first offset) -> in acked_
  std::string violation_;
};

}  // namespace holdfast::simulation
