// The registry of connected clients. Executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/client.h"

namespace holdfast::net {

class ClientRegistry {
 public:
  // Creates a client with a fresh id (ids never repeat in a process).
  Client& Add(ClientTransport* transport);
  // The id of a connection that is no client: the link to our master.
  [[nodiscard]] ClientId TakeId() { return next_id_++; }
  // Removes it; the object itself lives until CollectGarbage(), so that code on the stack may finish with it.
  void Remove(ClientId id);
  [[nodiscard]] Client* Find(ClientId id);
  void ForEach(const std::function<void(Client&)>& visit);  // by id; the visitor may close clients
  [[nodiscard]] size_t size() const { return clients_.size(); }
  [[nodiscard]] size_t CountKind(ClientKind kind) const;
  [[nodiscard]] size_t CountBlocked() const;
  void CollectGarbage() { garbage_.clear(); }

  // CLIENT LIST / INFO line (without newline), Redis' fields in Redis' order.
  [[nodiscard]] static std::string Describe(const Client& client, int64_t monotonic_ms);

  // CLIENT PAUSE.
  struct Pause {
    bool active = false;
    bool writes_only = false;
    int64_t until_ms = 0;  // monotonic
  } pause;

 private:
  ClientId next_id_ = 1;
  std::map<ClientId, std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> garbage_;
};

}  // namespace holdfast::net
