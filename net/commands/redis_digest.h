// Digests as Redis makes them (DEBUG DIGEST), so that data sets can be compared across both servers.
#pragma once

#include <string>

#include "storage/base/result.h"
#include "storage/transaction.h"

namespace holdfast::net {

// Of all databases, 40 hex digits; all zeros without keys.
Result<std::string> RedisDigest(Transaction& tx);
// Of one value and whether it expires, without its key.
Result<std::string> RedisDigestOfValue(Transaction& tx, const KeyValue& value);

}  // namespace holdfast::net
