// Bugs of the log and the store that can be planted, and the tests that must find each of them.
#pragma once

#include <ostream>
#include <string_view>

#include "storage/planted_bug.h"

namespace holdfast {

struct DirectedBug {
  PlantedBug bug;
  const char* name;
  const char* tests;  // a filter of gtest
};

// For gtest.
inline void PrintTo(const DirectedBug& bug, std::ostream* to) { *to << bug.name; }

inline constexpr DirectedBug kDirectedBugs[] = {
    {PlantedBug::kAckBeforeDurable, "AckBeforeDurable", "CrashStatesTest.*"},
    {PlantedBug::kLogNotSynced, "LogNotSynced", "CrashStatesTest.*"},
    {PlantedBug::kSyncErrorSwallowed, "SyncErrorSwallowed", "FailNthCallTest.*"},
    {PlantedBug::kFailedSyncRetried, "FailedSyncRetried", "FailNthCallTest.*"},
    {PlantedBug::kDirectoryNotSynced, "DirectoryNotSynced", "CrashStatesTest.*"},
    {PlantedBug::kUnitSplit, "UnitSplit", "CrashStatesTest.*"},
    {PlantedBug::kSegmentTrimmedEarly, "SegmentTrimmedEarly", "CrashStatesTest.*"},
    {PlantedBug::kPinIgnored, "PinIgnored", "LogTest.Trim*"},
    {PlantedBug::kFrameChecksumIgnored, "FrameChecksumIgnored", "*/DamageTest.*"},
    {PlantedBug::kTornTailLenient, "TornTailLenient", "*/DamageTest.*"},
    {PlantedBug::kRecoveryNotSynced, "RecoveryNotSynced", "FailNthCallTest.*"},
    {PlantedBug::kCheckpointBeforeDurable, "CheckpointBeforeDurable", "EngineTest.ACheckpointWaits*"},
    {PlantedBug::kOffsetOutsideMerge, "OffsetOutsideMerge", "CheckpointKillTest.*"},
    {PlantedBug::kValueChecksumIgnored, "ValueChecksumIgnored", "StoreDamageTest.EachFlippedBit*"},
    {PlantedBug::kExpiryByLocalClock, "ExpiryByLocalClock", "EngineTest.ReplayLetsNoKeyExpire*"},
    {PlantedBug::kUndurableSeen, "UndurableSeen", "StoreTest.SeenOffset*"},
};

// Null: there is none of this name.
inline const DirectedBug* FindDirectedBug(std::string_view name) {
  for (const DirectedBug& bug : kDirectedBugs) {
    if (bug.name == name) return &bug;
  }
  return nullptr;
}

}  // namespace holdfast
