// Blocked clients: WAIT, WAITAOF, SHUTDOWN, and commands that wait for keys (BLPOP and its kin). Executor only.
//
// Who waits for keys is served in the order of arrival, key by key in the order in which units touched them, after the
// unit that touched them was committed and before the next command runs. Serving is a unit of its own, with its own
// effects, and its reply waits for that unit.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/client.h"
#include "net/reply.h"
#include "storage/transaction.h"

namespace holdfast::net {

class Server;

class Blocking {
 public:
  explicit Blocking(Server& server) : server_(server) {}

  // Blocks the client until `ready` is true (asked on every Recheck), its deadline passes or CLIENT UNBLOCK comes.
  // `answer` writes the reply in each case.
  struct Wait {
    Client::Blocked kind;
    int64_t deadline_ms = 0;  // monotonic, 0: none
    std::function<bool()> ready;
    std::function<void(Client&)> answer;
  };
  void Block(Client& client, Wait wait);

  // A command that waits until it can do its work on one of its keys.
  struct KeyWait {
    int db = 0;
    std::vector<std::string> keys;
    int64_t deadline_ms = 0;  // monotonic, 0: none
    // One of the keys was touched and exists. Does the command's work in a unit of its own and writes the reply: true.
    // Or false, nothing written and nothing done, if the client must wait on.
    std::function<bool(Transaction& tx, std::string_view key, Reply& reply)> serve;
    std::function<void(Reply& reply)> timed_out;  // writes the reply for a deadline that passed
    // Writes the reply when one of the keys was touched and is gone. Empty: the client waits on.
    std::function<void(Reply& reply)> missing;
  };
  void BlockOnKeys(Client& client, KeyWait wait);

  // A committed unit touched this.
  void Touched(const Transaction::Touched& touched);
  // Serves who waits for what was touched. Not while a transaction is open.
  void ServeTouched();

  // Conditions may have changed: acks came, the durable offset advanced.
  void Recheck();
  void Tick(int64_t monotonic_ms);
  // CLIENT UNBLOCK: false if that client is not blocked. `error`: answer -UNBLOCKED instead of the timeout's reply.
  bool Unblock(ClientId id, bool error);
  void Forget(ClientId id);  // the client is gone
  // Role changed to replica: blocked clients are answered with -UNBLOCKED and closed, as in Redis.
  void UnblockAll(const std::string& error);
  [[nodiscard]] size_t size() const { return waits_.size(); }
  [[nodiscard]] bool HasKeyWaits() const { return !by_key_.empty(); }

 private:
  using DbKey = std::pair<int, std::string>;
  struct Entry {
    Wait wait;
    KeyWait keys;           // of kind kKeys
    uint64_t sequence = 0;  // by arrival
  };

  void Start(Client& client, Entry entry);
  void SetTimer(int64_t deadline_ms);
  void ServeKey(const DbKey& key);
  // Whether clients behind this one may be served by the same key.
  bool ServeClient(ClientId id, const DbKey& key);
  void Remove(ClientId id);
  void Finish(ClientId id, const std::function<void(Client&)>& answer);

  Server& server_;
  std::unordered_map<ClientId, Entry> waits_;
  std::set<ClientId> polled_;                             // those with `ready`
  size_t missing_waits_ = 0;                              // those with `missing`
  std::set<std::pair<int64_t, ClientId>> deadlines_;      // ms
  int64_t timer_ms_ = 0;                                  // of the timer that is set for the next deadline, 0: none
  std::map<DbKey, std::map<uint64_t, ClientId>> by_key_;  // by arrival
  uint64_t next_sequence_ = 1;
  std::deque<DbKey> touched_;  // in order, each once
  std::set<DbKey> touched_set_;
  bool serving_ = false;
};

}  // namespace holdfast::net
