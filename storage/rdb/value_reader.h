// Reads one value, as it stands behind its key in an RDB file or in a DUMP payload, in any of the forms that Redis and
// Valkey have ever written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/rdb/rdb_input.h"
#include "storage/rdb/value_rows.h"
#include "storage/row.h"

namespace holdfast::rdb {

// From which of the two families a file is: their newer types have the same numbers.
enum class Family { kRedis, kValkey };

// What kind of value a type's bytes stand for; nullopt if there is none like it here.
[[nodiscard]] std::optional<ValueType> ValueTypeOf(uint8_t type, Family family);
// Whether bytes of this type can be read over without being understood, or although they cannot be kept.
[[nodiscard]] bool CanSkip(uint8_t type, Family family);

// Delivers the rows and returns the rest. Rows come in the order of the file. kCorruption and kLimit name the byte;
// kUnsupported says what is not here: the type, the module, the field with an expiry.
Result<LogicalValue> ReadValue(Input& input, uint8_t type, Family family, RowSink& rows);
// Only if CanSkip().
Result<void> SkipValue(Input& input, uint8_t type, Family family);
// The parts of a module's value or auxiliary data, up to its end.
Result<void> SkipModule(Input& input);

}  // namespace holdfast::rdb
