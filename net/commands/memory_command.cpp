// MEMORY USAGE, STATS, DOCTOR, PURGE, MALLOC-STATS.
#include <fmt/format.h>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/memory_figures.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/value_bytes.h"

namespace holdfast::net {
namespace {

// Of a row in memory: its table slot, header and checksum. On disk it is about the same.
constexpr uint64_t kRowOverhead = 48;

void Usage(CommandContext& context) {
  Arguments arguments(context.args, 3);
  uint64_t samples = kSampledMembers;
  while (arguments.HasNext()) {
    if (arguments.NextIs("SAMPLES", 1)) {
      samples = static_cast<uint64_t>(arguments.NextInteger(0, INT64_MAX, kSyntaxError));
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  const auto found = context.tx->Find(context.arg(2));
  if (!found.ok()) return context.reply.Error(found.error());
  if (!found->has_value()) return context.reply.Null();
  const auto rows = ValueRows(**found);
  if (!rows.ok()) return context.reply.Error(rows.error());
  const auto value_bytes = ValueBytes(*context.tx, **found, samples);
  if (!value_bytes.ok()) return context.reply.Error(value_bytes.error());
  const uint64_t bytes = context.arg(2).size() + *value_bytes + (1 + *rows) * kRowOverhead;
  context.reply.Integer(static_cast<int64_t>(bytes));
}

void ReplyStats(CommandContext& context) {
  const MemoryFigures memory = ReadMemoryFigures(context.server);
  uint64_t keys = 0;
  for (int db = 0; db < context.tx->database_count(); ++db) keys += context.tx->KeyCount(db);
  const uint64_t dataset = memory.used > memory.overhead ? memory.used - memory.overhead : 0;
  Reply& reply = context.reply;
  const auto number = [&reply](std::string_view name, uint64_t value) {
    reply.Bulk(name);
    reply.Integer(static_cast<int64_t>(value));
  };
  const auto share = [&reply](std::string_view name, uint64_t a, uint64_t b) {
    reply.Bulk(name);
    reply.Double(b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b));
  };
  reply.Map(13);
  number("peak.allocated", memory.peak);
  number("total.allocated", memory.used);
  number("startup.allocated", memory.startup);
  number("replication.backlog", 0);
  number("clients.slaves", 0);
  number("clients.normal", memory.clients);
  number("aof.buffer", context.server.log().PendingBytes());
  number("overhead.total", memory.overhead);
  number("keys.count", keys);
  number("keys.bytes-per-key", keys == 0 ? 0 : dataset / keys);
  number("dataset.bytes", dataset);
  share("allocator-fragmentation.ratio", memory.active, memory.used);
  share("fragmentation", memory.resident, memory.used);
}

void Doctor(CommandContext& context) {
  const MemoryFigures memory = ReadMemoryFigures(context.server);
  context.reply.Verbatim(
      "txt", fmt::format("{} handed out, {} resident. The data is on disk; memory holds buffers and caches, bounded by "
                         "memtable-size, row-cache-size and memory-budget.\n",
                         HumanBytes(memory.used), HumanBytes(memory.resident)));
}

void MallocStats(CommandContext& context) {
  const MemoryFigures memory = ReadMemoryFigures(context.server);
  context.reply.Verbatim("txt", fmt::format("{}: allocated {}, active {}, resident {}, arenas {}\n", memory.allocator,
                                            memory.used, memory.active, memory.allocator_resident, memory.arenas));
}

void Purge(CommandContext& context) { context.reply.Ok(); }  // the allocator gives pages back by itself

void Help(CommandContext& context) {
  ReplyHelp(
      context, "MEMORY",
      {"DOCTOR", "    Says in a sentence where memory goes.", "MALLOC-STATS", "    Tells the allocator's figures.",
       "PURGE", "    Accepted; the allocator gives pages back by itself.", "STATS", "    Tells where memory goes.",
       "USAGE <key> [SAMPLES <count>]", "    Tells the bytes a key and its value take."});
}

}  // namespace

CommandSpec MemoryContainer() {
  return MakeContainer(
      "memory", {"Tells where memory goes.", "4.0.0", "server", "depends on the subcommand", ""},
      {
          MakeCommand("memory|doctor", 2, kNoTransaction, 0, kNoKeys, Doctor,
                      {"Says in a sentence where memory goes.", "4.0.0", "server", "O(1)", ""}),
          MakeCommand("memory|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, Help,
                      {"Explains the subcommands.", "4.0.0", "server", "O(1)", ""}),
          MakeCommand("memory|malloc-stats", 2, kNoTransaction, 0, kNoKeys, MallocStats,
                      {"Tells the allocator's figures.", "4.0.0", "server", "O(1)", ""}),
          MakeCommand("memory|purge", 2, kNoTransaction, 0, kNoKeys, Purge,
                      {"Accepted; the allocator gives pages back by itself.", "4.0.0", "server", "O(1)", ""}),
          MakeCommand("memory|stats", 2, kUnkeyedRead, 0, kNoKeys, ReplyStats,
                      {"Tells where memory goes.", "4.0.0", "server", "O(1)", ""}),
          MakeCommand("memory|usage", -3, kReadOnly, 0, {2, 2, 1}, Usage,
                      {"Tells the bytes a key and its value take.", "4.0.0", "server", "O(1)", "key [SAMPLES count]"}),
      });
}

}  // namespace holdfast::net
