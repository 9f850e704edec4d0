// One value as bytes: what DUMP answers and RESTORE takes. A value's type and bytes as in an RDB file, then the RDB
// version (u16 LE) and the checksum of all before it (u64 LE). docs/formats-rdb.md "Payloads".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/rdb/rdb_writer.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast::rdb {

// The longest payload that is made: Redis' limit for an argument, so that RESTORE can take it.
inline constexpr uint64_t kPayloadMax = 512ull << 20;

// The payload of `value`, which a Find of this transaction returned. kLimit if it would be too long.
Result<std::string> DumpValue(Transaction& transaction, const KeyValue& value, const RdbWriteOptions& options);
// nullopt if there is no such key.
Result<std::optional<std::string>> Dump(Transaction& transaction, std::string_view key, const RdbWriteOptions& options);

struct RestoreOptions {
  bool replace = false;
  int64_t expire_at_ms = kNoExpiry;
  // Which version the logged payload may have at most: newer ones are written anew, so that replicas understand it.
  RdbWriteOptions logged = {};
};
enum class RestoreResult { kRestored, kBusy };

// Whether version and checksum are right: what RESTORE looks at first.
[[nodiscard]] bool IsPayload(std::string_view payload);

// Makes the payload's value the value of `key`. kBusy if there is one and it must not be replaced. Nothing is written
// unless all of the payload is right: kCorruption, kUnsupported, kLimit else. When live, a time that is over deletes
// the key.
// Effect: RESTORE key time payload REPLACE ABSTTL, or DEL key.
Result<RestoreResult> Restore(Transaction& transaction, std::string_view key, std::string_view payload,
                              const RestoreOptions& options);

}  // namespace holdfast::rdb
