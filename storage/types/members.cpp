#include "storage/types/members.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/pick_windows.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

KeyEventClass EventClassOf(ValueType type) {
  if (type == ValueType::kHash) return KeyEventClass::kHash;
  return type == ValueType::kSet ? KeyEventClass::kSet : KeyEventClass::kSortedSet;
}

constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kHashBytes = sizeof(uint64_t);

std::string HashPrefix(uint64_t hash) {
  std::string prefix;
  AppendBig<uint64_t>(prefix, hash);
  return prefix;
}

Result<std::optional<MemberReader>> OpenFound(Transaction& transaction, const std::optional<KeyValue>& found,
                                              ValueType type) {
  if (!found) return std::optional<MemberReader>();
  if (found->type != type) return WrongTypeError();
  ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(found->body));
  return std::optional<MemberReader>(MemberReader(transaction, header));
}

}  // namespace

std::string MembersHeader::Encode() const {
  std::string body;
  AppendLittle<uint64_t>(body, id);
  AppendLittle<uint64_t>(body, count);
  AppendLittle<uint8_t>(body, static_cast<uint8_t>(shape));
  if (fenced) AppendLittle<uint8_t>(body, 1);
  return body;
}

Result<MembersHeader> MembersHeader::Parse(std::string_view body) {
  ByteReader reader(body);
  MembersHeader header;
  header.id = reader.Little<uint64_t>();
  header.count = reader.Little<uint64_t>();
  const auto shape = reader.Little<uint8_t>();
  header.fenced = reader.ok() && !reader.AtEnd() && reader.Little<uint8_t>() == 1;
  if (!reader.AtEnd() || shape > static_cast<uint8_t>(CollectionShape::kLarge) || header.count == 0) {
    return Error{ErrorCode::kCorruption, "the header of a hash or set has " + std::to_string(body.size()) +
                                             " bytes, count " + std::to_string(header.count) + " and shape " +
                                             std::to_string(shape)};
  }
  header.shape = static_cast<CollectionShape>(shape);
  return header;
}

std::string MemberSuffix(std::string_view member) {
  std::string suffix;
  suffix.reserve(kHashBytes + member.size());
  AppendBig<uint64_t>(suffix, RowHash(member));
  suffix += member;
  return suffix;
}

// ---- reading --------------------------------------------------------------------------------------------------------

Result<std::optional<MemberReader>> MemberReader::Open(Transaction& transaction, std::string_view key, ValueType type) {
  ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
  return OpenFound(transaction, found, type);
}

Result<std::optional<MemberReader>> MemberReader::OpenForWrite(Transaction& transaction, std::string_view key,
                                                               ValueType type) {
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  if (!found) transaction.Notify(KeyEventClass::kMiss, "keymiss", key);  // it is read
  return OpenFound(transaction, found, type);
}

Result<std::optional<std::string_view>> MemberReader::Get(std::string_view member) const {
  return transaction_->FindRow(header_.id, CollectionKind::kMember, MemberSuffix(member));
}

Result<bool> MemberReader::Has(std::string_view member) const {
  ASSIGN_OR_RETURN(const auto row, Get(member));
  return row.has_value();
}

Result<void> MemberReader::Visit(const MemberVisitor& visit) const {
  return transaction_->VisitRows(header_.id, CollectionKind::kMember, {}, /*reverse=*/false,
                                 [&](std::string_view suffix, std::string_view value) {
                                   return suffix.size() < kHashBytes || visit(suffix.substr(kHashBytes), value);
                                 });
}

Result<void> MemberReader::VisitBatches(
    const std::function<Result<void>(const std::vector<Member>& batch)>& take) const {
  std::string next;
  std::vector<Member> batch;
  for (bool more = true; more;) {
    more = false;
    size_t bytes = 0;
    batch.clear();
    RETURN_IF_ERROR(
        transaction_->VisitRows(header_.id, CollectionKind::kMember, next, /*reverse=*/false,
                                [&](std::string_view suffix, std::string_view value) {
                                  if (bytes >= kBatchBytes) {
                                    more = true;
                                    next = suffix;
                                    return false;
                                  }
                                  batch.push_back({std::string(suffix.substr(kHashBytes)), std::string(value)});
                                  bytes += suffix.size() + value.size() + sizeof(Member);
                                  return true;
                                }));
    RETURN_IF_ERROR(take(batch));
  }
  return {};
}

Result<uint64_t> MemberReader::Scan(uint64_t cursor, uint64_t count, const MemberVisitor& visit) const {
  if (!large()) {
    RETURN_IF_ERROR(Visit(visit));
    return uint64_t{0};
  }
  constexpr uint64_t kDeletedMax = 4000;  // among masses of deleted members a page may come out short, or empty
  Transaction::RowBudget budget{std::min(count, ~uint64_t{0} - kDeletedMax) + kDeletedMax};
  uint64_t looked_at = 0;
  uint64_t last_hash = 0;
  uint64_t next = 0;
  RETURN_IF_ERROR(transaction_->VisitRows(
      header_.id, CollectionKind::kMember, HashPrefix(cursor), /*reverse=*/false,
      [&](std::string_view suffix, std::string_view value) {
        const uint64_t hash = LoadBig<uint64_t>(suffix.data());
        if (looked_at >= count && hash != last_hash) {
          next = hash;
          return false;
        }
        ++looked_at;
        last_hash = hash;
        return visit(suffix.substr(kHashBytes), value);
      },
      &budget));
  return next != 0 ? next : budget.next_hash;
}

// Members with begin <= hash < end (0: no end).
Result<void> MemberReader::CollectRange(uint64_t begin, uint64_t end, std::vector<Member>& members) const {
  return transaction_->VisitRows(header_.id, CollectionKind::kMember, HashPrefix(begin), /*reverse=*/false,
                                 [&](std::string_view suffix, std::string_view value) {
                                   if (end != 0 && LoadBig<uint64_t>(suffix.data()) >= end) return false;
                                   members.push_back({std::string(suffix.substr(kHashBytes)), std::string(value)});
                                   return true;
                                 });
}

// Counts the members of a range up to the one at `place`, which it copies, or to the end.
Result<uint64_t> MemberReader::TakeFromRange(uint64_t begin, uint64_t end, uint64_t place, bool count_all,
                                             Member& member) const {
  uint64_t size = 0;
  RETURN_IF_ERROR(transaction_->VisitRows(header_.id, CollectionKind::kMember, HashPrefix(begin), /*reverse=*/false,
                                          [&](std::string_view suffix, std::string_view value) {
                                            if (end != 0 && LoadBig<uint64_t>(suffix.data()) >= end) return false;
                                            if (size++ != place) return true;
                                            member.member = suffix.substr(kHashBytes);
                                            member.value = value;
                                            return count_all;
                                          }));
  return size;
}

// Rejection sampling: pick one of equal windows of the hash range and a place below what any window holds, and take the
// member at that place if there is one. Every member then has the same chance. Where the window's count is known, a
// place without a member costs no look at rows.
Result<MemberReader::Member> MemberReader::Pick() const {
  constexpr uint64_t kSmall = 64;  // walked as a whole
  constexpr int kTries = 1'000'000;
  Random& random = transaction_->random();
  Member member;
  // What became small by losing many may lie among masses of deleted rows: known windows tell where it is.
  if (count() <= kSmall && !transaction_->pick_windows().FindsFew(header_.id, count())) {
    const uint64_t place = random.Below(count());
    ASSIGN_OR_RETURN(const uint64_t size, TakeFromRange(0, 0, place, /*count_all=*/false, member));
    if (place < size) return member;
    return Error{ErrorCode::kCorruption, "no member found in a collection that should have " + std::to_string(count())};
  }
  PickWindows::Counts& counts = transaction_->pick_windows().For(header_.id, count());
  for (int i = 0; i < kTries; ++i) {
    const uint64_t window = random.Below(counts.windows());
    const uint64_t places = counts.Places();
    uint64_t place = random.Below(places);
    const uint8_t known = counts.count(window);
    const bool unknown = known == PickWindows::Counts::kUnknown;
    if (!unknown && place >= known) continue;
    const uint64_t begin = counts.First(window);
    const uint64_t end = window + 1 == counts.windows() ? 0 : counts.First(window + 1);
    ASSIGN_OR_RETURN(uint64_t size, TakeFromRange(begin, end, place, unknown, member));
    if (unknown || place >= size) counts.Learn(window, size);
    if (size > places) {  // crafted hashes: walk again, so that all have their chance
      place = random.Below(size);
      ASSIGN_OR_RETURN(size, TakeFromRange(begin, end, place, /*count_all=*/false, member));
    }
    if (place < size) return member;
  }
  return Error{ErrorCode::kCorruption, "no member found in a collection that should have " + std::to_string(count())};
}

Result<std::vector<MemberReader::Member>> MemberReader::PickDistinct(uint64_t wanted) const {
  std::vector<Member> picked;
  if (wanted == 1 && count() > 0) {
    ASSIGN_OR_RETURN(picked.emplace_back(), Pick());
    return picked;
  }
  const bool small = count() <= 128 && !transaction_->pick_windows().FindsFew(header_.id, count());
  if (wanted >= count() || wanted * 4 > count() || small) {
    RETURN_IF_ERROR(CollectRange(0, 0, picked));
    if (wanted >= picked.size()) return picked;
    // The first places of a shuffle.
    for (uint64_t i = 0; i < wanted; ++i) {
      std::swap(picked[i], picked[i + transaction_->random().Below(picked.size() - i)]);
    }
    picked.resize(wanted);
    return picked;
  }
  // At most a quarter is taken, so fewer than 4/3 picks a member are needed on average.
  std::unordered_set<std::string> seen;
  uint64_t tries_left = 1000 + 16 * wanted;
  while (picked.size() < wanted) {
    if (tries_left-- == 0) {
      return Error{ErrorCode::kCorruption,
                   "fewer members found than the " + std::to_string(count()) + " a collection should have"};
    }
    ASSIGN_OR_RETURN(Member one, Pick());
    if (seen.insert(one.member).second) picked.push_back(std::move(one));
  }
  return picked;
}

// ---- writing --------------------------------------------------------------------------------------------------------

void MemberEditor::TakeOld(const std::optional<KeyValue>& old) {
  if (!old) return;
  old_ = old;
  old_body_ = old->body;
}

Result<MemberEditor> MemberEditor::Open(Transaction& transaction, std::string_view key, ValueType type) {
  MemberEditor editor(transaction, key, type);
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  if (!found) return editor;
  if (found->type != type) return WrongTypeError();
  ASSIGN_OR_RETURN(editor.before_, MembersHeader::Parse(found->body));
  editor.header_ = editor.before_;
  editor.exists_ = true;
  editor.TakeOld(found);
  return editor;
}

Result<MemberEditor> MemberEditor::Replace(Transaction& transaction, std::string_view key, ValueType type) {
  MemberEditor editor(transaction, key, type);
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  editor.replaces_ = true;
  editor.exists_ = found.has_value();
  editor.TakeOld(found);
  return editor;
}

CollectionId MemberEditor::Id() {
  if (header_.id == 0) header_.id = transaction_->NewCollectionId();
  return header_.id;
}

Result<bool> MemberEditor::Put(std::string_view member, std::string_view value) {
  if (header_.count > 0) {
    ASSIGN_OR_RETURN(const bool known, reader().Has(member));
    if (known) {
      PutOver(member, value);
      return false;
    }
  }
  PutNew(member, value);
  return true;
}

void MemberEditor::PutNew(std::string_view member, std::string_view value) {
  const std::string suffix = MemberSuffix(member);
  transaction_->PutRow(Id(), CollectionKind::kMember, suffix, value);
  transaction_->pick_windows().Change(header_.id, LoadBig<uint64_t>(suffix.data()), +1);
  wrote_ = true;
  ++header_.count;
}

void MemberEditor::PutOver(std::string_view member, std::string_view value) {
  transaction_->PutRow(Id(), CollectionKind::kMember, MemberSuffix(member), value);
  wrote_ = true;
}

Result<bool> MemberEditor::Erase(std::string_view member) {
  if (header_.count == 0) return false;
  ASSIGN_OR_RETURN(const bool known, reader().Has(member));
  if (known) EraseKnown(member);
  return known;
}

void MemberEditor::EraseKnown(std::string_view member) {
  CHECK(header_.count > 0);
  const std::string suffix = MemberSuffix(member);
  transaction_->EraseRow(header_.id, CollectionKind::kMember, suffix);
  transaction_->pick_windows().Change(header_.id, LoadBig<uint64_t>(suffix.data()), -1);
  --header_.count;
  wrote_ = true;
}

void MemberEditor::Finish(std::string_view event) {
  const int db = transaction_->db();
  const KeyEventClass event_class = EventClassOf(type_);
  if (old_) old_->body = old_body_;
  if (header_.count == 0) {
    if (!old_ || (!wrote_ && !replaces_)) return;
    if (!replaces_) transaction_->Notify(event_class, event, key_);
    transaction_->Erase(db, key_, *old_);
    transaction_->Notify(KeyEventClass::kGeneric, "del", key_);
    return;
  }
  const bool same_row = !replaces_ && exists_ && !erased_other_row_ && header_.count == before_.count &&
                        header_.shape == before_.shape && header_.fenced == before_.fenced;
  if (same_row) {
    if (!wrote_) return;
    transaction_->TouchKey(db, key_);
    transaction_->Notify(event_class, event, key_);
    return;
  }
  const std::string body = header_.Encode();
  KeyValue value;
  value.type = type_;
  value.expire_at_ms = old_ && !replaces_ ? old_->expire_at_ms : kNoExpiry;
  value.body = body;
  transaction_->Put(db, key_, value, old_);
  transaction_->Notify(event_class, event, key_);
}

}  // namespace holdfast
