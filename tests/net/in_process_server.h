// A whole server in this process: its own temporary directory, a free port, its own threads. And a client to talk to
// it, whose every wait has a deadline.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "net/asio_executor.h"
#include "net/config.h"
#include "net/listener.h"
#include "net/server.h"
#include "storage/base/check.h"
#include "tests/support/temp_directory.h"

namespace holdfast::net::testing {

inline int FreePort() {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  socklen_t length = sizeof(address);
  CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

class InProcessServer {
 public:
  explicit InProcessServer(const std::function<void(Settings&)>& configure = {})
      : port_(FreePort()), random_(RandomSeed()) {
    Settings& settings = config_.mutable_settings();
    settings.dir = directory_.path();
    settings.port = port_;
    settings.bind = {"127.0.0.1"};
    if (configure) configure(settings);
    auto data = wal::DataDirectory::Open(PosixFileSystem(), directory_.path(), random_);
    CHECK_MSG(data.ok(), data.error().message);
    data_ = std::move(data).value();
    wal::EngineOptions options;
    options.generation_path = data_->generation_path();
    options.segment_bytes = 4 << 20;
    options.map_bytes = 64 << 20;
    options.max_unit_bytes = settings.max_unit_bytes;
    options.fs = &PosixFileSystem();
    options.clock = &SystemClock();
    options.random = &random_;
    auto engine = wal::Engine::Open(std::move(options), {});
    CHECK_MSG(engine.ok(), engine.error().message);
    executor_ = std::make_unique<AsioExecutor>(SystemClock());
    Server::Parts parts;
    parts.config = &config_;
    parts.executor = executor_.get();
    parts.clock = &SystemClock();
    parts.random = &random_;
    parts.fs = &PosixFileSystem();
    parts.directory = data_.get();
    parts.engine = std::move(engine).value();
    server_ = std::make_unique<Server>(std::move(parts));
    listener_ = std::make_unique<Listener>(*server_, *executor_);
    Result<void> opened = listener_->Open();
    CHECK_MSG(opened.ok(), opened.error().message);
    server_->StartTimers();
    listener_->Accept();
    thread_ = std::thread([this] { executor_->Run(*server_); });
  }

  ~InProcessServer() {
    executor_->Post([this] { server_->RequestShutdown({.now = true}, {}); });
    thread_.join();
    listener_.reset();
    server_.reset();
    executor_.reset();
  }

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string File(const std::string& name) const { return directory_.File(name); }

  // Runs `task` on the executor and waits for it.
  void OnExecutor(const std::function<void(Server&)>& task) {
    std::promise<void> done;
    executor_->Post([&] {
      task(*server_);
      done.set_value();
    });
    done.get_future().wait();
  }

 private:
  holdfast::testing::TempDirectory directory_;
  int port_;
  Config config_;
  SeededRandom random_;
  std::unique_ptr<wal::DataDirectory> data_;
  std::unique_ptr<AsioExecutor> executor_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Listener> listener_;
  std::thread thread_;
};

class TestClient {
 public:
  static TestClient Tcp(int port, const std::string& host = "127.0.0.1") {
    int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    CHECK(inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1);
    CHECK_MSG(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0, std::strerror(errno));
    return TestClient(fd);
  }
  static TestClient Unix(const std::string& path) {
    int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    CHECK(path.size() < sizeof(address.sun_path));
    std::memcpy(address.sun_path, path.data(), path.size());
    CHECK_MSG(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0, std::strerror(errno));
    return TestClient(fd);
  }
  TestClient(TestClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  TestClient& operator=(TestClient&&) = delete;
  ~TestClient() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Sends everything, waiting for room at most ten seconds at a time; false if the peer closed or no room came.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      if (!Wait(POLLOUT)) return false;
      ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EAGAIN) continue;
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Reads until `count` bytes have come, the peer closed, or nothing came for ten seconds.
  std::string Read(size_t count) {
    std::string all;
    while (all.size() < count && Wait(POLLIN)) {
      char buffer[65536];
      ssize_t got = ::recv(fd_, buffer, std::min(sizeof(buffer), count - all.size()), 0);
      if (got <= 0) break;
      all.append(buffer, static_cast<size_t>(got));
    }
    return all;
  }

  // Reads to the end; false if the peer has not closed although nothing came for ten seconds.
  bool ReadToEnd(std::string* all) {
    while (Wait(POLLIN)) {
      char buffer[65536];
      ssize_t got = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0) return true;
      all->append(buffer, static_cast<size_t>(got));
    }
    return false;
  }

  // Sends, and reads as many bytes as the answer should have.
  std::string Ask(std::string_view bytes, std::string_view expected) {
    return Send(bytes) ? Read(expected.size()) : "could not send";
  }

 private:
  explicit TestClient(int fd) : fd_(fd) {}
  bool Wait(short events) {
    pollfd waiting{fd_, events, 0};
    return ::poll(&waiting, 1, 10'000) > 0;
  }
  int fd_;
};

}  // namespace holdfast::net::testing
