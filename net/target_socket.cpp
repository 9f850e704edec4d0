#include "net/target_socket.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace holdfast::net {

namespace {

constexpr size_t kReplyLineMax = 64 * 1024;
constexpr int64_t kLookMs = 50;  // how often a waiting thread looks whether it is to stop

}  // namespace

bool TargetSocket::Connect(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    if (ConnectTo(*address)) return true;
    Close();
  }
  return false;
}

bool TargetSocket::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!Wait(POLLOUT)) return false;
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::optional<std::string> TargetSocket::ReadLine() {
  while (true) {
    const size_t end = buffer_.find("\r\n");
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 2);
      return line;
    }
    char bytes[4096];
    if (buffer_.size() > kReplyLineMax || !Wait(POLLIN)) return std::nullopt;
    const ssize_t count = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return std::nullopt;
    if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
  }
}

void TargetSocket::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool TargetSocket::ConnectTo(const addrinfo& address) {
  refused_ = false;
  fd_ = ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (fd_ < 0) return false;
  if (::connect(fd_, address.ai_addr, address.ai_addrlen) == 0) return true;
  if (errno != EINPROGRESS || !Wait(POLLOUT)) return false;
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) refused_ = true;
  return !refused_;
}

bool TargetSocket::Wait(short events) {
  const int64_t deadline_us = clock_.MonotonicUs() + timeout_ms_ * 1000;
  while (!stopping_.load(std::memory_order_relaxed)) {
    const int64_t left_ms = (deadline_us - clock_.MonotonicUs() + 999) / 1000;
    if (left_ms <= 0) return false;
    pollfd waited{fd_, events, 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(std::min(left_ms, kLookMs)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
  return false;
}

}  // namespace holdfast::net
