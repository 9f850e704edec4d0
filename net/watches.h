// WATCH: which clients' EXEC must fail when a key changes. Executor only.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "net/client.h"
#include "storage/transaction.h"

namespace holdfast::net {

class ClientRegistry;

class Watches {
 public:
  explicit Watches(ClientRegistry& clients) : clients_(clients) {}
  // `present`: the key is there now. Nothing if the client watches it already.
  void Watch(Client& client, int db, std::string_view key, bool present);
  void Unwatch(Client& client);  // forgets all of the client's keys
  [[nodiscard]] bool empty() const { return by_key_.empty(); }
  // Marks the watchers of what a unit touched. Who watched a key that was absent, or expired and not deleted yet, sees
  // no change when it is removed. `unit`: still open, sees what SWAPDB brought; null: whatever it brought is a change.
  void Touched(const Transaction::Touched& touched, Transaction* unit);
  void TouchAll();  // full sync replaced everything

 private:
  void TouchDb(const Transaction::Touched& touched, Transaction* unit);

  ClientRegistry& clients_;
  // "<db>:<key>" -> who watches it, and whether it was there when WATCH came.
  std::unordered_map<std::string, std::unordered_map<ClientId, bool>> by_key_;
};

}  // namespace holdfast::net
