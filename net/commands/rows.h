// Rows of the command table, and what families share in making them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "net/command.h"

namespace holdfast::net {

inline constexpr KeySpec kNoKeys{};
inline constexpr KeySpec kOneKey{1, 1, 1};
inline constexpr KeySpec kTwoKeys{1, 2, 1};
inline constexpr KeySpec kAllKeys{1, -1, 1};

// A row; categories that follow from the flags (read, write, admin, pubsub, fast or slow ...) are added.
[[nodiscard]] CommandSpec MakeCommand(std::string_view name, int arity, uint32_t flags, uint32_t categories,
                                      KeySpec keys, Handler handler, CommandDoc doc);
// A command that only has subcommands.
[[nodiscard]] CommandSpec MakeContainer(std::string_view name, CommandDoc doc, std::vector<CommandSpec> subcommands);

// Key positions of "numkeys key [key ...]" whose number stands at args[at]; none if that is no number of keys there.
[[nodiscard]] std::vector<int> CountedKeys(std::span<const std::string_view> args, size_t at);

// The answer of "<COMMAND> HELP": `lines` between Redis' first line and its HELP entry.
void ReplyHelp(CommandContext& context, std::string_view command, std::initializer_list<std::string_view> lines);

}  // namespace holdfast::net
