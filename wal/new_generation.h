// Generations whose store was built from something else than a log: a full sync, an import.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/store_options.h"
#include "wal/engine.h"

namespace holdfast::wal {

// Where a history begins that begins with data from elsewhere. Not at 0: that is the sign of a server that has nothing
// to lose, whose data a master's may replace.
inline constexpr uint64_t kImportedOffset = 1;

[[nodiscard]] StoreOptions StoreOptionsOf(const EngineOptions& options, const std::string& generation);

// Begins the log of `generation` at `state`, where its store ends. From its first byte on it says what must not be
// forgotten if the power goes right after the switch: whose history this is and, if `role_record` is not empty, which
// role the node has. Durable on return; not in force before the generation is committed.
Result<void> BeginLog(const EngineOptions& options, const std::string& generation, LogState state,
                      std::string_view role_record);

}  // namespace holdfast::wal
