// The command table: one row a command with arity, flags, key positions, categories and handler. docs/architecture.md
// "Commands". Families register by name in command_table.cpp (no static initialisers).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/client.h"
#include "net/reply.h"
#include "storage/transaction.h"

namespace holdfast::net {

class Server;
struct CommandContext;

using Handler = void (*)(CommandContext&);

// Redis' command flags, as COMMAND INFO prints them.
enum CommandFlag : uint32_t {
  kWrite = 1u << 0,
  kReadOnly = 1u << 1,
  kDenyOom = 1u << 2,
  kAdmin = 1u << 3,
  kPubSubCommand = 1u << 4,
  kNoScript = 1u << 5,
  kBlocking = 1u << 6,
  kLoading = 1u << 7,  // allowed while loading
  kStale = 1u << 8,    // allowed on a replica with a broken link and replica-serve-stale-data no
  kFast = 1u << 9,
  kNoAuth = 1u << 10,   // allowed before AUTH
  kNoMulti = 1u << 11,  // refused inside MULTI
  kMovableKeys = 1u << 12,
  kSkipMonitor = 1u << 13,
  kSkipSlowlog = 1u << 14,
  kMayReplicate = 1u << 15,  // not printed, as in Redis
  kAllowBusy = 1u << 16,
  kNoAsyncLoading = 1u << 17,
  kAskingCommand = 1u << 18,  // needs no ASKING before it in a cluster
  // Ours:
  kUnkeyedRead = 1u << 24,  // the reply depends on more than its keys (DBSIZE, SCAN, ...): gate on everything appended
  kNoTransaction =
      1u << 25,            // the handler gets no transaction (tx == nullptr): connection, admin, replication commands
  kFreesSpace = 1u << 26,  // a write that is allowed below the disk space mark (DEL, FLUSHALL, EXPIRE ...)
};

// ACL categories as bits, named as Redis names them.
enum CommandCategory : uint32_t {
  kCatKeyspace = 1u << 0,
  kCatRead = 1u << 1,
  kCatWrite = 1u << 2,
  kCatSet = 1u << 3,
  kCatSortedSet = 1u << 4,
  kCatList = 1u << 5,
  kCatHash = 1u << 6,
  kCatString = 1u << 7,
  kCatBitmap = 1u << 8,
  kCatHyperLogLog = 1u << 9,
  kCatGeo = 1u << 10,
  kCatStream = 1u << 11,
  kCatPubSub = 1u << 12,
  kCatAdmin = 1u << 13,
  kCatFast = 1u << 14,
  kCatSlow = 1u << 15,
  kCatBlocking = 1u << 16,
  kCatDangerous = 1u << 17,
  kCatConnection = 1u << 18,
  kCatTransaction = 1u << 19,
  kCatScripting = 1u << 20,
};

// Key positions: first, last (negative: from the end), step; all 0 when there are none. `get_keys` for movable keys.
struct KeySpec {
  int first = 0, last = 0, step = 0;
};

struct CommandDoc {
  std::string_view summary;  // our own words
  std::string_view since;    // Redis version, "1.0.0"
  std::string_view group;    // "string", "generic", "connection", "server", "pubsub", "transactions", "bitmap"
  std::string_view complexity;
  std::string_view arguments;  // syntax after the name, "key value [EX seconds]", for hints and COMMAND DOCS
};

struct CommandSpec {
  std::string_view name;  // lower case; a subcommand: "client|list"
  int arity = 0;          // negative: at least
  uint32_t flags = 0;
  uint32_t categories = 0;
  KeySpec keys;
  Handler handler = nullptr;  // null for a container without own behaviour
  CommandDoc doc;
  std::vector<int> (*get_keys)(std::span<const std::string_view> args) = nullptr;  // argument indexes
  std::vector<CommandSpec> subcommands;

  // Statistics, kept by the dispatcher.
  mutable uint64_t calls = 0, usec = 0, rejected = 0, failed = 0;
  // Calls by duration: [i] counts those of at most 2^i microseconds (the last one: all longer ones, too).
  mutable std::array<uint64_t, 26> latency{};
};

// What a handler sees.
struct CommandContext {
  Server& server;
  Client& client;
  const CommandSpec& spec;
  std::span<const std::string_view>
      args;  // args[0] is the command's name as sent; views live until the handler returns
  Reply& reply;
  Transaction* tx;       // the unit at work; null with kNoTransaction
  bool in_exec = false;  // inside EXEC: must not block

  [[nodiscard]] std::string_view arg(size_t i) const { return args[i]; }
  [[nodiscard]] size_t argc() const { return args.size(); }
};

// Families. Each returns its rows; net/command_table.cpp joins them.
std::vector<CommandSpec> StringCommands();       // commands/strings.cpp
std::vector<CommandSpec> BitCommands();          // commands/bits.cpp
std::vector<CommandSpec> KeyCommands();          // commands/keys.cpp
std::vector<CommandSpec> HashCommands();         // commands/hashes.cpp
std::vector<CommandSpec> SetCommands();          // commands/sets.cpp
std::vector<CommandSpec> ListCommands();         // commands/lists.cpp
std::vector<CommandSpec> SortedSetCommands();    // commands/sorted_sets.cpp
std::vector<CommandSpec> StreamCommands();       // commands/streams.cpp
std::vector<CommandSpec> HyperLogLogCommands();  // commands/hyperloglogs.cpp
std::vector<CommandSpec> GeoCommands();          // commands/geo.cpp
std::vector<CommandSpec> SortCommands();         // commands/sort.cpp
std::vector<CommandSpec> TransactionCommands();  // commands/transactions.cpp  MULTI EXEC DISCARD WATCH UNWATCH
std::vector<CommandSpec>
ConnectionCommands();                       // commands/connection.cpp    PING ECHO AUTH HELLO SELECT QUIT RESET CLIENT
std::vector<CommandSpec> PubSubCommands();  // commands/pubsub.cpp
std::vector<CommandSpec> ServerCommands();  // commands/server.cpp        INFO CONFIG COMMAND DEBUG SHUTDOWN ...
std::vector<CommandSpec> ReplicationCommands();  // commands/replication.cpp   REPLICAOF PSYNC REPLCONF WAIT ROLE ...

class CommandTable {
 public:
  CommandTable();                                         // all families
  explicit CommandTable(std::vector<CommandSpec> specs);  // tests
  // Case-insensitive; null if unknown. Top-level names only.
  [[nodiscard]] const CommandSpec* Find(std::string_view name) const;
  [[nodiscard]] static const CommandSpec* FindSubcommand(const CommandSpec& container, std::string_view name);
  // rename-command: `from` answers to `to` alone from now on, or to nothing if that is empty. Null, or what is wrong.
  [[nodiscard]] const char* Rename(std::string_view from, std::string_view to);
  // What these arguments name: the command, or the subcommand args[1] of a container. Null if unknown. A container
  // alone is itself (its arity then refuses it).
  [[nodiscard]] const CommandSpec* Resolve(std::span<const std::string_view> args) const;
  [[nodiscard]] const std::vector<CommandSpec>& all() const { return specs_; }  // sorted by name
  // The keys' argument indexes, by key spec or get_keys.
  [[nodiscard]] static std::vector<int> KeyIndexes(const CommandSpec& spec, std::span<const std::string_view> args);

 private:
  std::vector<CommandSpec> specs_;
  std::vector<bool> renamed_away_;  // by position in specs_; empty while nothing is renamed
  std::map<std::string, uint16_t, std::less<>> new_names_;
  std::vector<uint16_t> index_;  // open addressing over specs_ by hash of the lower-case name
};

}  // namespace holdfast::net
