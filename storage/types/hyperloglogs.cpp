#include "storage/types/hyperloglogs.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/types/string_value.h"
#include "storage/types/type_errors.h"

namespace holdfast::hyperloglogs {
namespace {

Error NoKeyError() { return {ErrorCode::kNotFound, "The specified key does not exist"}; }

// A HyperLogLog is always in its key row: larger strings are none.
Result<std::string_view> ViewOf(Transaction& transaction, const KeyValue& found) {
  ASSIGN_OR_RETURN(const StringValue value, StringValue::From(transaction, found));
  static_assert(HyperLogLog::kSizeMax <= kInlineStringMax);
  const auto bytes = value.Inline();
  if (bytes) {
    RETURN_IF_ERROR(HyperLogLog::Check(*bytes));
    return *bytes;
  }
  ASSIGN_OR_RETURN(const std::string header, value.Read(0, HyperLogLog::kHeaderSize));
  RETURN_IF_ERROR(HyperLogLog::Check(header));
  return Error{ErrorCode::kCorruption, "INVALIDOBJ Corrupted HLL object detected"};
}

// The value of a key that is going to be written, or a new one.
struct Found {
  std::optional<KeyValue> old;
  HyperLogLog value;
};
Result<Found> OpenForWrite(Transaction& transaction, std::string_view key) {
  Found found;
  ASSIGN_OR_RETURN(found.old, transaction.FindForWrite(key));
  if (!found.old) return found;
  ASSIGN_OR_RETURN(const std::string_view bytes, ViewOf(transaction, *found.old));
  found.value = HyperLogLog(std::string(bytes));
  found.old->body = {};  // in the key row: nothing of it needs to be collected
  return found;
}

Result<void> WriteWithEffect(Transaction& transaction, std::string_view key, const Found& found,
                             std::span<const std::string_view> effect) {
  const bool whole = found.value.outgrew_sparse();
  if (whole) RETURN_IF_ERROR(transaction.CheckRoom(key.size() + found.value.bytes().size(), 4));
  PutString(transaction, transaction.db(), key, found.value.bytes(), found.old ? found.old->expire_at_ms : kNoExpiry,
            found.old);
  if (whole) {
    transaction.Emit({"SET", key, found.value.bytes(), "KEEPTTL"});
  } else {
    transaction.Emit(effect);
  }
  return {};
}

}  // namespace

Result<bool> Add(Transaction& transaction, std::string_view key, std::span<const std::string_view> elements,
                 uint64_t sparse_max) {
  ASSIGN_OR_RETURN(Found found, OpenForWrite(transaction, key));
  std::vector<std::string_view> effect = {"PFADD", key};
  for (const std::string_view element : elements) {
    ASSIGN_OR_RETURN(const bool raised, found.value.Raise(HyperLogLog::PlaceOf(element), sparse_max));
    if (raised) effect.push_back(element);
  }
  if (found.old && effect.size() == 2) return false;
  found.value.ForgetCount();
  RETURN_IF_ERROR(WriteWithEffect(transaction, key, found, effect));
  transaction.Notify(KeyEventClass::kString, "pfadd", key);
  return true;
}

Result<uint64_t> Count(Transaction& transaction, std::span<const std::string_view> keys) {
  std::unique_ptr<HyperLogLog::Registers> all;
  if (keys.size() > 1) all = std::make_unique<HyperLogLog::Registers>(HyperLogLog::Registers{});
  for (const std::string_view key : keys) {
    ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
    if (!found) continue;
    ASSIGN_OR_RETURN(const std::string_view bytes, ViewOf(transaction, *found));
    if (!all) return HyperLogLog::Count(bytes);
    RETURN_IF_ERROR(HyperLogLog::RaiseTo(bytes, *all));
  }
  return all ? HyperLogLog::Estimate(*all) : uint64_t{0};
}

Result<void> Merge(Transaction& transaction, std::string_view target, std::span<const std::string_view> sources,
                   uint64_t sparse_max) {
  auto all = std::make_unique<HyperLogLog::Registers>(HyperLogLog::Registers{});
  bool dense = false;
  ASSIGN_OR_RETURN(Found found, OpenForWrite(transaction, target));
  if (!found.old) transaction.Notify(KeyEventClass::kMiss, "keymiss", target);
  RETURN_IF_ERROR(HyperLogLog::RaiseTo(found.value.bytes(), *all));
  dense = found.value.dense();
  for (const std::string_view source : sources) {
    ASSIGN_OR_RETURN(const auto one, transaction.FindForWrite(source));
    if (!one) {
      transaction.Notify(KeyEventClass::kMiss, "keymiss", source);
      continue;
    }
    ASSIGN_OR_RETURN(const std::string_view bytes, ViewOf(transaction, *one));
    dense = dense || HyperLogLog::IsDense(bytes);
    RETURN_IF_ERROR(HyperLogLog::RaiseTo(bytes, *all));
  }
  if (dense) RETURN_IF_ERROR(found.value.MakeDense());
  for (uint32_t index = 0; index < HyperLogLog::kRegisters; ++index) {
    if ((*all)[index] == 0) continue;
    ASSIGN_OR_RETURN(const bool raised, found.value.Raise({index, (*all)[index]}, sparse_max));
    (void)raised;
  }
  found.value.ForgetCount();
  std::vector<std::string_view> effect = {"PFMERGE", target};
  effect.insert(effect.end(), sources.begin(), sources.end());
  RETURN_IF_ERROR(WriteWithEffect(transaction, target, found, effect));
  transaction.Notify(KeyEventClass::kString, "pfadd", target);
  return {};
}

Result<bool> ToDense(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(Found found, OpenForWrite(transaction, key));
  if (!found.old) return NoKeyError();
  if (found.value.dense()) return false;
  RETURN_IF_ERROR(found.value.MakeDense());
  const std::string_view effect[] = {"PFDEBUG", "TODENSE", key};
  RETURN_IF_ERROR(WriteWithEffect(transaction, key, found, effect));
  return true;
}

Result<std::string> Bytes(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
  if (!found) return NoKeyError();
  // PFDEBUG looks at the header alone, or at whatever runs there are: not only at what may be sound.
  ASSIGN_OR_RETURN(const StringValue value, StringValue::From(transaction, *found));
  if (!value.Inline()) {  // of a long one that is none, no more is read
    ASSIGN_OR_RETURN(const std::string header, value.Read(0, HyperLogLog::kHeaderSize));
    RETURN_IF_ERROR(HyperLogLog::Check(header));
  }
  ASSIGN_OR_RETURN(std::string bytes, value.Whole());
  RETURN_IF_ERROR(HyperLogLog::Check(bytes));
  return bytes;
}

Result<void> RememberCount(Transaction& transaction, std::string_view key) {
  CHECK(transaction.mode() == TransactionMode::kApply);
  ASSIGN_OR_RETURN(Found found, OpenForWrite(transaction, key));
  if (!found.old) return {};
  ASSIGN_OR_RETURN(const uint64_t count, HyperLogLog::Count(found.value.bytes()));
  found.value.RememberCount(count);
  PutString(transaction, transaction.db(), key, found.value.bytes(), found.old->expire_at_ms, found.old);
  return {};
}

}  // namespace holdfast::hyperloglogs
