// What a store knows beside its rows at one checkpoint: in the header of each run file and in LMDB's meta database.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/stream_position.h"

namespace holdfast {

inline constexpr uint32_t kStoreVersion = 1;

struct StoreMeta {
  struct Database {
    KeyspaceId keyspace = 0;
    uint64_t keys = 0;
    uint64_t expiries = 0;  // keys with an expiry

    friend bool operator==(const Database&, const Database&) = default;
  };

  uint64_t checkpoint = 0;  // number of the freeze this belongs to; a run is merged when LMDB's number reached its own
  StreamPosition position;
  CollectionId next_collection = 1;
  KeyspaceId next_keyspace = 1;
  std::vector<Database> databases;  // by logical number

  friend bool operator==(const StoreMeta&, const StoreMeta&) = default;
};

// version u32 | checkpoint u64 | position | next collection u64 | next keyspace u32 | count u32 |
// count * (keyspace u32, keys u64, expiries u64); little-endian.
void AppendStoreMeta(std::string& to, const StoreMeta& meta);
// kUnsupported for a newer version, kCorruption for anything that breaks the format.
Result<StoreMeta> ParseStoreMeta(std::string_view bytes);

// A store without content.
[[nodiscard]] StoreMeta EmptyStoreMeta(int databases);

// Rows of LMDB's meta database.
// "state": StoreMeta of the last finished merge. "merging": checkpoint number u64 of the last merge that was begun;
// while it differs from the state's, LMDB is between two states and complete only together with the run.
inline constexpr std::string_view kStateRow = "\x01state";
inline constexpr std::string_view kMergingRow = "\x01merging";

}  // namespace holdfast
