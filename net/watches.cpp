#include "net/watches.h"

#include <algorithm>

#include "net/clients.h"

namespace holdfast::net {

namespace {
std::string WatchKey(int db, std::string_view key) {
  std::string joined = std::to_string(db);
  joined += ':';
  joined += key;
  return joined;
}
}  // namespace

void Watches::Watch(Client& client, int db, std::string_view key) {
  auto same = [&](const auto& watched) { return watched.first == db && watched.second == key; };
  if (std::any_of(client.multi.watched.begin(), client.multi.watched.end(), same)) return;
  client.multi.watched.emplace_back(db, std::string(key));
  by_key_[WatchKey(db, key)].insert(client.id);
}

void Watches::Unwatch(Client& client) {
  for (const auto& [db, key] : client.multi.watched) {
    auto found = by_key_.find(WatchKey(db, key));
    if (found == by_key_.end()) continue;
    found->second.erase(client.id);
    if (found->second.empty()) by_key_.erase(found);
  }
  client.multi.watched.clear();
}

void Watches::Touched(const Transaction::Touched& touched) {
  if (by_key_.empty()) return;
  if (touched.whole_db) return TouchDb(touched.db);
  auto found = by_key_.find(WatchKey(touched.db, touched.key));
  if (found == by_key_.end()) return;
  for (ClientId id : found->second) {
    if (Client* client = clients_.Find(id)) client->multi.dirty_cas = true;
  }
}

void Watches::TouchDb(int db) {
  if (by_key_.empty()) return;
  clients_.ForEach([&](Client& client) {
    for (const auto& [watched_db, key] : client.multi.watched) {
      if (watched_db == db) client.multi.dirty_cas = true;
    }
  });
}

void Watches::TouchAll() {
  if (by_key_.empty()) return;
  clients_.ForEach([](Client& client) {
    if (!client.multi.watched.empty()) client.multi.dirty_cas = true;
  });
}

}  // namespace holdfast::net
