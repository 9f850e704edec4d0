// The driver: roles, attached replicas, and the server's hooks.
#include "net/replication_driver.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "storage/base/diag.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

using replication::HistoryClaim;

namespace {

constexpr std::string_view kPing = "*1\r\n$4\r\nPING\r\n";
constexpr int64_t kSharedSnapshotIdleMs = 60'000;
constexpr int64_t kApplyBiteUs = 1000;  // of what a master sent, then clients have a turn

// What the replica said of itself in REPLCONF, "" if nothing.
std::string_view ReplicaOption(const Client& client, std::string_view name) {
  for (const auto& [key, value] : client.replica_options) {
    if (EqualsIgnoreCase(key, name)) return value;
  }
  return {};
}

// "<offset> <size> <bytes received> <name>" of a transfer that broke.
std::optional<replication::SnapshotBegin> ParsePartial(std::string_view text) {
  replication::SnapshotBegin partial;
  for (uint64_t* number : {&partial.offset, &partial.size, &partial.start}) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    if (error != std::errc() || end == text.data() + text.size() || *end != ' ') return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  }
  partial.name = text;
  return partial;
}

// "10.0.0.1:5000" and "[fe80::1]:5000": the address alone, as it is connected to.
std::string HostOf(std::string_view address) {
  std::string_view host = address.substr(0, address.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

void SetCapability(Client& client, ReplicaCapability capability, bool on) {
  if (on) {
    client.replica_capabilities |= capability;
  } else {
    client.replica_capabilities &= ~static_cast<uint32_t>(capability);
  }
}
}  // namespace

std::unique_ptr<ReplicationService> CreateReplicationDriver(Server& server, Executor& executor) {
  return std::make_unique<ReplicationDriver>(server, executor);
}

ReplicationDriver::ReplicationDriver(Server& server, Executor& executor)
    : server_(server),
      executor_(executor),
      calls_(server.clock()),
      from_master_(executor, server.clock(), kApplyBiteUs) {
  server_.engine().SetApplyObserver(this);
  link_down_since_ms_ = server_.MonotonicMs();
  tails_ = wal::CountTails(server_.fs(), server_.directory().path());
  ReadRole();
  diag::SetRole(IsReplica() ? 'S' : 'M');
  BeginConfirming();
  if (IsReplica()) {
    Post([this] {
      if (!stopped_) Connect();
    });
  }
}

ReplicationDriver::~ReplicationDriver() { Shutdown(); }

// ---- role -----------------------------------------------------------------------------------------------------------

void ReplicationDriver::ReadRole() {
  Settings& settings = server_.config().mutable_settings();
  const replication::MasterAddress configured = settings.replicaof;
  std::optional<replication::RoleRecord> record;
  wal::Log& log = server_.log();
  if (!log.role().empty()) {
    auto parsed = replication::ParseRole(log.role());
    if (parsed.ok()) {
      record = std::move(*parsed);
    } else {
      diag::Warning("The role kept in the log cannot be used, the configuration decides: {}", parsed.error().message);
    }
  }
  const replication::MasterAddress master = replication::RoleAtBoot(record, configured);
  if (record && record->master != master) {
    diag::Notice("The configured role was changed since the last start and is taken up");
  } else if (master != configured) {
    diag::Notice("Taking up the role given at run time: {}",
                 master ? fmt::format("replica of {}:{}", master->first, master->second) : "master");
  }
  const bool fresh = !record.has_value();
  replication::RoleRecord wanted = record.value_or(replication::RoleRecord{});
  wanted.master = master;
  wanted.configured = replication::HashOf(configured);
  if (fresh) {
    // Nothing says where this data comes from: it counts as our own.
    for (const auto& entry : log.lineage().entries()) replication::AddIdMadeHere(wanted, entry.id);
  }
  // The same for min-replicas-durable, which CONFIG SET may have changed for the whole group.
  const auto configured_durable = static_cast<int>(settings.min_replicas_durable);
  if (!fresh && wanted.configured_durable == configured_durable && !Group().nodes.empty() && !master) {
    settings.min_replicas_durable = Group().durable;
  }
  wanted.configured_durable = configured_durable;
  settings.replicaof = master;
  role_ = wanted;
  if (!record || *record != role_) WriteRoleFrame();
}

void ReplicationDriver::WriteRoleFrame() {
  wal::Log& log = server_.log();
  // Not the clock: a later frame of a master must not seem to go back in time.
  log.AppendControl(wal::FrameKind::kRole, replication::FormatRole(role_), log.EndPosition().time_ms);
  role_ticket_ = server_.CommitTicket();
  server_.SyncSoon();
}

void ReplicationDriver::ConfigRewritten() {
  const Config& config = server_.config();
  if (!config.GivenOutsideFiles("replicaof")) role_.configured = replication::HashOf(config.settings().replicaof);
  if (!config.GivenOutsideFiles("min-replicas-durable")) {
    role_.configured_durable = static_cast<int>(config.settings().min_replicas_durable);
  }
  KeepConfigured();
}

void ReplicationDriver::KeepConfigured() {
  wal::Log& log = server_.log();
  if (loading_ || log.InsideUnit() || log.role() == replication::FormatRole(role_)) return;
  WriteRoleFrame();
}

Result<void> ReplicationDriver::Follow(const std::string& host, int port) {
  if (host.empty() || host.size() > replication::kHostBytesMax || host.find_first_of(" \r\n\t") != std::string::npos) {
    return Error{ErrorCode::kInvalidArgument, "Invalid master host"};
  }
  if (port <= 0 || port > 65535) return Error{ErrorCode::kInvalidArgument, "Invalid master port"};
  const bool was_master = !IsReplica();
  candidacy_.reset();
  fetch_from_.reset();
  promotion_failure_ = "this server was told to follow another one";
  AnswerTakeovers(std::nullopt);
  promotion_failure_.clear();
  StopLink();
  copy_wanted_ = false;
  refusals_ = 0;
  role_.master = std::make_pair(host, port);
  role_.operator_consents = true;
  server_.config().mutable_settings().replicaof = role_.master;
  WriteRoleFrame();
  if (was_master) {
    server_.blocking().UnblockAll(
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)");
    server_.GiveUpUnconfirmed(0);
    BeginConfirming();
    link_down_since_ms_ = server_.MonotonicMs();
  }
  diag::SetRole('S');
  diag::Notice("REPLICAOF {}:{} enabled", host, port);
  backoff_.Reset();
  Connect();
  return {};
}

// ---- attached replicas ----------------------------------------------------------------------------------------------

ReplicaFeeder& ReplicationDriver::Feeder() {
  if (feeder_) return *feeder_;
  FeedEvents events;
  events.decided = [this](std::shared_ptr<FeedStatus> status, FeedOutcome outcome, std::string reason) {
    Post([this, status, outcome, reason] { Decided(status, outcome, reason); });
  };
  events.snapshot_wanted = [this](const std::optional<RedisRequest>& redis) {
    Post([this, redis] {
      if (stopped_) return;
      if (redis && redis->without_data) return HandOutEmptyRdb();
      if (redis) rdb_wanted_ = true;
      if (redis) snapshot_floor_ = std::max(snapshot_floor_, redis->from_offset);
      WantSnapshot();
    });
  };
  events.acks_changed = [this] {
    Post([this] {
      server_.blocking().Recheck();
      if (stopped_) return;
      NoteAcks();
      FailoverStep();
    });
  };
  events.closed = [this](std::shared_ptr<FeedStatus> status, std::string reason) {
    Post([this, status, reason] { FeedClosed(status, reason); });
  };
  feeder_ = std::make_unique<ReplicaFeeder>(server_.clock(), server_.fs(), std::move(events));
  return *feeder_;
}

void ReplicationDriver::HandleReplconf(Client& client, std::span<const std::string_view> args, Reply& reply) {
  if (args.size() % 2 == 0) return reply.Error("ERR syntax error");
  bool history = false;
  std::vector<std::pair<std::string, std::string>> options;
  for (size_t i = 1; i + 1 < args.size(); i += 2) {
    const std::string_view name = args[i], value = args[i + 1];
    if (EqualsIgnoreCase(name, "listening-port")) {
      const auto port = ParseInteger(value);
      if (!port || *port < 0 || *port > 65535) return reply.Error("ERR value is not an integer or out of range");
      client.replica_listening_port = static_cast<int>(*port);
    } else if (EqualsIgnoreCase(name, "ip-address")) {
      if (value.size() > replication::kHostBytesMax) {
        return reply.Error(
            fmt::format("ERR REPLCONF ip-address provided by replica instance is too long: {} bytes", value.size()));
      }
      client.replica_announced_ip = value;
    } else if (EqualsIgnoreCase(name, "capa")) {
      if (EqualsIgnoreCase(value, "eof")) SetCapability(client, kReplicaTakesEof, true);
      if (EqualsIgnoreCase(value, "psync2")) SetCapability(client, kReplicaKnowsPsync2, true);
      if (EqualsIgnoreCase(value, "holdfast1")) SetCapability(client, kReplicaIsHoldfast, true);
    } else if (EqualsIgnoreCase(name, "ack") || EqualsIgnoreCase(name, "fack")) {
      return;  // of an attached replica only, whose link is not served here; never answered
    } else if (EqualsIgnoreCase(name, "getack") || EqualsIgnoreCase(name, "version")) {
      continue;
    } else if (EqualsIgnoreCase(name, "rdb-only")) {
      const auto flag = ParseInteger(value);
      if (!flag) return reply.Error("ERR value is not an integer or out of range");
      SetCapability(client, kReplicaWantsRdbOnly, *flag == 1);
    } else if (EqualsIgnoreCase(name, "rdb-filter-only")) {
      // There are no functions here, so all that may be filtered in is nothing.
      if (!value.empty() && !EqualsIgnoreCase(value, "functions")) {
        return reply.Error(fmt::format("ERR Unsupported rdb-filter-only option: {}", value));
      }
      SetCapability(client, kReplicaWantsNoData, true);
    } else if (EqualsIgnoreCase(name, "holdfast-node")) {
      if (value == server_.run_id()) return reply.Error("HOLDFAST a server cannot follow itself");
    } else if (EqualsIgnoreCase(name, "holdfast-history")) {
      auto claim = replication::ParseClaim(value);
      if (!claim.ok()) return reply.Error("HOLDFAST " + claim.error().message);
      options.emplace_back(name, value);
      history = true;
    } else if (EqualsIgnoreCase(name, "holdfast-fork") || EqualsIgnoreCase(name, "holdfast-id")) {
      options.emplace_back(name, value.substr(0, replication::kHostBytesMax));
    } else if (EqualsIgnoreCase(name, "holdfast-partial")) {
      options.emplace_back(name, value.substr(0, 2 * replication::kSnapshotNameMax));
    } else {
      return reply.Error(fmt::format("ERR Unrecognized REPLCONF option: {}", name));
    }
  }
  if (history) {
    client.replica_options = std::move(options);
    // What is not on disk yet nobody learns of: the answer waits for it.
    const wal::Log& log = server_.log();
    const uint64_t end = RoleSettled() ? log.DurableOffset() : log.AppendedOffset();
    server_.HoldForRole(client);
    return reply.Status("HOLDFAST 1 " + replication::FormatOffer({log.lineage(), end}));
  }
  reply.Ok();
}

Result<std::optional<HistoryClaim>> ReplicationDriver::ClaimOf(Client& client, std::span<const std::string_view> args) {
  if (args.size() < 3 || args[1] == "?") return std::optional<HistoryClaim>();
  const auto offset = ParseInteger(args[2]);
  if (!offset || *offset < 1) return Error{ErrorCode::kInvalidArgument, "PSYNC with an impossible offset"};
  const std::string_view history = ReplicaOption(client, "holdfast-history");
  if (history.empty()) return Error{ErrorCode::kInvalidArgument, "PSYNC without REPLCONF holdfast-history"};
  ASSIGN_OR_RETURN(HistoryClaim claim, replication::ParseClaim(history));
  if (!EqualsIgnoreCase(claim.lineage.current_id(), args[1]) ||
      claim.end_offset + 1 != static_cast<uint64_t>(*offset)) {
    return Error{ErrorCode::kInvalidArgument, "PSYNC does not ask for what REPLCONF holdfast-history names"};
  }
  return std::optional<HistoryClaim>(std::move(claim));
}

void ReplicationDriver::HandlePsync(Client& client, std::span<const std::string_view> args, Reply& reply) {
  if (stopped_ || server_.ShuttingDown()) return reply.Error("NOMASTERLINK This server is shutting down");
  if (failover_) return reply.Error("NOMASTERLINK Can't SYNC while failing over");
  if (server_.LacksExpectedData()) {
    return reply.Error("NOMASTERLINK This server expects data (expect-data yes) and has none: it is no master");
  }
  if (args.size() > 3 && EqualsIgnoreCase(args[3], "failover") && !TakeOver(client, args, reply)) return;
  std::optional<RedisRequest> redis;
  if ((client.replica_capabilities & kReplicaIsHoldfast) == 0) redis = RedisRequestOf(client, args);
  auto claim = redis ? RedisClaimOf(args) : ClaimOf(client, args);
  if (!claim.ok()) return reply.Error("ERR " + claim.error().message);
  if (!RoleSettled()) {
    client.blocked = Client::Blocked::kCommit;
    waiting_replicas_.push_back({client.id, std::move(*claim), redis});
    return;
  }
  Attach(client, std::move(*claim), redis);
}

void ReplicationDriver::AttachWaiting() {
  if (waiting_replicas_.empty() || !RoleSettled()) return;
  for (WaitingReplica& waiting : std::exchange(waiting_replicas_, {})) {
    Client* client = server_.clients().Find(waiting.client);
    if (client == nullptr) continue;
    client->blocked = Client::Blocked::kNo;
    if (waiting.has_more) {
      Reply(client->output.bytes, client->resp).Error("HOLDFAST TOOKOVER");
      server_.Unblock(*client);
      continue;
    }
    Attach(*client, std::move(waiting.claim), waiting.redis);
  }
}

void ReplicationDriver::Attach(Client& client, std::optional<HistoryClaim> claim, std::optional<RedisRequest> redis) {
  wal::Log& log = server_.log();
  FeedRequest request;
  request.address = client.replica_announced_ip;
  if (request.address.empty()) request.address = HostOf(client.peer_address);
  request.port = client.replica_listening_port;
  if (!client.is_unix_socket) own_address_ = HostOf(client.local_address);
  request.node_id = ReplicaOption(client, "holdfast-id");
  request.client_id = client.id;
  request.peer_address = client.peer_address;
  request.local_address = client.local_address;
  request.created_ms = client.created_ms;
  request.fork = ReplicaOption(client, "holdfast-fork") == "1";
  request.partial = ParsePartial(ReplicaOption(client, "holdfast-partial"));
  request.group = log.membership();
  request.log = &log;
  if (claim) request.pin = log.PinFrom(claim->end_offset);
  request.past = replication::PastOf(log);  // looked at after the pin is set: from here on it holds
  if (IsReplica() && !LinkUp()) request.full_sync_refusal = "Can't SYNC while not connected with my master";
  request.claim = std::move(claim);
  request.redis = redis;
  // One without data is made at once, of nothing: there is nothing that it could lack.
  if (redis && redis->snapshot_only && !redis->without_data) request.redis->from_offset = log.AppendedOffset();
  diag::Notice("{}eplica {}:{} asks for synchronization{}", redis ? "Redis r" : "R", request.address, request.port,
               request.claim ? fmt::format(" from offset {}", request.claim->end_offset) : "");
  Feeder().SetLimits(FeedLimits());
  Feeder().Durable(log.DurableOffset());
  client.kind = ClientKind::kReplica;
  const int fd = client.transport->ReleaseSocket(&request.unread);
  if (fd < 0) return;
  request.fd = fd;
  replicas_.push_back(Feeder().Add(std::move(request)));
}

void ReplicationDriver::Decided(const std::shared_ptr<FeedStatus>& status, FeedOutcome outcome,
                                const std::string& reason) {
  Stats& stats = server_.monitoring().stats;
  switch (outcome) {
    case FeedOutcome::kContinued:
      ++stats.sync_partial_ok;
      diag::Notice("Partial resynchronization request from {}:{} accepted, {}", status->address, status->port, reason);
      break;
    case FeedOutcome::kFullSync:
      ++stats.sync_full;
      last_full_sync_reason_ = reason;
      diag::Notice("Full synchronization of replica {}:{}: {}", status->address, status->port, reason);
      break;
    case FeedOutcome::kRefused:
      ++stats.sync_partial_err;
      diag::Warning("REFUSED replica {}:{}: {}", status->address, status->port, reason);
      break;
  }
}

void ReplicationDriver::FeedClosed(const std::shared_ptr<FeedStatus>& status, const std::string& reason) {
  diag::Notice("Connection with replica {}:{} ended: {}", status->address, status->port, reason);
  std::erase(replicas_, status);
  confirmation_.Gone(status->node_id);
  if (!stopped_) NoteAcks();  // it may have come back on another connection
  if (!stopped_) server_.blocking().Recheck();
}

bool ReplicationDriver::LinkUp() const { return IsReplica() && linked_; }

bool ReplicationDriver::LoadingSnapshot() const { return loading_; }

template <typename Predicate>
int ReplicationDriver::CountNodes(const Predicate& holds) const {
  int count = 0;
  for (auto at = replicas_.begin(); at != replicas_.end(); ++at) {
    const std::string& id = (*at)->node_id;
    const auto same = [&](const auto& other) { return !id.empty() && other->node_id == id && holds(*other); };
    if (holds(**at) && std::none_of(replicas_.begin(), at, same)) ++count;
  }
  return count;
}

int ReplicationDriver::GoodReplicas(int64_t max_lag_seconds) const {
  const int64_t now_ms = server_.MonotonicMs();
  return CountNodes([&](const FeedStatus& status) {
    return status.state == FeedState::kOnline && status.acknowledges &&
           (max_lag_seconds == 0 || (now_ms - status.last_ack_ms) / 1000 <= max_lag_seconds);
  });
}

int ReplicationDriver::AttachedReplicas() const {
  return static_cast<int>(std::count_if(replicas_.begin(), replicas_.end(),
                                        [](const auto& status) { return status->state == FeedState::kOnline; }));
}

int ReplicationDriver::ReplicasAcked(uint64_t offset) const {
  return CountNodes([offset](const FeedStatus& status) {
    return status.state == FeedState::kOnline && status.acknowledges && status.acked_offset >= offset;
  });
}

int ReplicationDriver::ReplicasDurable(uint64_t offset) const {
  return CountNodes([offset](const FeedStatus& status) {
    return !status.redis && status.state == FeedState::kOnline && status.acknowledges && status.acked_offset >= offset;
  });
}

// ---- the server's hooks ---------------------------------------------------------------------------------------------

void ReplicationDriver::OnDurable(uint64_t durable_offset) {
  AttachWaiting();
  UpdateFence();
  if (candidacy_) CandidacyStep();
  NoteDurable(durable_offset);
  if (feeder_ && !replicas_.empty()) feeder_->Durable(durable_offset);
  if (receiver_ && linked_) TellDurable();
}

void ReplicationDriver::OnTick(int64_t monotonic_ms) {
  if (stopped_) return;
  if (snapshot_wanted_ && !snapshot_running_) WantSnapshot();
  if (SnapshotInUse()) snapshot_used_ms_ = monotonic_ms;  // a broken transfer may want to go on
  if (snapshot_ && monotonic_ms - snapshot_used_ms_ > kSharedSnapshotIdleMs) {
    snapshot_.reset();
    rdb_.reset();
  }
  if (feeder_) feeder_->SetLimits(FeedLimits());
  if (receiver_) receiver_->SetTimeout(server_.config().settings().repl_timeout * 1000);
  KeepLogForReplicas(monotonic_ms);
  if (feeder_) server_.monitoring().stats.repl_output_bytes = feeder_->SentBytes();
  if (receiver_) server_.monitoring().stats.repl_input_bytes = receiver_->progress().received_bytes;
  KeepConfigured();
  GroupStep();
  CompareStep();
  FailoverStep();
  PingWhenIdle(monotonic_ms);
  // While the next copy is loaded, its generation is none of the old ones, and has no name in CURRENT yet.
  if (old_generations_ && !loading_ && !server_.HasRetiredEngine()) {
    old_generations_ = false;
    if (auto removed = server_.directory().RemoveOldGenerations(); !removed.ok()) {
      diag::Warning("The old data could not be removed, the next start tries again: {}", removed.error().message);
    }
  }
}

// The one master of a history shows that it lives; the nodes below pass it on and add nothing.
void ReplicationDriver::PingWhenIdle(int64_t monotonic_ms) {
  const uint64_t end = server_.log().AppendedOffset();
  if (end != idle_offset_ || idle_since_ms_ == 0) {
    idle_offset_ = end;
    idle_since_ms_ = monotonic_ms;
  }
  if (IsReplica() || server_.ShuttingDown() || failover_ || AttachedReplicas() == 0) return;
  if (monotonic_ms - idle_since_ms_ < server_.config().settings().repl_ping_replica_period * 1000) return;
  if (server_.engine().WriteRefusal()) return;
  AppendPing();
}

void ReplicationDriver::AppendPing() { server_.log().AppendUnit(kPing, server_.log().SelectedDb(), server_.NowMs()); }

void ReplicationDriver::OnEngineReplaced() {
  server_.engine().SetApplyObserver(this);
  role_ticket_ = 0;  // the new generation was made with the role in its log
  own_digest_ = {};
  BeginConfirming();
}

void ReplicationDriver::Shutdown() {
  if (stopped_) return;
  stopped_ = true;
  ReleasePins();
  ++epoch_;
  ++load_;
  if (receiver_) receiver_->Stop();
  loader_.Cancel();
  if (feeder_) feeder_->Stop();
  calls_.Stop();
  rdb_cancelled_ = true;
  rdb_thread_.reset();
  rdb_.reset();
  snapshot_.reset();
  server_.engine().SetApplyObserver(nullptr);
}

void ReplicationDriver::UnitApplied(uint64_t, const std::vector<Transaction::Touched>& keys) {
  if (server_.blocking().HasKeyWaits()) {
    for (const auto& key : keys) server_.blocking().Touched(key);
  }
  if (server_.watches().empty()) return;
  for (const auto& key : keys) server_.watches().Touched(key, nullptr);
}

// What is applied is told of as other writes are: when it is on disk. A Redis master's is appended only after this.
void ReplicationDriver::KeysChanged(const std::vector<KeyEvent>& events, uint64_t unit_end) {
  server_.TellKeyEvents(events, unit_end);
}

void ReplicationDriver::Published(std::string_view channel, std::string_view message, uint64_t unit_end) {
  server_.pubsub().Publish(channel, message, unit_end);
}

void ReplicationDriver::ShardPublished(std::string_view channel, std::string_view message, uint64_t unit_end) {
  server_.pubsub().PublishShard(channel, message, unit_end);
}

void ReplicationDriver::AckRequested(uint64_t) {}  // each sync acks

}  // namespace holdfast::net
