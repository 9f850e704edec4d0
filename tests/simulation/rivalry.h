// Rounds of one certain misfortune, which chance alone hardly ever brings together: a master of the group writes what
// only some members get, a rival is elected without them and cut off at once, the master is elected anew with promises
// of others than those some (which asks for a minute of waiting, replication::Renewal), and then the rival once more,
// with them. Acknowledgements of three epochs meet. Each round casts the parts anew. docs/simulation.md.
#pragma once

#include <functional>
#include <vector>

#include "tests/simulation/world.h"

namespace holdfast::simulation {

class Rivalry {
 public:
  explicit Rivalry(World& world) : world_(world) {}
  // Once the group is formed; until the chaos is over.
  void Begin();

 private:
  [[nodiscard]] bool Over() const { return world_.now_ms() >= world_.profile.chaos_ms; }
  [[nodiscard]] int NewestMaster() const;  // -1: none
  void Round();
  // Waits until `reached`, looking every `every_ms`, and goes on; after `tries` all is healed and a new round begins.
  void Await(std::function<bool()> reached, int tries, int64_t every_ms, std::function<void()> go_on);
  [[nodiscard]] bool AllFollow(int master) const;
  void Cast(int master);
  void ElectRival();
  void LeaveRivalAlone();
  void AwaitSecondElection();
  void SplitAnew();
  void Reconcile();
  void Part(int a, int b, bool both);

  World& world_;
  int master_ = 0, rival_ = 0, helper_ = 0;
  std::vector<int> others_;  // members besides
  uint64_t epoch_before_ = 0;
};

}  // namespace holdfast::simulation
