// What commands on hashes, sets and sorted sets share: replies with many members, random picks, SCAN's arguments.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "net/command.h"
#include "storage/types/members.h"

namespace holdfast::net {

// A cursor as strtoul() reads it, like Redis: a sign and leading zeros are allowed, nothing at all is 0, blanks are
// refused.
[[nodiscard]] std::optional<uint64_t> ParseCursor(std::string_view text);

// Counts a lookup of a key for INFO's keyspace_hits and keyspace_misses.
void CountLookup(CommandContext& context, bool found);

// Writes the replies of a walk behind a header that is known only afterwards: `walk` writes elements and returns how
// many; `header` then writes what stands in front of them. After an error nothing else is in the reply.
void ReplyCounted(CommandContext& context, const std::function<Result<uint64_t>(Reply& elements)>& walk,
                  const std::function<void(Reply& reply, uint64_t count)>& header);

// HSCAN, SSCAN and ZSCAN after the cursor: `open` finds the collection; values follow the members as they are, unless
// NOVALUES is given, or as scores.
enum class ScanValues { kNone, kFields, kScores };
void ReplyScan(CommandContext& context, Result<std::optional<MemberReader>> (*open)(Transaction&, std::string_view),
               ScanValues values);

// What HRANDFIELD and ZRANDMEMBER are given after the key: [count [`word`]].
struct PickArguments {
  bool counted = false;  // a count was given: the reply is an array
  int64_t count = 0;
  bool with_values = false;
};
// nullopt: refused, and the error is in the reply.
[[nodiscard]] std::optional<PickArguments> ReadPickArguments(CommandContext& context, std::string_view word);

// As many random members as a negative count asks for, with repetitions; each is written by `write`. A reply that would
// grow beyond any use is refused. `elements` counts the bulks of one member.
void ReplyRepeatedPicks(CommandContext& context, const MemberReader& reader, uint64_t count,
                        const std::function<void(Reply& reply)>& header,
                        const std::function<void(Reply& reply, const MemberReader::Member& member)>& write);

}  // namespace holdfast::net
