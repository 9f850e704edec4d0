// The executor: the one thread of control on which commands run, in one order, the log's order.
//
// Two threads take turns being its owner; only the owner runs handlers. The owner syncs the log itself (fastest on few
// cores); when a sync lasts longer than about a millisecond the other thread takes ownership over, so that a disk that
// freezes for half a minute does not delay a PING. The old owner posts the sync's completion when it is done and
// becomes the watcher. docs/architecture.md "Threads".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "storage/base/result.h"

namespace holdfast::net {

using TimerId = uint64_t;

class Executor {
 public:
  virtual ~Executor() = default;
  // Any thread. Runs `task` on the executor, in posting order.
  virtual void Post(std::function<void()> task) = 0;
  // Executor only. One-shot timer.
  virtual TimerId RunAfter(int64_t delay_us, std::function<void()> task) = 0;
  virtual void CancelTimer(TimerId id) = 0;
  // Executor only. Leaves Run() after the current turn.
  virtual void Stop() = 0;
};

// What the executor does around handlers. Implemented by Server.
class TurnHooks {
 public:
  virtual ~TurnHooks() = default;
  // After a bounded number of handlers: flush ungated output, tick the engine.
  virtual void EndOfTurn() = 0;
  // Group commit. The executor calls, in this order: WantsCommit/SealBatch (owner), WriteBatch (the thread that was
  // owner then, without the executor), FinishBatch (owner).
  virtual bool WantsCommit() = 0;
  // Size of the batch SealBatch() would make now: a big one is written by the other thread at once.
  [[nodiscard]] virtual size_t PendingBytes() = 0;
  virtual void SealBatch() = 0;
  virtual Result<void> WriteBatch() = 0;
  virtual void FinishBatch() = 0;
  // After a FinishBatch that was part of no turn: what it read of the clock is old when the next turn begins.
  virtual void ForgetTime() = 0;
  // The log could not be written: fail-stop. Does not return. Called from whichever thread wrote.
  [[noreturn]] virtual void CommitFailed(const Error& error) = 0;
};

}  // namespace holdfast::net
