// REPLICAOF, SLAVEOF, PSYNC, SYNC, REPLCONF, ROLE, WAIT, WAITAOF.
#include <algorithm>
#include <string>
#include <vector>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/base/diag.h"

namespace holdfast::net {
namespace {

void ReplicaOf(CommandContext& context) {
  Arguments arguments(context.args);
  const std::string_view host = arguments.Next();
  ReplicationService& replication = context.server.replication();
  if (replication.FailingOver()) return context.reply.Error("ERR REPLICAOF not allowed while failing over.");
  if (EqualsIgnoreCase(host, "no") && EqualsIgnoreCase(context.arg(2), "one")) {
    if (replication.IsReplica()) diag::Notice("MASTER MODE asked for by {}", context.client.peer_address);
    auto promoted = replication.Promote();
    if (!promoted.ok()) return context.reply.Error(promoted.error());
    context.server.HoldForRole(context.client);
    return context.reply.Ok();
  }
  const int64_t port = arguments.NextInteger(0, 65535, "ERR Invalid master port", "ERR Invalid master port");
  if (arguments.Refused(context.reply)) return;
  const auto& current = context.server.config().settings().replicaof;
  const bool same = current && EqualsIgnoreCase(current->first, host) && current->second == port;
  if (replication.IsReplica() && same && !replication.FollowsInVain()) {
    diag::Notice(
        "REPLICAOF would result into synchronization with the master we are already connected with. No "
        "operation performed.");
    return context.reply.Status("OK Already connected to specified master");
  }
  auto followed = replication.Follow(std::string(host), static_cast<int>(port));
  if (!followed.ok()) return context.reply.Error(followed.error());
  context.server.HoldForRole(context.client);
  context.reply.Ok();
}

void Failover(CommandContext& context) {
  ReplicationService::FailoverRequest request;
  bool timeout = false, abort = false;
  const auto& args = context.args;
  for (size_t i = 1; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "timeout") && i + 1 < args.size() && !timeout) {
      const auto value = ParseInteger(args[++i]);
      if (!value) return context.reply.Error("ERR value is not an integer or out of range");
      if (*value <= 0) return context.reply.Error("ERR FAILOVER timeout must be greater than 0");
      request.timeout_ms = *value;
      timeout = true;
    } else if (EqualsIgnoreCase(args[i], "abort") && args.size() == 2) {
      abort = true;
    } else if (EqualsIgnoreCase(args[i], "to") && i + 2 < args.size() && !request.to) {
      const auto port = ParseInteger(args[i + 2]);
      if (!port) return context.reply.Error("ERR value is not an integer or out of range");
      request.to.emplace(args[i + 1], static_cast<int>(std::clamp<int64_t>(*port, -1, 65536)));
      i += 2;
    } else if (EqualsIgnoreCase(args[i], "force") && !request.force) {
      request.force = true;
    } else {
      return context.reply.Error(kSyntaxError);
    }
  }
  ReplicationService& replication = context.server.replication();
  const auto done = abort ? replication.AbortFailover() : replication.StartFailover(request);
  if (!done.ok()) return context.reply.Error("ERR " + done.error().message);
  context.reply.Ok();
}

void Psync(CommandContext& context) {
  if (context.in_exec) return context.reply.Error("ERR PSYNC is not allowed in a transaction");
  context.server.replication().HandlePsync(context.client, context.args, context.reply);
}

void Replconf(CommandContext& context) {
  context.server.replication().HandleReplconf(context.client, context.args, context.reply);
}

void Role(CommandContext& context) {
  context.server.HoldForRole(context.client);
  context.server.replication().WriteRole(context.reply);
}

int64_t ReadTimeout(Arguments& arguments) {
  const int64_t timeout_ms = arguments.NextInteger("ERR timeout is not an integer or out of range");
  if (timeout_ms < 0) arguments.Fail("ERR timeout is negative");
  return timeout_ms;
}

int64_t DeadlineOf(Server& server, int64_t timeout_ms) {
  if (timeout_ms == 0) return 0;
  const int64_t now_ms = server.MonotonicMs();
  return timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + timeout_ms;
}

void Wait(CommandContext& context) {
  Server& server = context.server;
  if (server.replication().IsReplica()) {
    return context.reply.Error(
        "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
        "configured to be writable (which is not the default) writes to replicas are just local and are not "
        "propagated.");
  }
  Arguments arguments(context.args);
  const int64_t wanted = arguments.NextInteger();
  const int64_t timeout_ms = ReadTimeout(arguments);
  if (arguments.Refused(context.reply)) return;
  const uint64_t offset = context.client.last_write_offset;
  const int acked = server.replication().ReplicasAcked(offset);
  if (acked >= wanted || context.in_exec) return context.reply.Integer(acked);
  Blocking::Wait wait;
  wait.kind = Client::Blocked::kWait;
  wait.deadline_ms = DeadlineOf(server, timeout_ms);
  wait.ready = [&server, offset, wanted] { return server.replication().ReplicasAcked(offset) >= wanted; };
  wait.answer = [&server, offset](Client& client) {
    Reply(client.output.bytes, client.resp).Integer(server.replication().ReplicasAcked(offset));
  };
  server.blocking().Block(context.client, std::move(wait));
  server.SyncSoon();  // only durable bytes leave
  server.replication().RequestAcks();
}

void WriteWaitAof(Reply reply, Server& server, uint64_t offset) {
  reply.Array(2);
  reply.Integer(server.log().DurableOffset() >= offset ? 1 : 0);
  reply.Integer(server.replication().ReplicasDurable(offset));
}

// As WAIT, but without replicas of Redis' kind, whose acks say nothing of their disks.
void WaitAof(CommandContext& context) {
  Server& server = context.server;
  Arguments arguments(context.args);
  const int64_t local = arguments.NextInteger(0, 1, "ERR value is out of range, value must between 0 and 1");
  const int64_t wanted = arguments.NextInteger("ERR value is out of range, must be positive");
  if (wanted < 0) arguments.Fail("ERR value is out of range, must be positive");
  const int64_t timeout_ms = ReadTimeout(arguments);
  if (arguments.Refused(context.reply)) return;
  if (server.replication().IsReplica()) {
    return context.reply.Error(
        "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local "
        "and are not propagated.");
  }
  const uint64_t offset = context.client.last_write_offset;
  auto ready = [&server, offset, local, wanted] {
    return (local == 0 || server.log().DurableOffset() >= offset) &&
           server.replication().ReplicasDurable(offset) >= wanted;
  };
  if (ready() || context.in_exec) return WriteWaitAof(Reply(context.reply.out(), context.reply.resp()), server, offset);
  Blocking::Wait wait;
  wait.kind = Client::Blocked::kWaitAof;
  wait.deadline_ms = DeadlineOf(server, timeout_ms);
  wait.ready = ready;
  wait.answer = [&server, offset](Client& client) {
    WriteWaitAof(Reply(client.output.bytes, client.resp), server, offset);
  };
  server.blocking().Block(context.client, std::move(wait));
  server.SyncSoon();
  server.replication().RequestAcks();
}

}  // namespace

std::vector<CommandSpec> ReplicationCommands() {
  constexpr uint32_t kAdministration = kAdmin | kNoScript | kStale | kNoTransaction;
  std::vector<CommandSpec> specs;
  specs.push_back(MakeCommand("replicaof", 3, kAdministration | kNoAsyncLoading, kCatDangerous, kNoKeys, ReplicaOf,
                              {"Makes this server a replica of another one, or a master with NO ONE.", "5.0.0",
                               "server", "O(1)", "host port"}));
  specs.push_back(MakeCommand("slaveof", 3, kAdministration | kNoAsyncLoading, kCatDangerous, kNoKeys, ReplicaOf,
                              {"Older name of REPLICAOF.", "1.0.0", "server", "O(1)", "host port"}));
  specs.push_back(MakeCommand("failover", -1, kAdmin | kNoScript | kStale | kNoTransaction, kCatDangerous, kNoKeys,
                              Failover,
                              {"Changes places with a replica that has everything.", "6.2.0", "server", "O(1)",
                               "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]"}));
  specs.push_back(MakeCommand("psync", -3, kAdministration | kNoAsyncLoading | kNoMulti, kCatDangerous, kNoKeys, Psync,
                              {"Begins replication, from an offset if possible; sent by replicas.", "2.8.0", "server",
                               "O(1)", "replicationid offset"}));
  specs.push_back(
      MakeCommand("sync", 1, kAdministration | kNoAsyncLoading | kNoMulti, kCatDangerous, kNoKeys, Psync,
                  {"Begins replication with a full copy; sent by old replicas.", "1.0.0", "server", "O(1)", ""}));
  specs.push_back(
      MakeCommand("replconf", -1, kAdministration | kLoading | kAllowBusy, kCatDangerous, kNoKeys, Replconf,
                  {"Negotiates replication and acknowledges it; sent by replicas.", "3.0.0", "server", "O(1)", ""}));
  specs.push_back(MakeCommand("role", 1, kNoScript | kLoading | kStale | kFast | kNoTransaction,
                              kCatAdmin | kCatDangerous, kNoKeys, Role,
                              {"Tells the server's role and the state of its links.", "2.8.12", "server", "O(1)", ""}));
  specs.push_back(MakeCommand(
      "wait", 3, kNoScript | kNoTransaction, kCatConnection, kNoKeys, Wait,
      {"Waits until replicas have the client's writes on disk.", "3.0.0", "generic", "O(1)", "numreplicas timeout"}));
  specs.push_back(MakeCommand("waitaof", 4, kNoScript | kNoTransaction, kCatConnection, kNoKeys, WaitAof,
                              {"Waits until the client's writes are on disk here and on replicas.", "7.2.0", "generic",
                               "O(1)", "numlocal numreplicas timeout"}));
  specs.push_back(HoldfastContainer());
  return specs;
}

}  // namespace holdfast::net
