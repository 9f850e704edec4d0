// SAVE, BGSAVE and save points: snapshot files asked for by clients or by configuration. Executor only.
#pragma once

#include <cstdint>
#include <functional>

#include "storage/base/result.h"

namespace holdfast::net {

class Server;

// Starts a snapshot that covers everything until now and keeps the books (last save, changes since). kBusy if one is
// being made. `done` is called on the executor.
Result<void> StartSaving(Server& server, std::function<void(Result<void>)> done);

// Starts a snapshot when a save point is due. Called every 100 ms.
void CheckSavePoints(Server& server);

}  // namespace holdfast::net
