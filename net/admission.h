// Admission: may this command of this client run now? A sequence of small rules in Redis' order, each of which lets it
// pass, refuses it with an error, postpones it, or queues it for EXEC. net/dispatcher.cpp walks them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/command.h"

namespace holdfast::net {

class Server;

enum class Verdict : uint8_t {
  kRun,
  kRefused,    // `error` holds the reply
  kPostponed,  // not now: the transport offers it again
  kQueued,     // part of a transaction
};

struct Admission {
  Server& server;
  Client& client;
  std::span<const std::string_view> args;
  const CommandSpec* spec = nullptr;  // found by the caller, or null; then what is to be run
  // The command's flags; EXEC has those of what is queued, too.
  uint32_t flags = 0;
  std::string error;

  [[nodiscard]] Verdict Decide();

  Verdict Refuse(std::string text) {
    error = std::move(text);
    return Verdict::kRefused;
  }
};

inline constexpr std::string_view kReadOnlyReplica = "READONLY You can't write against a read only replica.";

// Why a command with these flags, of a client that is nobody's master, would be refused as a write now; nullopt: it
// would not. The text carries its code. Not for reads: they pass.
std::optional<std::string> RefusalOfWrite(Server& server, uint32_t flags, bool all_free_space);

}  // namespace holdfast::net
