// Reading and creating a store's LMDB as a whole: its state row, and views of it for other threads.
#pragma once

#include <memory>

#include "storage/base/result.h"
#include "storage/lmdb_env.h"
#include "storage/memtable.h"
#include "storage/store_meta.h"
#include "storage/store_view.h"

namespace holdfast {

// An LMDB of no content at offset 0, born complete.
Result<void> CreateEmptyLmdb(const LmdbOptions& options, int databases);

struct LmdbState {
  StoreMeta meta;
  bool half_merged = false;  // a merge was begun and not finished: complete only together with its run
};
Result<LmdbState> ReadLmdbState(LmdbEnv& env, LmdbReader& reader);

// With `rows`: of the state `meta`, which they make of what LMDB holds; unless it holds that already. kBusy when half
// merged.
Result<std::unique_ptr<StoreView>> OpenLmdbView(std::shared_ptr<LmdbEnv> env, int databases,
                                                std::shared_ptr<const Memtable> rows = nullptr,
                                                const StoreMeta& meta = {});

}  // namespace holdfast
