// One command to another node of the group and the one line it answers, on a thread of its own for each, so that a dead
// node delays nobody. At most as many at a time as the caller has nodes to ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace holdfast::net {

class MemberCalls {
 public:
  struct Call {
    std::string host;
    int port = 0;
    std::string user, password;  // password empty: no AUTH
    std::vector<std::string> words;
    int64_t timeout_ms = 1000;  // for each step
  };

  explicit MemberCalls(Clock& clock) : clock_(clock) {}
  ~MemberCalls() { Stop(); }
  MemberCalls(const MemberCalls&) = delete;
  MemberCalls& operator=(const MemberCalls&) = delete;

  // Executor only. `done` runs on the call's thread with the line, its type byte in front, unless Stop() came first.
  void Start(Call call, std::function<void(Result<std::string>)> done);
  // Ends what is under way and waits for the threads. Nothing is called afterwards.
  void Stop();

 private:
  struct Job {
    std::atomic<bool> over{false};
    std::thread thread;
  };
  Result<std::string> Run(const Call& call);

  Clock& clock_;
  std::atomic<bool> stopping_{false};
  std::list<std::unique_ptr<Job>> jobs_;
};

}  // namespace holdfast::net
