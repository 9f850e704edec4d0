// Parts of the stream family, and what their replies share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/command.h"
#include "storage/types/stream_value.h"

namespace holdfast::net {

std::vector<CommandSpec> StreamReadCommands();   // stream_reads.cpp: XREAD XREADGROUP
std::vector<CommandSpec> StreamGroupCommands();  // stream_groups.cpp: XGROUP XACK XCLAIM XAUTOCLAIM XPENDING
CommandSpec StreamInfoContainer();               // stream_info.cpp: XINFO

// Replies of an array whose length is known at its end.
class GrowingArray {
 public:
  explicit GrowingArray(const Reply& like) : items_(bytes_, like.resp()) {}
  // For the next item.
  Reply& Next() {
    ++count_;
    return items_;
  }
  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  void MoveTo(Reply& reply) const {
    reply.Array(count_);
    reply.Raw(bytes_);
  }

 private:
  std::string bytes_;
  Reply items_;
  uint64_t count_ = 0;
};

void ReplyId(Reply& reply, StreamId id);
// [id, [field, value ...]]; without fields a null in their place.
void ReplyEntry(Reply& reply, StreamId id, const StreamFields* fields);

// The stream at args[at], as a reading command finds it; counts hits and misses. Nothing, and the reply is written, if
// it cannot be read.
std::optional<std::optional<StreamReader>> OpenStream(CommandContext& context, size_t at);

}  // namespace holdfast::net
