#include "tests/support/operation_runner.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <span>

#include "storage/types/bitfield.h"
#include "storage/types/bits.h"
#include "storage/types/encoding.h"
#include "storage/types/expiry.h"
#include "storage/types/hashes.h"
#include "storage/types/keys.h"
#include "storage/types/keyspace.h"
#include "storage/types/lcs.h"
#include "storage/types/lists.h"
#include "storage/types/numbers.h"
#include "storage/types/sets.h"
#include "storage/types/strings.h"
#include "storage/types/type_errors.h"
#include "tests/support/sorted_set_operations.h"
#include "tests/support/stream_operations.h"

namespace holdfast::testing {
namespace {

using Words = std::vector<std::string_view>;

std::string Text(const Error& error) {
  return (error.code == ErrorCode::kWrongType ? "-WRONGTYPE " : "-ERR ") + error.message;
}
std::string Text(int64_t value) { return ":" + std::to_string(value); }
std::string Text(uint64_t value) { return ":" + std::to_string(value); }
std::string Text(bool value) { return value ? ":1" : ":0"; }
std::string Text(const std::string& value) { return "$" + PercentEncode(value); }
std::string Text(const std::optional<std::string>& value) { return value ? Text(*value) : "_"; }
std::string Text(const std::optional<StringValue>& value) {
  if (!value) return "_";
  auto whole = value->Whole();
  return whole.ok() ? Text(*whole) : Text(whole.error());
}
std::string Text(const std::optional<std::string_view>& value) { return value ? Text(std::string(*value)) : "_"; }
std::string Text(const std::optional<int64_t>& value) { return value ? Text(*value) : "_"; }
template <typename T>
std::string Text(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? " " : "") + Text(value);
  return text + "]";
}
template <typename T>
std::string Text(const Result<T>& result) {
  return result.ok() ? Text(*result) : Text(result.error());
}
std::string Text(const Result<void>& result) { return result.ok() ? "+OK" : Text(result.error()); }

std::optional<ExpiryForm> FormOf(std::string_view word) {
  static const std::map<std::string_view, ExpiryForm> kForms = {
      {"EX", {ExpiryUnit::kSeconds, ExpiryBase::kRelative, true}},
      {"PX", {ExpiryUnit::kMilliseconds, ExpiryBase::kRelative, true}},
      {"EXAT", {ExpiryUnit::kSeconds, ExpiryBase::kAbsolute, true}},
      {"PXAT", {ExpiryUnit::kMilliseconds, ExpiryBase::kAbsolute, true}}};
  auto found = kForms.find(word);
  return found == kForms.end() ? std::nullopt : std::optional<ExpiryForm>(found->second);
}

std::string RunSet(Transaction& transaction, const Words& words) {
  strings::SetOptions options;
  for (size_t i = 3; i < words.size(); ++i) {
    if (words[i] == "NX") options.condition = strings::SetCondition::kIfAbsent;
    if (words[i] == "XX") options.condition = strings::SetCondition::kIfPresent;
    if (words[i] == "KEEPTTL") options.keep_ttl = true;
    if (words[i] == "GET") options.get = true;
    if (auto form = FormOf(words[i])) {
      auto at = ParseExpiry(words[++i], *form, transaction.now_ms(), "set");
      if (!at.ok()) return Text(at.error());
      options.expire_at_ms = *at;
    }
  }
  auto outcome = strings::Set(transaction, words[1], words[2], options);
  if (!outcome.ok()) return Text(outcome.error());
  if (options.get) return Text(outcome->previous);
  return outcome->written ? "+OK" : "_";
}

std::string RunGetEx(Transaction& transaction, const Words& words) {
  strings::GetExOptions options;
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "PERSIST") options.persist = true;
    if (auto form = FormOf(words[i])) {
      auto at = ParseExpiry(words[++i], *form, transaction.now_ms(), "getex");
      if (!at.ok()) return Text(at.error());
      options.expire_at_ms = *at;
    }
  }
  return Text(strings::GetEx(transaction, words[1], options));
}

std::string RunExpire(Transaction& transaction, const Words& words) {
  std::string name(words[0]);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  ExpiryForm form;
  form.unit = name.starts_with('p') ? ExpiryUnit::kMilliseconds : ExpiryUnit::kSeconds;
  form.base = name.ends_with("at") ? ExpiryBase::kAbsolute : ExpiryBase::kRelative;
  auto at = ParseExpiry(words[2], form, transaction.now_ms(), name);
  if (!at.ok()) return Text(at.error());
  keys::ExpireCondition condition;
  for (size_t i = 3; i < words.size(); ++i) {
    if (words[i] == "NX") condition.if_none = true;
    if (words[i] == "XX") condition.if_any = true;
    if (words[i] == "GT") condition.if_greater = true;
    if (words[i] == "LT") condition.if_less = true;
  }
  return Text(keys::Expire(transaction, words[1], *at, condition));
}

std::optional<bits::BitRange> RangeOf(const Words& words, size_t first) {
  if (words.size() <= first) return std::nullopt;
  bits::BitRange range;
  range.start = *ParseInteger(words[first]);
  if (words.size() > first + 1) range.end = *ParseInteger(words[first + 1]);
  if (words.size() > first + 2 && words[first + 2] == "BIT") range.unit = bits::RangeUnit::kBit;
  return range;
}

std::string RunLcs(Transaction& transaction, const Words& words) {
  strings::LcsOptions options;
  bool with_length = false;
  bool only_length = false;
  for (size_t i = 3; i < words.size(); ++i) {
    if (words[i] == "LEN") only_length = true;
    if (words[i] == "IDX") options.ranges = true;
    if (words[i] == "WITHMATCHLEN") with_length = true;
    if (words[i] == "MINMATCHLEN") options.min_match_length = *ParseInteger(words[++i]);
  }
  auto result = strings::Lcs(transaction, words[1], words[2], options);
  if (!result.ok()) return Text(result.error());
  if (only_length) return Text(uint64_t{result->length});
  if (!options.ranges) return Text(result->sequence);
  std::string matches;
  for (const strings::LcsMatch& match : result->matches) {
    matches += matches.empty() ? "[" : " [";
    matches += "[:" + std::to_string(match.a_first) + " :" + std::to_string(match.a_last) +
               "] [:" + std::to_string(match.b_first) + " :" + std::to_string(match.b_last) + "]";
    matches += with_length ? " :" + std::to_string(match.length) + "]" : "]";
  }
  return "[$matches [" + matches + "] $len :" + std::to_string(result->length) + "]";
}

std::string RunSetBit(Transaction& transaction, const Words& words) {
  auto offset = bits::ParseBitOffset(transaction, words[2]);
  if (!offset.ok()) return Text(offset.error());
  if (words[0] == "GETBIT") return Text(bits::GetBit(transaction, words[1], *offset));
  return Text(bits::SetBit(transaction, words[1], *offset, words[3] == "1"));
}

std::string RunBitField(Transaction& transaction, const Words& words) {
  auto operations = bits::ParseFieldOperations(transaction, std::span(words).subspan(2));
  if (!operations.ok()) return Text(operations.error());
  return Text(bits::BitField(transaction, words[1], *operations));
}

std::string RunBitOp(Transaction& transaction, const Words& words) {
  auto operation = bits::ParseBitOperation(words[1]);
  if (!operation) return Text(SyntaxError());
  return Text(bits::BitOp(transaction, *operation, words[2], std::span(words).subspan(3)));
}

std::string RunIncrBy(Transaction& transaction, const Words& words) {
  if (words[0] == "INCRBYFLOAT") {
    auto increment = ParseLongDouble(words[2]);
    return increment ? Text(strings::IncrByFloat(transaction, words[1], *increment)) : Text(NotAFloatError());
  }
  auto increment = ParseInteger(words[2]);
  return increment ? Text(strings::IncrBy(transaction, words[1], *increment)) : Text(NotAnIntegerError());
}

std::string RunCopy(Transaction& transaction, const Words& words) {
  keys::CopyTarget target{transaction.db(), words[2], false};
  for (size_t i = 3; i < words.size(); ++i) {
    if (words[i] == "REPLACE") target.replace = true;
    if (words[i] == "DB") target.db = static_cast<int>(*ParseInteger(words[++i]));
  }
  return Text(keys::Copy(transaction, words[1], target));
}

std::string RunType(Transaction& transaction, const Words& words) {
  auto type = keys::Type(transaction, words[1]);
  if (!type.ok()) return Text(type.error());
  return "+" + std::string(*type ? ValueTypeName(**type) : "none");
}

std::string RunExpireTime(Transaction& transaction, const Words& words) {
  auto at = keys::ExpireTime(transaction, words[1]);
  if (!at.ok()) return Text(at.error());
  return Text(at->value_or(-2));
}

std::string RunFlush(Transaction& transaction, const Words& words) {
  words[0] == "FLUSHALL" ? keyspace::FlushAll(transaction) : keyspace::FlushDb(transaction);
  return "+OK";
}

int64_t At(const Words& words, size_t i) { return *ParseInteger(words[i]); }
std::span<const std::string_view> Rest(const Words& words) { return std::span(words).subspan(1); }

// Members in the order of their text: replies of hashes and sets have none.
std::string Sorted(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  std::string text = "[";
  for (const std::string& one : texts) text += (text.size() > 1 ? " " : "") + one;
  return text + "]";
}

std::string RunMembers(Transaction& transaction, const Words& words) {
  const bool is_hash = words[0] == "HGETALL";
  auto reader = is_hash ? hashes::Open(transaction, words[1]) : sets::Open(transaction, words[1]);
  if (!reader.ok()) return Text(reader.error());
  std::vector<std::string> texts;
  if (*reader) {
    auto visited = (*reader)->Visit([&](std::string_view member, std::string_view value) {
      texts.push_back(Text(std::string(member)) + (is_hash ? " " + Text(std::string(value)) : ""));
      return true;
    });
    if (!visited.ok()) return Text(visited.error());
  }
  return Sorted(std::move(texts));
}

std::string RunCombine(Transaction& transaction, const Words& words) {
  const auto combination = words[0].starts_with("SU")   ? sets::Combination::kUnion
                           : words[0].starts_with("SI") ? sets::Combination::kIntersection
                                                        : sets::Combination::kDifference;
  const auto keys = std::span(words).subspan(words[0].ends_with("STORE") ? 2 : 1);
  if (words[0].ends_with("STORE")) return Text(sets::Store(transaction, combination, words[1], keys));
  std::vector<std::string> texts;
  auto done = sets::Combine(transaction, combination, keys, [&](std::string_view member) {
    texts.push_back(Text(std::string(member)));
    return true;
  });
  return done.ok() ? Sorted(std::move(texts)) : Text(done.error());
}

std::string RunHIncrBy(Transaction& transaction, const Words& words) {
  if (words[0] == "HINCRBYFLOAT") {
    auto increment = ParseLongDouble(words[3]);
    return increment ? Text(hashes::IncrByFloat(transaction, words[1], words[2], *increment)) : Text(NotAFloatError());
  }
  auto increment = ParseInteger(words[3]);
  return increment ? Text(hashes::IncrBy(transaction, words[1], words[2], *increment)) : Text(NotAnIntegerError());
}

std::string RunEncoding(Transaction& transaction, const Words& words) {
  auto found = transaction.Find(words[1]);
  if (!found.ok()) return Text(found.error());
  if (!*found) return "_";
  auto encoding = RedisEncoding(transaction, **found);
  return encoding.ok() ? "$" + std::string(*encoding) : Text(encoding.error());
}

using Handler = std::string (*)(Transaction&, const Words&);
const std::map<std::string_view, Handler>& Handlers() {
  using T = Transaction;
  using W = Words;
  static const std::map<std::string_view, Handler> kHandlers = {
      {"SET", RunSet},
      {"GETEX", RunGetEx},
      {"EXPIRE", RunExpire},
      {"PEXPIRE", RunExpire},
      {"PEXPIREAT", RunExpire},
      {"LCS", RunLcs},
      {"SETBIT", RunSetBit},
      {"GETBIT", RunSetBit},
      {"BITFIELD", RunBitField},
      {"BITOP", RunBitOp},
      {"INCRBY", RunIncrBy},
      {"INCRBYFLOAT", RunIncrBy},
      {"COPY", RunCopy},
      {"TYPE", RunType},
      {"PEXPIRETIME", RunExpireTime},
      {"FLUSHALL", RunFlush},
      {"FLUSHDB", RunFlush},
      {"ENCODING", RunEncoding},
      {"HGETALL", RunMembers},
      {"SMEMBERS", RunMembers},
      {"HINCRBY", RunHIncrBy},
      {"HINCRBYFLOAT", RunHIncrBy},
      {"SUNION", RunCombine},
      {"SINTER", RunCombine},
      {"SDIFF", RunCombine},
      {"SUNIONSTORE", RunCombine},
      {"SINTERSTORE", RunCombine},
      {"SDIFFSTORE", RunCombine},
      {"HSET", [](T& t, const W& w) { return Text(hashes::Set(t, w[1], std::span(w).subspan(2))); }},
      {"HSETNX", [](T& t, const W& w) { return Text(hashes::SetNx(t, w[1], w[2], w[3])); }},
      {"HGET", [](T& t, const W& w) { return Text(hashes::Get(t, w[1], w[2])); }},
      {"HMGET", [](T& t, const W& w) { return Text(hashes::GetMany(t, w[1], std::span(w).subspan(2))); }},
      {"HLEN", [](T& t, const W& w) { return Text(hashes::Length(t, w[1])); }},
      {"HDEL", [](T& t, const W& w) { return Text(hashes::Delete(t, w[1], std::span(w).subspan(2))); }},
      {"RPUSH",
       [](T& t, const W& w) {
         return Text(lists::Push(t, w[1], ListEnd::kRight, std::span(w).subspan(2), lists::PushCondition::kAlways));
       }},
      {"SADD", [](T& t, const W& w) { return Text(sets::Add(t, w[1], std::span(w).subspan(2))); }},
      {"SREM", [](T& t, const W& w) { return Text(sets::Remove(t, w[1], std::span(w).subspan(2))); }},
      {"SMOVE", [](T& t, const W& w) { return Text(sets::Move(t, w[1], w[2], w[3])); }},
      {"SCARD", [](T& t, const W& w) { return Text(sets::Size(t, w[1])); }},
      {"SPOP",
       [](T& t, const W& w) { return Text(sets::Pop(t, w[1], w.size() > 2 ? static_cast<uint64_t>(At(w, 2)) : 1)); }},
      {"GET", [](T& t, const W& w) { return Text(strings::Get(t, w[1])); }},
      {"GETSET",
       [](T& t, const W& w) {
         strings::SetOptions options;
         options.get = true;
         auto outcome = strings::Set(t, w[1], w[2], options);
         return outcome.ok() ? Text(outcome->previous) : Text(outcome.error());
       }},
      {"GETDEL", [](T& t, const W& w) { return Text(strings::GetDel(t, w[1])); }},
      {"MSET", [](T& t, const W& w) { return Text(strings::MSet(t, Rest(w))); }},
      {"MSETNX", [](T& t, const W& w) { return Text(strings::MSetNx(t, Rest(w))); }},
      {"APPEND", [](T& t, const W& w) { return Text(strings::Append(t, w[1], w[2])); }},
      {"SETRANGE", [](T& t, const W& w) { return Text(strings::SetRange(t, w[1], At(w, 2), w[3])); }},
      {"GETRANGE", [](T& t, const W& w) { return Text(strings::GetRange(t, w[1], At(w, 2), At(w, 3))); }},
      {"STRLEN", [](T& t, const W& w) { return Text(strings::StrLen(t, w[1])); }},
      {"BITCOUNT", [](T& t, const W& w) { return Text(bits::BitCount(t, w[1], RangeOf(w, 2))); }},
      {"BITPOS",
       [](T& t, const W& w) {
         return Text(bits::BitPos(t, w[1], w[2] == "1", RangeOf(w, 3).value_or(bits::BitRange{})));
       }},
      {"DEL", [](T& t, const W& w) { return Text(keys::Delete(t, Rest(w))); }},
      {"UNLINK", [](T& t, const W& w) { return Text(keys::Delete(t, Rest(w))); }},
      {"EXISTS", [](T& t, const W& w) { return Text(keys::Exists(t, Rest(w))); }},
      {"RENAME", [](T& t, const W& w) { return Text(keys::Rename(t, w[1], w[2])); }},
      {"RENAMENX", [](T& t, const W& w) { return Text(keys::RenameNx(t, w[1], w[2])); }},
      {"MOVE", [](T& t, const W& w) { return Text(keys::Move(t, w[1], static_cast<int>(At(w, 2)))); }},
      {"SWAPDB",
       [](T& t, const W& w) {
         return Text(keyspace::SwapDb(t, static_cast<int>(At(w, 1)), static_cast<int>(At(w, 2))));
       }},
      {"PERSIST", [](T& t, const W& w) { return Text(keys::Persist(t, w[1])); }},
      {"KEYS", [](T& t, const W& w) { return Text(keyspace::Keys(t, w[1])); }},
      {"DBSIZE", [](T& t, const W&) { return Text(keyspace::Size(t)); }},
  };
  return kHandlers;
}

}  // namespace

std::string PercentEncode(std::string_view bytes) {
  static constexpr std::string_view kPlain = "!*()',;:@&=+$/?#[]{}<>^|\\\"`~_.-";
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string text;
  for (char c : bytes) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || kPlain.find(c) != std::string_view::npos)) {
      text += c;
    } else {
      text += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

std::string PercentDecode(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      bytes += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else if (text[i] != '%') {
      bytes += text[i];
    }
  }
  return bytes;
}

std::string OperationRunner::RunIn(Transaction& transaction, const std::vector<std::string_view>& words) {
  if (words[0] == "SELECT") {
    db_ = static_cast<int>(At(words, 1));
    transaction.SelectDb(db_);
    return "+OK";
  }
  if (auto reply = RunSortedSet(transaction, words)) return *reply;
  if (auto reply = RunStream(transaction, words)) return *reply;
  auto handler = Handlers().find(words[0]);
  return handler == Handlers().end() ? "-ERR unknown command" : handler->second(transaction, words);
}

std::string OperationRunner::Run(const std::vector<std::string>& words, int64_t now_ms) {
  return RunTogether({words}, now_ms).front();
}

std::vector<std::string> OperationRunner::RunTogether(const std::vector<std::vector<std::string>>& commands,
                                                      int64_t now_ms) {
  Transaction& transaction = store_.Begin(TransactionMode::kLive, db_, now_ms);
  std::vector<std::string> replies;
  for (const auto& words : commands) {
    replies.push_back(RunIn(transaction, std::vector<std::string_view>(words.begin(), words.end())));
  }
  transaction.Commit();
  return replies;
}

}  // namespace holdfast::testing
