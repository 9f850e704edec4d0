#include "storage/types/keys.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/coding.h"
#include "storage/types/numbers.h"
#include "storage/types/row_copies.h"
#include "storage/types/string_value.h"
#include "storage/types/type_errors.h"

namespace holdfast::keys {
namespace {

constexpr std::array kAllKinds = {CollectionKind::kChunk,    CollectionKind::kMember,  CollectionKind::kScore,
                                  CollectionKind::kItem,     CollectionKind::kEntry,   CollectionKind::kGroup,
                                  CollectionKind::kConsumer, CollectionKind::kPending, CollectionKind::kOwned,
                                  CollectionKind::kFence1,   CollectionKind::kFence2,  CollectionKind::kFence3};

// The row body of an independent copy of `value`, whose rows are written here.
Result<std::string> CopyBody(Transaction& transaction, const KeyValue& value) {
  std::string body(value.body);
  ASSIGN_OR_RETURN(auto collection, CollectionOf(value));
  if (!collection) return body;
  CollectionId id = transaction.NewCollectionId();
  for (CollectionKind kind : kAllKinds) {
    if ((kind == CollectionKind::kChunk) != (value.type == ValueType::kString)) continue;
    RETURN_IF_ERROR(CopyRows(transaction, *collection, id, kind));
  }
  // Strings: length, id. Collections: id, count.
  const size_t position = value.type == ValueType::kString ? sizeof(uint64_t) : 0;
  StoreLittle<uint64_t>(body.data() + position, id);
  return body;
}

bool ConditionHolds(const ExpireCondition& condition, int64_t current, int64_t wanted) {
  const bool has_expiry = current != kNoExpiry;
  if (condition.if_none && has_expiry) return false;
  if (condition.if_any && !has_expiry) return false;
  // No expiry counts as infinitely far away.
  if (condition.if_greater && (!has_expiry || wanted <= current)) return false;
  if (condition.if_less && has_expiry && wanted >= current) return false;
  return true;
}

// `from` exists and its name is not `to`. The rows of a collection stay where they are.
Result<void> Relocate(Transaction& transaction, std::string_view from, const KeyValue& value, int to_db,
                      std::string_view to) {
  FoundKey source(value);
  ASSIGN_OR_RETURN(auto target, transaction.FindForWrite(to_db, to));
  transaction.Put(to_db, to, *source.value(), FoundKey(target).value());
  if (target) transaction.NotifyOn(to_db, KeyEventClass::kNew, "new", to);  // what was there is no more
  transaction.Erase(transaction.db(), from, *source.value(), /*keep_rows=*/true);
  return {};
}

void TellRename(Transaction& transaction, std::string_view from, std::string_view to) {
  transaction.Notify(KeyEventClass::kGeneric, "rename_from", from);
  transaction.Notify(KeyEventClass::kGeneric, "rename_to", to);
  transaction.Emit({"RENAME", from, to});
}

}  // namespace

Result<uint64_t> Delete(Transaction& transaction, std::span<const std::string_view> keys) {
  std::vector<std::string_view> effect = {"DEL"};
  Result<void> outcome;
  for (std::string_view key : keys) {
    auto found = transaction.FindForWrite(key);
    if (!found.ok()) {
      outcome = std::move(found).error();
      break;
    }
    if (!*found) continue;
    transaction.Erase(transaction.db(), key, **found);
    transaction.Notify(KeyEventClass::kGeneric, "del", key);
    effect.push_back(key);
  }
  // A damaged row in the middle must not leave deletions that the log does not know.
  if (effect.size() > 1) transaction.Emit(effect);
  RETURN_IF_ERROR(outcome);
  return uint64_t{effect.size() - 1};
}

Result<uint64_t> Exists(Transaction& transaction, std::span<const std::string_view> keys) {
  uint64_t count = 0;
  for (std::string_view key : keys) {
    ASSIGN_OR_RETURN(auto found, transaction.Find(key));
    if (found) ++count;
  }
  return count;
}

Result<std::optional<ValueType>> Type(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.Find(key));
  if (!found) return std::optional<ValueType>();
  return std::optional<ValueType>(found->type);
}

Result<void> Rename(Transaction& transaction, std::string_view from, std::string_view to) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(from));
  if (!found) return NoSuchKeyError();
  if (from == to) return {};
  RETURN_IF_ERROR(Relocate(transaction, from, *found, transaction.db(), to));
  TellRename(transaction, from, to);
  return {};
}

Result<bool> RenameNx(Transaction& transaction, std::string_view from, std::string_view to) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(from));
  if (!found) return NoSuchKeyError();
  if (from == to) return false;
  FoundKey source(found);
  ASSIGN_OR_RETURN(auto target, transaction.FindForWrite(to));
  if (target) return false;
  RETURN_IF_ERROR(Relocate(transaction, from, *source.value(), transaction.db(), to));
  TellRename(transaction, from, to);
  return true;
}

Result<bool> Copy(Transaction& transaction, std::string_view from, const CopyTarget& target) {
  if (target.db < 0 || target.db >= transaction.database_count()) return DbIndexError();
  if (target.db == transaction.db() && target.key == from) return SameObjectError();
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(from));
  if (!found) {
    transaction.Notify(KeyEventClass::kMiss, "keymiss", from);
    return false;
  }
  FoundKey source(found);
  ASSIGN_OR_RETURN(auto existing, transaction.FindForWrite(target.db, target.key));
  if (existing && !target.replace) return false;
  FoundKey old(existing);
  ASSIGN_OR_RETURN(std::string body, CopyBody(transaction, *source.value()));
  KeyValue value = *source.value();
  value.body = body;
  transaction.Put(target.db, target.key, value, old.value());
  if (existing) transaction.NotifyOn(target.db, KeyEventClass::kNew, "new", target.key);
  transaction.NotifyOn(target.db, KeyEventClass::kGeneric, "copy_to", target.key);
  transaction.Emit({"COPY", from, target.key, "DB", FormatInteger(target.db), "REPLACE"});
  return true;
}

Result<bool> Move(Transaction& transaction, std::string_view key, int db) {
  if (db < 0 || db >= transaction.database_count()) return DbIndexError();
  if (db == transaction.db()) return SameObjectError();
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  if (!found) return false;
  FoundKey source(found);
  ASSIGN_OR_RETURN(auto target, transaction.FindForWrite(db, key));
  if (target) return false;
  RETURN_IF_ERROR(Relocate(transaction, key, *source.value(), db, key));
  transaction.Notify(KeyEventClass::kGeneric, "move_from", key);
  transaction.NotifyOn(db, KeyEventClass::kGeneric, "move_to", key);
  transaction.Emit({"MOVE", key, FormatInteger(db)});
  return true;
}

Result<bool> Expire(Transaction& transaction, std::string_view key, int64_t expire_at_ms,
                    const ExpireCondition& condition) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  if (!found || !ConditionHolds(condition, found->expire_at_ms, expire_at_ms)) return false;
  FoundKey old(found);
  if (transaction.mode() == TransactionMode::kLive && expire_at_ms <= transaction.now_ms()) {
    transaction.Erase(transaction.db(), key, *old.value());
    transaction.Notify(KeyEventClass::kGeneric, "del", key);
    transaction.Emit({"DEL", key});
    return true;
  }
  KeyValue value = *old.value();
  // Replay has no clock, so it may see times of any age; all before 1970 are one.
  value.expire_at_ms = std::max<int64_t>(expire_at_ms, 0);
  transaction.Put(transaction.db(), key, value, old.value());
  transaction.Notify(KeyEventClass::kGeneric, "expire", key);
  transaction.Emit({"PEXPIREAT", key, FormatInteger(value.expire_at_ms)});
  return true;
}

Result<bool> Persist(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(key));
  if (!found || !found->HasExpiry()) return false;
  FoundKey old(found);
  KeyValue value = *old.value();
  value.expire_at_ms = kNoExpiry;
  transaction.Put(transaction.db(), key, value, old.value());
  transaction.Notify(KeyEventClass::kGeneric, "persist", key);
  transaction.Emit({"PERSIST", key});
  return true;
}

Result<std::optional<int64_t>> ExpireTime(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.Find(key));
  if (!found) return std::optional<int64_t>();
  return std::optional<int64_t>(found->expire_at_ms);
}

Result<bool> ExpireNow(Transaction& transaction, int db, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.FindForWrite(db, key));
  return !found.has_value();
}

}  // namespace holdfast::keys
