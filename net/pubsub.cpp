#include "net/pubsub.h"

#include "net/reply.h"
#include "net/server.h"
#include "storage/types/glob.h"

namespace holdfast::net {

namespace {

using Names = std::unordered_set<std::string>;
using Index = std::unordered_map<std::string, std::unordered_set<ClientId>>;

bool Add(Index& index, Names& own, ClientId id, std::string_view name) {
  auto [at, fresh] = own.emplace(name);
  if (!fresh) return false;
  index[*at].insert(id);
  return true;
}

void RemoveFromIndex(Index& index, const std::string& name, ClientId id) {
  auto found = index.find(name);
  if (found == index.end()) return;
  found->second.erase(id);
  if (found->second.empty()) index.erase(found);
}

bool Remove(Index& index, Names& own, ClientId id, std::string_view name) {
  auto found = own.find(std::string(name));
  if (found == own.end()) return false;
  RemoveFromIndex(index, *found, id);
  own.erase(found);
  return true;
}

std::vector<std::string> Matching(const Index& index, std::string_view pattern) {
  std::vector<std::string> names;
  for (const auto& [name, clients] : index) {
    if (pattern.empty() || GlobMatch(pattern, name)) names.push_back(name);
  }
  return names;
}

size_t CountOf(const Index& index, std::string_view name) {
  auto found = index.find(std::string(name));
  return found == index.end() ? 0 : found->second.size();
}

// A message in both protocols, each built when the first client needs it.
class Message {
 public:
  Message(std::string_view kind, std::string_view pattern, std::string_view channel, std::string_view payload)
      : kind_(kind), pattern_(pattern), channel_(channel), payload_(payload) {}

  const std::string& For(int resp) {
    std::string& bytes = resp >= 3 ? resp3_ : resp2_;
    if (bytes.empty()) {
      Reply reply(bytes, resp);
      reply.Push(pattern_.empty() ? 3 : 4);
      reply.Bulk(kind_);
      if (!pattern_.empty()) reply.Bulk(pattern_);
      reply.Bulk(channel_);
      reply.Bulk(payload_);
    }
    return bytes;
  }

 private:
  std::string_view kind_, pattern_, channel_, payload_;
  std::string resp2_, resp3_;
};

size_t Deliver(Server& server, const std::unordered_set<ClientId>& ids, Message message, uint64_t gate_offset) {
  size_t sent = 0;
  // A copy: a client over its output limit is closed at once and leaves the index.
  std::vector<ClientId> targets(ids.begin(), ids.end());
  for (ClientId id : targets) {
    Client* client = server.clients().Find(id);
    if (client == nullptr) continue;
    server.Push(*client, message.For(client->resp), gate_offset);
    ++sent;
  }
  return sent;
}

void UpdateKind(Client& client) {
  if (client.kind == ClientKind::kNormal && client.TotalSubscriptions() > 0) client.kind = ClientKind::kPubSub;
  if (client.kind == ClientKind::kPubSub && client.TotalSubscriptions() == 0) client.kind = ClientKind::kNormal;
}

}  // namespace

bool PubSub::Subscribe(Client& client, std::string_view channel) {
  bool fresh = Add(channels_, client.channels, client.id, channel);
  UpdateKind(client);
  return fresh;
}

bool PubSub::Unsubscribe(Client& client, std::string_view channel) {
  bool was = Remove(channels_, client.channels, client.id, channel);
  UpdateKind(client);
  return was;
}

bool PubSub::PatternSubscribe(Client& client, std::string_view pattern) {
  bool fresh = Add(patterns_, client.patterns, client.id, pattern);
  UpdateKind(client);
  return fresh;
}

bool PubSub::PatternUnsubscribe(Client& client, std::string_view pattern) {
  bool was = Remove(patterns_, client.patterns, client.id, pattern);
  UpdateKind(client);
  return was;
}

bool PubSub::ShardSubscribe(Client& client, std::string_view channel) {
  bool fresh = Add(shard_channels_, client.shard_channels, client.id, channel);
  UpdateKind(client);
  return fresh;
}

bool PubSub::ShardUnsubscribe(Client& client, std::string_view channel) {
  bool was = Remove(shard_channels_, client.shard_channels, client.id, channel);
  UpdateKind(client);
  return was;
}

void PubSub::UnsubscribeAll(Client& client) {
  for (const std::string& name : client.channels) RemoveFromIndex(channels_, name, client.id);
  for (const std::string& name : client.patterns) RemoveFromIndex(patterns_, name, client.id);
  for (const std::string& name : client.shard_channels) RemoveFromIndex(shard_channels_, name, client.id);
  client.channels.clear();
  client.patterns.clear();
  client.shard_channels.clear();
  UpdateKind(client);
}

size_t PubSub::Publish(std::string_view channel, std::string_view message, uint64_t gate_offset) {
  size_t sent = 0;
  auto found = channels_.find(std::string(channel));
  if (found != channels_.end()) {
    sent += Deliver(server_, found->second, Message("message", {}, channel, message), gate_offset);
  }
  std::vector<std::string> matching;
  for (const auto& [pattern, ids] : patterns_) {
    if (GlobMatch(pattern, channel)) matching.push_back(pattern);
  }
  for (const std::string& pattern : matching) {
    auto listeners = patterns_.find(pattern);
    if (listeners == patterns_.end()) continue;
    sent += Deliver(server_, listeners->second, Message("pmessage", pattern, channel, message), gate_offset);
  }
  return sent;
}

size_t PubSub::PublishShard(std::string_view channel, std::string_view message, uint64_t gate_offset) {
  auto found = shard_channels_.find(std::string(channel));
  if (found == shard_channels_.end()) return 0;
  return Deliver(server_, found->second, Message("smessage", {}, channel, message), gate_offset);
}

std::vector<std::string> PubSub::Channels(std::string_view pattern_or_empty) const {
  return Matching(channels_, pattern_or_empty);
}

std::vector<std::string> PubSub::ShardChannels(std::string_view pattern_or_empty) const {
  return Matching(shard_channels_, pattern_or_empty);
}

size_t PubSub::Subscribers(std::string_view channel) const { return CountOf(channels_, channel); }
size_t PubSub::ShardSubscribers(std::string_view channel) const { return CountOf(shard_channels_, channel); }

}  // namespace holdfast::net
