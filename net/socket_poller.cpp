#include "net/socket_poller.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "storage/base/check.h"

namespace holdfast::net {

SocketPoller::SocketPoller(asio::io_context& context) : set_(context) {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  CHECK(fd >= 0);
  set_.assign(fd);
  Arm();
}

SocketPoller::~SocketPoller() { Close(); }

void SocketPoller::Close() {
  asio::error_code ignored;
  set_.close(ignored);
  next_ = count_ = 0;
}

Result<void> SocketPoller::Add(int fd, SocketWatcher* watcher) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = watcher;
  if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return Error{ErrorCode::kIo, std::string("epoll_ctl: ") + std::strerror(errno)};
}

void SocketPoller::SetInterest(int fd, SocketWatcher* watcher, bool read, bool write) {
  epoll_event event{};
  event.events = (read ? static_cast<uint32_t>(EPOLLIN) : 0u) | (write ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  event.data.ptr = watcher;
  CHECK(::epoll_ctl(set_.native_handle(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void SocketPoller::Remove(int fd, const SocketWatcher* watcher) {
  if (!set_.is_open()) return;
  epoll_event ignored{};
  ::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, fd, &ignored);
  for (size_t i = next_; i < count_; ++i) {
    if (events_[i].data.ptr == watcher) events_[i].data.ptr = nullptr;
  }
}

void SocketPoller::Arm() {
  set_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (!error) OnEvents();
  });
}

void SocketPoller::OnEvents() {
  const int ready = ::epoll_wait(set_.native_handle(), events_.data(), static_cast<int>(events_.size()), 0);
  count_ = static_cast<size_t>(std::max(ready, 0));
  for (next_ = 0; next_ < count_;) {
    const epoll_event& event = events_[next_++];
    if (event.data.ptr == nullptr) continue;
    const bool broken = (event.events & (EPOLLHUP | EPOLLERR)) != 0;
    static_cast<SocketWatcher*>(event.data.ptr)
        ->OnReady((event.events & EPOLLIN) != 0, (event.events & EPOLLOUT) != 0, broken);
  }
  next_ = count_ = 0;
  if (set_.is_open()) Arm();  // asks the kernel anew: sockets that did not fit are reported again
}

}  // namespace holdfast::net
