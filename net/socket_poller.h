// Readiness of many sockets behind one descriptor: an epoll set of its own, which asio watches as a single descriptor.
//
// asio asks the kernel anew for each readiness it waits for (one epoll_ctl a command at pipeline depth 1). Sockets here
// are level-triggered and registered once; asio's own call is shared by all sockets that were ready in a turn.
// Owner of the executor only.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <memory>

#include "storage/base/result.h"

namespace holdfast::net {

// Who owns a socket in the set.
class SocketWatcher {
 public:
  virtual ~SocketWatcher() = default;
  // `broken`: the connection is gone in both directions; reported also when nothing was asked for.
  virtual void OnReady(bool readable, bool writable, bool broken) = 0;
};

class SocketPoller {
 public:
  explicit SocketPoller(asio::io_context& context);
  ~SocketPoller();
  SocketPoller(const SocketPoller&) = delete;
  SocketPoller& operator=(const SocketPoller&) = delete;

  // kIo if the kernel has no room for another one. Starts with interest in reading.
  Result<void> Add(int fd, SocketWatcher* watcher);
  void SetInterest(int fd, SocketWatcher* watcher, bool read, bool write);
  // Before the descriptor is closed or given away. The watcher is not called any more.
  void Remove(int fd, const SocketWatcher* watcher);
  // Stops watching altogether: before the io_context ends.
  void Close();

 private:
  // Sockets handled before others get their turn, and what they appended is synced.
  static constexpr size_t kEventsPerTurn = 128;

  void Arm();
  void OnEvents();

  asio::posix::stream_descriptor set_;
  std::array<epoll_event, kEventsPerTurn> events_;
  size_t next_ = 0, count_ = 0;  // of events_, while they are handled
};

}  // namespace holdfast::net
