// The server: what command handlers may reach. Knows no socket (net/listener.h and net/session.h bring those), so that the
// offline tool and tests can run commands without one. Executor only, unless a member says otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/blocking.h"
#include "net/clients.h"
#include "net/command.h"
#include "net/config.h"
#include "net/executor.h"
#include "net/monitoring.h"
#include "net/pubsub.h"
#include "net/replication_service.h"
#include "net/watches.h"
#include "storage/base/clock.h"
#include "wal/data_directory.h"
#include "wal/engine.h"

namespace holdfast::net {

struct ShutdownOptions {
  bool save = false, nosave = false, now = false, force = false, abort = false;
};

class Server : public TurnHooks {
 public:
  struct Parts {
    Config* config = nullptr;
    Executor* executor = nullptr;
    Clock* clock = nullptr;
    Random* random = nullptr;
    FileSystem* fs = nullptr;
    wal::DataDirectory* directory = nullptr;
    std::unique_ptr<wal::Engine> engine;
  };
  explicit Server(Parts parts);
  ~Server() override;

  // ---- services ----
  [[nodiscard]] Config& config() { return *parts_.config; }
  [[nodiscard]] Executor& executor() { return *parts_.executor; }
  [[nodiscard]] Clock& clock() { return *parts_.clock; }
  [[nodiscard]] Random& random() { return *parts_.random; }
  [[nodiscard]] FileSystem& fs() { return *parts_.fs; }
  [[nodiscard]] wal::DataDirectory& directory() { return *parts_.directory; }
  [[nodiscard]] wal::Engine& engine() { return *parts_.engine; }
  [[nodiscard]] Store& store() { return parts_.engine->store(); }
  [[nodiscard]] wal::Log& log() { return parts_.engine->log(); }
  [[nodiscard]] const CommandTable& commands() const { return commands_; }
  [[nodiscard]] ClientRegistry& clients() { return clients_; }
  [[nodiscard]] PubSub& pubsub() { return pubsub_; }
  [[nodiscard]] Watches& watches() { return watches_; }
  [[nodiscard]] Blocking& blocking() { return blocking_; }
  [[nodiscard]] Monitoring& monitoring() { return monitoring_; }  // stats, slowlog, latency, MONITOR
  [[nodiscard]] ReplicationService& replication() { return *replication_; }
  void SetReplication(std::unique_ptr<ReplicationService> service) { replication_ = std::move(service); }
  // Full sync, import: swaps in another generation. Connections stay; watches become dirty.
  void ReplaceEngine(std::unique_ptr<wal::Engine> engine);

  [[nodiscard]] const std::string& run_id() const { return run_id_; }  // 40 hex, new at each start
  [[nodiscard]] int64_t NowMs();                                       // wall clock, read once per turn
  [[nodiscard]] int64_t MonotonicMs();                                 // read once per turn

  // ---- commands ----
  // Runs one parsed command for a client: admission, MULTI queueing, execution, output with its gate, statistics.
  // (net/dispatcher.cpp)
  void Execute(Client& client, std::span<const std::string_view> args);
  // Runs a queued command inside EXEC's transaction.
  void ExecuteQueued(Client& client, const QueuedCommand& command, Transaction& tx, Reply& reply);
  // Commits a unit: watches, keyspace notifications, WAIT offset; returns the offset its reply must wait for.
  uint64_t CommitUnit(Client* client, Transaction& tx);
  // The refusal a write would get now (READONLY, NOREPLICAS, MISCONF, OOM), or nullopt. EXEC asks once for all.
  [[nodiscard]] std::optional<std::string> WriteRefusal(const CommandSpec& spec);

  // Appends bytes to another client's output, gated at `offset` (0: leaves at once), and tells its transport.
  void Push(Client& client, std::string_view bytes, uint64_t gate_offset);
  // Ends a client's block and answers it.
  void Unblock(Client& client);

  // ---- turns and commits (TurnHooks) ----
  void EndOfTurn() override;
  bool WantsCommit() override;
  void SealBatch() override;
  Result<void> WriteBatch() override;
  void FinishBatch() override;
  [[noreturn]] void CommitFailed(const Error& error) override;

  // The offset up to which gated replies may leave now: the durable offset, or more when appendfsync loosens the gate.
  [[nodiscard]] uint64_t GateOffset();

  // ---- life ----
  void StartTimers();
  // SIGTERM, SIGINT, SHUTDOWN: stop accepting, let replicas catch up (bounded by shutdown-timeout), sync, exit.
  void RequestShutdown(ShutdownOptions options, std::function<void(Result<void>)> refused);
  [[nodiscard]] bool ShuttingDown() const { return shutting_down_; }
  void AbortShutdown();

 private:
  void CronHundredMs();
  void ActiveExpiry();
  void FlushGatedOutput();

  Parts parts_;
  CommandTable commands_;
  ClientRegistry clients_;
  PubSub pubsub_;
  Watches watches_;
  Blocking blocking_;
  Monitoring monitoring_;
  std::unique_ptr<ReplicationService> replication_;
  std::string run_id_;
  bool shutting_down_ = false;
  int64_t now_ms_ = 0, monotonic_ms_ = 0;
  int64_t last_append_ms_ = 0;
  int64_t last_sync_ms_ = 0;
};

}  // namespace holdfast::net
