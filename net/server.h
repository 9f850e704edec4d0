// The server: what command handlers may reach. Knows no socket (net/listener.h and net/session.h bring those), so that
// the offline tool and tests can run commands without one. Executor only, unless a member says otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/blocking.h"
#include "net/clients.h"
#include "net/cold_reads.h"
#include "net/command.h"
#include "net/command_batch.h"
#include "net/config.h"
#include "net/executor.h"
#include "net/migration.h"
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
  [[nodiscard]] Migrations& migrations() { return migrations_; }
  [[nodiscard]] Monitoring& monitoring() { return monitoring_; }  // stats, slowlog, latency, MONITOR
  [[nodiscard]] const ColdReads& cold_reads() const { return cold_reads_; }
  [[nodiscard]] ReplicationService& replication() { return *replication_; }
  void SetReplication(std::unique_ptr<ReplicationService> service) { replication_ = std::move(service); }
  // Full sync, import: swaps in another generation. Connections stay; watches become dirty.
  // Replies that wait for the old history to become durable are never sent: their connections are closed.
  void ReplaceEngine(std::unique_ptr<wal::Engine> engine);
  // Closes the engine, lets `between` change its files, and opens it again, changed or (if that failed: its error) not.
  // No batch may be in flight, and no cursor, pin or view of the engine in use. Ends the process with exit code 2 if
  // the data cannot be opened again.
  Result<void> ReopenEngine(const std::function<Result<void>()>& between);
  // expect-data is set, this is a master, and it has no history at all.
  [[nodiscard]] bool LacksExpectedData() {
    return config().settings().expect_data && !replication_->IsReplica() && log().AppendedOffset() == 0;
  }
  // The replaced engine's last batch is still being written.
  [[nodiscard]] bool HasRetiredEngine() const { return retired_engine_ != nullptr; }

  [[nodiscard]] const std::string& run_id() const { return run_id_; }  // 40 hex, new at each start
  [[nodiscard]] int64_t UptimeSeconds() { return (clock().MonotonicUs() - started_us_) / 1'000'000; }
  [[nodiscard]] int64_t NowMs();        // wall clock, read once per turn
  [[nodiscard]] int64_t MonotonicMs();  // read once per turn

  // ---- commands ----
  // Runs one parsed command for a client: admission, MULTI queueing, execution, output with its gate, statistics.
  // (net/dispatcher.cpp)
  // `spec`, if not null, is what commands() finds for args[0].
  void Execute(Client& client, std::span<const std::string_view> args, const CommandSpec* spec = nullptr);
  // Before the commands of one read are run: the next one's time is taken anew.
  void BeginCommands() { command_us_ = 0; }
  // Looks the commands up, and has the rows of their keys fetched into the processor's cache. Changes nothing else.
  void Prefetch(const Client& client, CommandBatch& batch);
  // While reads wait for the disk: has the rows that the batch names read by another thread, and calls `done` on the
  // executor when they are in memory. False: they are, as far as is known; `done` is not called.
  bool FetchColdRows(const Client& client, const CommandBatch& batch, std::function<void()> done);
  // Runs a queued command inside EXEC's transaction.
  void ExecuteQueued(Client& client, const QueuedCommand& command, Transaction& tx, Reply& reply);
  // Commits a unit: watches, keyspace notifications, WAIT offset; returns the offset its reply must wait for.
  uint64_t CommitUnit(Client* client, Transaction& tx);
  // Sends keyspace events to who subscribed to them; they leave once `gate_offset` is durable.
  void TellKeyEvents(const std::vector<KeyEvent>& events, uint64_t gate_offset);
  // notify-keyspace-events has changed, or the store.
  void AdoptKeyEvents();
  // The refusal a write would get now (READONLY, NOREPLICAS, MISCONF, OOM), or nullopt. EXEC asks once for all.
  [[nodiscard]] std::optional<std::string> WriteRefusal(const CommandSpec& spec);

  // What a push must wait for that is made in the middle of a unit: its end, if it has changed anything so far.
  [[nodiscard]] uint64_t UnitGate(const Transaction& tx);

  // Appends bytes to another client's output, gated at `offset` (0: leaves at once), and tells its transport.
  void Push(Client& client, std::string_view bytes, uint64_t gate_offset);
  // After a blocked client was answered (its output has grown): gates the answer and lets its commands go on.
  void Unblock(Client& client);
  // The connection is gone: leaves every index. Its transport calls this, then removes the client from the registry.
  void Forget(Client& client);

  // ---- turns and commits (TurnHooks) ----
  void EndOfTurn() override;
  bool WantsCommit() override;
  [[nodiscard]] size_t PendingBytes() override;
  void SealBatch() override;
  Result<void> WriteBatch() override;
  void FinishBatch() override;
  void ForgetTime() override { now_ms_ = monotonic_us_ = 0; }
  [[noreturn]] void CommitFailed(const Error& error) override;

  // The offset up to which gated replies may leave now: the durable offset, or more when appendfsync loosens the gate.
  [[nodiscard]] uint64_t GateOffset();
  // How many members of the group must have what this client is told (0: none), while this node is their master.
  [[nodiscard]] int MembersFor(const Client& client);
  // Members have more than before, or less will do: replies may leave.
  void RepliesMayLeave() { FlushGatedOutput(); }
  // Replies that have waited for members for more than `waited_ms` become errors.
  void GiveUpUnconfirmed(int64_t waited_ms);
  // While true, the log is synced at the end of each turn whatever appendfsync says (WAITAOF, SAVE).
  void SyncSoon() { sync_soon_ = true; }
  // Control frames (role, lineage) count no bytes, so no offset says when they are on disk. A ticket does: of the batch
  // with everything appended until now.
  [[nodiscard]] uint64_t CommitTicket() { return sealed_batches_ + (log().HasPending() ? 1 : 0); }
  [[nodiscard]] bool Committed(uint64_t ticket) const { return finished_batches_ >= ticket; }
  // The reply being written leaves only when everything appended until now is on disk, whatever appendfsync says; until
  // then the client's next commands wait.
  void HoldUntilCommitted(Client& client);
  // For replies that tell the role: a crash right after must not bring the old one back.
  void HoldForRole(Client& client) {
    if (!replication_->RoleSettled()) HoldUntilCommitted(client);
  }

  // ---- memory, one budget: buffers of clients, memtables, row cache, log not yet written ----
  // Transports report how their buffers (queries not yet run, replies not yet sent) grew or shrank.
  void AccountBuffers(int64_t delta_bytes) { buffer_bytes_ += delta_bytes; }
  [[nodiscard]] int64_t BufferBytes() const { return buffer_bytes_; }
  [[nodiscard]] bool OverBudget() const;

  // ---- life ----
  void StartTimers();
  // SIGTERM, SIGINT, SHUTDOWN: stop accepting, let replicas catch up (bounded by shutdown-timeout), sync, exit.
  void RequestShutdown(ShutdownOptions options, std::function<void(Result<void>)> refused);
  [[nodiscard]] bool ShuttingDown() const { return shutdown_.has_value(); }
  void AbortShutdown();
  // Called when a shutdown begins (true) and when it was aborted (false): the listener stops and starts accepting.
  void OnShutdown(std::function<void(bool begins)> listener) { shutdown_listener_ = std::move(listener); }
  // While true, commands without the loading flag are answered -LOADING.
  void SetLoading(bool loading) { loading_ = loading; }
  [[nodiscard]] bool loading() const { return loading_; }

 private:
  struct Shutdown {
    ShutdownOptions options;
    std::vector<std::function<void(Result<void>)>> refused;  // of all who asked
    int64_t deadline_ms = 0;
    bool saving = false, saved = false, marked = false;
  };

  // dispatcher.cpp
  void Run(Client& client, const CommandSpec& spec, std::span<const std::string_view> args);
  // What a reply waits for. `of_data`: it tells of data, and members of the group must have that, too.
  struct ReplyGate {
    uint64_t offset = 0;
    bool of_data = false;
  };
  void RunHandler(Client& client, const CommandSpec& spec, std::span<const std::string_view> args, Reply& reply,
                  ReplyGate* gate);
  void Feed(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args);
  void Count(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args, const Reply& reply,
             size_t reply_begin, int64_t duration_us);
  void FinishReply(Client& client, size_t reply_begin, ReplyGate gate, bool was_skipping);
  void GateOutput(Client& client, ReplyGate gate, bool push = false);
  void CloseHttp(Client& client);
  void Refused(Client& client, const CommandSpec* spec, const std::string& error);
  void CountError(std::string_view reply);
  void CheckOutputLimit(Client& client);
  void Postpone(Client& client);
  void SlowWriter(Client& client);

  // server.cpp
  void AdoptEngine();
  void ForgetOldHistory();
  [[nodiscard]] bool BatchInFlight() const { return batch_log_ != nullptr; }
  void CronHundredMs();
  void CheckIdleClients();
  void CheckSoftLimits();
  void ActiveExpiry();
  void FlushGatedOutput();
  void ReleaseHeldReplies(bool all);
  void CloseGatedClients(wal::Log& old_log);
  void FlushReady();
  void ResumePostponed();
  void ScheduleIdleMark();
  void IdleMark();

  // shutdown.cpp
  void ShutdownStep();
  void SaveForShutdown();
  void RefuseShutdown(const Error& error);

  Parts parts_;
  CommandTable commands_;
  ClientRegistry clients_;
  Watches watches_;
  PubSub pubsub_;
  Blocking blocking_;
  Monitoring monitoring_;
  std::unique_ptr<ReplicationService> replication_;
  std::string run_id_;
  int64_t started_us_ = 0;                 // monotonic
  int64_t now_ms_ = 0, monotonic_us_ = 0;  // 0: not yet read in this turn
  int64_t command_us_ = 0;                 // monotonic, the end of the last command; 0: it was not just now
  std::vector<std::string_view> prefetch_keys_;
  ColdReads cold_reads_;
  uint64_t cron_ticks_ = 0;

  // The log of the batch in flight; the engine it belongs to may have been replaced meanwhile.
  wal::Log* batch_log_ = nullptr;
  int64_t batch_us_ = 0;  // written by the thread that writes the batch
  std::unique_ptr<wal::Engine> retired_engine_;

  uint64_t sealed_offset_ = 0;  // end of the newest sealed batch
  uint64_t sealed_batches_ = 0, finished_batches_ = 0;
  int64_t last_sync_ms_ = 0;
  bool sync_soon_ = false;
  bool idle_mark_scheduled_ = false;
  uint64_t idle_mark_offset_ = 0;  // appended end when the idle mark was scheduled

  std::vector<ClientId> gated_;      // with closed gates
  std::vector<ClientId> held_;       // whose reply waits for a batch
  std::vector<ClientId> ready_;      // output came from elsewhere
  std::vector<ClientId> postponed_;  // CLIENT PAUSE, slowed writers
  Client* executing_ = nullptr;      // its reply is being written: pushes to it wait
  std::string deferred_push_;
  uint64_t deferred_gate_ = 0;
  int64_t buffer_bytes_ = 0;
  uint64_t layer_bytes_ = 0;                                // of the store and the log, as of the last 100 ms
  bool keyspace_events_ = false, keyevent_events_ = false;  // which of the two channels are wanted
  int64_t next_http_warning_ms_ = 0;                        // monotonic
  bool expiring_ = false;
  bool postpone_timer_ = false;
  bool loading_ = false;

  std::optional<Shutdown> shutdown_;
  std::function<void(bool)> shutdown_listener_;
  Migrations migrations_{*parts_.clock};  // the last member: its threads end before all else
};

}  // namespace holdfast::net
