// CLIENT: who is connected, and what one may do to them.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

std::optional<ClientKind> ParseKind(std::string_view text) {
  if (EqualsIgnoreCase(text, "normal")) return ClientKind::kNormal;
  if (EqualsIgnoreCase(text, "slave") || EqualsIgnoreCase(text, "replica")) return ClientKind::kReplica;
  if (EqualsIgnoreCase(text, "pubsub")) return ClientKind::kPubSub;
  if (EqualsIgnoreCase(text, "master")) return ClientKind::kMaster;
  return std::nullopt;
}

void Id(CommandContext& context) { context.reply.Integer(static_cast<int64_t>(context.client.id)); }

void Info(CommandContext& context) {
  context.reply.Verbatim("txt", ClientRegistry::Describe(context.client, context.server.MonotonicMs()) + "\n");
}

void List(CommandContext& context) {
  Arguments arguments(context.args, 2);
  std::optional<ClientKind> kind;
  std::optional<std::set<ClientId>> ids;
  if (arguments.NextIs("TYPE", 1) && arguments.left() == 1) {
    const std::string_view text = arguments.Next();
    kind = ParseKind(text);
    if (!kind) arguments.Fail(fmt::format("ERR Unknown client type '{}'", text));
  } else if (arguments.NextIs("ID", 1)) {
    ids.emplace();
    while (arguments.HasNext()) {
      const auto id = ParseInteger(arguments.Next());
      if (!id) arguments.Fail("ERR Invalid client ID");
      if (id) ids->insert(static_cast<ClientId>(*id));
    }
  } else if (context.argc() != 2) {
    arguments.Fail(kSyntaxError);
  }
  if (arguments.Refused(context.reply)) return;
  std::string text;
  const auto describe = [&](Client& client) {
    if (kind && client.kind != *kind) return;
    if (ids && !ids->contains(client.id)) return;
    text += ClientRegistry::Describe(client, context.server.MonotonicMs()) + "\n";
  };
  context.server.clients().ForEach(describe);
  context.server.replication().ForEachLink(describe);
  context.reply.Verbatim("txt", text);
}

void SetName(CommandContext& context) {
  if (!IsClientName(context.arg(2))) {
    return context.reply.Error("ERR Client names cannot contain spaces, newlines or special characters.");
  }
  context.client.name = context.arg(2);
  context.reply.Ok();
}

void GetName(CommandContext& context) {
  if (context.client.name.empty()) return context.reply.Null();
  context.reply.Bulk(context.client.name);
}

// Client tracking is always off.
void GetRedirection(CommandContext& context) { context.reply.Integer(-1); }

void TrackingInfo(CommandContext& context) {
  Reply& reply = context.reply;
  reply.Map(3);
  reply.Bulk("flags");
  reply.Set(1);
  reply.Bulk("off");
  reply.Bulk("redirect");
  reply.Integer(-1);
  reply.Bulk("prefixes");
  reply.Array(0);
}

void SetInfo(CommandContext& context) {
  const std::string_view option = context.arg(2);
  const bool library_name = EqualsIgnoreCase(option, "lib-name");
  if (!library_name && !EqualsIgnoreCase(option, "lib-ver")) {
    return context.reply.Error(fmt::format("ERR Unrecognized option '{}'", option));
  }
  if (!IsClientName(context.arg(3))) {
    return context.reply.Error(fmt::format("ERR {} cannot contain spaces, newlines or special characters.",
                                           library_name ? "lib-name" : "lib-ver"));
  }
  (library_name ? context.client.lib_name : context.client.lib_version) = context.arg(3);
  context.reply.Ok();
}

// ---- KILL ----------------------------------------------------------------------------------------------------------

struct KillFilter {
  std::optional<ClientId> id;
  std::optional<ClientKind> kind;
  std::optional<std::string_view> address, local_address, user;
  bool skip_me = true;

  [[nodiscard]] bool Matches(const Client& client, const Client& self) const {
    if (id && client.id != *id) return false;
    if (kind && client.kind != *kind) return false;
    if (address && client.peer_address != *address) return false;
    if (local_address && client.local_address != *local_address) return false;
    if (user && client.user != *user) return false;
    return !(skip_me && client.id == self.id);
  }
};

KillFilter ParseKillFilter(Arguments& arguments) {
  KillFilter filter;
  while (arguments.HasNext()) {
    if (arguments.NextIs("ID", 1)) {
      constexpr std::string_view kBad = "ERR client-id should be greater than 0";
      filter.id = static_cast<ClientId>(arguments.NextInteger(1, INT64_MAX, kBad, kBad));
    } else if (arguments.NextIs("TYPE", 1)) {
      const std::string_view text = arguments.Next();
      filter.kind = ParseKind(text);
      if (!filter.kind) arguments.Fail(fmt::format("ERR Unknown client type '{}'", text));
    } else if (arguments.NextIs("ADDR", 1)) {
      filter.address = arguments.Next();
    } else if (arguments.NextIs("LADDR", 1)) {
      filter.local_address = arguments.Next();
    } else if (arguments.NextIs("USER", 1)) {
      filter.user = arguments.Next();
      if (*filter.user != "default") arguments.Fail(fmt::format("ERR No such user '{}'", *filter.user));
    } else if (arguments.NextIs("SKIPME", 1)) {
      const std::string_view text = arguments.Next();
      filter.skip_me = EqualsIgnoreCase(text, "yes");
      if (!filter.skip_me && !EqualsIgnoreCase(text, "no")) arguments.Fail(kSyntaxError);
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  return filter;
}

void Kill(CommandContext& context) {
  KillFilter filter;
  const bool old_form = context.argc() == 3;
  if (old_form) {
    filter.address = context.arg(2);
    filter.skip_me = false;
  } else {
    Arguments arguments(context.args, 2);
    filter = ParseKillFilter(arguments);
    if (arguments.Refused(context.reply)) return;
  }
  int64_t killed = 0;
  context.server.clients().ForEach([&](Client& client) {
    if (client.close_asap || client.close_after_reply || !filter.Matches(client, context.client)) return;
    ++killed;
    if (client.id == context.client.id) {
      client.close_after_reply = true;  // it still gets this answer
      return;
    }
    client.close_asap = true;
    if (client.transport != nullptr) client.transport->Close(/*now=*/true);
  });
  ReplicationService& replication = context.server.replication();
  replication.ForEachLink([&](const Client& link) {
    if (!filter.Matches(link, context.client)) return;
    ++killed;
    replication.CloseLink(link.id);
  });
  if (!old_form) return context.reply.Integer(killed);
  if (killed == 0) return context.reply.Error("ERR No such client");
  context.reply.Ok();
}

// ---- the rest ------------------------------------------------------------------------------------------------------

void Pause(CommandContext& context) {
  bool writes_only = false;
  if (context.argc() == 4) {
    writes_only = EqualsIgnoreCase(context.arg(3), "write");
    if (!writes_only && !EqualsIgnoreCase(context.arg(3), "all")) {
      return context.reply.Error("ERR CLIENT PAUSE mode must be WRITE or ALL");
    }
  } else if (context.argc() > 4) {
    return context.reply.Error(kSyntaxError);
  }
  Arguments arguments(context.args, 2);
  const int64_t now = context.server.MonotonicMs();
  const int64_t timeout =
      arguments.NextInteger(0, INT64_MAX, "ERR timeout is negative", "ERR timeout is not an integer or out of range");
  if (!arguments.failed() && timeout > INT64_MAX - now) arguments.Fail("ERR timeout is out of range");
  if (arguments.Refused(context.reply)) return;
  auto& pause = context.server.clients().pause;
  // A pause in force is only ever made longer and stricter.
  const bool in_force = pause.active && now < pause.until_ms;
  pause.writes_only = in_force ? pause.writes_only && writes_only : writes_only;
  pause.until_ms = in_force ? std::max(pause.until_ms, now + timeout) : now + timeout;
  pause.active = true;
  context.reply.Ok();
}

void Unpause(CommandContext& context) {
  context.server.clients().pause = {};  // who waits is offered its command again at the next tick
  context.reply.Ok();
}

void ReplyMode(CommandContext& context) {
  Client& client = context.client;
  const std::string_view mode = context.arg(2);
  if (EqualsIgnoreCase(mode, "on")) {
    client.reply_mode = Client::ReplyMode::kOn;
    return context.reply.Ok();
  }
  if (EqualsIgnoreCase(mode, "off")) {
    client.reply_mode = Client::ReplyMode::kOff;
  } else if (EqualsIgnoreCase(mode, "skip")) {
    if (client.reply_mode != Client::ReplyMode::kOff) client.reply_mode = Client::ReplyMode::kSkipNext;
  } else {
    context.reply.Error(kSyntaxError);
  }
}

void Unblock(CommandContext& context) {
  bool with_error = false;
  if (context.argc() == 4) {
    with_error = EqualsIgnoreCase(context.arg(3), "error");
    if (!with_error && !EqualsIgnoreCase(context.arg(3), "timeout")) {
      return context.reply.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    }
  } else if (context.argc() > 4) {
    return context.reply.Error(kSyntaxError);
  }
  Arguments arguments(context.args, 2);
  const int64_t id = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  context.reply.Integer(context.server.blocking().Unblock(static_cast<ClientId>(id), with_error) ? 1 : 0);
}

template <bool Client::*flag>
void Switch(CommandContext& context) {
  const bool on = EqualsIgnoreCase(context.arg(2), "on");
  if (!on && !EqualsIgnoreCase(context.arg(2), "off")) return context.reply.Error(kSyntaxError);
  context.client.*flag = on;
  context.reply.Ok();
}

void Help(CommandContext& context) {
  ReplyHelp(context, "CLIENT",
            {"GETNAME",
             "    Tells the name of this connection.",
             "ID",
             "    Tells the number of this connection.",
             "INFO",
             "    Describes this connection.",
             "KILL <ip:port>",
             "    Closes the connection from an address.",
             "KILL <option> <value> [<option> <value> [...]]",
             "    Closes connections by ID, TYPE, ADDR, LADDR, USER; SKIPME no includes this one.",
             "LIST [TYPE <type> | ID <id> ...]",
             "    Describes connections.",
             "NO-EVICT (ON|OFF)",
             "    Accepted; connections are not evicted here.",
             "NO-TOUCH (ON|OFF)",
             "    Accepted; keys carry no access times here.",
             "PAUSE <timeout> [WRITE|ALL]",
             "    Lets all commands, or the writing ones, wait for some milliseconds.",
             "REPLY (ON|OFF|SKIP)",
             "    Says whether commands of this connection are answered.",
             "SETINFO <lib-name|lib-ver> <value>",
             "    Tells which client library this is.",
             "SETNAME <name>",
             "    Names this connection.",
             "UNBLOCK <clientid> [TIMEOUT|ERROR]",
             "    Ends a blocked command of another connection.",
             "UNPAUSE",
             "    Ends a pause."});
}

std::vector<CommandSpec> AdminRows() {
  constexpr uint32_t kFlags = kAdmin | kNoScript | kLoading | kStale | kNoTransaction;
  return {
      MakeCommand("client|kill", -3, kFlags, kCatConnection, kNoKeys, Kill,
                  {"Closes connections.", "2.4.0", "connection", "O(N) with N the connections",
                   "ip:port | [ID client-id] [TYPE type] [ADDR ip:port] [LADDR ip:port] [USER username] [SKIPME "
                   "yes|no]"}),
      MakeCommand("client|list", -2, kFlags, kCatConnection, kNoKeys, List,
                  {"Describes connections.", "2.4.0", "connection", "O(N) with N the connections",
                   "[TYPE type] [ID client-id [client-id ...]]"}),
      MakeCommand("client|no-evict", 3, kFlags, kCatConnection, kNoKeys, Switch<&Client::no_evict>,
                  {"Accepted; connections are not evicted here.", "7.0.0", "connection", "O(1)", "ON|OFF"}),
      MakeCommand("client|pause", -3, kFlags, kCatConnection, kNoKeys, Pause,
                  {"Lets commands wait for some time.", "2.9.50", "connection", "O(1)", "timeout [WRITE|ALL]"}),
      MakeCommand("client|unpause", 2, kFlags, kCatConnection, kNoKeys, Unpause,
                  {"Ends a pause.", "6.2.0", "connection", "O(N) with N the paused connections", ""}),
      MakeCommand("client|unblock", -3, kFlags, kCatConnection, kNoKeys, Unblock,
                  {"Ends a blocked command of another connection.", "5.0.0", "connection", "O(log N)",
                   "client-id [TIMEOUT|ERROR]"}),
  };
}

}  // namespace

CommandSpec ClientContainer() {
  constexpr uint32_t kFlags = kNoScript | kLoading | kStale | kNoTransaction;
  std::vector<CommandSpec> rows = AdminRows();
  rows.push_back(MakeCommand("client|getname", 2, kFlags, kCatConnection, kNoKeys, GetName,
                             {"Tells the name of this connection.", "2.6.9", "connection", "O(1)", ""}));
  rows.push_back(
      MakeCommand("client|getredir", 2, kFlags, kCatConnection, kNoKeys, GetRedirection,
                  {"Tells who gets this connection's tracking messages: none.", "6.0.0", "connection", "O(1)", ""}));
  rows.push_back(MakeCommand("client|trackinginfo", 2, kFlags, kCatConnection, kNoKeys, TrackingInfo,
                             {"Describes this connection's tracking: off.", "6.2.0", "connection", "O(1)", ""}));
  rows.push_back(MakeCommand("client|help", 2, kLoading | kStale | kNoTransaction, kCatConnection, kNoKeys, Help,
                             {"Explains the subcommands.", "5.0.0", "connection", "O(1)", ""}));
  rows.push_back(MakeCommand("client|id", 2, kFlags, kCatConnection, kNoKeys, Id,
                             {"Tells the number of this connection.", "5.0.0", "connection", "O(1)", ""}));
  rows.push_back(MakeCommand("client|info", 2, kFlags, kCatConnection, kNoKeys, Info,
                             {"Describes this connection.", "6.2.0", "connection", "O(1)", ""}));
  rows.push_back(MakeCommand("client|no-touch", 3, kFlags, kCatConnection, kNoKeys, Switch<&Client::no_touch>,
                             {"Accepted; keys carry no access times here.", "7.2.0", "connection", "O(1)", "ON|OFF"}));
  rows.push_back(MakeCommand("client|reply", 3, kFlags, kCatConnection, kNoKeys, ReplyMode,
                             {"Says whether commands are answered.", "3.2.0", "connection", "O(1)", "ON|OFF|SKIP"}));
  rows.push_back(MakeCommand(
      "client|setinfo", 4, kFlags, kCatConnection, kNoKeys, SetInfo,
      {"Tells which client library this is.", "7.2.0", "connection", "O(1)", "LIB-NAME libname|LIB-VER libver"}));
  rows.push_back(MakeCommand("client|setname", 3, kFlags, kCatConnection, kNoKeys, SetName,
                             {"Names this connection.", "2.6.9", "connection", "O(1)", "connection-name"}));
  return MakeContainer("client", {"Looks after connections.", "2.4.0", "connection", "depends on the subcommand", ""},
                       std::move(rows));
}

}  // namespace holdfast::net
