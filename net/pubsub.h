// Publish/subscribe: who listens to which channel or pattern. Executor only.
#pragma once

#include <cstdint>
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

  // True if it was new to this client.
  bool Subscribe(Client& client, std::string_view channel);
  bool Unsubscribe(Client& client, std::string_view channel);
  bool PatternSubscribe(Client& client, std::string_view pattern);
  bool PatternUnsubscribe(Client& client, std::string_view pattern);
  bool ShardSubscribe(Client& client, std::string_view channel);
  bool ShardUnsubscribe(Client& client, std::string_view channel);
  void UnsubscribeAll(Client& client);  // silently: the client is going away, or RESET

  // Delivers to subscribers of the channel and of matching patterns; returns how many messages went out. `gate_offset`:
  // the messages leave once that offset is durable (0: at once).
  size_t Publish(std::string_view channel, std::string_view message, uint64_t gate_offset);
  size_t PublishShard(std::string_view channel, std::string_view message, uint64_t gate_offset);

  [[nodiscard]] std::vector<std::string> Channels(std::string_view pattern_or_empty) const;
  [[nodiscard]] std::vector<std::string> ShardChannels(std::string_view pattern_or_empty) const;
  [[nodiscard]] size_t Subscribers(std::string_view channel) const;
  [[nodiscard]] size_t ShardSubscribers(std::string_view channel) const;
  [[nodiscard]] size_t PatternCount() const { return patterns_.size(); }
  [[nodiscard]] size_t ChannelCount() const { return channels_.size(); }

 private:
  using Index = std::unordered_map<std::string, std::unordered_set<ClientId>>;
  Server& server_;
  Index channels_, patterns_, shard_channels_;
};

}  // namespace holdfast::net
