#include "storage/effects/effect_entries.h"
#include "storage/types/hashes.h"
#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

template <typename T>
Result<void> Done(const Result<T>& result) {
  if (!result.ok()) return result.error();
  return {};
}

Result<void> ApplySet(Transaction& transaction, EffectArguments arguments) {
  if (arguments.size() % 2 == 1) return SyntaxError();
  return Done(hashes::Set(transaction, arguments[1], arguments.subspan(2)));
}

Result<void> ApplySetNx(Transaction& transaction, EffectArguments arguments) {
  return Done(hashes::SetNx(transaction, arguments[1], arguments[2], arguments[3]));
}

Result<void> ApplyDelete(Transaction& transaction, EffectArguments arguments) {
  return Done(hashes::Delete(transaction, arguments[1], arguments.subspan(2)));
}

Result<void> ApplyIncrBy(Transaction& transaction, EffectArguments arguments) {
  const auto increment = ParseInteger(arguments[3]);
  if (!increment) return NotAnIntegerError();
  return Done(hashes::IncrBy(transaction, arguments[1], arguments[2], *increment));
}

Result<void> ApplyIncrByFloat(Transaction& transaction, EffectArguments arguments) {
  const auto increment = ParseLongDouble(arguments[3]);
  if (!increment) return NotAFloatError();
  return Done(hashes::IncrByFloat(transaction, arguments[1], arguments[2], *increment));
}

constexpr EffectEntry kEntries[] = {
    {"HSET", ApplySet, 4, kManyEffectArguments},
    {"HMSET", ApplySet, 4, kManyEffectArguments},
    {"HSETNX", ApplySetNx, 4, 4},
    {"HDEL", ApplyDelete, 3, kManyEffectArguments},
    {"HINCRBY", ApplyIncrBy, 4, 4},
    {"HINCRBYFLOAT", ApplyIncrByFloat, 4, 4},
};

}  // namespace

std::span<const EffectEntry> HashEffects() { return kEntries; }

}  // namespace holdfast
