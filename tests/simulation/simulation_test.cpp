// The miniature of the simulation: some hundred seeds. More of them by hand with `simulate` (docs/simulation.md).
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/simulation/run.h"

namespace holdfast::simulation {
namespace {

constexpr uint64_t kParts = 10;

// $HOLDFAST_SIMULATION_SEEDS in all, else 500, or fewer where everything is slow.
uint64_t Seeds() {
  if (const char* text = std::getenv("HOLDFAST_SIMULATION_SEEDS")) return std::strtoull(text, nullptr, 10);
#ifdef HOLDFAST_SANITIZED
  return 60;
#else
  return 500;
#endif
}

class Simulation : public testing::TestWithParam<uint64_t> {};

TEST_P(Simulation, EverySeedKeepsAllPromises) {
  for (uint64_t seed = 1 + GetParam(); seed <= Seeds(); seed += kParts) {
    const Report report = RunSeed(seed);
    ASSERT_EQ(report.violation, "") << "replay with: simulate --from " << seed << " --seeds 1 --trace";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Simulation, testing::Range<uint64_t>(0, kParts));

TEST(SimulationItself, ASeedReplaysExactly) {
  for (const uint64_t seed : {3u, 4u, 5u}) {
    const Report first = RunSeed(seed), second = RunSeed(seed);
    EXPECT_EQ(first.fingerprint, second.fingerprint);
    EXPECT_EQ(first.counts.Describe(), second.counts.Describe());
  }
}

// In 10992 a replica was told of a history that was not on disk yet. In 177 a master beside its group took too few
// members for enough, in 981 a promise was given within a unit, in 2890 a mastership was lost before it was on disk.
// In 444554 and 476171 a member was promoted that had not got the record of its new group, and the model expected
// promises of those that followed it. Other seeds are of other things since changes of groups and FAILOVER are
// simulated.
TEST(SimulationItself, SeedsThatFailedOncePass) {
  for (const uint64_t seed : {177u, 981u, 2890u, 3642u, 7400u, 10992u, 444554u, 476171u})
    EXPECT_EQ(RunSeed(seed).violation, "") << seed;
}

// A simulation in which little happens proves little.
TEST(SimulationItself, EverythingHappens) {
  World::Counts sum;
  for (uint64_t seed = 1; seed <= 12; ++seed) sum.Add(RunSeed(seed).counts);
  EXPECT_GT(sum.acked, 5000u);
  EXPECT_GT(sum.crashes, 20u);
  EXPECT_GT(sum.power_cuts, 20u);
  EXPECT_GT(sum.continued, 100u);
  EXPECT_GT(sum.rewinds, 5u);
  EXPECT_GT(sum.full_syncs, 12u);
  EXPECT_GT(sum.promotions, 30u);
  EXPECT_GT(sum.checkpoints, 30u);
  EXPECT_GT(sum.confirmed, 500u);
  EXPECT_GT(sum.elections, 5u);
  EXPECT_GT(sum.changes, 0u);
  EXPECT_GT(sum.settled, 3u);
  EXPECT_GT(sum.handovers, 0u);
}

}  // namespace
}  // namespace holdfast::simulation
