#include "net/pubsub.h"

#include <optional>

#include "net/kept_names.h"
#include "net/reply.h"
#include "net/server.h"
#include "storage/types/glob.h"

namespace holdfast::net {

namespace {

// A message in both protocols, each built when the first client needs it.
class Message {
 public:
  Message(std::string_view kind, std::optional<std::string_view> pattern, std::string_view channel,
          std::string_view payload)
      : kind_(kind), pattern_(pattern), channel_(channel), payload_(payload) {}

  const std::string& For(int resp) {
    std::string& bytes = resp >= 3 ? resp3_ : resp2_;
    if (bytes.empty()) {
      Reply reply(bytes, resp);
      reply.Push(pattern_ ? 4 : 3);
      reply.Bulk(kind_);
      if (pattern_) reply.Bulk(*pattern_);
      reply.Bulk(channel_);
      reply.Bulk(payload_);
    }
    return bytes;
  }

 private:
  std::string_view kind_;
  std::optional<std::string_view> pattern_;
  std::string_view channel_, payload_;
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

bool PubSub::Subscribe(Client& client, Subscription kind, std::string_view name) {
  auto [at, fresh] = client.Subscribed(kind).emplace(name);
  if (fresh) {
    IndexOf(kind)[*at].insert(client.id);
    client.subscription_bytes += KeptNameBytes(name);
  }
  UpdateKind(client);
  return fresh;
}

bool PubSub::Unsubscribe(Client& client, Subscription kind, std::string_view name) {
  Client::Names& own = client.Subscribed(kind);
  auto found = own.find(std::string(name));
  if (found == own.end()) return false;
  Drop(kind, *found, client.id);
  own.erase(found);
  client.subscription_bytes -= KeptNameBytes(name);
  UpdateKind(client);
  return true;
}

void PubSub::UnsubscribeAll(Client& client) {
  for (size_t i = 0; i < kSubscriptionKinds; ++i) {
    for (const std::string& name : client.subscriptions[i]) Drop(static_cast<Subscription>(i), name, client.id);
    client.subscriptions[i].clear();
  }
  client.subscription_bytes = 0;
  UpdateKind(client);
}

void PubSub::Drop(Subscription kind, const std::string& name, ClientId id) {
  Index& index = IndexOf(kind);
  auto found = index.find(name);
  if (found == index.end()) return;
  found->second.erase(id);
  if (found->second.empty()) index.erase(found);
}

size_t PubSub::Publish(std::string_view channel, std::string_view message, uint64_t gate_offset) {
  size_t sent = 0;
  const Index& channels = IndexOf(Subscription::kChannel);
  auto found = channels.find(std::string(channel));
  if (found != channels.end()) {
    sent += Deliver(server_, found->second, Message("message", std::nullopt, channel, message), gate_offset);
  }
  const Index& patterns = IndexOf(Subscription::kPattern);
  std::vector<std::string> matching;
  for (const auto& [pattern, ids] : patterns) {
    if (GlobMatch(pattern, channel)) matching.push_back(pattern);
  }
  for (const std::string& pattern : matching) {
    auto listeners = patterns.find(pattern);
    if (listeners == patterns.end()) continue;
    sent += Deliver(server_, listeners->second, Message("pmessage", pattern, channel, message), gate_offset);
  }
  return sent;
}

size_t PubSub::PublishShard(std::string_view channel, std::string_view message, uint64_t gate_offset) {
  const Index& channels = IndexOf(Subscription::kShardChannel);
  auto found = channels.find(std::string(channel));
  if (found == channels.end()) return 0;
  return Deliver(server_, found->second, Message("smessage", std::nullopt, channel, message), gate_offset);
}

std::vector<std::string> PubSub::Names(Subscription kind, std::optional<std::string_view> pattern) const {
  std::vector<std::string> names;
  for (const auto& [name, clients] : IndexOf(kind)) {
    if (!pattern || GlobMatch(*pattern, name)) names.push_back(name);
  }
  return names;
}

size_t PubSub::Subscribers(Subscription kind, std::string_view name) const {
  auto found = IndexOf(kind).find(std::string(name));
  return found == IndexOf(kind).end() ? 0 : found->second.size();
}

}  // namespace holdfast::net
