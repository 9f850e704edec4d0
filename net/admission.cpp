#include "net/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/server.h"

namespace holdfast::net {

namespace {

// Commands that MULTI does not queue.
bool RunsInsideMulti(std::string_view name) {
  return name == "exec" || name == "discard" || name == "multi" || name == "watch" || name == "quit" || name == "reset";
}

// What a client in RESP2 may send while it listens to channels.
bool AllowedWhileSubscribed(std::string_view name) {
  return name == "subscribe" || name == "unsubscribe" || name == "psubscribe" || name == "punsubscribe" ||
         name == "ssubscribe" || name == "sunsubscribe" || name == "ping" || name == "quit" || name == "reset";
}

constexpr size_t kShownName = 128;

std::string UnknownCommand(std::span<const std::string_view> args) {
  std::string shown;
  for (size_t i = 1; i < args.size() && shown.size() < kShownName; ++i) {
    shown += fmt::format("'{}' ", args[i].substr(0, kShownName - shown.size()));
  }
  return fmt::format("ERR unknown command '{}', with args beginning with: {}", args[0].substr(0, kShownName), shown);
}

std::string UnknownSubcommand(std::span<const std::string_view> args) {
  std::string container(args[0]);
  for (char& c : container) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
  return fmt::format("ERR unknown subcommand '{}'. Try {} HELP.", args[1].substr(0, kShownName), container);
}

Verdict Known(Admission& a) {
  const CommandSpec* spec = a.spec != nullptr ? a.spec : a.server.commands().Find(a.args[0]);
  if (spec == nullptr) return a.Refuse(UnknownCommand(a.args));
  if (!spec->subcommands.empty() && a.args.size() > 1) {
    spec = CommandTable::FindSubcommand(*spec, a.args[1]);
    if (spec == nullptr) return a.Refuse(UnknownSubcommand(a.args));
  }
  a.spec = spec;
  a.flags = spec->flags;
  if (a.client.multi.active && spec->name == "exec") a.flags |= a.client.multi.flags;
  return Verdict::kRun;
}

Verdict ArityRight(Admission& a) {
  auto count = static_cast<int>(a.args.size());
  int arity = a.spec->arity;
  if ((arity > 0 && count == arity) || (arity < 0 && count >= -arity)) {
    if (a.spec->handler != nullptr) return Verdict::kRun;
  }
  return a.Refuse(fmt::format("ERR wrong number of arguments for '{}' command", a.spec->name));
}

Verdict Authenticated(Admission& a) {
  if (a.client.authenticated || (a.flags & kNoAuth) != 0) return Verdict::kRun;
  if (a.server.config().settings().requirepass.empty()) return Verdict::kRun;
  return a.Refuse("NOAUTH Authentication required.");
}

Verdict AllowedInMulti(Admission& a) {
  if (!a.client.multi.active || (a.flags & kNoMulti) == 0) return Verdict::kRun;
  return a.Refuse("ERR Command not allowed inside a transaction");
}

Verdict WriteAccepted(Admission& a) {
  if ((a.flags & (kWrite | kDenyOom)) == 0 || a.client.kind == ClientKind::kMaster) return Verdict::kRun;
  bool exec = a.client.multi.active && a.spec->name == "exec";
  bool all_free_space = exec ? !a.client.multi.writes_need_space : (a.flags & kFreesSpace) != 0;
  std::optional<std::string> refusal = RefusalOfWrite(a.server, a.flags, all_free_space);
  return refusal ? a.Refuse(*std::move(refusal)) : Verdict::kRun;
}

// A write that could not be confirmed is better not begun.
Verdict EnoughMembers(Admission& a) {
  if ((a.flags & kWrite) == 0) return Verdict::kRun;
  const int wanted = a.server.MembersFor(a.client);
  if (wanted == 0) return Verdict::kRun;
  const int good = a.server.replication().MembersInGoodStanding();
  if (good >= wanted) return Verdict::kRun;
  return a.Refuse(
      fmt::format("NOREPLICAS Not enough members of the group in good standing to confirm writes: {} of {} "
                  "(min-replicas-durable; HOLDFAST MEMBERS shows them)",
                  good, wanted));
}

Verdict NotSubscribed(Admission& a) {
  if (!a.client.InSubscribeMode() || AllowedWhileSubscribed(a.spec->name)) return Verdict::kRun;
  return a.Refuse(
      fmt::format("ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                  "allowed in this context",
                  a.spec->name));
}

Verdict FreshEnough(Admission& a) {
  if ((a.flags & kStale) != 0 && a.spec->name != "exec") return Verdict::kRun;
  if (a.server.config().settings().replica_serve_stale_data) return Verdict::kRun;
  if (!a.server.replication().IsReplica() || a.server.replication().LinkUp()) return Verdict::kRun;
  if (a.spec->name == "exec" && (a.flags & (kWrite | kReadOnly)) == 0) return Verdict::kRun;
  return a.Refuse("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
}

// With expect-data a master whose directory is empty lost it: nobody may take it for a healthy empty one.
Verdict HasExpectedData(Admission& a) {
  if ((a.flags & (kWrite | kReadOnly)) == 0 && a.spec->name != "ping") return Verdict::kRun;
  if (!a.server.LacksExpectedData()) return Verdict::kRun;
  return a.Refuse(
      "NODATA This server expects data (expect-data yes), and its data directory is empty. Make it a replica of the "
      "server that has the data, restore the directory, or set expect-data no if it is to begin empty");
}

Verdict Loaded(Admission& a) {
  if (!a.server.loading() || (a.flags & kLoading) != 0) return Verdict::kRun;
  return a.Refuse("LOADING Redis is loading the dataset in memory");
}

// CLIENT PAUSE, and the end of the server, which lets no more writes in.
Verdict NotPaused(Admission& a) {
  if (a.client.kind == ClientKind::kReplica || a.client.kind == ClientKind::kMaster) return Verdict::kRun;
  const ClientRegistry::Pause& pause = a.server.clients().pause;
  bool changes = (a.flags & (kWrite | kMayReplicate)) != 0;
  if (pause.active && a.server.MonotonicMs() < pause.until_ms && (!pause.writes_only || changes)) {
    a.client.blocked = Client::Blocked::kPaused;
    a.client.blocked_deadline_ms = pause.until_ms;
    return Verdict::kPostponed;
  }
  if (changes && (a.server.ShuttingDown() || a.server.replication().WritesPaused())) {
    a.client.blocked = Client::Blocked::kPaused;
    a.client.blocked_deadline_ms = 0;
    return Verdict::kPostponed;
  }
  return Verdict::kRun;
}

// Memory or log is full and the checkpoint that makes room is still being made: writers wait, readers do not.
Verdict WriterPaced(Admission& a) {
  if ((a.flags & kWrite) == 0 || a.client.kind == ClientKind::kMaster) return Verdict::kRun;
  if (a.server.engine().WritePressure() < 1.0) return Verdict::kRun;
  a.client.blocked = Client::Blocked::kThrottled;
  a.client.blocked_deadline_ms = 0;
  return Verdict::kPostponed;
}

Verdict QueuedByMulti(Admission& a) {
  TransactionState& multi = a.client.multi;
  if (!multi.active || RunsInsideMulti(a.spec->name)) return Verdict::kRun;
  if (multi.queue.empty()) {
    multi.flags = 0;
    multi.writes_need_space = false;
    multi.queued_bytes = 0;
  }
  if (multi.dirty_exec || multi.dirty_cas) return Verdict::kQueued;  // will be discarded: costs no memory
  QueuedCommand queued;
  queued.spec = a.spec;
  queued.arguments.reserve(a.args.size());
  for (std::string_view argument : a.args) {
    queued.arguments.emplace_back(argument);
    multi.queued_bytes += argument.size() + sizeof(std::string);
  }
  multi.flags |= a.spec->flags;
  multi.writes_need_space |= (a.spec->flags & kWrite) != 0 && (a.spec->flags & kFreesSpace) == 0;
  multi.queue.push_back(std::move(queued));
  return Verdict::kQueued;
}

// The rules in their order, until one does not let it pass. Calls by name: the compiler merges them into one function.
template <Verdict (*... rules)(Admission&)>
Verdict First(Admission& a) {
  Verdict verdict = Verdict::kRun;
  (void)(((verdict = rules(a)) == Verdict::kRun) && ...);
  return verdict;
}

}  // namespace

Verdict Admission::Decide() {
  return First<Known, ArityRight, Authenticated, AllowedInMulti, WriteAccepted, EnoughMembers, NotSubscribed,
               FreshEnough, HasExpectedData, Loaded, NotPaused, WriterPaced, QueuedByMulti>(*this);
}

std::optional<std::string> RefusalOfWrite(Server& server, uint32_t flags, bool all_free_space) {
  const Settings& settings = server.config().settings();
  ReplicationService& replication = server.replication();
  if ((flags & kDenyOom) != 0 && server.OverBudget()) {
    return "OOM command not allowed when used memory > 'maxmemory'.";
  }
  if ((flags & kWrite) == 0) return std::nullopt;
  bool replica = replication.IsReplica();
  if (!replica && !all_free_space && server.engine().WriteRefusal()) {
    const std::string& reason = *server.engine().WriteRefusal();
    return reason.starts_with("MISCONF ") ? reason : "MISCONF " + reason;
  }
  if (!replica && settings.min_replicas_to_write > 0 && settings.min_replicas_max_lag > 0 &&
      replication.GoodReplicas(settings.min_replicas_max_lag) < settings.min_replicas_to_write) {
    return "NOREPLICAS Not enough good replicas to write.";
  }
  if (replica) return std::string(kReadOnlyReplica);
  return std::nullopt;
}

}  // namespace holdfast::net
