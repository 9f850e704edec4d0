#include "net/paced_queue.h"

#include <utility>

namespace holdfast::net {

PacedQueue::PacedQueue(Executor& executor, Clock& clock, int64_t bite_us)
    : executor_(executor), clock_(clock), bite_us_(bite_us) {}

void PacedQueue::Add(Work work) {
  works_.push_back(std::move(work));
  if (!busy_) Bite();
}

void PacedQueue::Bite() {
  busy_ = true;
  bite_end_us_ = clock_.MonotonicUs() + bite_us_;
  while (!works_.empty()) {
    // Off the queue while it runs: it may add more.
    Work work = std::move(works_.front());
    works_.pop_front();
    if (!work()) works_.push_front(std::move(work));
    if (!works_.empty() && BiteIsOver()) return GoOnLater();
  }
  busy_ = false;
}

void PacedQueue::GoOnLater() {
  executor_.Post([this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) Bite();
  });
}

}  // namespace holdfast::net
