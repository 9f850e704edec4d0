#include "net/blocking.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "net/server.h"
#include "storage/base/diag.h"

namespace holdfast::net {

namespace {

// CLIENT REPLY: the answer that begins at `begin` is not wanted.
void DropUnwanted(Client& client, size_t begin) {
  using Mode = Client::ReplyMode;
  if (client.reply_mode == Mode::kOff || client.reply_mode == Mode::kSkipping) client.output.bytes.resize(begin);
  if (client.reply_mode == Mode::kSkipping) client.reply_mode = Mode::kOn;
}

}  // namespace

void Blocking::Block(Client& client, Wait wait) { Start(client, {std::move(wait), {}}); }

void Blocking::BlockOnKeys(Client& client, KeyWait wait) {
  Entry entry;
  entry.wait.kind = Client::Blocked::kKeys;
  entry.wait.deadline_ms = wait.deadline_ms;
  entry.wait.answer = [timed_out = wait.timed_out](Client& late) {
    Reply reply(late.output.bytes, late.resp);
    timed_out(reply);
  };
  entry.sequence = next_sequence_++;
  for (const std::string& key : wait.keys) by_key_[{wait.db, key}].emplace(entry.sequence, client.id);
  if (wait.missing) ++missing_waits_;
  entry.keys = std::move(wait);
  Start(client, std::move(entry));
}

void Blocking::Start(Client& client, Entry entry) {
  CHECK(client.blocked == Client::Blocked::kNo);
  CHECK(!waits_.contains(client.id));
  client.blocked = entry.wait.kind;
  client.blocked_deadline_ms = entry.wait.deadline_ms;
  if (entry.wait.ready) polled_.insert(client.id);
  if (entry.wait.deadline_ms != 0) {
    deadlines_.emplace(entry.wait.deadline_ms, client.id);
    SetTimer(entry.wait.deadline_ms);
  }
  waits_.emplace(client.id, std::move(entry));
}

// One timer for the next deadline, so that timeouts are kept to the millisecond. A timer cannot be taken back: one that
// comes too early finds nothing.
void Blocking::SetTimer(int64_t deadline_ms) {
  constexpr int64_t kDelayMaxMs = 60'000;
  if (timer_ms_ != 0 && timer_ms_ <= deadline_ms) return;
  const int64_t delay_ms = std::clamp<int64_t>(deadline_ms - server_.MonotonicMs(), 0, kDelayMaxMs);
  timer_ms_ = deadline_ms;
  server_.executor().RunAfter(delay_ms * 1000 + 500, [this, deadline_ms] {
    if (timer_ms_ != deadline_ms) return;
    timer_ms_ = 0;
    Tick(server_.MonotonicMs());
    if (!deadlines_.empty()) SetTimer(deadlines_.begin()->first);
  });
}

void Blocking::Recheck() {
  if (polled_.empty()) return;
  std::vector<ClientId> ready;
  for (ClientId id : polled_) {
    if (waits_.at(id).wait.ready()) ready.push_back(id);
  }
  for (ClientId id : ready) {
    auto found = waits_.find(id);
    if (found != waits_.end()) Finish(id, found->second.wait.answer);
  }
}

void Blocking::Tick(int64_t monotonic_ms) {
  std::vector<ClientId> late;
  for (const auto& [deadline_ms, id] : deadlines_) {
    if (deadline_ms > monotonic_ms) break;
    late.push_back(id);
  }
  for (ClientId id : late) {
    auto found = waits_.find(id);
    if (found != waits_.end()) Finish(id, found->second.wait.answer);
  }
}

bool Blocking::Unblock(ClientId id, bool error) {
  auto found = waits_.find(id);
  if (found == waits_.end()) return false;
  const Client::Blocked kind = found->second.wait.kind;
  if (kind == Client::Blocked::kShutdown || kind == Client::Blocked::kMigrate || kind == Client::Blocked::kCompare) {
    return false;
  }
  if (error) {
    Finish(id, [](Client& client) {
      Reply(client.output.bytes, client.resp).Error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    });
  } else {
    Finish(id, found->second.wait.answer);
  }
  return true;
}

void Blocking::Forget(ClientId id) { Remove(id); }

void Blocking::Remove(ClientId id) {
  auto found = waits_.find(id);
  if (found == waits_.end()) return;
  const KeyWait& keys = found->second.keys;
  for (const std::string& key : keys.keys) {
    auto queue = by_key_.find({keys.db, key});
    if (queue == by_key_.end()) continue;
    queue->second.erase(found->second.sequence);
    if (queue->second.empty()) by_key_.erase(queue);
  }
  polled_.erase(id);
  if (keys.missing) --missing_waits_;
  if (found->second.wait.deadline_ms != 0) deadlines_.erase({found->second.wait.deadline_ms, id});
  waits_.erase(found);
}

void Blocking::UnblockAll(const std::string& error) {
  std::vector<ClientId> ids;
  for (const auto& [id, entry] : waits_) {
    if (entry.wait.kind != Client::Blocked::kShutdown) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  for (ClientId id : ids) {
    Finish(id, [&](Client& client) {
      Reply(client.output.bytes, client.resp).Error(error);
      client.close_after_reply = true;
    });
  }
}

void Blocking::Finish(ClientId id, const std::function<void(Client&)>& answer) {
  // The wait is taken out first: an answer may look at, or end, other waits.
  std::function<void(Client&)> write = answer;
  Remove(id);
  Client* client = server_.clients().Find(id);
  if (client == nullptr) return;
  client->blocked = Client::Blocked::kNo;
  client->blocked_deadline_ms = 0;
  const size_t begin = client->output.bytes.size();
  write(*client);
  DropUnwanted(*client, begin);
  server_.Unblock(*client);
}

// ---- keys -----------------------------------------------------------------------------------------------------------

void Blocking::Touched(const Transaction::Touched& touched) {
  if (by_key_.empty()) return;
  const auto add = [this](const DbKey& key) {
    if (touched_set_.insert(key).second) touched_.push_back(key);
  };
  if (!touched.whole_db) {
    DbKey key{touched.db, touched.key};
    if (by_key_.contains(key)) add(key);
    return;
  }
  // SWAPDB may have brought any of them.
  for (auto at = by_key_.lower_bound({touched.db, {}}); at != by_key_.end() && at->first.first == touched.db; ++at) {
    add(at->first);
  }
}

void Blocking::ServeTouched() {
  if (serving_) return;
  serving_ = true;
  while (!touched_.empty()) {
    DbKey key = std::move(touched_.front());
    touched_.pop_front();
    touched_set_.erase(key);  // serving may touch it again
    ServeKey(key);
  }
  serving_ = false;
}

void Blocking::ServeKey(const DbKey& key) {
  uint64_t seen = 0;
  while (true) {
    auto queue = by_key_.find(key);
    if (queue == by_key_.end()) return;
    auto next = queue->second.upper_bound(seen);
    if (next == queue->second.end()) return;
    seen = next->first;
    if (!ServeClient(next->second, key)) return;
  }
}

bool Blocking::ServeClient(ClientId id, const DbKey& key) {
  Client* client = server_.clients().Find(id);
  auto found = waits_.find(id);
  if (client == nullptr || found == waits_.end()) return true;
  const size_t begin = client->output.bytes.size();
  Reply reply(client->output.bytes, client->resp);
  Transaction& tx = server_.store().Begin(TransactionMode::kLive, key.first, server_.NowMs());
  const auto exists = tx.Peek(key.first, key.second);
  const bool there = exists.ok() && exists->has_value();
  bool served = false;
  if (!exists.ok()) {
    diag::Warning("A key that clients wait for could not be read: {}", exists.error().message);
  } else if (there) {
    served = found->second.keys.serve(tx, key.second, reply);
  } else if (found->second.keys.missing) {
    found->second.keys.missing(reply);
    served = true;
  }
  server_.CommitUnit(served ? client : nullptr, tx);
  if (!served) return there || missing_waits_ > 0;
  Remove(id);
  client->blocked = Client::Blocked::kNo;
  client->blocked_deadline_ms = 0;
  DropUnwanted(*client, begin);
  server_.Unblock(*client);
  return true;
}

}  // namespace holdfast::net
