#include "net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/server.h"
#include "storage/base/diag.h"

namespace holdfast::net {

const std::string_view kProtectedModeRefusal =
    "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    "default "
    "user. In this mode connections are only accepted from the loopback interface. If you want to connect from "
    "external "
    "computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the "
    "command "
    "'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server "
    "is "
    "running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to "
    "make "
    "this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis "
    "configuration "
    "file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server "
    "manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication "
    "password "
    "for the default user. NOTE: You only need to do one of the above things in order for the server to start "
    "accepting "
    "connections from the outside.\r\n";

namespace {

constexpr std::string_view kTooManyClients = "-ERR max number of clients reached\r\n";
constexpr int kAcceptsPerEvent = 1000;
constexpr int64_t kRetryUs = 100'000;
constexpr int64_t kLogEveryMs = 1000;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// What is wrong with the machine, not with the address: a host without IPv6.
bool FamilyMissing(int error) {
  return error == EAFNOSUPPORT || error == EPFNOSUPPORT || error == EPROTONOSUPPORT || error == ESOCKTNOSUPPORT ||
         error == ENOPROTOOPT;
}

Error SocketError(const std::string& what, int error) {
  return Error{ErrorCode::kIo, what + ": " + std::strerror(error)};
}

std::string AddressText(const sockaddr_storage& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
    return std::string(host) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
  return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6.sin6_port));
}

void SetOption(int fd, int level, int name, int value) {
  // Options of connections are wishes: a socket that was reset meanwhile refuses them and is found dead by its read.
  (void)::setsockopt(fd, level, name, &value, sizeof(value));
}

void SetTcpOptions(int fd, int64_t keepalive_s) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (keepalive_s <= 0) return;
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(keepalive_s));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(std::max<int64_t>(keepalive_s / 3, 1)));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

// `shown` is the address as configured.
Result<int> ListenOn(const addrinfo& info, const std::string& shown, int backlog, int* error) {
  Fd fd(::socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  auto fail = [&](const char* call) {
    *error = errno;
    return SocketError("Could not create server TCP listening socket " + shown + ": " + call, *error);
  };
  if (fd.get() < 0) return fail("socket");
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (info.ai_family == AF_INET6) SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (::bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0) return fail("bind");
  if (::listen(fd.get(), backlog) != 0) return fail("listen");
  return fd.Release();
}

}  // namespace

bool IsLoopbackAddress(std::string_view peer) { return peer.starts_with("127.") || peer.starts_with("[::1]:"); }

Listener::Listener(Server& server, AsioExecutor& executor)
    : server_(server), executor_(executor), host_(server, executor.context()) {
  server_.OnShutdown([this](bool begins) { begins ? StopAccepting() : Accept(); });
}

Listener::~Listener() {
  server_.OnShutdown({});
  Close();
  host_.CloseAll();
}

Result<void> Listener::Open() {
  const Settings& settings = server_.config().settings();
  if (settings.port != 0) {
    for (const std::string& address : settings.bind) RETURN_IF_ERROR(OpenTcp(address, settings.port));
    if (doors_.empty() && !settings.bind.empty()) {
      return Error{ErrorCode::kIo, "Failed listening on port " + std::to_string(settings.port) +
                                       " (TCP): none of the addresses of 'bind' is available"};
    }
  }
  if (!settings.unixsocket.empty()) RETURN_IF_ERROR(OpenUnix());
  return {};
}

Result<void> Listener::OpenTcp(std::string address, int port) {
  bool optional = address.starts_with('-');
  if (optional) address.erase(0, 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  hints.ai_family = AF_UNSPEC;
  const char* node = address.c_str();
  if (address == "*") {
    node = nullptr;
    hints.ai_family = AF_INET;
  } else if (address == "::*") {
    node = nullptr;
    hints.ai_family = AF_INET6;
  }
  std::string shown = address + ":" + std::to_string(port);
  addrinfo* found = nullptr;
  int code = ::getaddrinfo(node, std::to_string(port).c_str(), &hints, &found);
  if (code != 0) {
    if (optional) return {};
    return Error{ErrorCode::kIo, "Could not create server TCP listening socket " + shown + ": " + gai_strerror(code)};
  }
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, ::freeaddrinfo);
  int error = 0;
  Result<int> fd = ListenOn(*found, shown, server_.config().settings().tcp_backlog, &error);
  if (!fd.ok()) {
    if (FamilyMissing(error) || (optional && error == EADDRNOTAVAIL)) return {};
    return std::move(fd).error();
  }
  doors_.push_back(
      std::make_shared<Door>(Door{asio::posix::stream_descriptor(executor_.context(), *fd), found->ai_family, {}}));
  return {};
}

Result<void> Listener::OpenUnix() {
  const Settings& settings = server_.config().settings();
  const std::string& path = settings.unixsocket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Error{ErrorCode::kInvalidArgument,
                 "unixsocket " + path + ": the path is longer than a socket address allows"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return SocketError("unixsocket " + path + ": socket", errno);
  ::unlink(path.c_str());
  // The mask is set before bind: there is no moment at which the socket is more open than it should be.
  bool restrict_mode = settings.unixsocketperm != 0;
  mode_t previous = restrict_mode ? ::umask(static_cast<mode_t>(~settings.unixsocketperm & 0777)) : 0;
  int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  int error = errno;
  if (restrict_mode) ::umask(previous);
  if (bound != 0) return SocketError("unixsocket " + path + ": bind", error);
  if (::listen(fd.get(), settings.tcp_backlog) != 0) return SocketError("unixsocket " + path + ": listen", errno);
  doors_.push_back(
      std::make_shared<Door>(Door{asio::posix::stream_descriptor(executor_.context(), fd.Release()), AF_UNIX, path}));
  return {};
}

void Listener::Accept() {
  accepting_ = true;
  for (const auto& door : doors_) Arm(door);
}

void Listener::StopAccepting() {
  accepting_ = false;
  for (const auto& door : doors_) {
    asio::error_code ignored;
    door->descriptor.cancel(ignored);
  }
}

void Listener::Close() {
  StopAccepting();
  for (const auto& door : doors_) {
    asio::error_code ignored;
    door->descriptor.close(ignored);
    if (!door->path.empty()) ::unlink(door->path.c_str());
  }
  doors_.clear();
}

void Listener::Arm(const std::shared_ptr<Door>& door) {
  if (door->armed || !accepting_) return;
  door->armed = true;
  door->descriptor.async_wait(asio::posix::stream_descriptor::wait_read, [this, door](const asio::error_code& error) {
    door->armed = false;
    if (!error) return OnAcceptable(door);
    // Cancelled and wanted again before this ran.
    if (error == asio::error::operation_aborted) Arm(door);
  });
}

void Listener::OnAcceptable(const std::shared_ptr<Door>& door) {
  for (int i = 0; i < kAcceptsPerEvent && accepting_; ++i) {
    if (AcceptOne(*door)) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    // No descriptors or no memory: the connection stays in the backlog; others are served until there are.
    int64_t now_ms = server_.MonotonicMs();
    if (now_ms - last_error_logged_ms_ >= kLogEveryMs) {
      last_error_logged_ms_ = now_ms;
      diag::Warning("Accepting client connection failed: {}; will try again", std::strerror(errno));
    }
    executor_.RunAfter(kRetryUs, [this, door] { Arm(door); });
    return;
  }
  Arm(door);
}

bool Listener::AcceptOne(Door& door) {
  int fd = ::accept4(door.descriptor.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    Admit(door, fd);
    return true;
  }
  // Errors of the one connection that was about to be accepted.
  return errno == EINTR || errno == ECONNABORTED || errno == EPROTO || errno == EPERM || errno == ENETDOWN ||
         errno == EHOSTUNREACH || errno == ENETUNREACH || errno == EHOSTDOWN || errno == ENOPROTOOPT;
}

void Listener::Admit(Door& door, int fd) {
  Fd owned(fd);
  auto refuse = [&](std::string_view reply) {
    // As much as fits into the socket's buffer; the connection ends either way.
    (void)!::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ++server_.monitoring().stats.connections_rejected;
  };
  const Settings& settings = server_.config().settings();
  if (server_.clients().size() >= static_cast<size_t>(settings.maxclients)) return refuse(kTooManyClients);
  std::string peer = door.path + ":0";
  std::string local = peer;
  if (door.family != AF_UNIX) {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;  // gone already
    peer = AddressText(address);
    length = sizeof(address);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
    local = AddressText(address);
    if (settings.protected_mode && settings.requirepass.empty() && !IsLoopbackAddress(peer)) {
      return refuse(kProtectedModeRefusal);
    }
    SetTcpOptions(fd, settings.tcp_keepalive);
  }
  ++server_.monitoring().stats.connections_received;
  Session::Start(host_, owned.Release(), door.family, std::move(peer), std::move(local));
}

}  // namespace holdfast::net
