// A connection cut after every byte, in either direction, of a handshake, a snapshot, a stream and a rewind, on nodes
// with logs on fake disks: no byte is missing and none comes twice.
#include <gtest/gtest.h>

#include "tests/simulation/node.h"
#include "tests/simulation/run.h"

namespace holdfast::simulation {
namespace {

struct Outcome {
  std::string violation;
  bool cut = false;  // the connection broke where it was told to
  World::Counts counts;
};

Profile TwoNodes() {
  Profile profile;
  profile.nodes = 2;
  profile.segment_bytes = 8192;
  return profile;
}

void Write(World& world, int node) {
  for (const size_t size : {20u, 1u, 40u}) world.node(node).Write(size);
  world.RunUntil(world.now_ms() + 20);
}

// A master with a checkpoint, a unit of several frames and some more, and a replica.
std::unique_ptr<World> MasterAlone() {
  auto world = std::make_unique<World>(1, TwoNodes(), WorldOptions{.immediate = true});
  world->node(0).Start();
  Write(*world, 0);
  world->node(0).Checkpoint();
  Write(*world, 0);
  world->node(0).Write(4100);
  Write(*world, 0);
  return world;
}

// Both in step; then the replica is promoted, and the old master, which wrote on, is told to follow it.
std::unique_ptr<World> DeposedMaster() {
  auto world = MasterAlone();
  world->node(1).Start();
  world->RunUntil(world->now_ms() + 1000);
  world->node(1).Promote();
  Write(*world, 1);
  Write(*world, 0);
  world->node(0).Write(4100);
  Write(*world, 0);
  return world;
}

void Arm(World& world, bool to_master, uint64_t cut) { (to_master ? world.cut_to_master : world.cut_to_replica) = cut; }

Outcome Finish(World& world, int master) {
  // Pauses between attempts are drawn: as long as it takes, within reason.
  const int64_t until = world.now_ms() + 60'000;
  while (world.violation().empty() && world.now_ms() < until && !InStep(world, master)) {
    world.RunUntil(world.now_ms() + 100);
  }
  Outcome outcome;
  outcome.cut = world.cuts_made > 0;
  outcome.counts = world.counts;
  const std::string& ours = world.node(master).truth().stream;
  if (world.violation().empty() && world.node(1 - master).truth().stream != ours) {
    world.Fail("the replica has something else than its master");
  }
  CheckAtRest(world);
  outcome.violation = world.violation();
  return outcome;
}

TEST(CutAtEveryByteSlow, OfAFullSyncAndTheStreamBehindIt) {
  for (const bool to_master : {false, true}) {
    uint64_t cut = 1;
    for (;; ++cut) {
      auto world = MasterAlone();
      Arm(*world, to_master, cut);
      world->node(1).Start();
      const Outcome outcome = Finish(*world, 0);
      ASSERT_EQ(outcome.violation, "") << (to_master ? "to the master, byte " : "to the replica, byte ") << cut;
      ASSERT_LE(outcome.counts.full_syncs, outcome.cut ? 2u : 1u);
      if (!outcome.cut) break;
    }
    EXPECT_GT(cut, to_master ? 300u : 4500u);
  }
}

TEST(CutAtEveryByteSlow, OfARewind) {
  for (const bool to_master : {false, true}) {
    uint64_t cut = 1;
    for (;; ++cut) {
      auto world = DeposedMaster();
      const uint64_t copied = world->counts.full_syncs;
      Arm(*world, to_master, cut);
      world->node(0).Follow(1);
      const Outcome outcome = Finish(*world, 1);
      ASSERT_EQ(outcome.violation, "") << (to_master ? "to the master, byte " : "to the replica, byte ") << cut;
      ASSERT_EQ(outcome.counts.full_syncs, copied);
      ASSERT_EQ(outcome.counts.rewinds, 1u);
      if (!outcome.cut) break;
    }
    EXPECT_GT(cut, 300u);
  }
}

}  // namespace
}  // namespace holdfast::simulation
