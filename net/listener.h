// Listener: the sockets on which clients arrive, TCP and Unix, and the rules of the door: maxclients, protected mode.
// The accept loop survives every error: without descriptors it waits a little and goes on, existing clients meanwhile
// are served. Owner of the executor only.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/asio_executor.h"
#include "net/session.h"
#include "storage/base/result.h"

namespace holdfast::net {

class Server;

class Listener {
 public:
  Listener(Server& server, AsioExecutor& executor);
  ~Listener();

  // Binds what the configuration names and listens. kIo with address and reason if none of the TCP addresses, or one
  // that is not optional, can be bound. Port 0: no TCP.
  Result<void> Open();
  // Starts and stops accepting; established connections are not touched.
  void Accept();
  void StopAccepting();
  // Closes and removes the Unix socket file.
  void Close();

 private:
  struct Door {
    asio::posix::stream_descriptor descriptor;
    int family;
    std::string path;  // Unix
    bool armed = false;
  };

  Result<void> OpenTcp(std::string address, int port);
  Result<void> OpenUnix();
  void Arm(const std::shared_ptr<Door>& door);
  void OnAcceptable(const std::shared_ptr<Door>& door);
  // False when accepting has to pause.
  bool AcceptOne(Door& door);
  void Admit(Door& door, int fd);

  Server& server_;
  AsioExecutor& executor_;
  SessionHost host_;
  std::vector<std::shared_ptr<Door>> doors_;
  bool accepting_ = false;
  int64_t last_error_logged_ms_ = 0;
};

// The reply to a connection that protected mode turns away.
extern const std::string_view kProtectedModeRefusal;
// Whether protected mode turns away a peer with this address ("10.0.0.1:555", "[::1]:555").
[[nodiscard]] bool IsLoopbackAddress(std::string_view peer);

}  // namespace holdfast::net
