// CommandBatch: the next few commands of one client, parsed before the first of them runs, so that the rows they ask
// for can be fetched into the processor's cache together (Server::Prefetch) instead of one miss after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/resp_parser.h"

namespace holdfast::net {

struct CommandSpec;

class CommandBatch {
 public:
  static constexpr size_t kCommandsMax = 32;

  // Parses commands from the front of `input` until it ends, `commands_max` are there, or one is better run alone (long
  // or inline). An error behind commands is not reported now: it is met again when they have run and their bytes are
  // dropped. The arguments view the input and the parser. Returns what the parser last said.
  // A caller that does not run all commands drops only what it ran, and calls parser.Restart().
  RespParser::Status Fill(RespParser& parser, std::string_view input, const RespParser::Limits& limits,
                          size_t commands_max);

  [[nodiscard]] bool empty() const { return commands_.empty(); }
  [[nodiscard]] size_t size() const { return commands_.size(); }
  [[nodiscard]] std::span<const std::string_view> args(size_t i) const {
    return alone_.empty() ? std::span(args_).subspan(commands_[i].first, commands_[i].count) : alone_;
  }
  // Where the bytes of the command begin (with empty lines in front of it) and end.
  [[nodiscard]] size_t begin(size_t i) const { return i == 0 ? 0 : commands_[i - 1].end; }
  [[nodiscard]] size_t end(size_t i) const { return commands_[i].end; }
  // Bytes looked at and needed no more once all commands have run.
  [[nodiscard]] size_t consumed() const { return consumed_; }

  // What the command is, for who looks it up anyway; null until set.
  void SetSpec(size_t i, const CommandSpec* spec) { commands_[i].spec = spec; }
  [[nodiscard]] const CommandSpec* spec(size_t i) const { return commands_[i].spec; }

 private:
  // A command with more arguments is run alone, from the parser's own list.
  static constexpr size_t kArgumentsMax = 64;

  struct Command {
    uint32_t first, count;  // in args_
    size_t end;
    const CommandSpec* spec;
  };
  std::vector<std::string_view> args_;
  std::span<const std::string_view> alone_;
  std::vector<Command> commands_;
  size_t consumed_ = 0;
};

}  // namespace holdfast::net
