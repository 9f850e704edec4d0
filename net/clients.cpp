#include "net/clients.h"

#include <fmt/format.h>

#include <utility>

#include "net/command.h"

namespace holdfast::net {

namespace {

std::string Flags(const Client& client) {
  std::string flags;
  if (client.monitor) {
    flags += 'O';
  } else if (client.kind == ClientKind::kReplica) {
    flags += 'S';
  }
  if (client.kind == ClientKind::kMaster) flags += 'M';
  if (client.TotalSubscriptions() > 0) flags += 'P';
  if (client.multi.active) flags += 'x';
  if (client.blocked != Client::Blocked::kNo && client.blocked != Client::Blocked::kThrottled) flags += 'b';
  if (client.multi.dirty_cas) flags += 'd';
  if (client.close_after_reply) flags += 'c';
  if (client.close_asap) flags += 'A';
  if (client.is_unix_socket) flags += 'U';
  if (client.readonly) flags += 'r';
  if (client.no_evict) flags += 'e';
  if (client.no_touch) flags += 'T';
  return flags.empty() ? "N" : flags;
}

}  // namespace

Client& ClientRegistry::Add(ClientTransport* transport) {
  auto client = std::make_unique<Client>();
  client->id = next_id_++;
  client->transport = transport;
  Client& added = *client;
  clients_.emplace(added.id, std::move(client));
  return added;
}

void ClientRegistry::Remove(ClientId id) {
  auto found = clients_.find(id);
  if (found == clients_.end()) return;
  found->second->transport = nullptr;
  garbage_.push_back(std::move(found->second));
  clients_.erase(found);
}

Client* ClientRegistry::Find(ClientId id) {
  auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : found->second.get();
}

void ClientRegistry::ForEach(const std::function<void(Client&)>& visit) {
  // By id and looked up anew each time: the visitor may remove any client, the next one included.
  for (auto at = clients_.begin(); at != clients_.end();) {
    ClientId id = at->first;
    visit(*at->second);
    at = clients_.upper_bound(id);
  }
}

size_t ClientRegistry::CountKind(ClientKind kind) const {
  size_t count = 0;
  for (const auto& [id, client] : clients_) count += client->kind == kind ? 1 : 0;
  return count;
}

size_t ClientRegistry::CountBlocked() const {
  size_t count = 0;
  for (const auto& [id, client] : clients_) {
    count += client->blocked != Client::Blocked::kNo && client->blocked != Client::Blocked::kThrottled ? 1 : 0;
  }
  return count;
}

std::string ClientRegistry::Describe(const Client& client, int64_t monotonic_ms) {
  size_t output = client.output.unsent();
  size_t query_free = client.query_buffer_capacity > client.query_buffer_bytes
                          ? client.query_buffer_capacity - client.query_buffer_bytes
                          : 0;
  size_t total =
      sizeof(Client) + client.query_buffer_capacity + client.output.bytes.capacity() + client.multi.queued_bytes;
  std::string line;
  fmt::format_to(std::back_inserter(line), "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={}",
                 client.id, client.peer_address, client.local_address, client.fd, client.name,
                 (monotonic_ms - client.created_ms) / 1000, (monotonic_ms - client.last_interaction_ms) / 1000,
                 Flags(client), client.db);
  fmt::format_to(std::back_inserter(line), " sub={} psub={} ssub={} multi={}",
                 client.Subscribed(Subscription::kChannel).size(), client.Subscribed(Subscription::kPattern).size(),
                 client.Subscribed(Subscription::kShardChannel).size(),
                 client.multi.active ? static_cast<int64_t>(client.multi.queue.size()) : -1);
  fmt::format_to(std::back_inserter(line),
                 " qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs={} rbp=0 obl={} oll=0 omem={} tot-mem={}",
                 client.query_buffer_bytes, query_free, client.multi.queued_bytes, client.output.bytes.capacity(),
                 output, output, total);
  fmt::format_to(std::back_inserter(line), " events={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
                 output > 0 ? "rw" : "r", client.last_command_name, client.user, client.resp, client.lib_name,
                 client.lib_version);
  return line;
}

}  // namespace holdfast::net
