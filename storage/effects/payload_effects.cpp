#include <algorithm>
#include <limits>

#include "storage/effects/effect_entries.h"
#include "storage/rdb/payload.h"
#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

// RESTORE key time payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]. A time without ABSTTL, which masters
// before Redis 5.0 send, counts from the unit's.
Result<void> ApplyRestore(Transaction& transaction, EffectArguments arguments) {
  rdb::RestoreOptions options;
  bool absolute = false;
  for (size_t i = 4; i < arguments.size(); ++i) {
    if (EqualsIgnoreCase(arguments[i], "REPLACE")) {
      options.replace = true;
    } else if (EqualsIgnoreCase(arguments[i], "ABSTTL")) {
      absolute = true;
    } else if ((EqualsIgnoreCase(arguments[i], "IDLETIME") || EqualsIgnoreCase(arguments[i], "FREQ")) &&
               i + 1 < arguments.size()) {
      ++i;
    } else {
      return SyntaxError();
    }
  }
  const auto time = ParseInteger(arguments[2]);
  if (!time || *time < 0) return NotAnIntegerError();
  if (*time > 0) {
    const int64_t base = absolute ? 0 : std::max<int64_t>(transaction.now_ms(), 0);
    options.expire_at_ms = *time > std::numeric_limits<int64_t>::max() - base ? *time : base + *time;
  }
  ASSIGN_OR_RETURN(const rdb::RestoreResult result, rdb::Restore(transaction, arguments[1], arguments[3], options));
  if (result == rdb::RestoreResult::kBusy) return Error{ErrorCode::kAlreadyExists, "the key exists"};
  return {};
}

constexpr EffectEntry kEntries[] = {
    {"RESTORE", ApplyRestore, 4, 9},
    {"RESTORE-ASKING", ApplyRestore, 4, 9},
};

}  // namespace

std::span<const EffectEntry> PayloadEffects() { return kEntries; }

}  // namespace holdfast
