// Blocked clients: WAIT, WAITAOF, SHUTDOWN and, later, blocking reads of keys. Executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "net/client.h"

namespace holdfast::net {

class Server;

class Blocking {
 public:
  explicit Blocking(Server& server) : server_(server) {}

  // Blocks the client until `ready` is true (asked on every Recheck), its deadline passes or CLIENT UNBLOCK comes.
  // `answer` writes the reply in each case.
  struct Wait {
    Client::Blocked kind;
    int64_t deadline_ms = 0;  // monotonic, 0: none
    std::function<bool()> ready;
    std::function<void(Client&)> answer;
  };
  void Block(Client& client, Wait wait);
  // Conditions may have changed: acks came, the durable offset advanced.
  void Recheck();
  void Tick(int64_t monotonic_ms);
  // CLIENT UNBLOCK: false if that client is not blocked. `error`: answer -UNBLOCKED instead of the timeout's reply.
  bool Unblock(ClientId id, bool error);
  void Forget(ClientId id);  // the client is gone
  // Role changed to replica: blocked clients are answered with -UNBLOCKED.
  void UnblockAll(const std::string& error);
  [[nodiscard]] size_t size() const { return waits_.size(); }

 private:
  void Finish(ClientId id, const std::function<void(Client&)>& answer);
  Server& server_;
  std::map<ClientId, Wait> waits_;
};

}  // namespace holdfast::net
