#include "storage/types/list_value.h"

#include <algorithm>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/types/type_errors.h"
#include "storage/walks_ahead.h"

namespace holdfast {
namespace {

// Nobody pushes this often. Bounds keep arithmetic with positions from a damaged or hostile file in range.
constexpr uint64_t kItemsMax = uint64_t{1} << 62;

// A list that becomes empty gives back its rows one by one up to this many, and leaves more to the background.
constexpr uint64_t kEraseMax = 64;

constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kBatchItems = 4096;

std::string Suffix(uint64_t position) {
  std::string suffix;
  AppendBig<uint64_t>(suffix, position);
  return suffix;
}

Error Missing(uint64_t position) {
  return Error{ErrorCode::kCorruption,
               "list: the item at position " + std::to_string(position) + " of its rows is missing"};
}

// Visits the rows [first, first + count) upwards, or downwards from first + count - 1, and tells if one is missing.
Result<void> VisitItems(Transaction& transaction, CollectionId id, uint64_t first, uint64_t count, bool descending,
                        const std::function<bool(uint64_t position, std::string_view item)>& visit) {
  if (count == 0) return {};
  uint64_t expected = descending ? first + count - 1 : first;
  uint64_t left = count;
  Result<void> outcome;
  RETURN_IF_ERROR(transaction.VisitRows(
      id, CollectionKind::kItem, Suffix(expected), descending, [&](std::string_view suffix, std::string_view value) {
        if (suffix.size() != 8 || LoadBig<uint64_t>(suffix.data()) != expected) {
          outcome = Missing(expected);
          return false;
        }
        --left;
        const uint64_t position = std::exchange(expected, descending ? expected - 1 : expected + 1);
        if (visit(position, value)) return left > 0;
        left = 0;
        return false;
      }));
  RETURN_IF_ERROR(std::move(outcome));
  if (left > 0) return Missing(expected);
  return {};
}

// Queues are taken from one by one: whenever the end passes one of these places, the items up to the next but one are
// to be brought into memory.
void WantAhead(Transaction& transaction, const ListBody& body, ListEnd end, uint64_t dropped) {
  constexpr uint64_t kBetween = 4096;
  const bool left = end == ListEnd::kLeft;
  const uint64_t next = left ? body.head : body.head + body.count;  // the items from here on, or below it
  const uint64_t last = left ? next - dropped : next + dropped;
  if (next / kBetween == last / kBetween || body.count == 0) return;
  transaction.WantWalkAhead({body.id, CollectionKind::kItem, Suffix(left ? next : next - 1), !left, 2 * kBetween});
}

}  // namespace

std::string ListBody::Encode() const {
  std::string body;
  AppendLittle<uint64_t>(body, id);
  AppendLittle<uint64_t>(body, count);
  AppendLittle<uint64_t>(body, head);
  return body;
}

Result<ListBody> ListBody::Parse(std::string_view body) {
  ByteReader reader(body);
  ListBody parsed;
  parsed.id = reader.Little<uint64_t>();
  parsed.count = reader.Little<uint64_t>();
  parsed.head = reader.Little<uint64_t>();
  if (!reader.AtEnd()) {
    return Error{ErrorCode::kCorruption,
                 "list: row body has " + std::to_string(body.size()) + " bytes, expected " + std::to_string(kSize)};
  }
  if (parsed.count == 0 || parsed.count > kItemsMax || parsed.head > kStart + kItemsMax ||
      parsed.head < kStart - kItemsMax) {
    return Error{ErrorCode::kCorruption, "list: impossible row body, " + std::to_string(parsed.count) +
                                             " items from position " + std::to_string(parsed.head)};
  }
  return parsed;
}

// ---- reading --------------------------------------------------------------------------------------------------------

Result<ListValue> ListValue::From(Transaction& transaction, const KeyValue& value) {
  if (value.type != ValueType::kList) return WrongTypeError();
  ASSIGN_OR_RETURN(const ListBody body, ListBody::Parse(value.body));
  return ListValue(transaction, body);
}

Result<std::string_view> ListValue::At(uint64_t index) const {
  CHECK(index < body_.count);
  const uint64_t position = body_.head + index;
  ASSIGN_OR_RETURN(const auto row, transaction_->FindRow(body_.id, CollectionKind::kItem, Suffix(position)));
  if (!row) return Missing(position);
  return *row;
}

Result<void> ListValue::Visit(uint64_t first, uint64_t count, const Visitor& visit) const {
  if (first >= body_.count) return {};
  return VisitItems(*transaction_, body_.id, body_.head + first, std::min(count, body_.count - first),
                    /*descending=*/false,
                    [&](uint64_t position, std::string_view item) { return visit(position - body_.head, item); });
}

Result<void> ListValue::VisitBack(uint64_t last, uint64_t count, const Visitor& visit) const {
  CHECK(last < body_.count);
  count = std::min(count, last + 1);
  return VisitItems(*transaction_, body_.id, body_.head + last + 1 - count, count, /*descending=*/true,
                    [&](uint64_t position, std::string_view item) { return visit(position - body_.head, item); });
}

// ---- changing -------------------------------------------------------------------------------------------------------

Result<ListEditor> ListEditor::Open(Transaction& transaction, std::string_view key,
                                    const std::optional<KeyValue>& old) {
  ListEditor editor(transaction, key);
  if (!old) return editor;
  if (old->type != ValueType::kList) return WrongTypeError();
  ASSIGN_OR_RETURN(editor.body_, ListBody::Parse(old->body));
  editor.old_ = old;
  editor.old_body_ = old->body;
  return editor;
}

ListEditor ListEditor::Replace(Transaction& transaction, std::string_view key, const std::optional<KeyValue>& old) {
  ListEditor editor(transaction, key);
  editor.replaces_ = true;
  editor.rows_erased_ = false;
  if (old) editor.old_body_ = old->body;
  editor.old_ = old;
  return editor;
}

Result<std::string> ListEditor::Peek(ListEnd end) const {
  ASSIGN_OR_RETURN(const std::string_view item, Items().At(end == ListEnd::kLeft ? 0 : body_.count - 1));
  return std::string(item);
}

void ListEditor::Push(ListEnd end, std::string_view item) {
  if (body_.id == 0) body_.id = transaction_->NewCollectionId();
  CHECK(body_.count < kItemsMax);
  if (end == ListEnd::kLeft) --body_.head;
  ++body_.count;
  transaction_->PutRow(body_.id, CollectionKind::kItem, Suffix(PositionAtEnd(end)), item);
}

void ListEditor::Drop(ListEnd end, uint64_t count) {
  CHECK(count <= body_.count);
  if (count == body_.count && count > kEraseMax) {
    rows_erased_ = false;
  } else {
    EraseItems(end == ListEnd::kLeft ? body_.head : body_.head + body_.count - count, count);
  }
  if (end == ListEnd::kLeft) body_.head += count;
  body_.count -= count;
  WantAhead(*transaction_, body_, end, count);
}

void ListEditor::EraseItems(uint64_t position, uint64_t count) {
  for (; count > 0; --count, ++position) {
    transaction_->EraseRow(body_.id, CollectionKind::kItem, Suffix(position));
  }
}

void ListEditor::Set(uint64_t index, std::string_view item) {
  CHECK(index < body_.count);
  transaction_->PutRow(body_.id, CollectionKind::kItem, Suffix(body_.head + index), item);
}

Result<void> ListEditor::MoveItems(uint64_t first, uint64_t end, bool descending, const Target& target) {
  std::vector<std::pair<uint64_t, std::string>> batch;
  bool writing = false;
  while (first < end) {
    batch.clear();
    size_t bytes = 0;
    auto read = VisitItems(*transaction_, body_.id, first, end - first, descending,
                           [&](uint64_t position, std::string_view item) {
                             batch.emplace_back(position, item);
                             bytes += item.size();
                             return bytes < kBatchBytes && batch.size() < kBatchItems;
                           });
    if (!writing) {
      RETURN_IF_ERROR(std::move(read));
      // Nothing may be found damaged once rows have moved: there is no way back.
      if (batch.size() < end - first) {
        RETURN_IF_ERROR(VisitItems(*transaction_, body_.id, first, end - first, descending,
                                   [](uint64_t, std::string_view) { return true; }));
      }
      writing = true;
    } else {
      // It was readable a moment ago. Half a change is in memory and none in the log: the state is the log's, after a
      // restart.
      CHECK_MSG(read.ok(), read.error().message);
    }
    for (const auto& [position, item] : batch) {
      const std::optional<uint64_t> to = target(position);
      if (to && *to != position) transaction_->PutRow(body_.id, CollectionKind::kItem, Suffix(*to), item);
    }
    descending ? end -= batch.size() : first += batch.size();
  }
  return {};
}

Result<void> ListEditor::Insert(uint64_t index, std::string_view item) {
  CHECK(index <= body_.count);
  const uint64_t at = body_.head + index;
  if (index <= body_.count - index) {
    RETURN_IF_ERROR(MoveItems(body_.head, at, /*descending=*/false, [](uint64_t position) { return position - 1; }));
    --body_.head;
  } else {
    RETURN_IF_ERROR(
        MoveItems(at, body_.head + body_.count, /*descending=*/true, [](uint64_t position) { return position + 1; }));
  }
  ++body_.count;
  Set(index, item);
  return {};
}

Result<void> ListEditor::Remove(const std::vector<uint64_t>& indexes) {
  const uint64_t count = indexes.size();
  if (count == 0) return {};
  if (count == body_.count) {
    Drop(ListEnd::kLeft, count);
    return {};
  }
  const uint64_t behind_first = body_.count - indexes.front();
  const uint64_t before_last = indexes.back() + 1;
  if (behind_first <= before_last) {
    uint64_t gone = 0;  // removed items passed so far
    RETURN_IF_ERROR(MoveItems(body_.head + indexes.front(), body_.head + body_.count, /*descending=*/false,
                              [&](uint64_t position) -> std::optional<uint64_t> {
                                if (gone < count && position - body_.head == indexes[gone]) {
                                  ++gone;
                                  return std::nullopt;
                                }
                                return position - gone;
                              }));
    Drop(ListEnd::kRight, count);
  } else {
    uint64_t gone = 0;
    RETURN_IF_ERROR(MoveItems(body_.head, body_.head + before_last, /*descending=*/true,
                              [&](uint64_t position) -> std::optional<uint64_t> {
                                if (gone < count && position - body_.head == indexes[count - 1 - gone]) {
                                  ++gone;
                                  return std::nullopt;
                                }
                                return position + gone;
                              }));
    Drop(ListEnd::kLeft, count);
  }
  return {};
}

Result<void> ListEditor::Keep(uint64_t first, uint64_t count) {
  CHECK(count > 0);
  CHECK(first + count <= body_.count);
  if (body_.count - count <= count || body_.count <= kEraseMax) {
    Drop(ListEnd::kRight, body_.count - first - count);
    Drop(ListEnd::kLeft, first);
    return {};
  }
  // Copying the few that stay is cheaper than erasing the many that go. Rows of a collection that no key names yet
  // harm nobody if a read fails.
  const ListValue old = Items();
  ListBody kept;
  kept.id = transaction_->NewCollectionId();
  while (kept.count < count) {
    std::vector<std::string> batch;
    size_t bytes = 0;
    RETURN_IF_ERROR(old.Visit(first + kept.count, count - kept.count, [&](uint64_t, std::string_view item) {
      batch.emplace_back(item);
      bytes += item.size();
      return bytes < kBatchBytes && batch.size() < kBatchItems;
    }));
    for (const std::string& item : batch) {
      transaction_->PutRow(kept.id, CollectionKind::kItem, Suffix(kept.head + kept.count++), item);
    }
  }
  body_ = kept;
  return {};
}

void ListEditor::Finish(std::string_view event) {
  if (old_) old_->body = old_body_;
  if (body_.count == 0) {
    if (!old_) return;
    if (!replaces_) transaction_->Notify(KeyEventClass::kList, event, key_);
    transaction_->Erase(transaction_->db(), key_, *old_, /*keep_rows=*/rows_erased_);
    transaction_->Notify(KeyEventClass::kGeneric, "del", key_);
    return;
  }
  KeyValue value;
  value.type = ValueType::kList;
  value.expire_at_ms = old_ && !replaces_ ? old_->expire_at_ms : kNoExpiry;
  const std::string encoded = body_.Encode();
  value.body = encoded;
  transaction_->Put(transaction_->db(), key_, value, old_);
  transaction_->Notify(KeyEventClass::kList, event, key_);
}

}  // namespace holdfast
