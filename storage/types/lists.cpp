#include "storage/types/lists.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast::lists {
namespace {

constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();

std::string_view EndName(ListEnd end) { return end == ListEnd::kLeft ? "LEFT" : "RIGHT"; }
std::string_view PopName(ListEnd end) { return end == ListEnd::kLeft ? "LPOP" : "RPOP"; }

Result<ListEditor> Edit(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto found, transaction.FindForWrite(key));
  return ListEditor::Open(transaction, key, found);
}

uint64_t Magnitude(int64_t number) {
  return number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
}

// Indexes of the items to remove, ascending.
Result<std::vector<uint64_t>> FindAll(const ListValue& list, int64_t count, std::string_view item) {
  std::vector<uint64_t> indexes;
  const uint64_t wanted = count == 0 ? kAll : Magnitude(count);
  const auto look = [&](uint64_t index, std::string_view here) {
    if (here == item) indexes.push_back(index);
    return indexes.size() < wanted;
  };
  if (count < 0) {
    RETURN_IF_ERROR(list.VisitBack(list.Length() - 1, kAll, look));
    std::reverse(indexes.begin(), indexes.end());
  } else {
    RETURN_IF_ERROR(list.Visit(0, kAll, look));
  }
  return indexes;
}

std::string_view PushEvent(ListEnd end) { return end == ListEnd::kLeft ? "lpush" : "rpush"; }
std::string_view PopEvent(ListEnd end) { return end == ListEnd::kLeft ? "lpop" : "rpop"; }

}  // namespace

Result<std::optional<ListValue>> Open(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
  if (!found) return std::optional<ListValue>();
  ASSIGN_OR_RETURN(const ListValue list, ListValue::From(transaction, *found));
  return std::optional<ListValue>(list);
}

std::optional<ListEnd> ParseEnd(std::string_view word) {
  if (EqualsIgnoreCase(word, "LEFT")) return ListEnd::kLeft;
  if (EqualsIgnoreCase(word, "RIGHT")) return ListEnd::kRight;
  return std::nullopt;
}

Result<uint64_t> Push(Transaction& transaction, std::string_view key, ListEnd end,
                      std::span<const std::string_view> items, PushCondition condition) {
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists() && condition == PushCondition::kIfPresent) return uint64_t{0};
  if (items.empty()) return list.Length();
  for (const std::string_view item : items) list.Push(end, item);
  list.Finish(PushEvent(end));
  std::vector<std::string_view> effect = {end == ListEnd::kLeft ? "LPUSH" : "RPUSH", key};
  effect.insert(effect.end(), items.begin(), items.end());
  transaction.Emit(effect);
  return list.Length();
}

Result<std::optional<std::string>> Pop(Transaction& transaction, std::string_view key, ListEnd end) {
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists()) return std::optional<std::string>();
  ASSIGN_OR_RETURN(std::string item, list.Peek(end));
  list.Drop(end);
  list.Finish(PopEvent(end));
  transaction.Emit({PopName(end), key});
  return std::optional<std::string>(std::move(item));
}

Result<std::optional<std::vector<std::string>>> PopSome(Transaction& transaction, std::string_view key, ListEnd end,
                                                        uint64_t count) {
  using Items = std::optional<std::vector<std::string>>;
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists()) return Items();
  std::vector<std::string> items;
  if (count == 0) return Items(std::move(items));
  count = std::min(count, list.Length());
  const auto take = [&](uint64_t, std::string_view item) {
    items.emplace_back(item);
    return true;
  };
  RETURN_IF_ERROR(end == ListEnd::kLeft ? list.Items().Visit(0, count, take)
                                        : list.Items().VisitBack(list.Length() - 1, count, take));
  list.Drop(end, count);
  list.Finish(PopEvent(end));
  transaction.Emit({PopName(end), key, FormatInteger(static_cast<int64_t>(count))});
  return Items(std::move(items));
}

std::optional<uint64_t> ResolveIndex(uint64_t length, int64_t index) {
  if (index >= 0) {
    return static_cast<uint64_t>(index) < length ? std::optional(static_cast<uint64_t>(index)) : std::nullopt;
  }
  return Magnitude(index) <= length ? std::optional(length - Magnitude(index)) : std::nullopt;
}

Result<void> Set(Transaction& transaction, std::string_view key, int64_t index, std::string_view item) {
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists()) return NoSuchKeyError();
  const auto place = ResolveIndex(list.Length(), index);
  if (!place) return IndexOutOfRangeError();
  list.Set(*place, item);
  list.Finish("lset");
  transaction.Emit({"LSET", key, FormatInteger(index), item});
  return {};
}

Result<int64_t> Insert(Transaction& transaction, std::string_view key, bool before, std::string_view pivot,
                       std::string_view item) {
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists()) return int64_t{0};
  ASSIGN_OR_RETURN(const auto found, FindAll(list.Items(), 1, pivot));
  if (found.empty()) return int64_t{-1};
  RETURN_IF_ERROR(list.Insert(found.front() + (before ? 0 : 1), item));
  list.Finish("linsert");
  transaction.Emit({"LINSERT", key, before ? "BEFORE" : "AFTER", pivot, item});
  return static_cast<int64_t>(list.Length());
}

Result<uint64_t> Remove(Transaction& transaction, std::string_view key, int64_t count, std::string_view item) {
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists()) return uint64_t{0};
  ASSIGN_OR_RETURN(const auto found, FindAll(list.Items(), count, item));
  if (found.empty()) return uint64_t{0};
  RETURN_IF_ERROR(list.Remove(found));
  list.Finish("lrem");
  transaction.Emit({"LREM", key, FormatInteger(count), item});
  return uint64_t{found.size()};
}

ListRange ResolveRange(uint64_t length, int64_t start, int64_t stop) {
  const auto count = static_cast<int64_t>(length);
  if (start < 0) start = std::max<int64_t>(start + count, 0);
  if (stop < 0) stop += count;
  stop = std::min(stop, count - 1);
  if (start > stop) return {};
  return {static_cast<uint64_t>(start), static_cast<uint64_t>(stop - start + 1)};
}

Result<void> Trim(Transaction& transaction, std::string_view key, int64_t start, int64_t stop) {
  ASSIGN_OR_RETURN(ListEditor list, Edit(transaction, key));
  if (!list.exists()) return {};
  const ListRange range = ResolveRange(list.Length(), start, stop);
  if (range.count == list.Length()) {
    transaction.TouchKey(transaction.db(), key);  // fails a WATCH all the same, as in Redis
    transaction.Notify(KeyEventClass::kList, "ltrim", key);
    return {};
  }
  if (range.count == 0) {
    list.Drop(ListEnd::kLeft, list.Length());
  } else {
    RETURN_IF_ERROR(list.Keep(range.first, range.count));
  }
  list.Finish("ltrim");
  transaction.Emit({"LTRIM", key, FormatInteger(start), FormatInteger(stop)});
  return {};
}

Result<std::optional<std::string>> Move(Transaction& transaction, std::string_view source, std::string_view destination,
                                        Ends ends) {
  ASSIGN_OR_RETURN(ListEditor from, Edit(transaction, source));
  if (!from.exists()) return std::optional<std::string>();
  ASSIGN_OR_RETURN(std::string item, from.Peek(ends.from));
  if (source == destination) {
    // A list of one item keeps it: its row moves on, or stays.
    from.Push(ends.to, item);
    from.Drop(ends.from);
    from.Finish(PushEvent(ends.to));
    transaction.Notify(KeyEventClass::kList, PopEvent(ends.from), source);
  } else {
    ASSIGN_OR_RETURN(ListEditor to, Edit(transaction, destination));
    from.Drop(ends.from);
    to.Push(ends.to, item);
    to.Finish(PushEvent(ends.to));
    from.Finish(PopEvent(ends.from));
  }
  if (ends.from == ListEnd::kRight && ends.to == ListEnd::kLeft) {
    transaction.Emit({"RPOPLPUSH", source, destination});
  } else {
    transaction.Emit({"LMOVE", source, destination, EndName(ends.from), EndName(ends.to)});
  }
  return std::optional<std::string>(std::move(item));
}

Result<std::vector<uint64_t>> Positions(const ListValue& list, std::string_view item, const PositionOptions& options) {
  std::vector<uint64_t> found;
  uint64_t skip = Magnitude(options.rank) - 1;
  const auto look = [&](uint64_t index, std::string_view here) {
    if (here != item) return true;
    if (skip > 0) {
      --skip;
      return true;
    }
    found.push_back(index);
    return options.count == 0 || found.size() < options.count;
  };
  const uint64_t length_max = options.length_max == 0 ? kAll : options.length_max;
  RETURN_IF_ERROR(options.rank > 0 ? list.Visit(0, length_max, look)
                                   : list.VisitBack(list.Length() - 1, length_max, look));
  return found;
}

}  // namespace holdfast::lists
