// Commands on whole databases: words to storage/types/keyspace.h and back.
#include "storage/types/keyspace.h"

#include <fmt/format.h>

#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/collection_replies.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

void ReplyKeys(Reply& reply, const std::vector<std::string>& keys) {
  reply.Array(keys.size());
  for (const std::string& key : keys) reply.Bulk(key);
}

void Keys(CommandContext& context) {
  const auto keys = keyspace::Keys(*context.tx, context.arg(1));
  if (!keys.ok()) return context.reply.Error(keys.error());
  ReplyKeys(context.reply, *keys);
}

void Scan(CommandContext& context) {
  const auto cursor = ParseCursor(context.arg(1));
  if (!cursor) return context.reply.Error("ERR invalid cursor");
  keyspace::ScanOptions options;
  options.cursor = *cursor;
  Arguments arguments(context.args, 2);
  while (arguments.HasNext()) {
    if (arguments.NextIs("COUNT", 1)) {
      options.count = static_cast<uint64_t>(arguments.NextInteger(1, INT64_MAX, kSyntaxError));
    } else if (arguments.NextIs("MATCH", 1)) {
      options.pattern = arguments.Next();
    } else if (arguments.NextIs("TYPE", 1)) {
      options.type = arguments.Next();
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  const auto page = keyspace::Scan(*context.tx, options);
  if (!page.ok()) return context.reply.Error(page.error());
  context.reply.Array(2);
  context.reply.Bulk(fmt::format("{}", page->cursor));
  ReplyKeys(context.reply, page->keys);
}

void RandomKey(CommandContext& context) {
  const auto key = keyspace::RandomKey(*context.tx);
  if (!key.ok()) return context.reply.Error(key.error());
  if (!key->has_value()) return context.reply.Null();
  context.reply.Bulk(**key);
}

void DbSize(CommandContext& context) { context.reply.Integer(static_cast<int64_t>(keyspace::Size(*context.tx))); }

bool RefuseFlushOptions(CommandContext& context) {
  if (context.argc() == 1) return false;
  if (context.argc() == 2 && (EqualsIgnoreCase(context.arg(1), "sync") || EqualsIgnoreCase(context.arg(1), "async"))) {
    return false;  // both take no time here: the rows are collected later
  }
  context.reply.Error(kSyntaxError);
  return true;
}

void FlushDb(CommandContext& context) {
  if (RefuseFlushOptions(context)) return;
  keyspace::FlushDb(*context.tx);
  context.reply.Ok();
}

void FlushAll(CommandContext& context) {
  if (RefuseFlushOptions(context)) return;
  keyspace::FlushAll(*context.tx);
  context.reply.Ok();
}

void SwapDb(CommandContext& context) {
  Arguments arguments(context.args);
  constexpr std::string_view kFirst = "ERR invalid first DB index";
  constexpr std::string_view kSecond = "ERR invalid second DB index";
  const int64_t a = arguments.NextInteger(INT32_MIN, INT32_MAX, kFirst, kFirst);
  const int64_t b = arguments.NextInteger(INT32_MIN, INT32_MAX, kSecond, kSecond);
  const int64_t count = context.tx->database_count();
  if (a < 0 || b < 0 || a >= count || b >= count) arguments.Fail("ERR DB index is out of range");
  if (arguments.Refused(context.reply)) return;
  const auto done = keyspace::SwapDb(*context.tx, static_cast<int>(a), static_cast<int>(b));
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Ok();
}

}  // namespace

std::vector<CommandSpec> KeyspaceCommands() {
  constexpr uint32_t kList = kReadOnly | kUnkeyedRead;
  return {
      MakeCommand("keys", 2, kList, kCatKeyspace | kCatDangerous, kNoKeys, Keys,
                  {"Lists all keys that match a pattern.", "1.0.0", "generic", "O(N) with N the keys of the database",
                   "pattern"}),
      MakeCommand("scan", -2, kList, kCatKeyspace, kNoKeys, Scan,
                  {"Lists keys page by page.", "2.8.0", "generic", "O(1) a page, O(N) for all of the keys",
                   "cursor [MATCH pattern] [COUNT count] [TYPE type]"}),
      MakeCommand("randomkey", 1, kList, kCatKeyspace, kNoKeys, RandomKey,
                  {"Names a random key.", "1.0.0", "generic", "O(log N)", ""}),
      MakeCommand("dbsize", 1, kList | kFast, kCatKeyspace, kNoKeys, DbSize,
                  {"Counts the keys of the database.", "1.0.0", "server", "O(1)", ""}),
      MakeCommand("flushdb", -1, kWrite | kFreesSpace, kCatKeyspace | kCatDangerous, kNoKeys, FlushDb,
                  {"Deletes all keys of the database.", "1.0.0", "server", "O(1)", "[ASYNC|SYNC]"}),
      MakeCommand("flushall", -1, kWrite | kFreesSpace, kCatKeyspace | kCatDangerous, kNoKeys, FlushAll,
                  {"Deletes all keys of all databases.", "1.0.0", "server", "O(1)", "[ASYNC|SYNC]"}),
      MakeCommand("swapdb", 3, kWrite | kFast, kCatKeyspace | kCatDangerous, kNoKeys, SwapDb,
                  {"Exchanges two databases.", "4.0.0", "server", "O(1)", "index1 index2"}),
  };
}

}  // namespace holdfast::net
