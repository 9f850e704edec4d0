// DUMP and RESTORE: words to storage/rdb/payload.h and back.
#include <algorithm>
#include <limits>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/rdb/payload.h"

namespace holdfast::net {
namespace {

rdb::RdbWriteOptions PayloadOptions(CommandContext& context) {
  const Settings& settings = context.server.config().settings();
  return {settings.rdb_version, settings.rdb_compression, /*checksum=*/true};
}

void Dump(CommandContext& context) {
  const auto payload = rdb::Dump(*context.tx, context.arg(1), PayloadOptions(context));
  if (!payload.ok()) return context.reply.Error(payload.error());
  Stats& stats = context.server.monitoring().stats;
  ++(payload->has_value() ? stats.keyspace_hits : stats.keyspace_misses);
  if (!*payload) return context.reply.Null();
  context.reply.Bulk(**payload);
}

struct RestoreWords {
  bool replace = false;
  bool absolute = false;
};

// Idle time and frequency are checked and forgotten: keys carry neither.
RestoreWords ParseRestoreWords(Arguments& arguments) {
  RestoreWords words;
  bool idle = false;
  bool frequency = false;
  while (arguments.HasNext()) {
    if (arguments.NextIs("REPLACE")) {
      words.replace = true;
    } else if (arguments.NextIs("ABSTTL")) {
      words.absolute = true;
    } else if (!frequency && arguments.NextIs("IDLETIME", 1)) {
      idle = true;
      arguments.NextInteger(0, std::numeric_limits<int64_t>::max(), "ERR Invalid IDLETIME value, must be >= 0");
    } else if (!idle && arguments.NextIs("FREQ", 1)) {
      frequency = true;
      arguments.NextInteger(0, 255, "ERR Invalid FREQ value, must be >= 0 and <= 255");
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  return words;
}

// Asks in Redis' order: options, whether the key is busy, time, payload.
void Restore(CommandContext& context) {
  Arguments arguments(context.args, 4);
  const RestoreWords words = ParseRestoreWords(arguments);
  if (arguments.Refused(context.reply)) return;
  Transaction& tx = *context.tx;
  const auto present = tx.FindForWrite(context.arg(1));
  if (!present.ok()) return context.reply.Error(present.error());
  constexpr std::string_view kBusyKey = "BUSYKEY Target key name already exists.";
  if (*present && !words.replace) return context.reply.Error(kBusyKey);

  Arguments time_argument(context.args, 2);
  const int64_t time = time_argument.NextInteger();
  if (time < 0) time_argument.Fail("ERR Invalid TTL value, must be >= 0");
  if (time_argument.Refused(context.reply)) return;
  rdb::RestoreOptions options;
  options.replace = words.replace;
  options.logged = PayloadOptions(context);
  if (time > 0) {
    const int64_t base = words.absolute ? 0 : tx.now_ms();
    options.expire_at_ms = base + std::min(time, std::numeric_limits<int64_t>::max() - base);
  }

  const std::string_view payload = context.arg(3);
  if (!rdb::IsPayload(payload)) return context.reply.Error("ERR DUMP payload version or checksum are wrong");
  const auto restored = rdb::Restore(tx, context.arg(1), payload, options);
  if (!restored.ok()) {
    // Redis has one text for all of these; what is not here has a reason of its own.
    const bool bad = restored.error().code == ErrorCode::kCorruption;
    return bad ? context.reply.Error("ERR Bad data format") : context.reply.Error(restored.error());
  }
  if (*restored == rdb::RestoreResult::kBusy) return context.reply.Error(kBusyKey);
  context.reply.Ok();
}

}  // namespace

std::vector<CommandSpec> PayloadCommands() {
  std::vector<CommandSpec> rows;
  rows.push_back(MakeCommand("dump", 2, kReadOnly, kCatKeyspace, kOneKey, Dump,
                             {"Tells what a key holds as bytes that RESTORE takes.", "2.6.0", "generic",
                              "O(N) with N the size of the value", "key"}));
  constexpr std::string_view kRestoreArguments =
      "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]";
  rows.push_back(MakeCommand("restore", -4, kWrite | kDenyOom, kCatKeyspace | kCatDangerous, kOneKey, Restore,
                             {"Makes a key from the bytes that DUMP told.", "2.6.0", "generic",
                              "O(N) with N the size of the value", kRestoreArguments}));
  rows.push_back(MakeCommand("restore-asking", -4, kWrite | kDenyOom | kAskingCommand, kCatKeyspace | kCatDangerous,
                             kOneKey, Restore,
                             {"RESTORE as cluster nodes send it to each other.", "3.0.0", "server",
                              "O(N) with N the size of the value", kRestoreArguments}));
  return rows;
}

}  // namespace holdfast::net
