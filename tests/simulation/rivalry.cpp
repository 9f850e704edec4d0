#include "tests/simulation/rivalry.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "replication/membership.h"
#include "tests/simulation/node.h"

namespace holdfast::simulation {

void Rivalry::Await(std::function<bool()> reached, int tries, int64_t every_ms, std::function<void()> go_on) {
  if (Over()) return;
  if (reached()) return go_on();
  if (tries == 0) return Reconcile();
  world_.After(every_ms, [this, reached = std::move(reached), tries, every_ms, go_on = std::move(go_on)]() mutable {
    Await(std::move(reached), tries - 1, every_ms, std::move(go_on));
  });
}

void Rivalry::Part(int a, int b, bool both) {
  world_.Partition(a, b);
  if (both) world_.Partition(b, a);
}

int Rivalry::NewestMaster() const {
  int newest = -1;
  for (int i = 0; i < world_.node_count(); ++i) {
    const Node& node = world_.node(i);
    if (!node.IsMaster() || !node.KnowsItsGroup()) continue;
    if (newest < 0 || node.Standing() > world_.node(newest).Standing()) newest = i;
  }
  return newest;
}

bool Rivalry::AllFollow(int master) const {
  for (int i = 0; i <= world_.profile.members; ++i) {
    const Node& node = world_.node(i);
    if (i != master && (!node.LinkUp() || node.Standing().epoch != world_.node(master).Standing().epoch)) return false;
    if (!node.KnowsItsGroup()) return false;
  }
  return true;
}

void Rivalry::Begin() {
  const auto in_step = [this] {
    const int master = NewestMaster();
    return master >= 0 && AllFollow(master);
  };
  Await(in_step, 100, 50, [this] { Round(); });
}

void Rivalry::Round() {
  const int master = NewestMaster();
  if (master < 0 || master > world_.profile.members || world_.profile.members < 3) return Reconcile();
  Cast(master);
  // What is written now reaches the others alone.
  Part(master_, rival_, false);
  Part(master_, helper_, false);
  for (const int other : others_) Part(rival_, other, true);
  world_.After(200 + static_cast<int64_t>(world_.Below(3000)), [this] { ElectRival(); });
}

void Rivalry::Cast(int master) {
  std::vector<int> members;
  for (int i = 0; i <= world_.profile.members; ++i) {
    if (i != master) members.push_back(i);
  }
  for (size_t i = members.size(); i > 1; --i) std::swap(members[i - 1], members[world_.Below(i)]);
  master_ = master;
  rival_ = members[0];
  helper_ = members[1];
  others_.assign(members.begin() + 2, members.end());
  world_.Trace(fmt::format("node {} will rival master {}, and node {} help it", rival_, master_, helper_));
}

void Rivalry::ElectRival() {
  world_.node(rival_).Promote();
  Await([this] { return world_.node(rival_).IsMaster(); }, 100, 50, [this] { LeaveRivalAlone(); });
}

void Rivalry::LeaveRivalAlone() {
  epoch_before_ = world_.node(rival_).Standing().epoch;
  world_.Heal();
  for (int i = 0; i < world_.node_count(); ++i) {
    if (i != rival_) Part(rival_, i, true);
  }
  // It gives up being master, too, but reaches nobody.
  world_.After(static_cast<int64_t>(world_.Below(50'000)), [this, rival = rival_] {
    if (!others_.empty()) world_.node(rival).Follow(others_.front());
  });
  // Not long before the master will ask for a later epoch.
  world_.After(replication::Renewal::kPauseMs - 2000, [this] {
    Await([this] { return world_.node(master_).IsCandidate(); }, 8000, 1, [this] { AwaitSecondElection(); });
  });
}

// The others do not hear of it.
void Rivalry::AwaitSecondElection() {
  for (const int other : others_) Part(master_, other, false);
  const auto elected = [this] {
    const Node& master = world_.node(master_);
    return master.IsMaster() && master.Standing().epoch > epoch_before_;
  };
  Await(elected, 2000, 2, [this] { world_.After(static_cast<int64_t>(world_.Below(1500)), [this] { SplitAnew(); }); });
}

void Rivalry::SplitAnew() {
  if (Over()) return;
  world_.Trace(fmt::format("node {} will be elected without {} and {}", rival_, master_, helper_));
  world_.Heal();
  for (int i = 0; i < world_.node_count(); ++i) {
    if (i == master_ || i == helper_) continue;
    Part(master_, i, true);
    Part(helper_, i, true);
  }
  world_.node(rival_).Promote();
  Await([this] { return world_.node(rival_).IsMaster(); }, 100, 50,
        [this] { world_.After(static_cast<int64_t>(world_.Below(2000)), [this] { Reconcile(); }); });
}

// All are told to follow the newest master, sooner or later.
void Rivalry::Reconcile() {
  world_.Heal();
  int newest = 0;
  for (int i = 1; i < world_.node_count(); ++i) {
    if (world_.node(i).Standing() > world_.node(newest).Standing()) newest = i;
  }
  world_.node(newest).Promote();
  for (int i = 0; i < world_.node_count(); ++i) {
    if (i == newest) continue;
    world_.After(200 + static_cast<int64_t>(world_.Below(2000)), [this, i, newest] { world_.node(i).Follow(newest); });
  }
  world_.After(3000, [this] { Begin(); });
}

}  // namespace holdfast::simulation
