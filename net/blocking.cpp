#include "net/blocking.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "net/reply.h"
#include "net/server.h"

namespace holdfast::net {

void Blocking::Block(Client& client, Wait wait) {
  CHECK(client.blocked == Client::Blocked::kNo);
  CHECK(!waits_.contains(client.id));
  client.blocked = wait.kind;
  client.blocked_deadline_ms = wait.deadline_ms;
  if (wait.deadline_ms != 0) {
    // A timer of its own, so that short timeouts are kept to the millisecond; the timer finds nothing if all is over.
    int64_t delay_ms = std::max<int64_t>(wait.deadline_ms - server_.MonotonicMs(), 0);
    server_.executor().RunAfter(delay_ms * 1000 + 500, [this] { Tick(server_.MonotonicMs()); });
  }
  waits_.emplace(client.id, std::move(wait));
}

void Blocking::Recheck() {
  if (waits_.empty()) return;
  std::vector<ClientId> ready;
  for (const auto& [id, wait] : waits_) {
    if (wait.ready && wait.ready()) ready.push_back(id);
  }
  for (ClientId id : ready) {
    auto found = waits_.find(id);
    if (found != waits_.end()) Finish(id, found->second.answer);
  }
}

void Blocking::Tick(int64_t monotonic_ms) {
  if (waits_.empty()) return;
  std::vector<ClientId> late;
  for (const auto& [id, wait] : waits_) {
    if (wait.deadline_ms != 0 && wait.deadline_ms <= monotonic_ms) late.push_back(id);
  }
  for (ClientId id : late) {
    auto found = waits_.find(id);
    if (found != waits_.end()) Finish(id, found->second.answer);
  }
}

bool Blocking::Unblock(ClientId id, bool error) {
  auto found = waits_.find(id);
  if (found == waits_.end() || found->second.kind == Client::Blocked::kShutdown) return false;
  if (error) {
    Finish(id, [](Client& client) {
      Reply(client.output.bytes, client.resp).Error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    });
  } else {
    Finish(id, found->second.answer);
  }
  return true;
}

void Blocking::Forget(ClientId id) { waits_.erase(id); }

void Blocking::UnblockAll(const std::string& error) {
  std::vector<ClientId> ids;
  for (const auto& [id, wait] : waits_) {
    if (wait.kind != Client::Blocked::kShutdown) ids.push_back(id);
  }
  for (ClientId id : ids) {
    Finish(id, [&](Client& client) { Reply(client.output.bytes, client.resp).Error(error); });
  }
}

void Blocking::Finish(ClientId id, const std::function<void(Client&)>& answer) {
  // The wait is taken out first: an answer may look at, or end, other waits.
  std::function<void(Client&)> write = answer;
  waits_.erase(id);
  Client* client = server_.clients().Find(id);
  if (client == nullptr) return;
  client->blocked = Client::Blocked::kNo;
  client->blocked_deadline_ms = 0;
  write(*client);
  server_.Unblock(*client);
}

}  // namespace holdfast::net
