// What a checkpoint will make of LMDB, before it does: a view of the frozen layer over the LMDB below it.
#pragma once

#include <memory>

#include "storage/base/result.h"
#include "storage/checkpoint_job.h"
#include "storage/store_view.h"

namespace holdfast {

// Of job.position(), for another thread; the frozen rows stay in memory as long as it exists. `job` is a store's
// PendingCheckpoint(). Not while it runs; kBusy if it was begun and did not come to its end.
Result<std::unique_ptr<StoreView>> OpenFrozenView(const CheckpointJob& job);

}  // namespace holdfast
