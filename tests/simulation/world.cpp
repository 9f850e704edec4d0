#include "tests/simulation/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "tests/simulation/node.h"

namespace holdfast::simulation {

World::World(uint64_t seed, const Profile& its_profile, WorldOptions options)
    : profile(its_profile), options_(options), random_(seed) {
  for (int i = 0; i < profile.nodes; ++i) nodes_.push_back(std::make_unique<Node>(*this, i, random_.Next()));
}

World::~World() = default;

// ---- time -----------------------------------------------------------------------------------------------------------

void World::After(int64_t delay_ms, std::function<void()> event) {
  events_.push({now_ms_ + delay_ms, ++event_number_, std::move(event)});
}

void World::RunUntil(int64_t time_ms) {
  while (violation_.empty() && !events_.empty() && events_.top().time_ms <= time_ms) {
    const Event event = std::move(const_cast<Event&>(events_.top()));  // its place in the queue stays
    events_.pop();
    const int64_t passed = event.time_ms - now_ms_;
    now_ms_ = event.time_ms;
    if (passed > 0) {
      for (auto& node : nodes_) node->clock().AdvanceMs(passed);
    }
    ++counts.events;
    event.run();
  }
  if (violation_.empty()) now_ms_ = std::max(now_ms_, time_ms);
}

// ---- network --------------------------------------------------------------------------------------------------------

int64_t World::Delay() {
  if (options_.immediate) return 0;
  if (OneIn(200)) return static_cast<int64_t>(Below(3000));
  return static_cast<int64_t>(Below(OneIn(10) ? 200 : 5));
}

std::shared_ptr<Connection> World::Connect(int replica, int master) {
  auto connection = std::make_shared<Connection>();
  connection->id = ++connection_number_;
  connection->replica = replica;
  connection->master = master;
  connection->to_master.cut_after = std::exchange(cut_to_master, UINT64_MAX);
  connection->to_replica.cut_after = std::exchange(cut_to_replica, UINT64_MAX);
  std::erase_if(connections_, [](const auto& old) { return old.expired(); });
  connections_.push_back(connection);
  ++counts.connections;
  After(Delay(), [this, connection] {
    const bool answered = Reaches(connection->replica, connection->master) &&
                          Reaches(connection->master, connection->replica) && node(connection->master).up();
    if (!connection->replica_open) return;
    if (!answered) {
      connection->master_open = false;
      return node(connection->replica).ReplicaEof(connection);
    }
    node(connection->master).Accept(connection);
    node(connection->replica).Connected(connection);
  });
  return connection;
}

void World::Send(const std::shared_ptr<Connection>& connection, bool to_master, std::string_view bytes) {
  Pipe& pipe = to_master ? connection->to_master : connection->to_replica;
  if (bytes.empty() || pipe.closed) return;
  pipe.bytes += bytes;
  Schedule(connection, to_master, Delay());
}

void World::Close(const std::shared_ptr<Connection>& connection, bool replica_end, bool silently) {
  bool& open = replica_end ? connection->replica_open : connection->master_open;
  if (!open) return;
  open = false;
  Pipe& out = replica_end ? connection->to_master : connection->to_replica;
  if (silently) out.bytes.clear();
  out.closed = true;
  Schedule(connection, replica_end, silently ? 1000 + static_cast<int64_t>(Below(20'000)) : Delay());
}

void World::Schedule(const std::shared_ptr<Connection>& connection, bool to_master, int64_t delay_ms) {
  Pipe& pipe = to_master ? connection->to_master : connection->to_replica;
  if (pipe.scheduled) return;
  pipe.scheduled = true;
  After(delay_ms, [this, connection, to_master] {
    (to_master ? connection->to_master : connection->to_replica).scheduled = false;
    Deliver(connection, to_master);
  });
}

void World::Deliver(const std::shared_ptr<Connection>& connection, bool to_master) {
  Pipe& pipe = to_master ? connection->to_master : connection->to_replica;
  const int from = to_master ? connection->replica : connection->master;
  const int to = to_master ? connection->master : connection->replica;
  bool& receiver_open = to_master ? connection->master_open : connection->replica_open;
  if (!receiver_open) return pipe.bytes.clear();
  if (!Reaches(from, to)) return Schedule(connection, to_master, 50 + static_cast<int64_t>(Below(200)));
  if (!pipe.bytes.empty()) DeliverBytes(connection, to_master);
  if (!receiver_open) return pipe.bytes.clear();
  if (!pipe.bytes.empty()) return Schedule(connection, to_master, Delay());
  if (!pipe.closed) return;
  receiver_open = false;
  (to_master ? connection->to_replica : connection->to_master).closed = true;
  if (to_master) {
    node(to).MasterEof(connection);
  } else {
    node(to).ReplicaEof(connection);
  }
}

void World::DeliverBytes(const std::shared_ptr<Connection>& connection, bool to_master) {
  Pipe& pipe = to_master ? connection->to_master : connection->to_replica;
  size_t size = pipe.bytes.size();
  if (!options_.immediate && OneIn(3)) size = 1 + static_cast<size_t>(Below(size));
  size = static_cast<size_t>(std::min<uint64_t>(size, pipe.cut_after - pipe.carried));
  std::string bytes = pipe.bytes.substr(0, size);
  pipe.bytes.erase(0, size);
  pipe.carried += size;
  if (!to_master && profile.flips && !at_rest && size > 0 && OneIn(60) &&
      node(connection->replica).InMessages(connection)) {
    bytes[Below(size)] ^= static_cast<char>(1 << Below(8));
    ++flipped_bytes;
  }
  if (pipe.carried >= pipe.cut_after) {
    ++cuts_made;
    connection->to_master.bytes.clear();
    connection->to_replica.bytes.clear();
    connection->to_master.closed = connection->to_replica.closed = true;
  }
  if (size > 0 && to_master) node(connection->master).MasterReceived(connection, bytes);
  if (size > 0 && !to_master) node(connection->replica).ReplicaReceived(connection, bytes);
  if (pipe.carried >= pipe.cut_after) Schedule(connection, !to_master, 0);
}

void World::Tell(int from, int to, std::function<void()> arrived) {
  if (OneIn(20)) return;
  After(Delay(), [this, from, to, arrived = std::move(arrived)] {
    if (Reaches(from, to) && node(to).up()) arrived();
  });
}

void World::Partition(int a, int b) { blocked_.insert({a, b}); }

void World::Heal() { blocked_.clear(); }

void World::CutSomeConnection() {
  std::vector<std::shared_ptr<Connection>> open;
  for (const auto& weak : connections_) {
    auto connection = weak.lock();
    if (connection && (connection->replica_open || connection->master_open)) open.push_back(std::move(connection));
  }
  if (open.empty()) return;
  const auto& connection = open[Below(open.size())];
  for (const bool to_master : {true, false}) {
    Pipe& pipe = to_master ? connection->to_master : connection->to_replica;
    pipe.bytes.resize(Below(pipe.bytes.size() + 1));
    pipe.closed = true;
    Schedule(connection, to_master, Delay());
  }
}

// ---- report ---------------------------------------------------------------------------------------------------------

void World::Counts::Add(const Counts& other) {
  events += other.events;
  writes += other.writes;
  acked += other.acked;
  crashes += other.crashes;
  power_cuts += other.power_cuts;
  failed_writes += other.failed_writes;
  connections += other.connections;
  continued += other.continued;
  rewinds += other.rewinds;
  full_syncs += other.full_syncs;
  refused += other.refused;
  promotions += other.promotions;
  checkpoints += other.checkpoints;
  confirmed += other.confirmed;
  elections += other.elections;
  changes += other.changes;
  settled += other.settled;
  handovers += other.handovers;
}

std::string World::Counts::Describe() const {
  return fmt::format(
      "{} events, {} writes ({} acknowledged), {} kills, {} power cuts, {} failed writes, {} connections ({} "
      "continued, "
      "{} went back, {} copied, {} refused), {} promotions, {} checkpoints, {} confirmed, {} elections in groups, "
      "{} changes of them ({} settled), {} handovers",
      events, writes, acked, crashes, power_cuts, failed_writes, connections, continued, rewinds, full_syncs, refused,
      promotions, checkpoints, confirmed, elections, changes, settled, handovers);
}

// ---- what must hold -------------------------------------------------------------------------------------------------

void World::Fail(const std::string& violation) {
  if (!violation_.empty()) return;
  violation_ = fmt::format("at {} ms: {}", now_ms_, violation);
  Trace("VIOLATION " + violation);
}

void World::Trace(const std::string& line) {
  if (options_.trace) fmt::print(stderr, "{:8} {}\n", now_ms_, line);
}

std::string World::NextUnit(size_t size) {
  if (size <= 1) return std::string(1, static_cast<char>('!' + Below(90)));
  std::string bytes = fmt::format("<{}>", ++unit_number_);
  while (bytes.size() < size) bytes += static_cast<char>('a' + (bytes.size() * 7 + unit_number_) % 26);
  return bytes;
}

void World::NoteAcked(Acked acked) {
  ++counts.acked;
  auto [at, fresh] = acked_at_.try_emplace({acked.lineage_id, acked.from}, acked_.size());
  if (!fresh && !pasts_may_differ && acked_[at->second].bytes != acked.bytes) {
    Fail(fmt::format("nodes {} and {} both acknowledged writes at offset {} of history {}", acked_[at->second].node,
                     acked.node, acked.from, acked.lineage_id));
  }
  acked_.push_back(std::move(acked));
}

}  // namespace holdfast::simulation
