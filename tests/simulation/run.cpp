#include "tests/simulation/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "storage/base/hash.h"
#include "tests/simulation/node.h"
#include "tests/simulation/rivalry.h"
#include "tests/support/log_checker.h"

namespace holdfast::simulation {

namespace {

constexpr int64_t kRestMaxMs = 120'000;

// Everything that goes wrong, one at a time, at random.
class Chaos {
 public:
  explicit Chaos(World& world) : world_(world), rivalry_(world) {}

  void Begin() {
    for (int i = 0; i < world_.node_count(); ++i) world_.node(i).Start();
    NextWrite();
    if (world_.profile.durable > 0) return FormGroup();
    NextFault();
  }

 private:
  [[nodiscard]] bool Over() const { return world_.now_ms() >= world_.profile.chaos_ms; }
  Node& Any() { return world_.node(static_cast<int>(world_.Below(static_cast<uint64_t>(world_.node_count())))); }
  int AnyIndex() { return static_cast<int>(world_.Below(static_cast<uint64_t>(world_.node_count()))); }

  void NextWrite() {
    if (Over()) return;
    world_.After(1 + static_cast<int64_t>(world_.Below(2 * static_cast<uint64_t>(world_.profile.write_pause_ms))),
                 [this] {
                   for (int i = 0; i < world_.node_count(); ++i) {
                     for (uint64_t n = world_.Below(4); n > 0; --n) world_.node(i).Write(UnitSize());
                     if (world_.group_formed && world_.OneIn(4)) world_.node(i).Read();
                   }
                   NextWrite();
                 });
  }
  size_t UnitSize() {
    if (world_.OneIn(20)) return 1;
    if (world_.OneIn(150)) return 500 + static_cast<size_t>(world_.Below(3 * world_.profile.segment_bytes));
    return 5 + static_cast<size_t>(world_.Below(world_.OneIn(10) ? 1200 : 60));
  }

  void FormGroup() {
    if (Over()) return;
    world_.group_formed = world_.node(0).FormGroup();
    if (world_.group_formed) {
      if (world_.profile.rivals) rivalry_.Begin();
      if (world_.profile.changes) NextChange();
      return NextFault();
    }
    world_.After(50, [this] { FormGroup(); });
  }

  void NextFault() {
    if (Over()) return;
    world_.After(1 + static_cast<int64_t>(world_.Below(2 * static_cast<uint64_t>(world_.profile.fault_pause_ms))),
                 [this] {
                   if (!Over()) Fault();
                   NextFault();
                 });
  }

  void Fault() {
    if (world_.profile.many_old_copies && world_.OneIn(4)) {
      return world_.OneIn(2) ? Any().KeepCopyOfDisk() : Any().PutBackOldCopy();
    }
    switch (world_.Below(20)) {
      case 0:
      case 1:
        return Crash(false);
      case 2:
      case 3:
        return Crash(true);
      case 4:
        world_.Trace("links are cut one way");
        return Split(AnyIndex(), AnyIndex(), false);
      case 5:
        world_.Trace("links are cut both ways");
        return Split(AnyIndex(), AnyIndex(), true);
      case 6:
      case 7:
        return Failover();
      case 8:
        return Any().Follow(AnyIndex());
      case 9:
        return Promote(Any());
      case 10:
      case 11:
      case 12:
        return Any().Checkpoint();
      case 13:
      case 14:
        return Any().Trim();
      case 15:
        return Any().PrepareSpare();
      case 16:
        return SlowDisk();
      case 17:
        world_.CutSomeConnection();
        return Any().FailNextWrite();
      case 18:
        return CheckpointWithPowerCut();
      default:
        return Rare();
    }
  }

  void Crash(bool power) {
    Node& node = Any();
    if (!node.up()) return;
    if (power) {
      node.CutPower();
    } else {
      node.Kill();
    }
    if (world_.OneIn(3)) node.CutPowerDuringNext(1 + world_.Below(60));  // recovery itself may be cut short
    node.RestartIn(static_cast<int64_t>(world_.Below(world_.OneIn(4) ? 15'000 : 1500)));
  }
  void Split(int a, int b, bool both) {
    if (a == b) return;
    world_.Partition(a, b);
    if (both) world_.Partition(b, a);
    world_.After(static_cast<int64_t>(world_.Below(20'000)), [this] { world_.Heal(); });
  }
  void Promote(Node& node) {
    if (world_.profile.forces && world_.OneIn(4)) return node.PromoteByForce();
    node.Promote();
  }
  // As a sentinel does it: one is promoted, the others are told sooner or later.
  void Failover() {
    if (world_.OneIn(3)) return HandOver();
    const int next = AnyIndex();
    if (!world_.node(next).up()) return;
    Promote(world_.node(next));
    if (world_.node(next).IsCandidate() && !world_.OneIn(3)) return FollowOnceMaster(next, 100);
    for (int i = 0; i < world_.node_count(); ++i) {
      if (i == next || world_.OneIn(6)) continue;
      world_.After(static_cast<int64_t>(world_.Below(5000)), [this, i, next] { world_.node(i).Follow(next); });
    }
  }
  // Planned; to a certain node or to any, sometimes by force, sometimes with a change of mind.
  void HandOver() {
    for (int i = 0; i < world_.node_count(); ++i) {
      Node& node = world_.node(i);
      if (!node.IsMaster()) continue;
      const int target = AnyIndex();
      const bool force = world_.OneIn(4), any = !force && world_.OneIn(3);
      const int64_t timeout_ms = force || world_.OneIn(2) ? 1 + static_cast<int64_t>(world_.Below(3000)) : 0;
      node.FailOver(any ? std::nullopt : std::optional(target), force, timeout_ms);
      // Else a master that waits for a node that never comes takes no writes.
      const auto patience_ms = static_cast<int64_t>(world_.Below(world_.OneIn(6) ? 50 : 8000));
      world_.After(patience_ms, [&node] { node.AbortFailover(); });
      if (!any && !world_.OneIn(3)) FollowOnceMaster(target, 40);
      return;
    }
  }
  // Who has to pass the barrier first is seen to be a master later.
  void FollowOnceMaster(int next, int tries) {
    if (tries == 0 || Over()) return;
    if (!world_.node(next).IsMaster()) {
      return world_.After(200, [this, next, tries] { FollowOnceMaster(next, tries - 1); });
    }
    for (int i = 0; i < world_.node_count(); ++i) {
      if (i == next || world_.OneIn(6)) continue;
      world_.After(static_cast<int64_t>(world_.Below(1000)), [this, i, next] { world_.node(i).Follow(next); });
    }
  }
  // Of the group, by an operator who takes this node for its master.
  void NextChange() {
    if (Over()) return;
    world_.After(1 + static_cast<int64_t>(world_.Below(8000)), [this] {
      if (Over()) return;
      Any().ChangeGroup();
      NextChange();
    });
  }
  void SlowDisk() {
    Node& node = Any();
    node.write_delay_ms = static_cast<int64_t>(world_.Below(2000));
    world_.After(4000, [&node] { node.write_delay_ms = 2; });
  }
  void CheckpointWithPowerCut() {
    Node& node = Any();
    if (!node.up()) return;
    node.CutPowerDuringNext(1 + world_.Below(8));
    node.Checkpoint();
    if (node.up()) node.Trim();
    if (node.up()) node.PrepareSpare();
    if (node.up()) node.disk().ClearFaults();
  }
  void Rare() {
    const uint64_t which = world_.Below(4);
    if (which == 0) {
      Node& node = Any();
      node.clock().SetWallMs(node.clock().WallMs() + (world_.OneIn(2) ? 86'400'000 : -86'400'000));
    } else if (which == 1 && world_.profile.old_copies) {
      Any().KeepCopyOfDisk();
    } else if (which == 2 && world_.profile.old_copies) {
      Any().PutBackOldCopy();
    } else if (which == 3 && world_.profile.wipes) {
      Any().Wipe();
    }
  }

  World& world_;
  Rivalry rivalry_;
};

// Whom all are told to follow in the end: the most recent of those who hold data.
int ChooseMaster(World& world) {
  int best = -1;
  for (int i = 0; i < world.node_count(); ++i) {
    if (world.left_out.contains(i)) continue;
    const Node& node = world.node(i);
    const Node& other = world.node(std::max(best, 0));
    if (best < 0 ||
        (world.group_formed ? node.Standing() > other.Standing() : node.AppendedOffset() > other.AppendedOffset())) {
      best = i;
    }
  }
  return best;
}

// With all nodes in reach the barrier lets the most advanced one through. Where a disk was taken away, it may not; nor
// where a member that had not got the group's record was made master, since those that followed it promise nothing any
// more.
void PassTheBarrier(World& world, int master) {
  Node& node = world.node(master);
  if (!node.IsMaster()) {
    for (int i = 0; i < world.node_count(); ++i) {
      if (i != master && world.node(i).IsMaster()) world.node(i).Follow(master);
    }
  }
  const int64_t until = world.now_ms() + kRestMaxMs;
  while (world.violation().empty() && world.now_ms() < until && !node.IsMaster()) {
    node.Promote();
    world.RunUntil(world.now_ms() + 500);
  }
  if (!node.IsMaster() && (world.pasts_may_differ || world.group_bypassed)) node.PromoteByForce();
  if (world.violation().empty() && !node.IsMaster())
    world.Fail(fmt::format("node {}, the most advanced, does not pass the promotion barrier", master));
}

// No acknowledged write is gone without a trace: it is where it was written, or in a file of what was given up.
void CheckAcked(World& world, int master) {
  if (world.pasts_may_differ) return;  // a disk was taken away
  const std::string& stream = world.node(master).truth().stream;
  for (const Acked& acked : world.acked()) {
    if (stream.compare(std::min<size_t>(acked.from, stream.size()), acked.bytes.size(), acked.bytes) == 0) continue;
    const bool kept = std::any_of(world.kept_tails.begin(), world.kept_tails.end(), [&](const auto& tail) {
      return acked.from >= tail.first && acked.from - tail.first < tail.second.size() &&
             tail.second.compare(acked.from - tail.first, acked.bytes.size(), acked.bytes) == 0;
    });
    if (kept) continue;
    return world.Fail(fmt::format("the write at offset {} that node {} acknowledged in history {} left no trace",
                                  acked.from, acked.node, acked.lineage_id));
  }
}

void CheckLogs(World& world, int master) {
  for (int i = 0; i < world.node_count(); ++i) {
    Node& node = world.node(i);
    const auto log = holdfast::testing::CheckLog(node.disk(), node.LogDirectory());
    if (!log.problems.empty()) return world.Fail(fmt::format("the log of node {}: {}", i, Problems(log)));
    const std::string& truth = node.truth().stream;
    if (truth != world.node(master).truth().stream)
      return world.Fail(fmt::format("nodes {} and {} hold different histories", i, master));
    if (log.end_offset != truth.size() || truth.compare(log.first_offset, std::string::npos, log.stream) != 0)
      return world.Fail(fmt::format("the log of node {} holds something else than it was given", i));
    auto names = node.disk().List("data");
    if (!names.ok()) return world.Fail(names.error().message);
    for (const std::string& name : *names) {
      const bool known = name == "LOCK" || name == "CURRENT" || name == "diverged" || name.starts_with("gen-");
      if (!known) return world.Fail(fmt::format("node {} left the file {}", i, name));
    }
    if (std::count_if(names->begin(), names->end(), [](const auto& name) { return name.starts_with("gen-"); }) != 1)
      return world.Fail(fmt::format("node {} left an old generation", i));
  }
}

}  // namespace

bool InStep(World& world, int master) {
  for (int i = 0; i < world.node_count(); ++i) {
    const Node& node = world.node(i);
    if (!node.Quiet() || node.AppendedOffset() != world.node(master).AppendedOffset()) return false;
    if (node.LineageId() != world.node(master).LineageId()) return false;
    if (i != master && !node.LinkUp()) return false;
  }
  return true;
}

void BringToRest(World& world) {
  world.at_rest = true;
  world.Heal();
  for (int i = 0; i < world.node_count(); ++i) {
    world.node(i).write_delay_ms = 2;
    world.node(i).disk().ClearFaults();
    world.node(i).Start();
  }
  world.RunUntil(world.now_ms() + 20'000);  // restarts that are due, half-open links
  if (!world.violation().empty()) return;
  const int master = ChooseMaster(world);
  if (world.group_formed) {
    PassTheBarrier(world, master);
  } else {
    world.node(master).Promote();
  }
  for (int i = 0; i < world.node_count(); ++i) {
    if (i != master) world.node(i).Follow(master);
  }
  const int64_t until = world.now_ms() + kRestMaxMs;
  while (world.violation().empty() && world.now_ms() < until && !InStep(world, master)) {
    world.RunUntil(world.now_ms() + 500);
  }
  if (!world.violation().empty()) return;
  if (!InStep(world, master)) {
    std::string all;
    for (int i = 0; i < world.node_count(); ++i) all += fmt::format("; node {}: {}", i, world.node(i).Describe());
    return world.Fail("the nodes never come into step" + all);
  }
  world.RunUntil(world.now_ms() + 500);
  CheckAcked(world, master);
  if (!world.group_formed || world.pasts_may_differ) return;
  const std::string gone = world.confirmed.AtTheEnd(world.node(master).truth().stream);
  if (!gone.empty()) world.Fail(gone);
}

void CheckAtRest(World& world) {
  if (!world.violation().empty()) return;
  const int master = ChooseMaster(world);
  std::vector<uint64_t> ends;
  for (int i = 0; i < world.node_count(); ++i) {
    ends.push_back(world.node(i).AppendedOffset());
    world.node(i).Kill();
    world.node(i).Start();
    if (!world.violation().empty()) return;
    if (world.node(i).AppendedOffset() != ends.back())
      return world.Fail(fmt::format("node {} ends elsewhere after a restart", i));
  }
  CheckLogs(world, master);
}

void MakeGroup(Profile& profile, Random& random) {
  profile.nodes = std::max(profile.nodes, 2 + static_cast<int>(random.Below(4)));
  profile.members = std::max(1, profile.nodes - 1 - (random.Below(4) == 0 ? 1 : 0));
  profile.durable = 1 + static_cast<int>(random.Below(static_cast<uint64_t>(profile.members)));
  profile.forces = random.Below(4) == 0;
  profile.changes = random.Below(2) == 0;
}

void MakeRivals(Profile& profile, Random& random) {
  profile.nodes = 4 + static_cast<int>(random.Below(2));
  profile.members = profile.nodes - 1;
  // With one promise from among two kinds of members.
  profile.durable = profile.members - 1;
  profile.chaos_ms = 100'000;
  profile.write_pause_ms = 50 + static_cast<int64_t>(random.Below(200));
  profile.fault_pause_ms = 20'000 + static_cast<int64_t>(random.Below(40'000));
  profile.rivals = true;
  profile.changes = random.Below(4) == 0;
  profile.wipes = profile.old_copies = false;
}

Profile ProfileOf(uint64_t seed) {
  SeededRandom random(seed ^ 0x5eed);
  Profile profile;
  profile.nodes = 2 + static_cast<int>(random.Below(3));
  profile.fault_pause_ms = 300 + static_cast<int64_t>(random.Below(2000));
  profile.write_pause_ms = 10 + static_cast<int64_t>(random.Below(200));
  profile.segment_bytes = 8192 + 4096 * random.Below(4);
  profile.ring_bytes = random.Below(2) == 0 ? 1 << 20 : 1 << 10;
  profile.backlog_bytes = random.Below(2) == 0 ? 1 << 20 : 1 << 12;
  profile.tail_rewrite = random.Below(4) != 0;
  profile.old_copies = random.Below(6) == 0;
  profile.wipes = random.Below(12) == 0;
  profile.flips = random.Below(6) == 0;
  if (random.Below(3) == 0) MakeGroup(profile, random);
  if (profile.durable > 0 && random.Below(12) == 0) MakeRivals(profile, random);
  return profile;
}

Report RunSeed(uint64_t seed, bool trace) { return RunSeed(seed, ProfileOf(seed), trace); }

Report RunSeed(uint64_t seed, const Profile& profile, bool trace) {
  World world(seed, profile, {.trace = trace});
  Chaos chaos(world);
  chaos.Begin();
  world.RunUntil(world.profile.chaos_ms);
  if (world.violation().empty()) BringToRest(world);
  CheckAtRest(world);
  Report report{world.violation(), world.counts, world.now_ms(), 0};
  if (!report.violation.empty()) return report;
  for (int i = 0; i < world.node_count(); ++i) {
    report.fingerprint = Checksum64(world.node(i).truth().stream + world.node(i).LineageId(), report.fingerprint);
  }
  return report;
}

}  // namespace holdfast::simulation
