#include "storage/effects/effect_table.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/effects/effect_entries.h"
#include "storage/types/bitfield.h"
#include "storage/types/bits.h"
#include "storage/types/expiry.h"
#include "storage/types/keys.h"
#include "storage/types/keyspace.h"
#include "storage/types/numbers.h"
#include "storage/types/strings.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

using Arguments = std::span<const std::string_view>;

// Drops what an operation answers: nobody waits for it here.
template <typename T>
Result<void> Done(const Result<T>& result) {
  if (!result.ok()) return result.error();
  return {};
}

Result<int64_t> Integer(std::string_view text) {
  auto parsed = ParseInteger(text);
  if (!parsed) return NotAnIntegerError();
  return *parsed;
}

Result<int> DbIndex(std::string_view text) {
  auto parsed = ParseInteger(text);
  if (!parsed || *parsed < 0 || *parsed > std::numeric_limits<int>::max()) return DbIndexError();
  return static_cast<int>(*parsed);
}

// EX, PX, EXAT, PXAT of SET and GETEX.
std::optional<ExpiryForm> ExpiryOption(std::string_view word) {
  if (EqualsIgnoreCase(word, "EX")) return ExpiryForm{ExpiryUnit::kSeconds, ExpiryBase::kRelative, true};
  if (EqualsIgnoreCase(word, "PX")) return ExpiryForm{ExpiryUnit::kMilliseconds, ExpiryBase::kRelative, true};
  if (EqualsIgnoreCase(word, "EXAT")) return ExpiryForm{ExpiryUnit::kSeconds, ExpiryBase::kAbsolute, true};
  if (EqualsIgnoreCase(word, "PXAT")) return ExpiryForm{ExpiryUnit::kMilliseconds, ExpiryBase::kAbsolute, true};
  return std::nullopt;
}

// ---- strings --------------------------------------------------------------------------------------------------------

Result<void> ApplySet(Transaction& transaction, Arguments arguments) {
  strings::SetOptions options;
  for (size_t i = 3; i < arguments.size(); ++i) {
    std::string_view word = arguments[i];
    if (EqualsIgnoreCase(word, "NX")) {
      options.condition = strings::SetCondition::kIfAbsent;
    } else if (EqualsIgnoreCase(word, "XX")) {
      options.condition = strings::SetCondition::kIfPresent;
    } else if (EqualsIgnoreCase(word, "KEEPTTL")) {
      options.keep_ttl = true;
    } else if (EqualsIgnoreCase(word, "GET")) {
      options.get = true;
    } else if (auto form = ExpiryOption(word); form && i + 1 < arguments.size()) {
      ++i;
      ASSIGN_OR_RETURN(options.expire_at_ms, ParseExpiry(arguments[i], *form, transaction.now_ms(), "set"));
    } else {
      return SyntaxError();
    }
  }
  return Done(strings::Set(transaction, arguments[1], arguments[2], options));
}

Result<void> ApplySetNx(Transaction& transaction, Arguments arguments) {
  strings::SetOptions options;
  options.condition = strings::SetCondition::kIfAbsent;
  return Done(strings::Set(transaction, arguments[1], arguments[2], options));
}

Result<void> SetWithRelativeExpiry(Transaction& transaction, Arguments arguments, ExpiryUnit unit,
                                   std::string_view command) {
  strings::SetOptions options;
  ExpiryForm form{unit, ExpiryBase::kRelative, true};
  ASSIGN_OR_RETURN(options.expire_at_ms, ParseExpiry(arguments[2], form, transaction.now_ms(), command));
  return Done(strings::Set(transaction, arguments[1], arguments[3], options));
}
Result<void> ApplySetEx(Transaction& transaction, Arguments arguments) {
  return SetWithRelativeExpiry(transaction, arguments, ExpiryUnit::kSeconds, "setex");
}
Result<void> ApplyPSetEx(Transaction& transaction, Arguments arguments) {
  return SetWithRelativeExpiry(transaction, arguments, ExpiryUnit::kMilliseconds, "psetex");
}

Result<void> ApplyGetSet(Transaction& transaction, Arguments arguments) {
  strings::SetOptions options;
  options.get = true;
  return Done(strings::Set(transaction, arguments[1], arguments[2], options));
}

Result<void> ApplyGetDel(Transaction& transaction, Arguments arguments) {
  return Done(strings::GetDel(transaction, arguments[1]));
}

Result<void> ApplyGetEx(Transaction& transaction, Arguments arguments) {
  strings::GetExOptions options;
  for (size_t i = 2; i < arguments.size(); ++i) {
    if (EqualsIgnoreCase(arguments[i], "PERSIST")) {
      options.persist = true;
    } else if (auto form = ExpiryOption(arguments[i]); form && i + 1 < arguments.size()) {
      ++i;
      ASSIGN_OR_RETURN(options.expire_at_ms, ParseExpiry(arguments[i], *form, transaction.now_ms(), "getex"));
    } else {
      return SyntaxError();
    }
  }
  return Done(strings::GetEx(transaction, arguments[1], options));
}

Result<void> ApplyMSet(Transaction& transaction, Arguments arguments) {
  if (arguments.size() % 2 == 0) return SyntaxError();
  return strings::MSet(transaction, arguments.subspan(1));
}
Result<void> ApplyMSetNx(Transaction& transaction, Arguments arguments) {
  if (arguments.size() % 2 == 0) return SyntaxError();
  return Done(strings::MSetNx(transaction, arguments.subspan(1)));
}

Result<void> ApplyAppend(Transaction& transaction, Arguments arguments) {
  return Done(strings::Append(transaction, arguments[1], arguments[2]));
}
Result<void> ApplySetRange(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(int64_t offset, Integer(arguments[2]));
  return Done(strings::SetRange(transaction, arguments[1], offset, arguments[3]));
}

Result<void> ApplyIncr(Transaction& transaction, Arguments arguments) {
  return Done(strings::IncrBy(transaction, arguments[1], 1));
}
Result<void> ApplyDecr(Transaction& transaction, Arguments arguments) {
  return Done(strings::IncrBy(transaction, arguments[1], -1));
}
Result<void> ApplyIncrBy(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(int64_t increment, Integer(arguments[2]));
  return Done(strings::IncrBy(transaction, arguments[1], increment));
}
Result<void> ApplyDecrBy(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(int64_t decrement, Integer(arguments[2]));
  if (decrement == std::numeric_limits<int64_t>::min()) {
    return Error{ErrorCode::kOutOfRange, "decrement would overflow"};
  }
  return Done(strings::IncrBy(transaction, arguments[1], -decrement));
}
Result<void> ApplyIncrByFloat(Transaction& transaction, Arguments arguments) {
  auto increment = ParseLongDouble(arguments[2]);
  if (!increment) return NotAFloatError();
  return Done(strings::IncrByFloat(transaction, arguments[1], *increment));
}

// ---- bits -----------------------------------------------------------------------------------------------------------

Result<void> ApplySetBit(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(uint64_t offset, bits::ParseBitOffset(transaction, arguments[2]));
  if (arguments[3] != "0" && arguments[3] != "1") {
    return Error{ErrorCode::kInvalidArgument, "bit is not an integer or out of range"};
  }
  return Done(bits::SetBit(transaction, arguments[1], offset, arguments[3] == "1"));
}

Result<void> ApplyBitOp(Transaction& transaction, Arguments arguments) {
  auto operation = bits::ParseBitOperation(arguments[1]);
  if (!operation) return SyntaxError();
  return Done(bits::BitOp(transaction, *operation, arguments[2], arguments.subspan(3)));
}

Result<void> ApplyBitField(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(auto operations, bits::ParseFieldOperations(transaction, arguments.subspan(2)));
  return Done(bits::BitField(transaction, arguments[1], operations));
}

// ---- keys -----------------------------------------------------------------------------------------------------------

Result<void> ApplyDelete(Transaction& transaction, Arguments arguments) {
  return Done(keys::Delete(transaction, arguments.subspan(1)));
}

Result<void> ExpireWith(Transaction& transaction, Arguments arguments, ExpiryForm form, std::string_view command) {
  ASSIGN_OR_RETURN(int64_t expire_at_ms, ParseExpiry(arguments[2], form, transaction.now_ms(), command));
  keys::ExpireCondition condition;
  for (std::string_view word : arguments.subspan(3)) {
    if (EqualsIgnoreCase(word, "NX")) {
      condition.if_none = true;
    } else if (EqualsIgnoreCase(word, "XX")) {
      condition.if_any = true;
    } else if (EqualsIgnoreCase(word, "GT")) {
      condition.if_greater = true;
    } else if (EqualsIgnoreCase(word, "LT")) {
      condition.if_less = true;
    } else {
      return SyntaxError();
    }
  }
  return Done(keys::Expire(transaction, arguments[1], expire_at_ms, condition));
}
Result<void> ApplyExpire(Transaction& transaction, Arguments arguments) {
  return ExpireWith(transaction, arguments, {ExpiryUnit::kSeconds, ExpiryBase::kRelative}, "expire");
}
Result<void> ApplyPExpire(Transaction& transaction, Arguments arguments) {
  return ExpireWith(transaction, arguments, {ExpiryUnit::kMilliseconds, ExpiryBase::kRelative}, "pexpire");
}
Result<void> ApplyExpireAt(Transaction& transaction, Arguments arguments) {
  return ExpireWith(transaction, arguments, {ExpiryUnit::kSeconds, ExpiryBase::kAbsolute}, "expireat");
}
Result<void> ApplyPExpireAt(Transaction& transaction, Arguments arguments) {
  return ExpireWith(transaction, arguments, {ExpiryUnit::kMilliseconds, ExpiryBase::kAbsolute}, "pexpireat");
}

Result<void> ApplyPersist(Transaction& transaction, Arguments arguments) {
  return Done(keys::Persist(transaction, arguments[1]));
}
Result<void> ApplyRename(Transaction& transaction, Arguments arguments) {
  return keys::Rename(transaction, arguments[1], arguments[2]);
}
Result<void> ApplyRenameNx(Transaction& transaction, Arguments arguments) {
  return Done(keys::RenameNx(transaction, arguments[1], arguments[2]));
}

Result<void> ApplyCopy(Transaction& transaction, Arguments arguments) {
  keys::CopyTarget target{transaction.db(), arguments[2], false};
  for (size_t i = 3; i < arguments.size(); ++i) {
    if (EqualsIgnoreCase(arguments[i], "REPLACE")) {
      target.replace = true;
    } else if (EqualsIgnoreCase(arguments[i], "DB") && i + 1 < arguments.size()) {
      ++i;
      ASSIGN_OR_RETURN(target.db, DbIndex(arguments[i]));
    } else {
      return SyntaxError();
    }
  }
  return Done(keys::Copy(transaction, arguments[1], target));
}

Result<void> ApplyMove(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(int db, DbIndex(arguments[2]));
  return Done(keys::Move(transaction, arguments[1], db));
}

// ASYNC and SYNC say how Redis frees memory; here flushing is instant.
Result<void> CheckFlushMode(Arguments arguments) {
  if (arguments.size() == 1 || EqualsIgnoreCase(arguments[1], "ASYNC") || EqualsIgnoreCase(arguments[1], "SYNC")) {
    return {};
  }
  return SyntaxError();
}
Result<void> ApplyFlushDb(Transaction& transaction, Arguments arguments) {
  RETURN_IF_ERROR(CheckFlushMode(arguments));
  keyspace::FlushDb(transaction);
  return {};
}
Result<void> ApplyFlushAll(Transaction& transaction, Arguments arguments) {
  RETURN_IF_ERROR(CheckFlushMode(arguments));
  keyspace::FlushAll(transaction);
  return {};
}
Result<void> ApplySwapDb(Transaction& transaction, Arguments arguments) {
  ASSIGN_OR_RETURN(int a, DbIndex(arguments[1]));
  ASSIGN_OR_RETURN(int b, DbIndex(arguments[2]));
  return keyspace::SwapDb(transaction, a, b);
}

// ---- the table ------------------------------------------------------------------------------------------------------

struct Entry {
  Result<void> (*apply)(Transaction&, Arguments);
  size_t arguments_min;  // the name included
  size_t arguments_max;
};

constexpr size_t kMany = std::numeric_limits<size_t>::max();

const std::unordered_map<std::string_view, Entry>& StringAndKeyEffects() {
  static const std::unordered_map<std::string_view, Entry> kTable = {
      {"SET", {ApplySet, 3, kMany}},
      {"SETNX", {ApplySetNx, 3, 3}},
      {"SETEX", {ApplySetEx, 4, 4}},
      {"PSETEX", {ApplyPSetEx, 4, 4}},
      {"GETSET", {ApplyGetSet, 3, 3}},
      {"GETDEL", {ApplyGetDel, 2, 2}},
      {"GETEX", {ApplyGetEx, 2, kMany}},
      {"MSET", {ApplyMSet, 3, kMany}},
      {"MSETNX", {ApplyMSetNx, 3, kMany}},
      {"APPEND", {ApplyAppend, 3, 3}},
      {"SETRANGE", {ApplySetRange, 4, 4}},
      {"INCR", {ApplyIncr, 2, 2}},
      {"DECR", {ApplyDecr, 2, 2}},
      {"INCRBY", {ApplyIncrBy, 3, 3}},
      {"DECRBY", {ApplyDecrBy, 3, 3}},
      {"INCRBYFLOAT", {ApplyIncrByFloat, 3, 3}},
      {"SETBIT", {ApplySetBit, 4, 4}},
      {"BITOP", {ApplyBitOp, 4, kMany}},
      {"BITFIELD", {ApplyBitField, 2, kMany}},
      {"DEL", {ApplyDelete, 2, kMany}},
      {"UNLINK", {ApplyDelete, 2, kMany}},
      {"EXPIRE", {ApplyExpire, 3, kMany}},
      {"PEXPIRE", {ApplyPExpire, 3, kMany}},
      {"EXPIREAT", {ApplyExpireAt, 3, kMany}},
      {"PEXPIREAT", {ApplyPExpireAt, 3, kMany}},
      {"PERSIST", {ApplyPersist, 2, 2}},
      {"RENAME", {ApplyRename, 3, 3}},
      {"RENAMENX", {ApplyRenameNx, 3, 3}},
      {"COPY", {ApplyCopy, 3, kMany}},
      {"MOVE", {ApplyMove, 3, 3}},
      {"FLUSHDB", {ApplyFlushDb, 1, 2}},
      {"FLUSHALL", {ApplyFlushAll, 1, 2}},
      {"SWAPDB", {ApplySwapDb, 3, 3}},
  };
  return kTable;
}

const std::unordered_map<std::string_view, Entry>& Table() {
  static const std::unordered_map<std::string_view, Entry> kTable = [] {
    auto table = StringAndKeyEffects();
    for (const auto entries : {HashEffects(), SetEffects(), ListEffects(), SortedSetEffects(), HyperLogLogEffects(),
                               GeoEffects(), SortEffects(), StreamEffects(), PayloadEffects()}) {
      for (const EffectEntry& entry : entries) {
        table.emplace(entry.name, Entry{entry.apply, entry.arguments_min, entry.arguments_max});
      }
    }
    return table;
  }();
  return kTable;
}

const Entry* FindEntry(std::string_view name) {
  auto found = Table().find(name);
  if (found == Table().end()) {
    // Rarely: a master sends names as its client wrote them.
    std::string upper(name.substr(0, 32));
    for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
    if (upper.size() == name.size()) found = Table().find(upper);
  }
  return found == Table().end() ? nullptr : &found->second;
}

Result<const Entry*> EntryFor(Arguments arguments) {
  const Entry* entry = FindEntry(arguments[0]);
  if (entry == nullptr) return Error{ErrorCode::kUnsupported, "unknown effect"};
  if (arguments.size() < entry->arguments_min || arguments.size() > entry->arguments_max) {
    return Error{ErrorCode::kCorruption, "wrong number of arguments: " + std::to_string(arguments.size() - 1)};
  }
  return entry;
}

}  // namespace

Result<void> ApplyEffect(Transaction& transaction, std::span<const std::string_view> arguments) {
  ASSIGN_OR_RETURN(const Entry* entry, EntryFor(arguments));
  return entry->apply(transaction, arguments);
}

Result<void> CheckEffect(std::span<const std::string_view> arguments) {
  ASSIGN_OR_RETURN([[maybe_unused]] const Entry* entry, EntryFor(arguments));
  return {};
}

}  // namespace holdfast
