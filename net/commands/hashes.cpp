// Hash commands: words to store operations (storage/types/hashes.h) and back.
#include "storage/types/hashes.h"

#include <fmt/format.h>

#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/collection_replies.h"
#include "net/commands/rows.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

void ReplyOptional(Reply& reply, const std::optional<std::string_view>& value) {
  if (!value) return reply.Null();
  reply.Bulk(*value);
}

// Nothing, and the error is the reply, if the key holds something else.
std::optional<std::optional<MemberReader>> OpenHash(CommandContext& context) {
  const auto hash = hashes::Open(*context.tx, context.arg(1));
  if (!hash.ok()) {
    context.reply.Error(hash.error());
    return std::nullopt;
  }
  CountLookup(context, hash->has_value());
  return *hash;
}

bool RefuseOddPairs(CommandContext& context) {
  if (context.argc() % 2 == 0) return false;
  context.reply.Error(fmt::format("ERR wrong number of arguments for '{}' command", context.spec.name));
  return true;
}

// ---- writing -------------------------------------------------------------------------------------------------------

void HSet(CommandContext& context) {
  if (RefuseOddPairs(context)) return;
  const auto added = hashes::Set(*context.tx, context.arg(1), context.args.subspan(2));
  if (!added.ok()) return context.reply.Error(added.error());
  context.reply.Integer(static_cast<int64_t>(*added));
}

void HMSet(CommandContext& context) {
  if (RefuseOddPairs(context)) return;
  const auto added = hashes::Set(*context.tx, context.arg(1), context.args.subspan(2));
  if (!added.ok()) return context.reply.Error(added.error());
  context.reply.Ok();
}

void HSetNx(CommandContext& context) {
  const auto done = hashes::SetNx(*context.tx, context.arg(1), context.arg(2), context.arg(3));
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Integer(*done ? 1 : 0);
}

void HDel(CommandContext& context) {
  const auto count = hashes::Delete(*context.tx, context.arg(1), context.args.subspan(2));
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

void HIncrBy(CommandContext& context) {
  Arguments arguments(context.args, 3);
  const int64_t increment = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto value = hashes::IncrBy(*context.tx, context.arg(1), context.arg(2), increment);
  if (!value.ok()) return context.reply.Error(value.error());
  context.reply.Integer(*value);
}

void HIncrByFloat(CommandContext& context) {
  const auto increment = ParseLongDouble(context.arg(3));
  if (!increment) return context.reply.Error("ERR value is not a valid float");
  const auto value = hashes::IncrByFloat(*context.tx, context.arg(1), context.arg(2), *increment);
  if (!value.ok()) return context.reply.Error(value.error());
  context.reply.Bulk(*value);
}

// ---- reading -------------------------------------------------------------------------------------------------------

void HGet(CommandContext& context) {
  const auto hash = OpenHash(context);
  if (!hash) return;
  if (!*hash) return context.reply.Null();
  const auto value = (*hash)->Get(context.arg(2));
  if (!value.ok()) return context.reply.Error(value.error());
  ReplyOptional(context.reply, *value);
}

void HMGet(CommandContext& context) {
  const auto values = hashes::GetMany(*context.tx, context.arg(1), context.args.subspan(2));
  if (!values.ok()) return context.reply.Error(values.error());
  context.reply.Array(values->size());
  for (const auto& value : *values) ReplyOptional(context.reply, value);
}

void HLen(CommandContext& context) {
  const auto hash = OpenHash(context);
  if (!hash) return;
  context.reply.Integer(*hash ? static_cast<int64_t>((*hash)->count()) : 0);
}

template <bool length>
void LookAtField(CommandContext& context) {
  const auto hash = OpenHash(context);
  if (!hash) return;
  if (!*hash) return context.reply.Integer(0);
  const auto value = (*hash)->Get(context.arg(2));
  if (!value.ok()) return context.reply.Error(value.error());
  const size_t size = *value ? (*value)->size() : 0;
  context.reply.Integer(length ? static_cast<int64_t>(size) : (*value ? 1 : 0));
}

template <bool fields, bool values>
void ListFields(CommandContext& context) {
  const auto hash = OpenHash(context);
  if (!hash) return;
  ReplyCounted(
      context,
      [&](Reply& elements) -> Result<uint64_t> {
        uint64_t count = 0;
        if (!*hash) return count;
        RETURN_IF_ERROR((*hash)->Visit([&](std::string_view field, std::string_view value) {
          if (fields) elements.Bulk(field);
          if (values) elements.Bulk(value);
          ++count;
          return true;
        }));
        return count;
      },
      [](Reply& reply, uint64_t count) { fields&& values ? reply.Map(count) : reply.Array(count); });
}

void ReplyFields(CommandContext& context, const MemberReader& hash, int64_t count, bool with_values) {
  const auto header = [&](uint64_t elements) {
    return [with_values, elements](Reply& reply) {
      reply.Array(with_values && reply.resp() == 2 ? elements * 2 : elements);
    };
  };
  const auto write = [with_values](Reply& reply, const MemberReader::Member& field) {
    if (with_values && reply.resp() > 2) reply.Array(2);
    reply.Bulk(field.member);
    if (with_values) reply.Bulk(field.value);
  };
  if (count < 0) {
    const uint64_t wanted = uint64_t{0} - static_cast<uint64_t>(count);
    return ReplyRepeatedPicks(context, hash, wanted, header(wanted), write);
  }
  const auto picked = hash.PickDistinct(static_cast<uint64_t>(count));
  if (!picked.ok()) return context.reply.Error(picked.error());
  header(picked->size())(context.reply);
  for (const MemberReader::Member& field : *picked) write(context.reply, field);
}

void HRandField(CommandContext& context) {
  const auto pick = ReadPickArguments(context, "WITHVALUES");
  if (!pick) return;
  const auto hash = OpenHash(context);
  if (!hash) return;
  if (pick->counted) {
    if (!*hash || pick->count == 0) return context.reply.Array(0);
    return ReplyFields(context, **hash, pick->count, pick->with_values);
  }
  if (!*hash) return context.reply.Null();
  const auto picked = (*hash)->Pick();
  if (!picked.ok()) return context.reply.Error(picked.error());
  context.reply.Bulk(picked->member);
}

void HScan(CommandContext& context) { ReplyScan(context, hashes::Open, ScanValues::kFields); }

// ---- rows ----------------------------------------------------------------------------------------------------------

void AddReads(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kQuick = kReadOnly | kFast;
  rows.push_back(MakeCommand("hget", 3, kQuick, kCatHash, kOneKey, HGet,
                             {"Reads the value of a field.", "2.0.0", "hash", "O(1)", "key field"}));
  rows.push_back(MakeCommand(
      "hmget", -3, kQuick, kCatHash, kOneKey, HMGet,
      {"Reads the values of several fields.", "2.0.0", "hash", "O(N) with N the fields", "key field [field ...]"}));
  rows.push_back(MakeCommand("hlen", 2, kQuick, kCatHash, kOneKey, HLen,
                             {"Counts the fields of a hash.", "2.0.0", "hash", "O(1)", "key"}));
  rows.push_back(MakeCommand("hexists", 3, kQuick, kCatHash, kOneKey, LookAtField<false>,
                             {"Tells whether a hash has a field.", "2.0.0", "hash", "O(1)", "key field"}));
  rows.push_back(MakeCommand("hstrlen", 3, kQuick, kCatHash, kOneKey, LookAtField<true>,
                             {"Tells the length of a field's value.", "3.2.0", "hash", "O(1)", "key field"}));
  rows.push_back(
      MakeCommand("hgetall", 2, kReadOnly, kCatHash, kOneKey, ListFields<true, true>,
                  {"Lists all fields with their values.", "2.0.0", "hash", "O(N) with N the fields", "key"}));
  rows.push_back(MakeCommand("hkeys", 2, kReadOnly, kCatHash, kOneKey, ListFields<true, false>,
                             {"Lists all fields.", "2.0.0", "hash", "O(N) with N the fields", "key"}));
  rows.push_back(MakeCommand("hvals", 2, kReadOnly, kCatHash, kOneKey, ListFields<false, true>,
                             {"Lists all values.", "2.0.0", "hash", "O(N) with N the fields", "key"}));
  rows.push_back(MakeCommand(
      "hrandfield", -2, kReadOnly, kCatHash, kOneKey, HRandField,
      {"Picks random fields.", "6.2.0", "hash", "O(N) with N the fields picked", "key [count [WITHVALUES]]"}));
  rows.push_back(MakeCommand("hscan", -3, kReadOnly, kCatHash, kOneKey, HScan,
                             {"Lists fields page by page.", "2.8.0", "hash", "O(1) a page, O(N) for all of the fields",
                              "key cursor [MATCH pattern] [COUNT count] [NOVALUES]"}));
}

void AddWrites(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kFlags = kWrite | kDenyOom | kFast;
  rows.push_back(MakeCommand(
      "hset", -4, kFlags, kCatHash, kOneKey, HSet,
      {"Sets fields of a hash.", "2.0.0", "hash", "O(N) with N the fields", "key field value [field value ...]"}));
  rows.push_back(MakeCommand("hmset", -4, kFlags, kCatHash, kOneKey, HMSet,
                             {"The old form of HSET with several fields.", "2.0.0", "hash", "O(N) with N the fields",
                              "key field value [field value ...]"}));
  rows.push_back(MakeCommand("hsetnx", 4, kFlags, kCatHash, kOneKey, HSetNx,
                             {"Sets a field if there is none.", "2.0.0", "hash", "O(1)", "key field value"}));
  rows.push_back(MakeCommand("hdel", -3, kWrite | kFast | kFreesSpace, kCatHash, kOneKey, HDel,
                             {"Deletes fields.", "2.0.0", "hash", "O(N) with N the fields", "key field [field ...]"}));
  rows.push_back(MakeCommand("hincrby", 4, kFlags, kCatHash, kOneKey, HIncrBy,
                             {"Adds to the integer in a field.", "2.0.0", "hash", "O(1)", "key field increment"}));
  rows.push_back(
      MakeCommand("hincrbyfloat", 4, kFlags, kCatHash, kOneKey, HIncrByFloat,
                  {"Adds to the decimal number in a field.", "2.6.0", "hash", "O(1)", "key field increment"}));
}

}  // namespace

std::vector<CommandSpec> HashCommands() {
  std::vector<CommandSpec> rows;
  AddReads(rows);
  AddWrites(rows);
  return rows;
}

}  // namespace holdfast::net
