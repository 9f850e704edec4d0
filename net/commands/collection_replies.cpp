#include "net/commands/collection_replies.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "net/commands/arguments.h"
#include "net/server.h"
#include "storage/types/glob.h"
#include "storage/types/numbers.h"
#include "storage/types/scores.h"

namespace holdfast::net {
namespace {

// Of random picks with repetitions, which grow with a number alone.
constexpr uint64_t kPicksReplyMax = uint64_t{512} << 20;
constexpr uint64_t kBulkMin = 6;
// Collections up to this size are read once for many picks.
constexpr uint64_t kPickFromMemoryMax = 64 * 1024;

// Redis keeps whole scores of small sorted sets as integers, and ZSCAN, alone of all, shows them as they are kept.
std::string ScoreInScan(double score, bool large) {
  constexpr double kIntegerMax = 4611686018427387904.0;
  if (!large && std::abs(score) <= kIntegerMax && std::trunc(score) == score) {
    return FormatInteger(static_cast<int64_t>(score));
  }
  return FormatDouble(score);
}

struct ScanArguments {
  uint64_t count = 10;
  std::optional<std::string_view> pattern;
  bool no_values = false;
};

bool ParseScanArguments(CommandContext& context, ScanValues values, ScanArguments& options) {
  Arguments arguments(context.args, 3);
  while (arguments.HasNext()) {
    if (arguments.NextIs("COUNT", 1)) {
      options.count = static_cast<uint64_t>(arguments.NextInteger(1, INT64_MAX, kSyntaxError));
    } else if (arguments.NextIs("MATCH", 1)) {
      options.pattern = arguments.Next();
      if (options.pattern == "*") options.pattern.reset();
    } else if (values == ScanValues::kFields && arguments.NextIs("NOVALUES")) {
      options.no_values = true;
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  return !arguments.Refused(context.reply);
}

}  // namespace

std::optional<uint64_t> ParseCursor(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.empty()) return std::nullopt;
  }
  while (text.size() > 1 && text.front() == '0') text.remove_prefix(1);
  if (text.empty()) return 0;
  const auto value = ParseUnsigned(text);
  if (!value) return std::nullopt;
  return negative ? uint64_t{0} - *value : *value;
}

void CountLookup(CommandContext& context, bool found) {
  Stats& stats = context.server.monitoring().stats;
  ++(found ? stats.keyspace_hits : stats.keyspace_misses);
}

void ReplyCounted(CommandContext& context, const std::function<Result<uint64_t>(Reply& elements)>& walk,
                  const std::function<void(Reply& reply, uint64_t count)>& header) {
  constexpr size_t kUsualReply = 512;
  std::string bytes;
  bytes.reserve(kUsualReply);
  Reply elements(bytes, context.reply.resp());
  const auto count = walk(elements);
  if (!count.ok()) return context.reply.Error(count.error());
  header(context.reply, *count);
  context.reply.Raw(bytes);
}

void ReplyScan(CommandContext& context, Result<std::optional<MemberReader>> (*open)(Transaction&, std::string_view),
               ScanValues values) {
  const auto cursor = ParseCursor(context.arg(2));
  if (!cursor) return context.reply.Error("ERR invalid cursor");
  const auto reader = open(*context.tx, context.arg(1));
  if (!reader.ok()) return context.reply.Error(reader.error());
  CountLookup(context, reader->has_value());
  // Redis looks at the options of an existing key only.
  ScanArguments options;
  if (reader->has_value() && !ParseScanArguments(context, values, options)) return;
  uint64_t next = 0;
  const bool pairs = values != ScanValues::kNone && !options.no_values;
  ReplyCounted(
      context,
      [&](Reply& elements) -> Result<uint64_t> {
        uint64_t count = 0;
        if (!reader->has_value()) return count;
        Result<void> failed;
        ASSIGN_OR_RETURN(next,
                         (*reader)->Scan(*cursor, options.count, [&](std::string_view member, std::string_view value) {
                           if (options.pattern && !GlobMatch(*options.pattern, member)) return true;
                           elements.Bulk(member);
                           if (values == ScanValues::kScores) {
                             const auto score = DecodeScore(value);
                             if (!score.ok()) failed = score.error();
                             if (!score.ok()) return false;
                             elements.Bulk(ScoreInScan(*score, (*reader)->large()));
                           } else if (pairs) {
                             elements.Bulk(value);
                           }
                           count += pairs ? 2 : 1;
                           return true;
                         }));
        RETURN_IF_ERROR(std::move(failed));
        return count;
      },
      [&](Reply& reply, uint64_t count) {
        reply.Array(2);
        reply.Bulk(fmt::format("{}", next));
        reply.Array(count);
      });
}

void ReplyRepeatedPicks(CommandContext& context, const MemberReader& reader, uint64_t count,
                        const std::function<void(Reply& reply)>& header,
                        const std::function<void(Reply& reply, const MemberReader::Member& member)>& write) {
  Reply& reply = context.reply;
  const size_t begin = reply.out().size();
  auto refuse = [&](std::string_view text) {
    reply.out().resize(begin);
    reply.Error(text);
  };
  constexpr std::string_view kTooLarge = "ERR the reply would be larger than 512 MB, ask for fewer elements";
  if (count > kPicksReplyMax / kBulkMin) return refuse(kTooLarge);
  std::vector<MemberReader::Member> all;
  if (reader.count() <= kPickFromMemoryMax && (count >= reader.count() / 4 || reader.count() <= 64)) {
    auto read = reader.PickDistinct(reader.count());
    if (!read.ok()) return reply.Error(read.error());
    all = std::move(*read);
    if (all.empty()) return refuse("ERR no member found in a collection that should have some");
  }
  header(reply);
  for (uint64_t i = 0; i < count; ++i) {
    if (!all.empty()) {
      write(reply, all[context.tx->random().Below(all.size())]);
    } else {
      const auto picked = reader.Pick();
      if (!picked.ok()) {
        reply.out().resize(begin);
        return reply.Error(picked.error());
      }
      write(reply, *picked);
    }
    if (reply.out().size() - begin > kPicksReplyMax) return refuse(kTooLarge);
  }
}

std::optional<PickArguments> ReadPickArguments(CommandContext& context, std::string_view word) {
  PickArguments pick;
  pick.counted = context.argc() > 2;
  if (!pick.counted) return pick;
  Arguments arguments(context.args, 2);
  pick.count = arguments.NextInteger(
      -INT64_MAX, INT64_MAX,
      "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
  if (arguments.HasNext()) {
    pick.with_values = arguments.NextIs(word);
    if (!pick.with_values || arguments.HasNext()) arguments.Fail(kSyntaxError);
  }
  constexpr int64_t kMax = INT64_MAX / 2;
  if (pick.with_values && (pick.count < -kMax || pick.count > kMax)) arguments.Fail("ERR value is out of range");
  if (arguments.Refused(context.reply)) return std::nullopt;
  return pick;
}

}  // namespace holdfast::net
