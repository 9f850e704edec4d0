// String commands: words to store operations (storage/types/strings.h) and back.
#include "storage/types/strings.h"

#include <fmt/format.h>

#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/expiry.h"
#include "storage/types/lcs.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

void CountLookup(CommandContext& context, bool found) {
  Stats& stats = context.server.monitoring().stats;
  ++(found ? stats.keyspace_hits : stats.keyspace_misses);
}

// The whole string as a bulk reply, by pieces when it is big.
void ReplyString(Reply& reply, const StringValue& value) {
  if (const auto whole = value.Inline()) return reply.Bulk(*whole);
  const size_t begin = reply.out().size();
  reply.Raw(fmt::format("${}\r\n", value.Length()));
  const auto read = value.VisitPieces(0, value.Length(), [&reply](uint64_t, std::string_view piece) {
    reply.Raw(piece);
    return true;
  });
  if (!read.ok()) {
    reply.out().resize(begin);
    return reply.Error(read.error());
  }
  reply.Raw("\r\n");
}

void ReplyOptional(Reply& reply, const std::optional<std::string>& value) {
  if (!value) return reply.Null();
  reply.Bulk(*value);
}

// ---- SET and GETEX options -----------------------------------------------------------------------------------------

struct StringOptions {
  bool nx = false, xx = false, get = false, keep_ttl = false, persist = false;
  std::string_view expiry;  // the client's text; empty: none (an empty text fails as a number later)
  bool has_expiry = false;
  ExpiryForm form;
};

bool TakeExpiry(Arguments& arguments, StringOptions& options) {
  struct Form {
    std::string_view word;
    ExpiryForm form;
  };
  static constexpr Form kForms[] = {
      {"EX", {ExpiryUnit::kSeconds, ExpiryBase::kRelative, true}},
      {"PX", {ExpiryUnit::kMilliseconds, ExpiryBase::kRelative, true}},
      {"EXAT", {ExpiryUnit::kSeconds, ExpiryBase::kAbsolute, true}},
      {"PXAT", {ExpiryUnit::kMilliseconds, ExpiryBase::kAbsolute, true}},
  };
  for (const Form& form : kForms) {
    if (!arguments.NextIs(form.word, 1)) continue;
    const bool same = options.form.unit == form.form.unit && options.form.base == form.form.base;
    if (options.keep_ttl || options.persist || (options.has_expiry && !same)) arguments.Fail(kSyntaxError);
    options.has_expiry = true;
    options.form = form.form;
    options.expiry = arguments.Next();
    return true;
  }
  return false;
}

StringOptions ParseSetOptions(Arguments& arguments) {
  StringOptions options;
  while (arguments.HasNext()) {
    if (arguments.NextIs("NX")) {
      options.nx = true;
    } else if (arguments.NextIs("XX")) {
      options.xx = true;
    } else if (arguments.NextIs("GET")) {
      options.get = true;
    } else if (arguments.NextIs("KEEPTTL")) {
      options.keep_ttl = true;
      if (options.has_expiry) arguments.Fail(kSyntaxError);
    } else if (!TakeExpiry(arguments, options)) {
      arguments.Fail(kSyntaxError);
    }
    if (options.nx && options.xx) arguments.Fail(kSyntaxError);
  }
  return options;
}

// kNoExpiry without one. False: the error is the reply.
bool ReadExpiry(CommandContext& context, const StringOptions& options, int64_t* expire_at_ms) {
  *expire_at_ms = kNoExpiry;
  if (!options.has_expiry) return true;
  const auto parsed = ParseExpiry(options.expiry, options.form, context.tx->now_ms(), context.spec.name);
  if (!parsed.ok()) {
    context.reply.Error(parsed.error());
    return false;
  }
  *expire_at_ms = *parsed;
  return true;
}

void Set(CommandContext& context) {
  Arguments arguments(context.args, 3);
  const StringOptions given = ParseSetOptions(arguments);
  if (arguments.Refused(context.reply)) return;
  strings::SetOptions options;
  if (!ReadExpiry(context, given, &options.expire_at_ms)) return;
  if (given.nx) options.condition = strings::SetCondition::kIfAbsent;
  if (given.xx) options.condition = strings::SetCondition::kIfPresent;
  options.keep_ttl = given.keep_ttl;
  options.get = given.get;
  const auto done = strings::Set(*context.tx, context.arg(1), context.arg(2), options);
  if (!done.ok()) return context.reply.Error(done.error());
  if (given.get) return ReplyOptional(context.reply, done->previous);
  if (!done->written) return context.reply.Null();
  context.reply.Ok();
}

void SetNx(CommandContext& context) {
  strings::SetOptions options;
  options.condition = strings::SetCondition::kIfAbsent;
  const auto done = strings::Set(*context.tx, context.arg(1), context.arg(2), options);
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Integer(done->written ? 1 : 0);
}

template <ExpiryUnit unit>
void SetEx(CommandContext& context) {
  const ExpiryForm form{unit, ExpiryBase::kRelative, true};
  const auto expiry = ParseExpiry(context.arg(2), form, context.tx->now_ms(), context.spec.name);
  if (!expiry.ok()) return context.reply.Error(expiry.error());
  strings::SetOptions options;
  options.expire_at_ms = *expiry;
  const auto done = strings::Set(*context.tx, context.arg(1), context.arg(3), options);
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Ok();
}

void GetSet(CommandContext& context) {
  strings::SetOptions options;
  options.get = true;
  const auto done = strings::Set(*context.tx, context.arg(1), context.arg(2), options);
  if (!done.ok()) return context.reply.Error(done.error());
  ReplyOptional(context.reply, done->previous);
}

void Get(CommandContext& context) {
  const auto value = strings::Get(*context.tx, context.arg(1));
  if (!value.ok()) return context.reply.Error(value.error());
  CountLookup(context, value->has_value());
  if (!value->has_value()) return context.reply.Null();
  ReplyString(context.reply, **value);
}

void GetDel(CommandContext& context) {
  const auto value = strings::GetDel(*context.tx, context.arg(1));
  if (!value.ok()) return context.reply.Error(value.error());
  ReplyOptional(context.reply, *value);
}

void GetEx(CommandContext& context) {
  Arguments arguments(context.args, 2);
  StringOptions given;
  while (arguments.HasNext()) {
    if (arguments.NextIs("PERSIST")) {
      given.persist = true;
      if (given.has_expiry) arguments.Fail(kSyntaxError);
    } else if (!TakeExpiry(arguments, given)) {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  // A missing key answers before a bad expiry is looked at.
  const auto found = strings::Get(*context.tx, context.arg(1));
  if (!found.ok()) return context.reply.Error(found.error());
  if (!found->has_value()) return context.reply.Null();
  strings::GetExOptions options;
  options.persist = given.persist;
  if (!ReadExpiry(context, given, &options.expire_at_ms)) return;
  const auto value = strings::GetEx(*context.tx, context.arg(1), options);
  if (!value.ok()) return context.reply.Error(value.error());
  ReplyOptional(context.reply, *value);
}

// ---- several keys --------------------------------------------------------------------------------------------------

void MGet(CommandContext& context) {
  context.reply.Array(context.argc() - 1);
  for (const std::string_view key : context.args.subspan(1)) {
    const auto value = strings::Get(*context.tx, key);
    const bool wrong_type = !value.ok() && value.error().code == ErrorCode::kWrongType;
    if (!value.ok() && !wrong_type) {
      context.reply.Error(value.error());
      continue;
    }
    CountLookup(context, value.ok() && value->has_value());
    if (wrong_type || !value->has_value()) {
      context.reply.Null();
    } else {
      ReplyString(context.reply, **value);
    }
  }
}

bool RefuseOddPairs(CommandContext& context) {
  if (context.argc() % 2 == 1) return false;
  context.reply.Error(fmt::format("ERR wrong number of arguments for '{}' command", context.spec.name));
  return true;
}

void MSet(CommandContext& context) {
  if (RefuseOddPairs(context)) return;
  const auto done = strings::MSet(*context.tx, context.args.subspan(1));
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Ok();
}

void MSetNx(CommandContext& context) {
  if (RefuseOddPairs(context)) return;
  const auto done = strings::MSetNx(*context.tx, context.args.subspan(1));
  if (!done.ok()) return context.reply.Error(done.error());
  context.reply.Integer(*done ? 1 : 0);
}

// ---- parts ---------------------------------------------------------------------------------------------------------

void ReplyLength(CommandContext& context, const Result<uint64_t>& length) {
  if (!length.ok()) return context.reply.Error(length.error());
  context.reply.Integer(static_cast<int64_t>(*length));
}

void Append(CommandContext& context) {
  ReplyLength(context, strings::Append(*context.tx, context.arg(1), context.arg(2)));
}

void StrLen(CommandContext& context) { ReplyLength(context, strings::StrLen(*context.tx, context.arg(1))); }

void SetRange(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t offset = arguments.NextInteger(0, INT64_MAX, "ERR offset is out of range");
  if (arguments.Refused(context.reply)) return;
  ReplyLength(context, strings::SetRange(*context.tx, context.arg(1), offset, context.arg(3)));
}

void GetRange(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t start = arguments.NextInteger();
  const int64_t end = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  const auto bytes = strings::GetRange(*context.tx, context.arg(1), start, end);
  if (!bytes.ok()) return context.reply.Error(bytes.error());
  context.reply.Bulk(*bytes);
}

// ---- counters ------------------------------------------------------------------------------------------------------

void ReplyCounter(CommandContext& context, int64_t increment) {
  const auto value = strings::IncrBy(*context.tx, context.arg(1), increment);
  if (!value.ok()) return context.reply.Error(value.error());
  context.reply.Integer(*value);
}

void Incr(CommandContext& context) { ReplyCounter(context, 1); }
void Decr(CommandContext& context) { ReplyCounter(context, -1); }

void IncrBy(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t increment = arguments.NextInteger();
  if (arguments.Refused(context.reply)) return;
  ReplyCounter(context, increment);
}

void DecrBy(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t decrement = arguments.NextInteger();
  if (!arguments.failed() && decrement == INT64_MIN) arguments.Fail("ERR decrement would overflow");
  if (arguments.Refused(context.reply)) return;
  ReplyCounter(context, -decrement);
}

void IncrByFloat(CommandContext& context) {
  const auto increment = ParseLongDouble(context.arg(2));
  if (!increment) {
    // A key of another type is complained about first.
    const auto found = strings::Get(*context.tx, context.arg(1));
    if (!found.ok()) return context.reply.Error(found.error());
    return context.reply.Error("ERR value is not a valid float");
  }
  const auto value = strings::IncrByFloat(*context.tx, context.arg(1), *increment);
  if (!value.ok()) return context.reply.Error(value.error());
  context.reply.Bulk(*value);
}

// ---- LCS -----------------------------------------------------------------------------------------------------------

void ReplyMatches(Reply& reply, const strings::LcsResult& result, bool with_length) {
  reply.Map(2);
  reply.Bulk("matches");
  reply.Array(result.matches.size());
  for (const strings::LcsMatch& match : result.matches) {
    reply.Array(with_length ? 3 : 2);
    reply.Array(2);
    reply.Integer(match.a_first);
    reply.Integer(match.a_last);
    reply.Array(2);
    reply.Integer(match.b_first);
    reply.Integer(match.b_last);
    if (with_length) reply.Integer(match.length);
  }
  reply.Bulk("len");
  reply.Integer(result.length);
}

void Lcs(CommandContext& context) {
  for (size_t i = 1; i <= 2; ++i) {
    const auto value = strings::Get(*context.tx, context.arg(i));
    if (value.ok()) continue;
    if (value.error().code != ErrorCode::kWrongType) return context.reply.Error(value.error());
    return context.reply.Error("ERR The specified keys must contain string values");
  }
  Arguments arguments(context.args, 3);
  bool length_only = false, with_length = false;
  strings::LcsOptions options;
  while (arguments.HasNext()) {
    if (arguments.NextIs("IDX")) {
      options.ranges = true;
    } else if (arguments.NextIs("LEN")) {
      length_only = true;
    } else if (arguments.NextIs("WITHMATCHLEN")) {
      with_length = true;
    } else if (arguments.NextIs("MINMATCHLEN", 1)) {
      options.min_match_length = std::max<int64_t>(arguments.NextInteger(), 0);
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (!arguments.failed() && options.ranges && length_only) {
    arguments.Fail("ERR If you want both the length and indexes, please just use IDX.");
  }
  if (arguments.Refused(context.reply)) return;
  options.sequence = !options.ranges && !length_only;
  const auto result = strings::Lcs(*context.tx, context.arg(1), context.arg(2), options);
  if (!result.ok()) return context.reply.Error(result.error());
  if (options.ranges) return ReplyMatches(context.reply, *result, with_length);
  if (length_only) return context.reply.Integer(result->length);
  context.reply.Bulk(result->sequence);
}

// ---- rows ----------------------------------------------------------------------------------------------------------

void AddReads(std::vector<CommandSpec>& rows) {
  rows.push_back(MakeCommand("get", 2, kReadOnly | kFast, kCatString, kOneKey, Get,
                             {"Reads the string of a key.", "1.0.0", "string", "O(1)", "key"}));
  rows.push_back(
      MakeCommand("mget", -2, kReadOnly | kFast, kCatString, kAllKeys, MGet,
                  {"Reads the strings of several keys.", "1.0.0", "string", "O(N) with N the keys", "key [key ...]"}));
  rows.push_back(MakeCommand("strlen", 2, kReadOnly | kFast, kCatString, kOneKey, StrLen,
                             {"Tells the length of a string in bytes.", "2.2.0", "string", "O(1)", "key"}));
  rows.push_back(
      MakeCommand("getrange", 4, kReadOnly, kCatString, kOneKey, GetRange,
                  {"Reads a part of a string.", "2.4.0", "string", "O(N) with N the bytes read", "key start end"}));
  rows.push_back(
      MakeCommand("substr", 4, kReadOnly, kCatString, kOneKey, GetRange,
                  {"The old name of GETRANGE.", "1.0.0", "string", "O(N) with N the bytes read", "key start end"}));
  rows.push_back(MakeCommand(
      "lcs", -3, kReadOnly, kCatString, kTwoKeys, Lcs,
      {"Finds the longest common subsequence of two strings.", "7.0.0", "string", "O(N*M) with N and M the lengths",
       "key1 key2 [LEN] [IDX] [MINMATCHLEN len] "
       "[WITHMATCHLEN]"}));
}

void AddWrites(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kGrow = kWrite | kDenyOom;
  rows.push_back(MakeCommand("set", -3, kGrow, kCatString, kOneKey, Set,
                             {"Sets a key to a string, whatever it held.", "1.0.0", "string", "O(1)",
                              "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT "
                              "unix-time-milliseconds|KEEPTTL]"}));
  rows.push_back(MakeCommand("setnx", 3, kGrow | kFast, kCatString, kOneKey, SetNx,
                             {"Sets a key that does not exist.", "1.0.0", "string", "O(1)", "key value"}));
  rows.push_back(
      MakeCommand("setex", 4, kGrow, kCatString, kOneKey, SetEx<ExpiryUnit::kSeconds>,
                  {"Sets a key that expires after some seconds.", "2.0.0", "string", "O(1)", "key seconds value"}));
  rows.push_back(MakeCommand(
      "psetex", 4, kGrow, kCatString, kOneKey, SetEx<ExpiryUnit::kMilliseconds>,
      {"Sets a key that expires after some milliseconds.", "2.6.0", "string", "O(1)", "key milliseconds value"}));
  rows.push_back(MakeCommand("getset", 3, kGrow | kFast, kCatString, kOneKey, GetSet,
                             {"Sets a key and answers what it held.", "1.0.0", "string", "O(1)", "key value"}));
  rows.push_back(MakeCommand("getdel", 2, kWrite | kFast | kFreesSpace, kCatString, kOneKey, GetDel,
                             {"Reads a string and deletes its key.", "6.2.0", "string", "O(1)", "key"}));
  rows.push_back(MakeCommand("getex", -2, kWrite | kFast | kFreesSpace, kCatString, kOneKey, GetEx,
                             {"Reads a string and changes when it expires.", "6.2.0", "string", "O(1)",
                              "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|"
                              "PERSIST]"}));
  rows.push_back(MakeCommand(
      "mset", -3, kGrow, kCatString, {1, -1, 2}, MSet,
      {"Sets several keys at once.", "1.0.1", "string", "O(N) with N the keys", "key value [key value ...]"}));
  rows.push_back(MakeCommand("msetnx", -3, kGrow, kCatString, {1, -1, 2}, MSetNx,
                             {"Sets several keys at once if none of them exists.", "1.0.1", "string",
                              "O(N) with N the keys", "key value [key value ...]"}));
  rows.push_back(MakeCommand(
      "append", 3, kGrow | kFast, kCatString, kOneKey, Append,
      {"Adds bytes at the end of a string.", "2.0.0", "string", "O(N) with N the bytes added", "key value"}));
  rows.push_back(MakeCommand(
      "setrange", 4, kGrow, kCatString, kOneKey, SetRange,
      {"Overwrites a part of a string.", "2.2.0", "string", "O(N) with N the bytes written", "key offset value"}));
}

void AddCounters(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kFlags = kWrite | kDenyOom | kFast;
  rows.push_back(MakeCommand("incr", 2, kFlags, kCatString, kOneKey, Incr,
                             {"Adds one to an integer.", "1.0.0", "string", "O(1)", "key"}));
  rows.push_back(MakeCommand("decr", 2, kFlags, kCatString, kOneKey, Decr,
                             {"Takes one from an integer.", "1.0.0", "string", "O(1)", "key"}));
  rows.push_back(MakeCommand("incrby", 3, kFlags, kCatString, kOneKey, IncrBy,
                             {"Adds to an integer.", "1.0.0", "string", "O(1)", "key increment"}));
  rows.push_back(MakeCommand("decrby", 3, kFlags, kCatString, kOneKey, DecrBy,
                             {"Takes from an integer.", "1.0.0", "string", "O(1)", "key decrement"}));
  rows.push_back(MakeCommand("incrbyfloat", 3, kFlags, kCatString, kOneKey, IncrByFloat,
                             {"Adds to a decimal number.", "2.6.0", "string", "O(1)", "key increment"}));
}

}  // namespace

std::vector<CommandSpec> StringCommands() {
  std::vector<CommandSpec> rows;
  AddReads(rows);
  AddWrites(rows);
  AddCounters(rows);
  return rows;
}

}  // namespace holdfast::net
