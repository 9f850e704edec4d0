// Runs one seed from beginning to end: chaos, then rest, then a look at what is left. docs/simulation.md.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulation/world.h"

namespace holdfast::simulation {

struct Report {
  std::string violation;  // empty: everything held
  World::Counts counts;
  int64_t simulated_ms = 0;
  uint64_t fingerprint = 0;  // of all nodes' histories: equal for the same seed
};

[[nodiscard]] Profile ProfileOf(uint64_t seed);
// Nodes of a replication group, which commit semi-synchronously.
void MakeGroup(Profile& profile, Random& random);
// A group whose masters are replaced by each other without their knowledge (rivalry.h).
void MakeRivals(Profile& profile, Random& random);
Report RunSeed(uint64_t seed, bool trace = false);
Report RunSeed(uint64_t seed, const Profile& profile, bool trace = false);

// All nodes follow `master`, hold what it holds, and wait for nothing.
[[nodiscard]] bool InStep(World& world, int master);
// Heals everything, lets one master lead, and waits until all nodes are in step. Fails the world if they never are.
void BringToRest(World& world);
// What must hold of nodes in step, read from their disks by independent code; then every node restarts once more.
void CheckAtRest(World& world);

}  // namespace holdfast::simulation
