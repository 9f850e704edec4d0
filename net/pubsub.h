// Publish/subscribe: who listens to which channel or pattern. Executor only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "net/client.h"

namespace holdfast::net {

class Server;

class PubSub {
 public:
  explicit PubSub(Server& server) : server_(server) {}

  // True if it was new to this client, or was there.
  bool Subscribe(Client& client, Subscription kind, std::string_view name);
  bool Unsubscribe(Client& client, Subscription kind, std::string_view name);
  void UnsubscribeAll(Client& client);  // silently: the client is going away, or RESET

  // Delivers to subscribers of the channel and of matching patterns; returns how many messages went out. `gate_offset`:
  // the messages leave once that offset is durable (0: at once).
  size_t Publish(std::string_view channel, std::string_view message, uint64_t gate_offset);
  size_t PublishShard(std::string_view channel, std::string_view message, uint64_t gate_offset);

  // Names somebody subscribed to that match a pattern (none: all), and how many listen to one of them.
  [[nodiscard]] std::vector<std::string> Names(Subscription kind, std::optional<std::string_view> pattern) const;
  [[nodiscard]] size_t Subscribers(Subscription kind, std::string_view name) const;
  [[nodiscard]] size_t Count(Subscription kind) const { return IndexOf(kind).size(); }

 private:
  using Index = std::unordered_map<std::string, std::unordered_set<ClientId>>;
  [[nodiscard]] Index& IndexOf(Subscription kind) { return indexes_[static_cast<size_t>(kind)]; }
  [[nodiscard]] const Index& IndexOf(Subscription kind) const { return indexes_[static_cast<size_t>(kind)]; }
  void Drop(Subscription kind, const std::string& name, ClientId id);

  Server& server_;
  std::array<Index, kSubscriptionKinds> indexes_;
};

}  // namespace holdfast::net
