// Parts of families that have a file of their own. net/command.h names the families.
#pragma once

#include <vector>

#include "net/command.h"

namespace holdfast::net {

CommandSpec ClientContainer();                   // client_command.cpp
CommandSpec ConfigContainer();                   // config_command.cpp
CommandSpec CommandContainer();                  // command_command.cpp
CommandSpec InfoCommand();                       // info.cpp
CommandSpec DebugCommand();                      // debug.cpp
CommandSpec MemoryContainer();                   // memory_command.cpp
CommandSpec SlowlogContainer();                  // slowlog.cpp
CommandSpec LatencyContainer();                  // latency.cpp
CommandSpec AclContainer();                      // acl.cpp
CommandSpec ObjectContainer();                   // object.cpp
std::vector<CommandSpec> PersistenceCommands();  // persistence.cpp: SAVE BGSAVE BGREWRITEAOF LASTSAVE SHUTDOWN
CommandSpec MigrateCommand();                    // migrate.cpp
CommandSpec HoldfastContainer();                 // holdfast.cpp
std::vector<CommandSpec> PayloadCommands();      // payloads.cpp: DUMP RESTORE
std::vector<CommandSpec> KeyspaceCommands();     // keyspace.cpp: SCAN KEYS RANDOMKEY DBSIZE FLUSHDB FLUSHALL SWAPDB

// Whether text is fit for a client's name: printable ASCII without blanks.
[[nodiscard]] bool IsClientName(std::string_view text);
// AUTH: checks and takes effect on the client; on failure the reply is written.
bool Authenticate(CommandContext& context, std::string_view user, std::string_view password);

}  // namespace holdfast::net
