#include "net/commands/rows.h"

#include <fmt/format.h>

#include <utility>

#include "storage/types/numbers.h"

namespace holdfast::net {

CommandSpec MakeCommand(std::string_view name, int arity, uint32_t flags, uint32_t categories, KeySpec keys,
                        Handler handler, CommandDoc doc) {
  CommandSpec spec;
  spec.name = name;
  spec.arity = arity;
  spec.flags = flags;
  spec.categories = categories;
  if ((flags & kWrite) != 0) spec.categories |= kCatWrite;
  if ((flags & kReadOnly) != 0) spec.categories |= kCatRead;
  if ((flags & kAdmin) != 0) spec.categories |= kCatAdmin | kCatDangerous;
  if ((flags & kPubSubCommand) != 0) spec.categories |= kCatPubSub;
  if ((flags & kBlocking) != 0) spec.categories |= kCatBlocking;
  spec.categories |= (flags & kFast) != 0 ? kCatFast : kCatSlow;
  spec.keys = keys;
  spec.handler = handler;
  spec.doc = doc;
  return spec;
}

CommandSpec MakeContainer(std::string_view name, CommandDoc doc, std::vector<CommandSpec> subcommands) {
  CommandSpec spec = MakeCommand(name, -2, 0, 0, kNoKeys, nullptr, doc);
  spec.subcommands = std::move(subcommands);
  return spec;
}

std::vector<int> CountedKeys(std::span<const std::string_view> args, size_t at) {
  std::vector<int> indexes;
  const auto count = at < args.size() ? ParseInteger(args[at]) : std::nullopt;
  if (!count || *count < 1 || static_cast<uint64_t>(*count) >= args.size() - at) return indexes;
  for (int64_t i = 1; i <= *count; ++i) indexes.push_back(static_cast<int>(static_cast<int64_t>(at) + i));
  return indexes;
}

void ReplyHelp(CommandContext& context, std::string_view command, std::initializer_list<std::string_view> lines) {
  Reply& reply = context.reply;
  reply.Array(lines.size() + 3);
  reply.Status(fmt::format("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", command));
  for (const std::string_view line : lines) reply.Status(line);
  reply.Status("HELP");
  reply.Status("    Prints this help.");
}

}  // namespace holdfast::net
