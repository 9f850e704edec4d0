// Rows that commands are going to read, brought into memory ahead of them by another thread: reading a page of LMDB
// that is not in memory waits for the disk, and the executor must not. Only a hint. Whatever is not found here, cannot
// be read, or has left memory again is read by the command itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/lmdb_env.h"
#include "storage/row.h"
#include "storage/walks_ahead.h"

namespace holdfast {

// A key that a command names, and what it may name in it.
struct WantedKey {
  KeyspaceId keyspace = 0;
  std::string key;
  std::vector<std::string> members;  // hash fields, members of sets and sorted sets, or something else
  // Whether numbers among these may be ranks in a sorted set, and from which end.
  enum class Ranks : uint8_t { kNone, kFromLowest, kFromHighest };
  Ranks ranks = Ranks::kNone;
};

// Any thread, several at once. The LMDB environment stays open as long as this lives.
class ColdRows {
 public:
  explicit ColdRows(std::shared_ptr<LmdbEnv> env) : env_(std::move(env)) {}

  // Reads the key rows; of collections the rows of the members too, of sorted sets what lies around their places and
  // around scores and ranks, of lists and streams the rows at the ends, of long strings the chunks (the first
  // kChunksMax).
  void Fetch(const std::vector<WantedKey>& keys) const;
  // Score rows with the fence rows that lie beside.
  void Walk(const WalkAhead& walk) const;

 private:
  static constexpr uint32_t kChunksMax = 256;

  static void FetchRows(LmdbReader& reader, const WantedKey& wanted, const KeyValue& value, CollectionId id);

  std::shared_ptr<LmdbEnv> env_;
};

}  // namespace holdfast
