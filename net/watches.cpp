#include "net/watches.h"

#include <algorithm>

#include "net/clients.h"
#include "net/kept_names.h"

namespace holdfast::net {

namespace {

using Change = Transaction::Change;

std::string WatchKey(int db, std::string_view key) {
  std::string joined = std::to_string(db);
  joined += ':';
  joined += key;
  return joined;
}

}  // namespace

void Watches::Watch(Client& client, int db, std::string_view key, bool present) {
  if (!by_key_[WatchKey(db, key)].emplace(client.id, present).second) return;
  client.multi.watched.emplace_back(db, std::string(key));
  if (present) client.multi.watched_present.emplace_back(db, key);
  client.multi.watched_bytes += KeptNameBytes(key);
}

void Watches::Unwatch(Client& client) {
  for (const auto& [db, key] : client.multi.watched) {
    auto found = by_key_.find(WatchKey(db, key));
    if (found == by_key_.end()) continue;
    found->second.erase(client.id);
    if (found->second.empty()) by_key_.erase(found);
  }
  client.multi.watched.clear();
  client.multi.watched_present.clear();
  client.multi.watched_bytes = 0;
}

void Watches::Touched(const Transaction::Touched& touched, Transaction* unit) {
  if (by_key_.empty() || touched.change == Change::kBeside) return;
  if (touched.whole_db) return TouchDb(touched, unit);
  auto found = by_key_.find(WatchKey(touched.db, touched.key));
  if (found == by_key_.end()) return;
  for (const auto& [id, present] : found->second) {
    if (touched.change == Change::kRemoval && !present) continue;
    Client* client = clients_.Find(id);
    if (client == nullptr) continue;
    client->multi.dirty_cas = true;
  }
}

// FLUSHDB, SWAPDB.
void Watches::TouchDb(const Transaction::Touched& touched, Transaction* unit) {
  const auto changed = [&](const auto& watched) { return watched.first == touched.db; };
  const auto came = [&](const auto& watched) {
    if (watched.first != touched.db) return false;
    if (unit == nullptr) return true;
    const auto found = unit->Peek(touched.db, watched.second);
    return !found.ok() || found->has_value();
  };
  clients_.ForEach([&](Client& client) {
    TransactionState& multi = client.multi;
    multi.dirty_cas =
        multi.dirty_cas || std::any_of(multi.watched_present.begin(), multi.watched_present.end(), changed) ||
        (touched.change != Change::kRemoval && std::any_of(multi.watched.begin(), multi.watched.end(), came));
  });
}

void Watches::TouchAll() {
  if (by_key_.empty()) return;
  clients_.ForEach([](Client& client) {
    if (!client.multi.watched.empty()) client.multi.dirty_cas = true;
  });
}

}  // namespace holdfast::net
