// Server::Execute and what belongs to it: one command from admission to gated reply.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "net/admission.h"
#include "net/server.h"
#include "storage/base/diag.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

constexpr size_t kErrorCodesMax = 128;
constexpr int64_t kHttpWarningMs = 60'000;  // one line of the log in that time

// Writers are slowed from this write pressure on; each write then owes a time that grows to kDebtMaxUs at pressure 1.
constexpr double kSlowFrom = 0.6;
constexpr double kDebtMaxUs = 2000;
constexpr uint32_t kDebtDueUs = 1000;

// Rows beyond these would push the first ones out of the cache again.
constexpr size_t kPrefetchedKeysMax = 64;
// Rows fetched ahead of one batch, and what may be the name of one.
constexpr size_t kColdRowsMax = 1024;
constexpr size_t kColdMemberMax = 512;
// A command that took so long may have waited for the disk.
constexpr int64_t kPerhapsColdUs = 1000;

// Whether a command of sorted sets names places by rank alone, and from which end.
WantedKey::Ranks RanksOf(const CommandSpec& spec, std::span<const std::string_view> args) {
  if ((spec.categories & kCatSortedSet) == 0 || spec.name.find("range") == std::string_view::npos) {
    return WantedKey::Ranks::kNone;
  }
  const auto has = [args](std::string_view option) {
    return std::any_of(args.begin(), args.end(), [option](auto word) { return EqualsIgnoreCase(word, option); });
  };
  const bool by_other = spec.name.ends_with("byscore") || spec.name.ends_with("bylex");
  if (by_other || has("byscore") || has("bylex")) return WantedKey::Ranks::kNone;
  const bool reverse = spec.name.starts_with("zrev") || has("rev");
  return reverse ? WantedKey::Ranks::kFromHighest : WantedKey::Ranks::kFromLowest;
}

// A write's effects hold little more than its arguments, and DELs of keys among them whose time has passed. What logs
// more than it was given asks for itself (SPOP). A client's request must not make a unit that the log cannot take.
Result<void> CheckRoomInUnit(const CommandSpec& spec, std::span<const std::string_view> args, const Transaction& tx) {
  if ((spec.flags & (kWrite | kPubSubCommand)) == 0 || (spec.flags & kNoTransaction) != 0) return {};
  uint64_t bytes = 0;
  uint64_t largest = 0;  // a value; an expired key as large is looked at where it is deleted
  for (const std::string_view arg : args) {
    bytes += arg.size();
    largest = std::max<uint64_t>(largest, arg.size());
  }
  return tx.CheckRoom(bytes + (bytes - largest), args.size() + 8);
}

// The line of a request that a web page can have a browser send here, with commands of its own behind it.
bool IsHttp(std::string_view name) { return EqualsIgnoreCase(name, "post") || EqualsIgnoreCase(name, "host:"); }

std::string_view FirstWord(std::string_view line) { return line.substr(0, line.find_first_of(" \r\n")); }

}  // namespace

void Server::Prefetch(const Client& client, CommandBatch& batch) {
  if (store().HasWalksAhead()) cold_reads_.MakeWalks(store());
  prefetch_keys_.clear();
  bool to_write = false;
  for (size_t i = 0; i < batch.size(); ++i) {
    const std::span<const std::string_view> args = batch.args(i);
    const CommandSpec* spec = commands_.Find(args[0]);
    batch.SetSpec(i, spec);
    if (spec == nullptr || spec->keys.first <= 0) continue;
    to_write |= (spec->flags & kWrite) != 0;
    const auto count = static_cast<int>(args.size());
    const int last = spec->keys.last < 0 ? count + spec->keys.last : std::min(spec->keys.last, count - 1);
    for (int key = spec->keys.first; key <= last && prefetch_keys_.size() < kPrefetchedKeysMax;
         key += spec->keys.step) {
      prefetch_keys_.push_back(args[static_cast<size_t>(key)]);
    }
  }
  if (!prefetch_keys_.empty()) store().Prefetch(client.db, prefetch_keys_, to_write);
}

bool Server::FetchColdRows(const Client& client, const CommandBatch& batch, std::function<void()> done) {
  if (!cold_reads_.Wanted() || !client.authenticated) return false;
  std::vector<WantedKey> wanted;
  size_t rows = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const std::span<const std::string_view> args = batch.args(i);
    const CommandSpec* spec = batch.spec(i);
    if (spec == nullptr) continue;
    const std::vector<int> keys = CommandTable::KeyIndexes(*spec, args);
    for (const int key : keys) {
      if (static_cast<size_t>(key) >= args.size()) continue;  // too few arguments: refused when it runs
      if (rows >= kColdRowsMax) break;
      auto want = store().WantFromLmdb(client.db, args[static_cast<size_t>(key)]);
      if (!want.has_value()) continue;
      // Fields, members: what is none costs a look for nothing.
      const bool has_members = keys.size() == 1 && (spec->categories & (kCatHash | kCatSet | kCatSortedSet)) != 0;
      const size_t step = spec->name == "hset" || spec->name == "hmset" ? 2 : 1;
      for (size_t at = static_cast<size_t>(key) + 1; has_members && at < args.size() && rows < kColdRowsMax;
           at += step) {
        if (args[at].size() > kColdMemberMax) continue;
        want->members.emplace_back(args[at]);
        ++rows;
      }
      want->ranks = RanksOf(*spec, args);
      ++rows;
      wanted.push_back(std::move(*want));
    }
  }
  if (wanted.empty()) return false;
  cold_reads_.Fetch(store(), std::move(wanted), std::move(done));
  return true;
}

void Server::Execute(Client& client, std::span<const std::string_view> args, const CommandSpec* spec) {
  if (args.empty()) return;
  if (spec == nullptr && IsHttp(args[0])) return CloseHttp(client);
  client.retry_command = false;
  client.last_interaction_ms = MonotonicMs();
  Admission admission{.server = *this, .client = client, .args = args, .spec = spec, .error = {}};
  switch (admission.Decide()) {
    case Verdict::kRun:
      return Run(client, *admission.spec, args);
    case Verdict::kRefused:
      return Refused(client, admission.spec, admission.error);
    case Verdict::kQueued: {
      size_t begin = client.output.bytes.size();
      client.output.bytes += "+QUEUED\r\n";
      return FinishReply(client, begin, {}, client.reply_mode == Client::ReplyMode::kSkipping);
    }
    case Verdict::kPostponed:
      client.retry_command = true;
      Postpone(client);
  }
}

void Server::CloseHttp(Client& client) {
  if (MonotonicMs() >= next_http_warning_ms_) {
    diag::Warning(
        "Client {} closed: it sent a request of HTTP (POST, Host:). A web page may be trying to send commands here "
        "through somebody's browser",
        client.peer_address);
    next_http_warning_ms_ = MonotonicMs() + kHttpWarningMs;
  }
  client.close_asap = true;
  if (client.transport != nullptr) client.transport->Close(true);
}

void Server::Refused(Client& client, const CommandSpec* spec, const std::string& error) {
  size_t begin = client.output.bytes.size();
  Reply reply(client.output.bytes, client.resp);
  if (spec != nullptr) ++spec->rejected;
  if (client.multi.active && spec != nullptr && spec->name == "exec") {
    reply.Error("EXECABORT Transaction discarded because of: " + error);
    watches_.Unwatch(client);
    client.multi = TransactionState{};
  } else {
    if (client.multi.active) client.multi.dirty_exec = true;
    reply.Error(error);
  }
  CountError(std::string_view(client.output.bytes).substr(begin));
  FinishReply(client, begin, {}, client.reply_mode == Client::ReplyMode::kSkipping);
}

void Server::Run(Client& client, const CommandSpec& spec, std::span<const std::string_view> args) {
  if (client.last_command != &spec) {
    client.last_command = &spec;
    client.last_command_name = spec.name;
  }
  bool was_skipping = client.reply_mode == Client::ReplyMode::kSkipping;
  size_t begin = client.output.bytes.size();
  Reply reply(client.output.bytes, client.resp);
  ReplyGate gate;
  // One look at the clock a command: it begins when the one before it ended.
  const int64_t started_us = command_us_ != 0 ? command_us_ : clock().MonotonicUs();
  executing_ = &client;
  RunHandler(client, spec, args, reply, &gate);
  executing_ = nullptr;
  ++client.commands_total;
  command_us_ = clock().MonotonicUs();
  Count(client, spec, args, reply, begin, command_us_ - started_us);
  if (command_us_ - started_us > kPerhapsColdUs) {
    cold_reads_.Tick(MonotonicMs(), config().settings().prefetch_cold_reads);
  }
  // Confirmations of subscriptions are pushes: no reply that CLIENT REPLY could switch off.
  if (reply.HasPush() && spec.name != "exec") begin = client.output.bytes.size();
  FinishReply(client, begin, gate, was_skipping);
  Feed(client, spec, args);  // now: what EXEC ran comes before it
  blocking_.ServeTouched();
  if ((spec.flags & kWrite) != 0) SlowWriter(client);
}

void Server::RunHandler(Client& client, const CommandSpec& spec, std::span<const std::string_view> args, Reply& reply,
                        ReplyGate* gate) {
  const uint32_t flags = spec.flags | (client.multi.active && spec.name == "exec" ? client.multi.flags : 0);
  gate->of_data = (flags & (kWrite | kReadOnly)) != 0;
  if ((spec.flags & kNoTransaction) != 0) {
    CommandContext context{*this, client, spec, args, reply, nullptr};
    spec.handler(context);
    // Asked after the handler: what it saw was appended before it ended. Nothing of a unit that is still being received
    // can be seen, and its end may never come.
    if ((spec.flags & kUnkeyedRead) != 0) gate->offset = log().UnitsEnd();
    return;
  }
  Transaction& tx = store().Begin(TransactionMode::kLive, client.db, NowMs());
  CommandContext context{*this, client, spec, args, reply, &tx};
  if (const auto room = CheckRoomInUnit(spec, args, tx); room.ok()) {
    spec.handler(context);
  } else {
    reply.Error(room.error());
  }
  if ((spec.flags & kUnkeyedRead) != 0) tx.SawEverything();
  // EXEC's null tells of a write, whatever was queued.
  if (spec.name == "exec") gate->of_data = gate->of_data || tx.seen_offset() > 0;
  gate->offset = CommitUnit(&client, tx);
  if (log().InsideUnit()) gate->offset = std::min(gate->offset, log().UnitsEnd());
  // Rows in LMDB do not know who wrote them: until all of it is confirmed, each may be news.
  if (gate->of_data && MembersFor(client) > 0) gate->offset = std::max(gate->offset, engine().RewindFloor());
}

void Server::ExecuteQueued(Client& client, const QueuedCommand& command, Transaction& tx, Reply& reply) {
  const CommandSpec& spec = *command.spec;
  std::vector<std::string_view> args(command.arguments.begin(), command.arguments.end());
  size_t begin = reply.size();
  bool had_error = reply.HasError();
  reply.ClearError();
  tx.SelectDb(client.db);
  int64_t started_us = clock().MonotonicUs();
  CommandContext context{*this, client, spec, args, reply, (spec.flags & kNoTransaction) != 0 ? nullptr : &tx, true};
  if ((spec.flags & kWrite) != 0 && replication().IsReplica() && client.kind != ClientKind::kMaster) {
    // A REPLICAOF before it in the same transaction: what is written now the new master would never get.
    reply.Error(kReadOnlyReplica);
  } else if (const auto room = CheckRoomInUnit(spec, args, tx); room.ok()) {
    spec.handler(context);
  } else {
    reply.Error(room.error());
  }
  if ((spec.flags & kUnkeyedRead) != 0) tx.SawEverything();
  // Now, and not when all have run: among what they publish, in order.
  if (tx.HasEvents()) TellKeyEvents(tx.TakeEvents(), UnitGate(tx));
  Count(client, spec, args, reply, begin, clock().MonotonicUs() - started_us);
  Feed(client, spec, args);
  if (had_error && !reply.HasError()) reply.RestoreError();
}

uint64_t Server::CommitUnit(Client* client, Transaction& tx) {
  if (!watches_.empty()) {
    for (const Transaction::Touched& touched : tx.touched()) watches_.Touched(touched, &tx);
  }
  if (blocking_.HasKeyWaits()) {
    for (const Transaction::Touched& touched : tx.touched()) blocking_.Touched(touched);
  }
  UnitResult unit = tx.Commit();
  if (tx.HasEvents()) TellKeyEvents(tx.TakeEvents(), std::max(unit.end_offset, unit.seen_offset));
  if (unit.effects > 0) {
    monitoring_.stats.changes_since_save += static_cast<int64_t>(unit.effects);
    if (client != nullptr) client->last_write_offset = unit.end_offset;
  }
  return std::max(unit.end_offset, unit.seen_offset);
}

std::optional<std::string> Server::WriteRefusal(const CommandSpec& spec) {
  return RefusalOfWrite(*this, spec.flags, (spec.flags & kFreesSpace) != 0);
}

void Server::CountError(std::string_view reply) {
  Stats& stats = monitoring_.stats;
  ++stats.error_replies;
  if (reply.empty() || reply[0] != '-') return;
  std::string code(FirstWord(reply.substr(1)));
  auto found = stats.errors_by_code.find(code);
  if (found != stats.errors_by_code.end()) {
    ++found->second;
  } else if (stats.errors_by_code.size() < kErrorCodesMax) {
    stats.errors_by_code.emplace(std::move(code), 1);
  }
}

void Server::Feed(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args) {
  if (monitoring_.HasMonitors() && (spec.flags & (kSkipMonitor | kAdmin)) == 0) monitoring_.Feed(client, spec, args);
}

void Server::Count(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args,
                   const Reply& reply, size_t reply_begin, int64_t duration_us) {
  ++monitoring_.stats.commands_processed;
  ++spec.calls;
  spec.usec += static_cast<uint64_t>(std::max<int64_t>(duration_us, 0));
  if (config().settings().latency_tracking) {
    auto rounded = static_cast<uint64_t>(std::max<int64_t>(duration_us, 1)) - 1;
    ++spec.latency[std::min<size_t>(static_cast<size_t>(std::bit_width(rounded)), spec.latency.size() - 1)];
  }
  if (reply.HasError()) {
    ++spec.failed;
    CountError(reply.written().substr(std::min(reply_begin, reply.size())));
  }
  monitoring_.CommandRan(client, spec, args, duration_us);
}

void Server::FinishReply(Client& client, size_t reply_begin, ReplyGate gate, bool was_skipping) {
  using Mode = Client::ReplyMode;
  if (client.reply_mode == Mode::kOff || (was_skipping && client.reply_mode != Mode::kOn)) {
    client.output.bytes.resize(std::min(reply_begin, client.output.bytes.size()));
  }
  // One that waits is answered later, or rather not: Blocking ends the skipping then.
  const bool waits = client.blocked != Client::Blocked::kNo && client.blocked != Client::Blocked::kThrottled &&
                     client.blocked != Client::Blocked::kCommit;
  if (client.reply_mode == Mode::kSkipping && was_skipping && !waits) client.reply_mode = Mode::kOn;
  if (client.reply_mode == Mode::kSkipNext) client.reply_mode = Mode::kSkipping;
  if (!deferred_push_.empty()) {
    client.output.bytes += deferred_push_;
    gate.offset = std::max(gate.offset, deferred_gate_);
    gate.of_data = true;
    deferred_push_.clear();
    deferred_gate_ = 0;
  }
  if (client.hold_ticket != 0 && client.blocked == Client::Blocked::kNo) {
    gate.offset = GatedOutput::kHeld;
    client.blocked = Client::Blocked::kCommit;
    held_.push_back(client.id);
  }
  GateOutput(client, gate);
  CheckOutputLimit(client);
}

int Server::MembersFor(const Client& client) {
  const int64_t wanted = config().settings().min_replicas_durable;
  if (wanted == 0 && client.durable_members <= 0) return 0;
  if (replication().IsReplica() || client.kind == ClientKind::kMaster) return 0;
  return client.durable_members >= 0 ? client.durable_members : replication().DurableMembers();
}

void Server::GiveUpUnconfirmed(int64_t waited_ms) {
  const uint64_t open = GateOffset();
  const std::span<const uint64_t> confirmed = replication().Confirmed();
  const auto error = [this, waited_ms](int members, uint64_t offset) {
    return fmt::format(
        "-NOTCONFIRMED durable here, not confirmed there: what this reply tells is on this node's disk, and within {} "
        "ms {} of {} members of the group have confirmed it. It may survive a failover, or be lost by one\r\n",
        waited_ms, replication().MembersWith(offset), members);
  };
  for (const ClientId id : gated_) {
    Client* client = clients_.Find(id);
    if (client == nullptr) continue;
    const size_t errors = client->output.GiveUp(open, confirmed, MonotonicMs() - waited_ms, error);
    monitoring_.stats.replies_not_confirmed += errors;
  }
  FlushGatedOutput();
}

void Server::GateOutput(Client& client, ReplyGate gate, bool push) {
  AwaitedMembers awaited;
  if (gate.of_data && gate.offset > 0 && gate.offset != GatedOutput::kHeld) {
    awaited.members = static_cast<uint16_t>(std::min(MembersFor(client), UINT16_MAX));
    awaited.push = push;
    awaited.since_ms = MonotonicMs();
  }
  client.output.Gate(gate.offset, GateOffset(), sealed_offset_, awaited);
  if (client.output.HasGates() && !client.gate_listed) {
    client.gate_listed = true;
    gated_.push_back(client.id);
  }
}

void Server::CheckOutputLimit(Client& client) {
  const Settings& settings = parts_.config->settings();
  const OutputBufferLimit& limit = client.kind == ClientKind::kPubSub ? settings.output_pubsub : settings.output_normal;
  size_t waiting = client.output.unsent();
  if (limit.hard_bytes == 0 || waiting <= limit.hard_bytes || client.close_asap || client.transport == nullptr) return;
  diag::Warning(
      "Client {} closed: its output buffer holds {} bytes, over the hard limit of {} (client-output-buffer-limit)",
      client.peer_address, waiting, limit.hard_bytes);
  ++monitoring_.stats.output_buffer_disconnections;
  client.close_asap = true;
  client.transport->Close(true);
}

void Server::Push(Client& client, std::string_view bytes, uint64_t gate_offset) {
  if (client.transport == nullptr || client.close_asap) return;
  if (&client == executing_) {
    // In the middle of its own reply: behind it.
    deferred_push_ += bytes;
    deferred_gate_ = std::max(deferred_gate_, gate_offset);
    return;
  }
  client.output.bytes += bytes;
  GateOutput(client, {gate_offset, true}, true);
  CheckOutputLimit(client);
  if (!client.ready_listed && client.transport != nullptr) {
    client.ready_listed = true;
    ready_.push_back(client.id);
  }
}

void Server::Unblock(Client& client) {
  const bool of_data = client.last_command != nullptr && (client.last_command->flags & (kWrite | kReadOnly)) != 0;
  GateOutput(client, {log().UnitsEnd(), of_data});
  CheckOutputLimit(client);
  if (client.transport == nullptr) return;
  if (!client.ready_listed) {
    client.ready_listed = true;
    ready_.push_back(client.id);
  }
  client.transport->Resume();
}

void Server::SlowWriter(Client& client) {
  double pressure = engine().WritePressure();
  if (pressure <= kSlowFrom || client.blocked != Client::Blocked::kNo || client.kind == ClientKind::kMaster) return;
  double x = std::min((pressure - kSlowFrom) / (1.0 - kSlowFrom), 1.0);
  client.write_debt_us += static_cast<uint32_t>(kDebtMaxUs * x * x * x);
  if (client.write_debt_us < kDebtDueUs) return;
  client.blocked = Client::Blocked::kThrottled;
  client.blocked_deadline_ms = MonotonicMs() + client.write_debt_us / 1000;
  client.write_debt_us = 0;
  Postpone(client);
}

}  // namespace holdfast::net
