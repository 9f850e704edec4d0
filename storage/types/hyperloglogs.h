// Operations on HyperLogLogs, which are strings (storage/types/hyperloglog_value.h). Effects as named; database: the
// transaction's. All are kWrongType if a key holds anything but a HyperLogLog, and kCorruption "INVALIDOBJ ..." if its
// registers are damaged: then nothing is changed.
//
// `sparse_max` is hll-sparse-max-bytes, a client's server's configuration. Effects carry none: they are applied with
// Redis' default, HyperLogLog::kSparseMaxOfEffects, so that what a Redis master sends becomes the same bytes here, and
// what outgrew either of the two is logged as its bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/hyperloglog_value.h"

namespace holdfast::hyperloglogs {

// Whether anything changed; a key that was not there is made, even without elements.
// Effects: PFADD key element ... with those that changed a register, or SET key bytes KEEPTTL.
Result<bool> Add(Transaction& transaction, std::string_view key, std::span<const std::string_view> elements,
                 uint64_t sparse_max);

// The estimate for one, or for the union of several. Missing keys are empty. Never writes.
Result<uint64_t> Count(Transaction& transaction, std::span<const std::string_view> keys);

// Makes the union of all, `target` included, the value of `target`. Effects: PFMERGE target source ..., or SET target
// bytes KEEPTTL.
Result<void> Merge(Transaction& transaction, std::string_view target, std::span<const std::string_view> sources,
                   uint64_t sparse_max);

// Whether it was sparse. kNotFound "The specified key does not exist". Effect: PFDEBUG TODENSE key.
Result<bool> ToDense(Transaction& transaction, std::string_view key);

// The bytes of one, sound or not behind the header, for PFDEBUG. kNotFound as above.
Result<std::string> Bytes(Transaction& transaction, std::string_view key);

// A Redis master has remembered the count of its key: keeps it, too. Only in apply mode.
Result<void> RememberCount(Transaction& transaction, std::string_view key);

}  // namespace holdfast::hyperloglogs
