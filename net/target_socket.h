// A blocking connection to another server, with a time limit for each step, for a thread that does one thing after the
// other. Ends within about 50 ms when it is told to stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/clock.h"

struct addrinfo;

namespace holdfast::net {

class TargetSocket {
 public:
  TargetSocket(Clock& clock, const std::atomic<bool>& stopping, int64_t timeout_ms)
      : clock_(clock), stopping_(stopping), timeout_ms_(timeout_ms) {}
  ~TargetSocket() { Close(); }
  TargetSocket(const TargetSocket&) = delete;
  TargetSocket& operator=(const TargetSocket&) = delete;

  bool Connect(const std::string& host, int port);
  // The target, or its machine, has answered that nobody listens there.
  [[nodiscard]] bool refused() const { return refused_; }
  bool Write(std::string_view bytes);
  // One line without its end. Replies to what is sent here are all of one line.
  std::optional<std::string> ReadLine();

 private:
  void Close();
  bool ConnectTo(const addrinfo& address);
  bool Wait(short events);

  Clock& clock_;
  const std::atomic<bool>& stopping_;
  const int64_t timeout_ms_;
  int fd_ = -1;
  bool refused_ = false;
  std::string buffer_;
};

}  // namespace holdfast::net
