// A test of the simulation: each bug that can be planted is found within a bounded number of seeds.
#include "storage/planted_bug.h"

#include <gtest/gtest.h>

#include <iostream>
#include <string>

#include "tests/simulation/run.h"

namespace holdfast::simulation {
namespace {

constexpr uint64_t kSeedsMax = 500;

struct Case {
  PlantedBug bug;
  const char* name;
  bool of_groups = false;
  bool of_rivals = false;
};

void PrintTo(const Case& its, std::ostream* to) { *to << its.name; }

std::string NameOf(const testing::TestParamInfo<Case>& its) { return its.param.name; }

class PlantedBugs : public testing::TestWithParam<Case> {
 protected:
  ~PlantedBugs() override { Plant(PlantedBug::kNone); }
};

TEST_P(PlantedBugs, IsFound) {
  for (uint64_t seed = 1; seed <= kSeedsMax; ++seed) {
    Profile profile = ProfileOf(seed);
    // Two contents of one history come from disks that were replaced.
    if (GetParam().bug == PlantedBug::kDigestIgnored) profile.many_old_copies = true;
    if (GetParam().of_groups && profile.durable == 0) {
      SeededRandom random(seed);
      MakeGroup(profile, random);
    }
    if (GetParam().of_rivals) {
      SeededRandom random(seed);
      MakeRivals(profile, random);
    }
    Plant(GetParam().bug);
    const Report report = RunSeed(seed, profile);
    if (report.violation.empty()) continue;
    std::cout << GetParam().name << " found by seed " << seed << ": " << report.violation << "\n";
    // It is the bug that was found.
    Plant(PlantedBug::kNone);
    EXPECT_EQ(RunSeed(seed, profile).violation, "");
    return;
  }
  FAIL() << "not found by " << kSeedsMax << " seeds";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBugs,
                         testing::Values(Case{PlantedBug::kShipBeforeDurable, "ShipBeforeDurable"},
                                         Case{PlantedBug::kAckBeforeDurable, "AckBeforeDurable"},
                                         Case{PlantedBug::kDigestIgnored, "DigestIgnored"},
                                         Case{PlantedBug::kOldDataDroppedEarly, "OldDataDroppedEarly"},
                                         Case{PlantedBug::kKeepaliveCounted, "KeepaliveCounted"},
                                         Case{PlantedBug::kSecondIdOff, "SecondIdOff"},
                                         Case{PlantedBug::kOldHistoryAcked, "OldHistoryAcked"},
                                         Case{PlantedBug::kVerbatimDurableMark, "VerbatimDurableMark"},
                                         Case{PlantedBug::kBarrierSkipped, "BarrierSkipped", true},
                                         Case{PlantedBug::kOldLineageCounted, "OldLineageCounted", false, true}),
                         NameOf);

}  // namespace
}  // namespace holdfast::simulation
