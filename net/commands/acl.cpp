// What there is of ACL: one user, "default", with or without a password.
#include <fmt/format.h>

#include <array>
#include <string>

#include "net/command.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

constexpr std::array<std::pair<std::string_view, uint32_t>, 21> kCategories = {{
    {"keyspace", kCatKeyspace},
    {"read", kCatRead},
    {"write", kCatWrite},
    {"set", kCatSet},
    {"sortedset", kCatSortedSet},
    {"list", kCatList},
    {"hash", kCatHash},
    {"string", kCatString},
    {"bitmap", kCatBitmap},
    {"hyperloglog", kCatHyperLogLog},
    {"geo", kCatGeo},
    {"stream", kCatStream},
    {"pubsub", kCatPubSub},
    {"admin", kCatAdmin},
    {"fast", kCatFast},
    {"slow", kCatSlow},
    {"blocking", kCatBlocking},
    {"dangerous", kCatDangerous},
    {"connection", kCatConnection},
    {"transaction", kCatTransaction},
    {"scripting", kCatScripting},
}};

void WhoAmI(CommandContext& context) { context.reply.Bulk(context.client.user); }

void Users(CommandContext& context) {
  context.reply.Array(1);
  context.reply.Bulk("default");
}

void List(CommandContext& context) {
  // The password itself is not shown, nor a digest of it that could be attacked offline.
  const bool open = context.server.config().settings().requirepass.empty();
  context.reply.Array(1);
  context.reply.Bulk(open ? "user default on nopass ~* &* +@all" : "user default on ~* &* +@all");
}

void Cat(CommandContext& context) {
  Reply& reply = context.reply;
  if (context.argc() == 2) {
    reply.Array(kCategories.size());
    for (const auto& [name, bit] : kCategories) reply.Bulk(name);
    return;
  }
  if (context.argc() > 3) {
    return reply.Error("ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.");
  }
  for (const auto& [name, bit] : kCategories) {
    if (!EqualsIgnoreCase(name, context.arg(2))) continue;
    std::vector<std::string_view> members;
    for (const CommandSpec& spec : context.server.commands().all()) {
      if ((spec.categories & bit) != 0) members.push_back(spec.name);
      for (const CommandSpec& sub : spec.subcommands) {
        if ((sub.categories & bit) != 0) members.push_back(sub.name);
      }
    }
    reply.Array(members.size());
    for (const std::string_view member : members) reply.Bulk(member);
    return;
  }
  reply.Error(fmt::format("ERR Unknown category '{}'", context.arg(2)));
}

void Help(CommandContext& context) {
  ReplyHelp(context, "ACL",
            {"CAT [<category>]", "    Lists the categories of commands, or the commands of one.", "LIST",
             "    Describes the one user there is.", "USERS", "    Names the one user there is.", "WHOAMI",
             "    Tells the user of this connection."});
}

}  // namespace

CommandSpec AclContainer() {
  constexpr uint32_t kFlags = kNoScript | kLoading | kStale | kNoTransaction;
  return MakeContainer("acl",
                       {"Tells about the user of connections.", "6.0.0", "server", "depends on the subcommand", ""},
                       {
                           MakeCommand("acl|cat", -2, kFlags, 0, kNoKeys, Cat,
                                       {"Lists categories of commands, or the commands of one.", "6.0.0", "server",
                                        "O(1) in the number of keys", "[category]"}),
                           MakeCommand("acl|list", 2, kFlags | kAdmin, 0, kNoKeys, List,
                                       {"Describes the users.", "6.0.0", "server", "O(1)", ""}),
                           MakeCommand("acl|users", 2, kFlags | kAdmin, 0, kNoKeys, Users,
                                       {"Names the users.", "6.0.0", "server", "O(1)", ""}),
                           MakeCommand("acl|whoami", 2, kFlags, 0, kNoKeys, WhoAmI,
                                       {"Tells the user of this connection.", "6.0.0", "server", "O(1)", ""}),
                           MakeCommand("acl|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, Help,
                                       {"Explains the subcommands.", "6.0.0", "server", "O(1)", ""}),
                       });
}

}  // namespace holdfast::net
