#include "storage/types/sets.h"

#include <algorithm>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::sets {
namespace {

constexpr ValueType kType = ValueType::kSet;
constexpr size_t kEffectMembersMax = 1024;  // of one SREM when many are popped

Result<MemberEditor> Edit(Transaction& transaction, std::string_view key) {
  return MemberEditor::Open(transaction, key, kType);
}

// Compact sets are Redis' sets of integers.
void KeepShape(MemberEditor& editor, std::string_view added) {
  if (editor.header().shape == CollectionShape::kLarge) return;
  if (editor.header().count > kCompactMembersMax || !ParseInteger(added)) editor.SetLarge();
}

}  // namespace

Result<std::optional<MemberReader>> Open(Transaction& transaction, std::string_view key) {
  return MemberReader::Open(transaction, key, kType);
}

Result<uint64_t> Add(Transaction& transaction, std::string_view key, std::span<const std::string_view> members) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::vector<std::string_view> effect = {"SADD", key};
  Result<void> outcome;
  for (const std::string_view member : members) {
    if (editor.header().count > 0) {
      auto known = editor.reader().Has(member);
      if (!known.ok()) {
        outcome = std::move(known).error();
        break;
      }
      if (*known) continue;
    }
    editor.PutNew(member, {});
    KeepShape(editor, member);
    effect.push_back(member);
  }
  // A damaged row in the middle must not leave members that the log does not know.
  editor.Finish("sadd");
  if (effect.size() > 2) transaction.Emit(effect);
  RETURN_IF_ERROR(outcome);
  return uint64_t{effect.size() - 2};
}

Result<uint64_t> Remove(Transaction& transaction, std::string_view key, std::span<const std::string_view> members) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::vector<std::string_view> effect = {"SREM", key};
  Result<void> outcome;
  for (const std::string_view member : members) {
    auto erased = editor.Erase(member);
    if (!erased.ok()) {
      outcome = std::move(erased).error();
      break;
    }
    if (*erased) effect.push_back(member);
  }
  editor.Finish("srem");
  if (effect.size() > 2) transaction.Emit(effect);
  RETURN_IF_ERROR(outcome);
  return uint64_t{effect.size() - 2};
}

Result<bool> Move(Transaction& transaction, std::string_view from, std::string_view to, std::string_view member) {
  ASSIGN_OR_RETURN(MemberEditor source, Edit(transaction, from));
  // Redis looks at the target's type only if there is something to move from.
  if (!source.exists()) {
    ASSIGN_OR_RETURN([[maybe_unused]] const auto target, transaction.FindForWrite(to));
    return false;
  }
  ASSIGN_OR_RETURN(MemberEditor target, Edit(transaction, to));
  ASSIGN_OR_RETURN(const bool known, source.reader().Has(member));
  if (!known) return false;
  if (from == to) return true;
  bool already = false;
  if (target.exists()) {
    ASSIGN_OR_RETURN(already, target.reader().Has(member));
  }
  source.EraseKnown(member);
  source.Finish("srem");
  if (!already) {
    target.PutNew(member, {});
    KeepShape(target, member);
    target.Finish("sadd");
  }
  transaction.Emit({"SMOVE", from, to, member});
  return true;
}

Result<uint64_t> Size(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto set, Open(transaction, key));
  return set ? set->count() : uint64_t{0};
}

Result<std::vector<bool>> AreMembers(Transaction& transaction, std::string_view key,
                                     std::span<const std::string_view> members) {
  std::vector<bool> answers(members.size());
  ASSIGN_OR_RETURN(const auto set, Open(transaction, key));
  if (!set) return answers;
  for (size_t i = 0; i < members.size(); ++i) {
    ASSIGN_OR_RETURN(answers[i], set->Has(members[i]));
  }
  return answers;
}

Result<std::vector<std::string>> Pop(Transaction& transaction, std::string_view key, uint64_t count) {
  ASSIGN_OR_RETURN(MemberEditor editor, Edit(transaction, key));
  std::vector<std::string> popped;
  if (!editor.exists() || count == 0) return popped;
  ASSIGN_OR_RETURN(auto picked, editor.reader().PickDistinct(count));
  const bool all = picked.size() >= editor.header().count;
  popped.reserve(picked.size());
  for (MemberReader::Member& one : picked) popped.push_back(std::move(one.member));
  if (all) {
    ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
    transaction.Notify(KeyEventClass::kSet, "spop", key);
    transaction.Erase(transaction.db(), key, *found);
    transaction.Notify(KeyEventClass::kGeneric, "del", key);
    transaction.Emit({"DEL", key});
    return popped;
  }
  uint64_t bytes = 0;
  for (const std::string& member : popped) bytes += member.size();
  const uint64_t effects = popped.size() / kEffectMembersMax + 1;
  RETURN_IF_ERROR(transaction.CheckRoom(bytes + effects * key.size(), popped.size() + 3 * effects));
  for (const std::string& member : popped) editor.EraseKnown(member);
  editor.Finish("spop");
  for (size_t from = 0; from < popped.size(); from += kEffectMembersMax) {
    std::vector<std::string_view> effect = {"SREM", key};
    const size_t to = std::min(popped.size(), from + kEffectMembersMax);
    effect.insert(effect.end(), popped.begin() + static_cast<std::ptrdiff_t>(from),
                  popped.begin() + static_cast<std::ptrdiff_t>(to));
    transaction.Emit(effect);
  }
  return popped;
}

}  // namespace holdfast::sets
