// OBJECT: how Redis would hold a value.
#include <fmt/format.h>

#include "net/command.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/encoding.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

// Nothing, and the reply is written, if there is no such key.
std::optional<KeyValue> Lookup(CommandContext& context) {
  const auto found = context.tx->Find(context.arg(2));
  if (!found.ok()) {
    context.reply.Error(found.error());
    return std::nullopt;
  }
  if (!found->has_value()) context.reply.Null();
  return *found;
}

void Encoding(CommandContext& context) {
  const auto found = Lookup(context);
  if (!found) return;
  const auto encoding = RedisEncoding(*context.tx, *found);
  if (!encoding.ok()) return context.reply.Error(encoding.error());
  context.reply.Bulk(*encoding);
}

void Freq(CommandContext& context) {
  if (!Lookup(context)) return;
  context.reply.Error(
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
      "between policies at runtime LRU and LFU data will take some time to adjust.");
}

void IdleTime(CommandContext& context) {
  if (!Lookup(context)) return;
  context.reply.Integer(0);  // rows carry no access time
}

void RefCount(CommandContext& context) {
  const auto found = Lookup(context);
  if (!found) return;
  // Redis shares one object for each of the integers below 10000.
  const auto integer = found->type == ValueType::kString && !found->chunked ? ParseInteger(found->body) : std::nullopt;
  const bool shared = integer && *integer >= 0 && *integer < 10000;
  context.reply.Integer(shared ? INT32_MAX : 1);
}

void Help(CommandContext& context) {
  ReplyHelp(context, "OBJECT",
            {"ENCODING <key>", "    Tells how Redis would hold the value.", "FREQ <key>",
             "    Needs an LFU policy, which there is none of.", "IDLETIME <key>",
             "    Always 0: keys carry no access times here.", "REFCOUNT <key>",
             "    Tells how often Redis would share the value."});
}

}  // namespace

CommandSpec ObjectContainer() {
  constexpr KeySpec kThird{2, 2, 1};
  return MakeContainer(
      "object", {"Looks into how values are held.", "2.2.3", "generic", "depends on the subcommand", ""},
      {
          MakeCommand("object|encoding", 3, kReadOnly, kCatKeyspace, kThird, Encoding,
                      {"Tells how Redis would hold the value.", "2.2.3", "generic", "O(1)", "key"}),
          MakeCommand("object|freq", 3, kReadOnly, kCatKeyspace, kThird, Freq,
                      {"Needs an LFU policy, which there is none of.", "4.0.0", "generic", "O(1)", "key"}),
          MakeCommand("object|help", 2, kLoading | kStale | kNoTransaction, kCatKeyspace, kNoKeys, Help,
                      {"Explains the subcommands.", "6.2.0", "generic", "O(1)", ""}),
          MakeCommand("object|idletime", 3, kReadOnly, kCatKeyspace, kThird, IdleTime,
                      {"Always 0: keys carry no access times here.", "2.2.3", "generic", "O(1)", "key"}),
          MakeCommand("object|refcount", 3, kReadOnly, kCatKeyspace, kThird, RefCount,
                      {"Tells how often Redis would share the value.", "2.2.3", "generic", "O(1)", "key"}),
      });
}

}  // namespace holdfast::net
