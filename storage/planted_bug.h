// Bugs that can be switched on in one special build, to prove that the tests would find them (docs/reliability.md
// "Planted bugs"). In every other build Planted() is constant and the hooks compile to nothing. Of storage/ only the
// files that include this one are compiled a second time, so no other header may ask.
#pragma once

namespace holdfast {

enum class PlantedBug {
  kNone,

  // Found by the simulation (tests/simulation/planted_bugs_test.cpp).
  kShipBeforeDurable,    // replicas are sent frames that are still being written
  kAckBeforeDurable,     // an offset counts as durable when its batch is sealed
  kDigestIgnored,        // equal ids and offsets are taken for equal pasts
  kOldDataDroppedEarly,  // a full sync removes the old generation before the new one is in force
  kKeepaliveCounted,     // a keepalive moves the replica's offset
  kSecondIdOff,          // an older id is valid for one byte too many
  kOldHistoryAcked,      // a replica that takes over a copy acknowledges offsets of the history it is about to leave
  kVerbatimDurableMark,  // a frame vouches for all before it, as where it was first written, not as it is here
  kOldLineageCounted,    // a master counts what members acknowledged of an older history than its own
  kBarrierSkipped,       // who is told to become master of a group asks nobody

  // Found by directed tests (tests/planted/directed_bugs_test.cpp).
  kLogNotSynced,             // frames are written and acknowledged, and synced by nobody
  kSyncErrorSwallowed,       // a sync of the log that fails counts as one that succeeded
  kFailedSyncRetried,        // ... is tried again, and the second try believed
  kDirectoryNotSynced,       // the name of a new segment is not made durable
  kUnitSplit,                // the frames of a long transaction claim to be units of their own
  kSegmentTrimmedEarly,      // segments go whose content the store does not have yet
  kPinIgnored,               // segments go that somebody still needs
  kFrameChecksumIgnored,     // a frame's header is believed without its checksum
  kTornTailLenient,          // whatever is unreadable in the last segment is taken for torn, even if it was durable
  kRecoveryNotSynced,        // recovery believes what it reads, although it may be in the page cache only
  kCheckpointBeforeDurable,  // the store is written ahead of the durable log
  kOffsetOutsideMerge,       // the store's offset is in a transaction before that of the last rows
  kValueChecksumIgnored,     // a value of the store is served without a look at its checksum
  kExpiryByLocalClock,       // replay lets keys expire by the clock of the machine
  kUndurableSeen,            // a reply does not wait for the write whose value it shows
};

#ifdef HOLDFAST_PLANTED_BUGS
[[nodiscard]] bool Planted(PlantedBug bug);
// From now on this one, and no other.
void Plant(PlantedBug bug);
#else
[[nodiscard]] constexpr bool Planted(PlantedBug /*bug*/) { return false; }
#endif

}  // namespace holdfast
