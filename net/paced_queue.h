// Work that arrives faster than it may be done: done in order, in bites, with the executor's other handlers in between.
//
// The stream of a master may hold seconds of work while a replica catches up. Handlers are run in posting order; so if
// each piece of it were posted as it arrives, a client of the replica would wait for all of them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "net/executor.h"
#include "storage/base/clock.h"

namespace holdfast::net {

// Executor only.
class PacedQueue {
 public:
  // Does some of it; false: there is more, call again. What it does at least must be short, it is asked the time by
  // BiteIsOver().
  using Work = std::function<bool()>;

  // A bite lasts until the first call that ends after `bite_us`.
  PacedQueue(Executor& executor, Clock& clock, int64_t bite_us);

  // Does it at once, if nothing is before it.
  void Add(Work work);
  // True: the work should leave the rest for the next bite.
  [[nodiscard]] bool BiteIsOver() const { return clock_.MonotonicUs() >= bite_end_us_; }

 private:
  void Bite();
  void GoOnLater();

  Executor& executor_;
  Clock& clock_;
  const int64_t bite_us_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::deque<Work> works_;
  int64_t bite_end_us_ = 0;
  bool busy_ = false;  // within Bite(), or the next one is posted
};

}  // namespace holdfast::net
