#include "net/command_batch.h"

namespace holdfast::net {

RespParser::Status CommandBatch::Fill(RespParser& parser, std::string_view input, const RespParser::Limits& limits,
                                      size_t commands_max) {
  args_.clear();
  alone_ = {};
  commands_.clear();
  consumed_ = 0;
  RespParser::Status status = RespParser::Status::kNeedMore;
  while (consumed_ < input.size() && commands_.size() < commands_max) {
    // The parser keeps the words of an inline command for itself until it is called again.
    const bool inline_next = input[consumed_] != '*' && !parser.InsideCommand();
    if (inline_next && !empty()) return RespParser::Status::kCommand;
    status = parser.Parse(input.substr(consumed_), limits);
    if (status == RespParser::Status::kError && !empty()) {
      parser.Restart();
      return RespParser::Status::kCommand;
    }
    consumed_ += parser.consumed();
    if (status != RespParser::Status::kCommand) return status;
    const std::span<const std::string_view> args = parser.args();
    const bool alone = parser.ArgumentsAreOwned() || args.size() > kArgumentsMax;
    if (alone && !empty()) {  // later, as the first one
      consumed_ -= parser.consumed();
      return status;
    }
    commands_.push_back({static_cast<uint32_t>(args_.size()), static_cast<uint32_t>(args.size()), consumed_, nullptr});
    if (alone) {
      alone_ = args;
      return status;
    }
    args_.insert(args_.end(), args.begin(), args.end());
  }
  return status;
}

}  // namespace holdfast::net
