// Commands on keys of any type: words to storage/types/keys.h and back.
#include "storage/types/keys.h"

#include <fmt/format.h>

#include <iterator>
#include <limits>
#include <utility>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/expiry.h"

namespace holdfast::net {
namespace {

void CountLookups(CommandContext& context, uint64_t found, uint64_t asked) {
  Stats& stats = context.server.monitoring().stats;
  stats.keyspace_hits += found;
  stats.keyspace_misses += asked - found;
}

void ReplyCount(CommandContext& context, const Result<uint64_t>& count) {
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

void ReplyWhether(CommandContext& context, const Result<bool>& done) {
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Integer(*done ? 1 : 0);
}

void Delete(CommandContext& context) { ReplyCount(context, keys::Delete(*context.tx, context.args.subspan(1))); }

void Exists(CommandContext& context) {
  const auto count = keys::Exists(*context.tx, context.args.subspan(1));
  if (count.ok()) CountLookups(context, *count, context.argc() - 1);
  ReplyCount(context, count);
}

void Type(CommandContext& context) {
  const auto type = keys::Type(*context.tx, context.arg(1));
  if (!type.ok()) return context.reply.Error(type.error());
  context.reply.Status(type->has_value() ? ValueTypeName(**type) : "none");
}

void Rename(CommandContext& context) {
  const auto done = keys::Rename(*context.tx, context.arg(1), context.arg(2));
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Ok();
}

void RenameNx(CommandContext& context) {
  ReplyWhether(context, keys::RenameNx(*context.tx, context.arg(1), context.arg(2)));
}

// A database number as MOVE and COPY take it.
int ReadDb(CommandContext& context, Arguments& arguments) {
  constexpr int64_t kLow = std::numeric_limits<int32_t>::min();
  constexpr int64_t kHigh = std::numeric_limits<int32_t>::max();
  const int64_t db = arguments.NextInteger(
      kLow, kHigh, fmt::format("ERR value is out of range, value must between {} and {}", kLow, kHigh));
  if (!arguments.failed() && (db < 0 || db >= context.tx->database_count())) {
    arguments.Fail("ERR DB index is out of range");
  }
  return static_cast<int>(db);
}

void Copy(CommandContext& context) {
  keys::CopyTarget target{context.client.db, context.arg(2), false};
  Arguments arguments(context.args, 3);
  while (arguments.HasNext()) {
    if (arguments.NextIs("REPLACE")) {
      target.replace = true;
    } else if (arguments.NextIs("DB", 1)) {
      target.db = ReadDb(context, arguments);
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  ReplyWhether(context, keys::Copy(*context.tx, context.arg(1), target));
}

void Move(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int db = ReadDb(context, arguments);
  if (arguments.Refused(context.reply)) return;
  ReplyWhether(context, keys::Move(*context.tx, context.arg(1), db));
}

void Touch(CommandContext& context) { ReplyCount(context, keys::Exists(*context.tx, context.args.subspan(1))); }

// ---- expiry --------------------------------------------------------------------------------------------------------

keys::ExpireCondition ParseCondition(Arguments& arguments) {
  keys::ExpireCondition condition;
  while (arguments.HasNext()) {
    if (arguments.NextIs("NX")) {
      condition.if_none = true;
    } else if (arguments.NextIs("XX")) {
      condition.if_any = true;
    } else if (arguments.NextIs("GT")) {
      condition.if_greater = true;
    } else if (arguments.NextIs("LT")) {
      condition.if_less = true;
    } else {
      arguments.Fail(fmt::format("ERR Unsupported option {}", arguments.Next()));
    }
  }
  if (condition.if_none && (condition.if_any || condition.if_greater || condition.if_less)) {
    arguments.Fail("ERR NX and XX, GT or LT options at the same time are not compatible");
  }
  if (condition.if_greater && condition.if_less) {
    arguments.Fail("ERR GT and LT options at the same time are not compatible");
  }
  return condition;
}

template <ExpiryUnit unit, ExpiryBase base>
void Expire(CommandContext& context) {
  Arguments arguments(context.args, 3);
  const keys::ExpireCondition condition = ParseCondition(arguments);
  if (arguments.Refused(context.reply)) return;
  const auto when = ParseExpiry(context.arg(2), {unit, base, false}, context.tx->now_ms(), context.spec.name);
  if (!when.ok()) return context.reply.Error(when.error());
  ReplyWhether(context, keys::Expire(*context.tx, context.arg(1), *when, condition));
}

void Persist(CommandContext& context) { ReplyWhether(context, keys::Persist(*context.tx, context.arg(1))); }

template <ExpiryUnit unit, ExpiryBase base>
void TimeToLive(CommandContext& context) {
  const auto when = keys::ExpireTime(*context.tx, context.arg(1));
  if (!when.ok()) return context.reply.Error(when.error());
  CountLookups(context, when->has_value() ? 1 : 0, 1);
  if (!when->has_value()) return context.reply.Integer(-2);
  if (**when == kNoExpiry) return context.reply.Integer(-1);
  int64_t value = **when;
  if (base == ExpiryBase::kRelative) value = std::max<int64_t>(value - context.tx->now_ms(), 0);
  context.reply.Integer(unit == ExpiryUnit::kSeconds ? static_cast<int64_t>((static_cast<uint64_t>(value) + 500) / 1000)
                                                     : value);
}

// ---- rows ----------------------------------------------------------------------------------------------------------

constexpr auto kS = ExpiryUnit::kSeconds;
constexpr auto kMs = ExpiryUnit::kMilliseconds;
constexpr auto kIn = ExpiryBase::kRelative;
constexpr auto kAt = ExpiryBase::kAbsolute;

void AddExpiry(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kChange = kWrite | kFast | kFreesSpace;
  constexpr uint32_t kLook = kReadOnly | kFast;
  rows.push_back(
      MakeCommand("expire", -3, kChange, kCatKeyspace, kOneKey, Expire<kS, kIn>,
                  {"Lets a key expire after some seconds.", "1.0.0", "generic", "O(1)", "key seconds [NX|XX|GT|LT]"}));
  rows.push_back(MakeCommand(
      "pexpire", -3, kChange, kCatKeyspace, kOneKey, Expire<kMs, kIn>,
      {"Lets a key expire after some milliseconds.", "2.6.0", "generic", "O(1)", "key milliseconds [NX|XX|GT|LT]"}));
  rows.push_back(MakeCommand(
      "expireat", -3, kChange, kCatKeyspace, kOneKey, Expire<kS, kAt>,
      {"Lets a key expire at a time in seconds.", "1.2.0", "generic", "O(1)", "key unix-time-seconds [NX|XX|GT|LT]"}));
  rows.push_back(MakeCommand("pexpireat", -3, kChange, kCatKeyspace, kOneKey, Expire<kMs, kAt>,
                             {"Lets a key expire at a time in milliseconds.", "2.6.0", "generic", "O(1)",
                              "key unix-time-milliseconds [NX|XX|GT|LT]"}));
  rows.push_back(MakeCommand("persist", 2, kChange, kCatKeyspace, kOneKey, Persist,
                             {"Lets a key live for ever.", "2.2.0", "generic", "O(1)", "key"}));
  rows.push_back(MakeCommand("ttl", 2, kLook, kCatKeyspace, kOneKey, TimeToLive<kS, kIn>,
                             {"Tells how many seconds a key has left.", "1.0.0", "generic", "O(1)", "key"}));
  rows.push_back(MakeCommand("pttl", 2, kLook, kCatKeyspace, kOneKey, TimeToLive<kMs, kIn>,
                             {"Tells how many milliseconds a key has left.", "2.6.0", "generic", "O(1)", "key"}));
  rows.push_back(MakeCommand("expiretime", 2, kLook, kCatKeyspace, kOneKey, TimeToLive<kS, kAt>,
                             {"Tells when a key expires, in seconds.", "7.0.0", "generic", "O(1)", "key"}));
  rows.push_back(MakeCommand("pexpiretime", 2, kLook, kCatKeyspace, kOneKey, TimeToLive<kMs, kAt>,
                             {"Tells when a key expires, in milliseconds.", "7.0.0", "generic", "O(1)", "key"}));
}

void AddKeys(std::vector<CommandSpec>& rows) {
  rows.push_back(MakeCommand("del", -2, kWrite | kFreesSpace, kCatKeyspace, kAllKeys, Delete,
                             {"Deletes keys.", "1.0.0", "generic", "O(N) with N the keys", "key [key ...]"}));
  rows.push_back(MakeCommand("unlink", -2, kWrite | kFast | kFreesSpace, kCatKeyspace, kAllKeys, Delete,
                             {"Deletes keys; what they held is collected later, as with DEL here.", "4.0.0", "generic",
                              "O(N) with N the keys", "key [key ...]"}));
  rows.push_back(
      MakeCommand("exists", -2, kReadOnly | kFast, kCatKeyspace, kAllKeys, Exists,
                  {"Counts which of the keys exist.", "1.0.0", "generic", "O(N) with N the keys", "key [key ...]"}));
  rows.push_back(MakeCommand("touch", -2, kReadOnly | kFast, kCatKeyspace, kAllKeys, Touch,
                             {"Counts which of the keys exist; keys carry no access times here.", "3.2.1", "generic",
                              "O(N) with N the keys", "key [key ...]"}));
  rows.push_back(MakeCommand("type", 2, kReadOnly | kFast, kCatKeyspace, kOneKey, Type,
                             {"Tells the type of what a key holds.", "1.0.0", "generic", "O(1)", "key"}));
  rows.push_back(MakeCommand("rename", 3, kWrite, kCatKeyspace, kTwoKeys, Rename,
                             {"Gives a key another name.", "1.0.0", "generic", "O(1)", "key newkey"}));
  rows.push_back(
      MakeCommand("renamenx", 3, kWrite | kFast, kCatKeyspace, kTwoKeys, RenameNx,
                  {"Gives a key another name that is not taken.", "1.0.0", "generic", "O(1)", "key newkey"}));
  rows.push_back(
      MakeCommand("copy", -3, kWrite | kDenyOom, kCatKeyspace, kTwoKeys, Copy,
                  {"Copies what a key holds to another key.", "6.2.0", "generic",
                   "O(N) with N the size of what is copied", "source destination [DB destination-db] [REPLACE]"}));
  rows.push_back(MakeCommand("move", 3, kWrite | kFast, kCatKeyspace, kOneKey, Move,
                             {"Moves a key to another database.", "1.0.0", "generic", "O(1)", "key db"}));
}

}  // namespace

std::vector<CommandSpec> KeyCommands() {
  std::vector<CommandSpec> rows = KeyspaceCommands();
  AddExpiry(rows);
  AddKeys(rows);
  for (CommandSpec& row : PayloadCommands()) rows.push_back(std::move(row));
  rows.push_back(MigrateCommand());
  rows.push_back(ObjectContainer());
  return rows;
}

}  // namespace holdfast::net
