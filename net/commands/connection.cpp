// PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET, and the commands of a cluster that is not there.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {

bool IsClientName(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '!' && c <= '~'; });
}

namespace {

// Takes the same time wherever the texts differ.
bool EqualSecrets(std::string_view given, std::string_view secret) {
  unsigned difference = given.size() == secret.size() ? 0u : 1u;
  for (size_t i = 0; i < given.size(); ++i) {
    const char other = secret.empty() ? '\0' : secret[i % secret.size()];
    difference |= static_cast<unsigned char>(given[i] ^ other);
  }
  return difference == 0;
}

void Ping(CommandContext& context) {
  if (context.argc() > 2) return context.reply.Error("ERR wrong number of arguments for 'ping' command");
  const std::string_view text = context.argc() == 2 ? context.arg(1) : std::string_view();
  if (context.client.InSubscribeMode()) {
    context.reply.Array(2);
    context.reply.Bulk("pong");
    return context.reply.Bulk(text);
  }
  if (context.argc() == 1) return context.reply.Status("PONG");
  context.reply.Bulk(text);
}

void Echo(CommandContext& context) { context.reply.Bulk(context.arg(1)); }

void Auth(CommandContext& context) {
  if (context.argc() > 3) return context.reply.Error(kSyntaxError);
  if (context.argc() == 2 && context.server.config().settings().requirepass.empty()) {
    return context.reply.Error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
        "configuration is correct?");
  }
  const std::string_view user = context.argc() == 3 ? context.arg(1) : std::string_view("default");
  if (Authenticate(context, user, context.args.back())) context.reply.Ok();
}

void ReplyHello(CommandContext& context) {
  Reply& reply = context.reply;
  const bool replica = context.server.replication().IsReplica();
  context.server.HoldForRole(context.client);
  reply.Map(7);
  reply.Bulk("server");
  reply.Bulk("redis");
  reply.Bulk("version");
  reply.Bulk("7.0.15");
  reply.Bulk("proto");
  reply.Integer(context.client.resp);
  reply.Bulk("id");
  reply.Integer(static_cast<int64_t>(context.client.id));
  reply.Bulk("mode");
  reply.Bulk("standalone");
  reply.Bulk("role");
  reply.Bulk(replica ? "replica" : "master");
  reply.Bulk("modules");
  reply.Array(0);
}

void Hello(CommandContext& context) {
  Arguments arguments(context.args);
  Client& client = context.client;
  int64_t version = 0;
  if (arguments.HasNext()) {
    version = arguments.NextInteger(2, 3, "NOPROTO unsupported protocol version",
                                    "ERR Protocol version is not an integer or out of range");
  }
  std::optional<std::pair<std::string_view, std::string_view>> login;
  std::optional<std::string_view> name;
  while (arguments.HasNext()) {
    if (arguments.NextIs("AUTH", 2)) {
      const std::string_view user = arguments.Next();
      login = {user, arguments.Next()};
    } else if (arguments.NextIs("SETNAME", 1)) {
      name = arguments.Next();
      if (!IsClientName(*name)) {
        arguments.Fail("ERR Client names cannot contain spaces, newlines or special characters.");
      }
    } else {
      arguments.Fail(fmt::format("ERR Syntax error in HELLO option '{}'", arguments.Next()));
    }
  }
  if (arguments.Refused(context.reply)) return;
  if (login && !Authenticate(context, login->first, login->second)) return;
  if (!client.authenticated && !context.server.config().settings().requirepass.empty()) {
    return context.reply.Error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> "
        "<pass> option can be used to authenticate the client and select the RESP protocol version at the same time");
  }
  if (name) client.name = *name;
  if (version != 0) {
    client.resp = static_cast<int>(version);
    context.reply.SetResp(client.resp);
  }
  ReplyHello(context);
}

void Select(CommandContext& context) {
  Arguments arguments(context.args);
  constexpr int64_t kLow = std::numeric_limits<int32_t>::min();
  constexpr int64_t kHigh = std::numeric_limits<int32_t>::max();
  const int64_t db = arguments.NextInteger(
      kLow, kHigh, fmt::format("ERR value is out of range, value must between {} and {}", kLow, kHigh));
  if (arguments.Refused(context.reply)) return;
  if (db < 0 || db >= context.server.config().settings().databases) {
    return context.reply.Error("ERR DB index is out of range");
  }
  context.client.db = static_cast<int>(db);
  context.reply.Ok();
}

void Quit(CommandContext& context) {
  context.client.close_after_reply = true;
  context.reply.Ok();
}

void Reset(CommandContext& context) {
  Client& client = context.client;
  if (client.kind == ClientKind::kReplica || client.kind == ClientKind::kMaster) {
    return context.reply.Error("ERR can only reset normal client connections");
  }
  context.server.watches().Unwatch(client);
  client.multi = TransactionState{};
  context.server.pubsub().UnsubscribeAll(client);
  client.kind = ClientKind::kNormal;
  if (client.monitor) context.server.monitoring().RemoveMonitor(client.id);
  client.monitor = false;
  client.db = 0;
  client.resp = 2;
  context.reply.SetResp(2);
  client.user = "default";
  client.authenticated = context.server.config().settings().requirepass.empty();
  client.name.clear();
  client.asking = client.readonly = client.no_evict = client.no_touch = false;
  client.reply_mode = Client::ReplyMode::kOn;
  client.durable_members = -1;
  context.reply.Status("RESET");
}

void NoCluster(CommandContext& context) { context.reply.Error("ERR This instance has cluster support disabled"); }

// Known by name, number of arguments and flags, so that each is refused at the same point as by Redis without a
// cluster.
CommandSpec ClusterContainer() {
  struct Row {
    std::string_view name;
    int arity;
    uint32_t flags;
    std::string_view since, arguments;
  };
  constexpr uint32_t kChanges = kAdmin | kNoAsyncLoading;
  static constexpr Row kRows[] = {
      {"cluster|addslots", -3, kChanges, "3.0.0", "slot [slot ...]"},
      {"cluster|addslotsrange", -4, kChanges, "7.0.0", "start-slot end-slot [start-slot end-slot ...]"},
      {"cluster|bumpepoch", 2, kChanges, "3.0.0", ""},
      {"cluster|count-failure-reports", 3, kAdmin, "3.0.0", "node-id"},
      {"cluster|countkeysinslot", 3, 0, "3.0.0", "slot"},
      {"cluster|delslots", -3, kChanges, "3.0.0", "slot [slot ...]"},
      {"cluster|delslotsrange", -4, kChanges, "7.0.0", "start-slot end-slot [start-slot end-slot ...]"},
      {"cluster|failover", -2, kChanges, "3.0.0", "[FORCE|TAKEOVER]"},
      {"cluster|flushslots", 2, kChanges, "3.0.0", ""},
      {"cluster|forget", 3, kChanges, "3.0.0", "node-id"},
      {"cluster|getkeysinslot", 4, 0, "3.0.0", "slot count"},
      {"cluster|help", 2, kLoading, "5.0.0", ""},
      {"cluster|info", 2, 0, "3.0.0", ""},
      {"cluster|keyslot", 3, 0, "3.0.0", "key"},
      {"cluster|links", 2, 0, "7.0.0", ""},
      {"cluster|meet", -4, kChanges, "3.0.0", "ip port [cluster-bus-port]"},
      {"cluster|myid", 2, 0, "3.0.0", ""},
      {"cluster|nodes", 2, 0, "3.0.0", ""},
      {"cluster|replicas", 3, kAdmin, "5.0.0", "node-id"},
      {"cluster|replicate", 3, kChanges, "3.0.0", "node-id"},
      {"cluster|reset", -2, kAdmin | kNoScript, "3.0.0", "[HARD|SOFT]"},
      {"cluster|saveconfig", 2, kChanges, "3.0.0", ""},
      {"cluster|set-config-epoch", 3, kChanges, "3.0.0", "config-epoch"},
      {"cluster|setslot", -4, kChanges, "3.0.0", "slot IMPORTING|MIGRATING|NODE|STABLE [node-id]"},
      {"cluster|shards", 2, 0, "7.0.0", ""},
      {"cluster|slaves", 3, kAdmin, "3.0.0", "node-id"},
      {"cluster|slots", 2, 0, "3.0.0", ""},
  };
  constexpr std::string_view kSummary = "Belongs to cluster mode, which is not supported.";
  std::vector<CommandSpec> rows;
  for (const Row& row : kRows) {
    rows.push_back(MakeCommand(row.name, row.arity, row.flags | kStale | kNoTransaction, 0, kNoKeys, NoCluster,
                               {kSummary, row.since, "cluster", "O(1)", row.arguments}));
  }
  return MakeContainer("cluster", {kSummary, "3.0.0", "cluster", "O(1)", ""}, std::move(rows));
}

}  // namespace

bool Authenticate(CommandContext& context, std::string_view user, std::string_view password) {
  const std::string& secret = context.server.config().settings().requirepass;
  // Without requirepass the default user has no password: any one is right.
  const bool right = user == "default" && (secret.empty() || EqualSecrets(password, secret));
  if (right) {
    context.client.authenticated = true;
    context.client.user = "default";
    return true;
  }
  ++context.server.monitoring().stats.acl_denied_auth;
  context.reply.Error("WRONGPASS invalid username-password pair or user is disabled.");
  return false;
}

std::vector<CommandSpec> ConnectionCommands() {
  constexpr uint32_t kOpen = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy | kNoTransaction;
  constexpr uint32_t kPlain = kLoading | kStale | kFast | kNoTransaction;
  return {
      MakeCommand("ping", -1, kFast | kNoTransaction, kCatConnection, kNoKeys, Ping,
                  {"Answers PONG, or what it was given.", "1.0.0", "connection", "O(1)", "[message]"}),
      MakeCommand("echo", 2, kPlain, kCatConnection, kNoKeys, Echo,
                  {"Answers what it was given.", "1.0.0", "connection", "O(1)", "message"}),
      MakeCommand("auth", -2, kOpen, kCatConnection, kNoKeys, Auth,
                  {"Logs the connection in.", "1.0.0", "connection", "O(1)", "[username] password"}),
      MakeCommand("hello", -1, kOpen, kCatConnection, kNoKeys, Hello,
                  {"Chooses the protocol version, logs in and names the connection in one step.", "6.0.0", "connection",
                   "O(1)", "[protover [AUTH username password] [SETNAME clientname]]"}),
      MakeCommand("select", 2, kPlain, kCatConnection, kNoKeys, Select,
                  {"Chooses the database of the connection.", "1.0.0", "connection", "O(1)", "index"}),
      MakeCommand("quit", -1, kOpen, kCatConnection, kNoKeys, Quit,
                  {"Closes the connection once the answer has left.", "1.0.0", "connection", "O(1)", ""}),
      MakeCommand("reset", 1, kOpen, kCatConnection, kNoKeys, Reset,
                  {"Makes the connection as good as new.", "6.2.0", "connection", "O(1)", ""}),
      MakeCommand("readonly", 1, kPlain, kCatConnection, kNoKeys, NoCluster,
                  {"Belongs to cluster mode, which is not supported.", "3.0.0", "cluster", "O(1)", ""}),
      MakeCommand("readwrite", 1, kPlain, kCatConnection, kNoKeys, NoCluster,
                  {"Belongs to cluster mode, which is not supported.", "3.0.0", "cluster", "O(1)", ""}),
      MakeCommand("asking", 1, kFast | kNoTransaction, kCatConnection, kNoKeys, NoCluster,
                  {"Belongs to cluster mode, which is not supported.", "3.0.0", "cluster", "O(1)", ""}),
      ClusterContainer(),
      ClientContainer(),
      AclContainer(),
  };
}

}  // namespace holdfast::net
