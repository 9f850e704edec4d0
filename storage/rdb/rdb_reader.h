// Reads RDB files and streams: what redis-server's SAVE, BGSAVE and full sync write, and Valkey's.
// docs/formats-rdb.md says what is read.
//
// Memory is bounded by the longest element, or collection that Redis kept in one packed block; never by the file or by
// a plain collection. Everything is treated as hostile: lengths cost nothing before their bytes are there.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/rdb/byte_stream.h"
#include "storage/rdb/value_rows.h"
#include "storage/row.h"

namespace holdfast::rdb {

// A key as it stands before its value. Views live until the call returns.
struct RdbKey {
  int db = 0;
  std::string_view key;
  ValueType type = ValueType::kString;
  int64_t expire_at_ms = kNoExpiry;
  std::optional<uint64_t> idle_seconds;  // under an LRU policy
  std::optional<uint8_t> frequency;      // under an LFU policy
};

// What a file holds, as logical records like those of snapshots, with two differences: rows come in the order of the
// file, and what the header says (count, shape) comes after them. Members that come twice are not noticed here: who
// keeps them refuses the file. An error ends the reading with that error.
class RdbVisitor : public RowSink {
 public:
  // Then rows, then End. Keys may come in any order; a key that comes twice is not noticed either.
  virtual Result<void> Key(const RdbKey& key) = 0;
  // `value` is what SnapshotKey::value is.
  virtual Result<void> KeyEnd(const KeyValue& value) = 0;

  virtual Result<void> Aux(std::string_view /*name*/, std::string_view /*value*/) { return {}; }
  // How many keys will come, as a hint: nothing promises it.
  virtual Result<void> DatabaseSize(int /*db*/, uint64_t /*keys*/, uint64_t /*expiries*/) { return {}; }
  // Something that is not delivered: "key 'a' of database 0: a value of the module ...". Only with skip_unsupported.
  virtual Result<void> Skipped(const std::string& /*what*/) { return {}; }
};

struct RdbProgress {
  uint64_t bytes = 0;  // read so far
  uint64_t keys = 0;
};

struct RdbReadOptions {
  // Values of modules, functions and hashes whose fields can have an expiry are left out instead of refused.
  bool skip_unsupported = false;
  const std::atomic<bool>* cancelled = nullptr;  // true ends the reading with kAborted
  std::function<void(const RdbProgress&)> progress;
};

struct RdbSummary {
  int version = 0;
  bool valkey = false;
  bool checksum = false;  // there was one, and it was right
  uint64_t keys = 0;
  std::array<uint64_t, 6> keys_by_type{};
  uint64_t empty_keys = 0;  // collections without elements, which some versions of Redis wrote: left out
  uint64_t skipped = 0;     // keys and functions
  uint64_t bytes = 0;       // up to the end of the checksum; what follows was not looked at
};

// kCorruption with the byte, and the key if it is in one; kUnsupported with what is not here; kLimit.
Result<RdbSummary> ReadRdb(ByteSource& source, const RdbReadOptions& options, RdbVisitor& visitor);

}  // namespace holdfast::rdb
