// Work of one checkpoint; created by Store::FreezeActive (or found at open), run by a background thread.
#pragma once

#include <atomic>
#include <functional>

#include "storage/base/result.h"
#include "storage/stream_position.h"

namespace holdfast {

class CheckpointJob {
 public:
  virtual ~CheckpointJob() = default;
  // The end of the frozen layer: the log must be durable to here before Run().
  [[nodiscard]] virtual const StreamPosition& position() const = 0;
  // Writes the run file (the commit point), merges it into LMDB, removes it. Blocking; one thread at a time. Idempotent
  // after failure: kNoSpace and kIo may be run again. `progress` (0..1, may be empty) is called after each LMDB
  // transaction; `cancelled` is polled between them (shutdown): kAborted then.
  virtual Result<void> Run(const std::function<void(double progress)>& progress,
                           const std::atomic<bool>& cancelled) = 0;
};

}  // namespace holdfast
