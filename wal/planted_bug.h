// Bugs that can be switched on in one special build, to prove that the simulation would find them (docs/simulation.md
// "Planted bugs"). In every other build Planted() is constant and the hooks compile to nothing. For wal/ and
// replication/ only: storage/ is not compiled a second time.
#pragma once

namespace holdfast {

enum class PlantedBug {
  kNone,
  kShipBeforeDurable,    // replicas are sent frames that are still being written
  kAckBeforeDurable,     // an offset counts as durable when its batch is sealed
  kDigestIgnored,        // equal ids and offsets are taken for equal pasts
  kOldDataDroppedEarly,  // a full sync removes the old generation before the new one is in force
  kKeepaliveCounted,     // a keepalive moves the replica's offset
  kSecondIdOff,          // an older id is valid for one byte too many
  kOldHistoryAcked,      // a replica that takes over a copy acknowledges offsets of the history it is about to leave
  kVerbatimDurableMark,  // a frame vouches for all before it, as where it was first written, not as it is here
};

#ifdef HOLDFAST_PLANTED_BUGS
[[nodiscard]] bool Planted(PlantedBug bug);
// From now on this one, and no other.
void Plant(PlantedBug bug);
#else
[[nodiscard]] constexpr bool Planted(PlantedBug /*bug*/) { return false; }
#endif

}  // namespace holdfast
