// A connection cut after every byte, in either direction, of a handshake, a snapshot, a stream, a rewind, a handover,
// and of what a member of a replication group and its master tell each other, on nodes with logs on fake disks: no byte
// is missing and none comes twice, what was confirmed stays, and there is one master.
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
  profile.ring_bytes = 1 << 16;
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
  for (int i = 0; i < world.node_count(); ++i) {
    if (world.violation().empty() && world.node(i).truth().stream != ours) {
      world.Fail("the replica has something else than its master");
    }
  }
  if (world.violation().empty() && !world.confirmed.AtTheEnd(ours).empty()) world.Fail("what was confirmed is gone");
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

// The old master asks its replica to take its place. Whatever gets lost of that, the replica does so once.
TEST(CutAtEveryByteSlow, OfAHandover) {
  for (const bool to_master : {false, true}) {
    uint64_t cut = 1;
    for (;; ++cut) {
      auto world = MasterAlone();
      world->node(1).Start();
      world->RunUntil(world->now_ms() + 1000);
      const uint64_t copied = world->counts.full_syncs;
      Arm(*world, to_master, cut);
      world->node(0).FailOver(1, false, 0);
      const Outcome outcome = Finish(*world, 1);
      ASSERT_EQ(outcome.violation, "") << (to_master ? "to the target, byte " : "to the old master, byte ") << cut;
      ASSERT_EQ(outcome.counts.full_syncs, copied);
      ASSERT_EQ(outcome.counts.promotions, 1u);
      ASSERT_EQ(outcome.counts.rewinds, 0u);
      if (!outcome.cut) break;
    }
    EXPECT_GT(cut, 200u);
  }
}

// Node 0 and its members, of which `durable` confirm.
std::unique_ptr<World> MasterOfMembers(int members, int durable) {
  Profile profile = TwoNodes();
  profile.nodes = members + 1;
  profile.members = members;
  profile.durable = durable;
  auto world = std::make_unique<World>(1, profile, WorldOptions{.immediate = true});
  world->node(0).Start();
  Write(*world, 0);
  return world;
}

// As soon as all are attached.
void FormGroup(World& world) {
  const int64_t until = world.now_ms() + 60'000;
  while (world.violation().empty() && world.now_ms() < until && !world.group_formed) {
    world.group_formed = world.node(0).FormGroup();
    world.RunUntil(world.now_ms() + 1);
  }
  if (!world.group_formed) world.Fail("the group is never formed");
}

// The record of the group, acknowledgements under it, and replies that wait for them.
TEST(CutAtEveryByteSlow, OfAGroupThatIsFormedAndConfirms) {
  for (const bool to_master : {false, true}) {
    uint64_t cut = 1;
    for (;; ++cut) {
      auto world = MasterOfMembers(1, 1);
      Arm(*world, to_master, cut);
      world->node(1).Start();
      FormGroup(*world);
      for (int i = 0; i < 3; ++i) {
        Write(*world, 0);
        world->node(0).Read();
      }
      const Outcome outcome = Finish(*world, 0);
      ASSERT_EQ(outcome.violation, "") << (to_master ? "to the master, byte " : "to the member, byte ") << cut;
      ASSERT_EQ(outcome.counts.acked, outcome.counts.writes);
      ASSERT_LE(outcome.counts.full_syncs, outcome.cut ? 2u : 1u);
      if (!outcome.cut) break;
    }
    EXPECT_GT(cut, to_master ? 500u : 1000u);
  }
}

// A member comes back to its master while writes wait for it, and is promised away: it acknowledges nothing any more.
// Then both follow the new master.
TEST(CutAtEveryByteSlow, OfAMemberThatIsPromisedAway) {
  for (const bool to_master : {false, true}) {
    uint64_t cut = 1;
    for (;; ++cut) {
      auto world = MasterOfMembers(2, 1);
      world->node(1).Start();
      world->node(2).Start();
      FormGroup(*world);
      world->RunUntil(world->now_ms() + 1000);
      const uint64_t copied = world->counts.full_syncs;
      for (const int other : {1, 2}) world->Partition(0, other);
      for (int i = 0; i < 3; ++i) world->node(0).Write(40);
      world->node(1).Kill();
      world->Heal();
      world->Partition(0, 2);
      Arm(*world, to_master, cut);
      world->node(1).Start();
      world->RunUntil(world->now_ms() + 10);
      world->node(2).Promote();
      world->RunUntil(world->now_ms() + 3000);
      world->Heal();
      world->node(0).Follow(2);
      world->node(1).Follow(2);
      const Outcome outcome = Finish(*world, 2);
      ASSERT_EQ(outcome.violation, "") << (to_master ? "to the master, byte " : "to the member, byte ") << cut;
      ASSERT_EQ(outcome.counts.elections, 1u);
      ASSERT_EQ(outcome.counts.full_syncs, copied);
      if (!outcome.cut) break;
    }
    EXPECT_GT(cut, 300u);
  }
}

}  // namespace
}  // namespace holdfast::simulation
