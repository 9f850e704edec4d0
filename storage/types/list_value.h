// The items of a list, in rows of kind kItem at contiguous positions: item i stands at position head + i. So an item is
// found by arithmetic, and pushing and popping write one item row and the key row.
//
//   row body  = collection id u64 LE | count u64 LE | head u64 LE
//   positions = unsigned, biased by 2^63: the first item ever is at 2^63, or just below it when it was pushed left
//
// ListValue reads; ListEditor changes. What they cost, with n items: At, Push, Drop O(1) rows; Visit O(items seen);
// Insert and Remove move the items of the shorter side.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

enum class ListEnd { kLeft, kRight };

// What the row body of a list says.
struct ListBody {
  static constexpr size_t kSize = 24;
  static constexpr uint64_t kStart = uint64_t{1} << 63;
  CollectionId id = 0;
  uint64_t count = 0;
  uint64_t head = kStart;

  [[nodiscard]] std::string Encode() const;
  // kCorruption if a body cannot be a list's. Lists have at least one item.
  static Result<ListBody> Parse(std::string_view body);
};

// A list as found by a transaction. Valid until the transaction's next write or end.
class ListValue {
 public:
  // kWrongType if `value` is of another type.
  static Result<ListValue> From(Transaction& transaction, const KeyValue& value);

  [[nodiscard]] uint64_t Length() const { return body_.count; }
  // `index` < Length(). The view lives until the transaction's next read of rows.
  [[nodiscard]] Result<std::string_view> At(uint64_t index) const;
  // Items first, first + 1, ... at most `count` of them; stops when `visit` returns false.
  using Visitor = std::function<bool(uint64_t index, std::string_view item)>;
  Result<void> Visit(uint64_t first, uint64_t count, const Visitor& visit) const;
  // Items last, last - 1, ...
  Result<void> VisitBack(uint64_t last, uint64_t count, const Visitor& visit) const;

 private:
  friend class ListEditor;
  ListValue(Transaction& transaction, const ListBody& body) : transaction_(&transaction), body_(body) {}

  Transaction* transaction_;
  ListBody body_;
};

// Changes a list of the transaction's database. Reads fail before anything is written; items are written at once, the
// key row by Finish().
class ListEditor {
 public:
  // `old` is what FindForWrite returned for `key`: a list or nothing (kWrongType else). `key` outlives the editor.
  static Result<ListEditor> Open(Transaction& transaction, std::string_view key, const std::optional<KeyValue>& old);
  // A new list in place of whatever `old` is.
  static ListEditor Replace(Transaction& transaction, std::string_view key, const std::optional<KeyValue>& old);

  [[nodiscard]] bool exists() const { return old_.has_value(); }
  [[nodiscard]] uint64_t Length() const { return body_.count; }
  [[nodiscard]] ListValue Items() const { return {*transaction_, body_}; }

  // The item at one end of a list that is not empty.
  [[nodiscard]] Result<std::string> Peek(ListEnd end) const;
  void Push(ListEnd end, std::string_view item);
  // Removes `count` <= Length() items at one end.
  void Drop(ListEnd end, uint64_t count = 1);
  void Set(uint64_t index, std::string_view item);
  // Puts `item` before what is at `index` <= Length() now.
  Result<void> Insert(uint64_t index, std::string_view item);
  // Removes the items at these ascending indexes.
  Result<void> Remove(const std::vector<uint64_t>& indexes);
  // Keeps `count` > 0 items from `first` on.
  Result<void> Keep(uint64_t first, uint64_t count);

  // Writes the key row, or removes it if the list became empty. An expiry the key had stays, unless replaced. Tells
  // subscribers of keyspace events: `event`, and "del" if nothing is left.
  void Finish(std::string_view event);

 private:
  ListEditor(Transaction& transaction, std::string_view key) : transaction_(&transaction), key_(key) {}

  [[nodiscard]] uint64_t PositionAtEnd(ListEnd end) const {
    return end == ListEnd::kLeft ? body_.head : body_.head + body_.count - 1;
  }
  void EraseItems(uint64_t position, uint64_t count);
  // Gives items [first, end) the new positions that `target` says; nullopt leaves a row where it is. They must be free,
  // or rows that were moved or dropped before in the order of the walk.
  using Target = std::function<std::optional<uint64_t>(uint64_t position)>;
  Result<void> MoveItems(uint64_t first, uint64_t end, bool descending, const Target& target);

  Transaction* transaction_;
  std::string_view key_;
  std::string old_body_;
  std::optional<KeyValue> old_;
  ListBody body_;
  bool rows_erased_ = true;  // no item row is left when the list is empty
  bool replaces_ = false;    // the new value has nothing of the old one
};

}  // namespace holdfast
