// How much a value takes: what MEMORY USAGE and DEBUG OBJECT tell.
#pragma once

#include <cstdint>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

// Members whose size is looked at by default; the others are taken to be like them.
inline constexpr uint64_t kSampledMembers = 5;

// Bytes of a value's content: of a string its length, of a collection what its rows hold, estimated from the first
// `samples` members (0: all).
Result<uint64_t> ValueBytes(Transaction& transaction, const KeyValue& value, uint64_t samples);
// Rows besides the key row.
Result<uint64_t> ValueRows(const KeyValue& value);

}  // namespace holdfast
