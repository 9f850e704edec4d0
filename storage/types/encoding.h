// How Redis would hold a value: what OBJECT ENCODING answers. Says nothing about how it is held here.
#pragma once

#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

// By Redis' default limits.
Result<std::string_view> RedisEncoding(Transaction& transaction, const KeyValue& value);

}  // namespace holdfast
