// What LMPOP and the list commands that wait share.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/reply.h"
#include "storage/transaction.h"
#include "storage/types/list_value.h"

namespace holdfast::net {

// numkeys key [key ...] LEFT|RIGHT [COUNT count]
struct MultiPopWords {
  std::span<const std::string_view> keys;
  ListEnd end = ListEnd::kLeft;
  uint64_t count = 1;
};
// `arguments` stands at args[numkeys_at].
MultiPopWords ReadMultiPop(Arguments& arguments, std::span<const std::string_view> args, size_t numkeys_at);

// Takes up to `count` items and writes the reply of LMPOP, or an error. False, and nothing is written, if there is no
// such list.
bool PopFromKey(Transaction& tx, std::string_view key, ListEnd end, uint64_t count, Reply& reply);

// BLPOP BRPOP BLMOVE BRPOPLPUSH BLMPOP (blocking_lists.cpp)
std::vector<CommandSpec> BlockingListCommands();

}  // namespace holdfast::net
