// MIGRATE: values as payloads to another server, which confirms them; then they are deleted here.
//
// Redis stops everything meanwhile. Here others go on: what they change is noticed when the target has confirmed, and
// such a key stays. Payloads leave when what they tell is on disk.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/migration.h"
#include "net/server.h"
#include "storage/rdb/payload.h"
#include "storage/types/keys.h"

namespace holdfast::net {
namespace {

// All payloads of one command together.
constexpr uint64_t kPayloadsMax = 1ull << 30;

struct MigrateWords {
  MigrationTarget target;
  bool copy = false;
  std::vector<std::string_view> keys;
};

constexpr size_t kFirstOption = 6;

void ParseOptions(CommandContext& context, Arguments& arguments, MigrateWords& words) {
  words.keys = {context.arg(3)};
  while (arguments.HasNext()) {
    if (arguments.NextIs("COPY")) {
      words.copy = true;
    } else if (arguments.NextIs("REPLACE")) {
      words.target.replace = true;
    } else if (arguments.NextIs("AUTH")) {
      words.target.password = arguments.Next();
    } else if (arguments.NextIs("AUTH2")) {
      words.target.user = arguments.Next();
      words.target.password = arguments.Next();
    } else if (arguments.NextIs("KEYS")) {
      if (!context.arg(3).empty()) {
        arguments.Fail("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
      }
      words.keys.clear();
      while (arguments.HasNext()) words.keys.push_back(arguments.Next());
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
}

void ParseTarget(CommandContext& context, Arguments& arguments, MigrateWords& words) {
  Arguments numbers(context.args, 4);
  const int64_t db = numbers.NextInteger();
  const int64_t timeout_ms = numbers.NextInteger();
  if (numbers.failed()) arguments.Fail(kNotAnInteger);
  const auto port = ParseInteger(context.arg(2));
  words.target.host = context.arg(1);
  // A port that is none cannot be connected to, and an index that is none is the target's to refuse.
  words.target.port = static_cast<int>(std::clamp<int64_t>(port.value_or(0), 0, 65536));
  words.target.db = static_cast<int>(std::clamp<int64_t>(db, INT32_MIN, INT32_MAX));
  words.target.timeout_ms = timeout_ms <= 0 ? 1000 : std::min<int64_t>(timeout_ms, 24 * 3600 * 1000);
}

rdb::RdbWriteOptions PayloadOptions(Server& server) {
  const Settings& settings = server.config().settings();
  return {settings.rdb_version, settings.rdb_compression, /*checksum=*/true};
}

// One MIGRATE under way. Lives until its thread and its client have let go of it.
struct Moving {
  std::unique_ptr<Migrations::Place> place;
  MigrationTarget target;
  std::vector<MigratedValue> values;
  rdb::RdbWriteOptions options;
  bool copy = false;
  int db = 0;
  ClientId client = 0;
  uint64_t gate = 0;  // what the payloads tell is on disk when the log is durable to here
  bool started = false;
  bool done = false;
  std::string error;  // of the reply
};

// Of what has arrived, the keys that still hold what was sent.
Result<std::vector<std::string_view>> Unchanged(Transaction& tx, const Moving& moving) {
  std::vector<std::string_view> keys;
  for (const MigratedValue& value : moving.values) {
    if (!value.arrived) continue;
    ASSIGN_OR_RETURN(const auto found, tx.Find(value.key));
    if (!found || found->expire_at_ms != value.expire_at_ms) continue;
    ASSIGN_OR_RETURN(const std::string payload, rdb::DumpValue(tx, *found, moving.options));
    if (payload == value.payload) keys.push_back(value.key);
  }
  return keys;
}

void DeleteArrived(Server& server, Moving& moving) {
  if (server.replication().IsReplica()) {
    moving.error = "ERR This server has become a replica while keys were migrated: they are here as well";
    return;
  }
  Transaction& tx = server.store().Begin(TransactionMode::kLive, moving.db, server.NowMs());
  const auto keys = Unchanged(tx, moving);
  const auto arrived = static_cast<size_t>(std::count_if(moving.values.begin(), moving.values.end(),
                                                         [](const MigratedValue& value) { return value.arrived; }));
  Result<void> outcome;
  if (!keys.ok()) {
    outcome = keys.error();
  } else if (const auto deleted = keys::Delete(tx, *keys); !deleted.ok()) {
    outcome = deleted.error();
  }
  server.CommitUnit(server.clients().Find(moving.client), tx);
  server.blocking().ServeTouched();
  if (!outcome.ok()) {
    moving.error = "ERR " + outcome.error().message;
  } else if (keys->size() < arrived && moving.error.empty()) {
    moving.error =
        "ERR A key was changed while it was migrated: it stays here, and the target has what it was before. Try again "
        "with REPLACE";
  }
}

void Start(Server& server, const std::shared_ptr<Moving>& moving) {
  moving->started = true;
  Executor& executor = server.executor();
  server.migrations().Start(moving->target, std::move(moving->values),
                            [&server, &executor, moving](MigrationResult result) {
                              executor.Post([&server, moving, result = std::move(result)]() mutable {
                                moving->values = std::move(result.values);
                                moving->error = std::move(result.error);
                                if (!moving->copy) DeleteArrived(server, *moving);
                                moving->values.clear();
                                moving->place.reset();
                                moving->done = true;
                                server.blocking().Recheck();
                              });
                            });
}

// The payloads of the keys that exist.
Result<std::vector<MigratedValue>> Collect(Transaction& tx, const MigrateWords& words,
                                           const rdb::RdbWriteOptions& options) {
  std::vector<MigratedValue> values;
  uint64_t bytes = 0;
  for (const std::string_view key : words.keys) {
    ASSIGN_OR_RETURN(const auto found, tx.Find(key));
    if (!found) continue;
    MigratedValue value;
    value.key = key;
    value.expire_at_ms = found->expire_at_ms;
    ASSIGN_OR_RETURN(value.payload, rdb::DumpValue(tx, *found, options));
    bytes += value.payload.size() + key.size();
    if (bytes > kPayloadsMax) {
      return Error{ErrorCode::kLimit, "these keys are more than 1 GB together: migrate fewer at a time"};
    }
    values.push_back(std::move(value));
  }
  return values;
}

void Migrate(CommandContext& context) {
  if (context.in_exec) return context.reply.Error("ERR MIGRATE is not allowed in a transaction");
  MigrateWords words;
  Arguments arguments(context.args, kFirstOption);
  ParseOptions(context, arguments, words);
  ParseTarget(context, arguments, words);
  if (arguments.Refused(context.reply)) return;
  Server& server = context.server;
  auto moving = std::make_shared<Moving>();
  moving->place = server.migrations().TakePlace();  // before there are payloads: they are what is bounded
  if (moving->place == nullptr) return context.reply.Error("ERR Too many MIGRATE commands at a time");
  moving->options = PayloadOptions(server);
  auto values = Collect(*context.tx, words, moving->options);
  if (!values.ok()) return context.reply.Error(values.error());
  if (values->empty()) return context.reply.Status("NOKEY");
  moving->target = std::move(words.target);
  moving->values = std::move(*values);
  moving->copy = words.copy;
  moving->db = context.client.db;
  moving->client = context.client.id;
  moving->gate = context.tx->seen_offset();

  Blocking::Wait wait;
  wait.kind = Client::Blocked::kMigrate;
  wait.ready = [&server, moving] {
    if (!moving->started && server.log().DurableOffset() >= moving->gate) Start(server, moving);
    return moving->done;
  };
  wait.answer = [moving](Client& client) {
    Reply reply(client.output.bytes, client.resp);
    moving->error.empty() ? reply.Ok() : reply.Error(moving->error);
  };
  if (server.log().DurableOffset() >= moving->gate) {
    Start(server, moving);
  } else {
    server.SyncSoon();
  }
  server.blocking().Block(context.client, std::move(wait));
}

// The key, or those behind KEYS; none with both.
std::vector<int> MigrateKeys(std::span<const std::string_view> args) {
  if (args.size() <= 3) return {};
  for (size_t i = kFirstOption; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "AUTH")) {
      ++i;
    } else if (EqualsIgnoreCase(args[i], "AUTH2")) {
      i += 2;
    } else if (EqualsIgnoreCase(args[i], "KEYS")) {
      std::vector<int> keys;
      if (!args[3].empty()) return keys;
      for (++i; i < args.size(); ++i) keys.push_back(static_cast<int>(i));
      return keys;
    }
  }
  return {3};
}

}  // namespace

CommandSpec MigrateCommand() {
  CommandSpec spec = MakeCommand(
      "migrate", -6, kWrite | kMovableKeys, kCatKeyspace | kCatDangerous, {3, 3, 1}, Migrate,
      {"Moves keys to another server.", "2.6.0", "generic", "O(N) with N the size of the values",
       "host port key|\"\" destination-db timeout [COPY] [REPLACE] [AUTH password|AUTH2 user password] [KEYS key "
       "[key ...]]"});
  spec.get_keys = MigrateKeys;
  return spec;
}

}  // namespace holdfast::net
