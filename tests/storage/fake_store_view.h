// A StoreView over plain maps, and visitors that turn a snapshot back into the same maps.
#pragma once

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/row.h"
#include "storage/snapshot.h"
#include "storage/store_view.h"
#include "storage/types/stream_value.h"

namespace holdfast::testing {

struct FakeValue {
  ValueType type = ValueType::kString;
  bool chunked = false;
  int64_t expire_at_ms = kNoExpiry;
  std::string body;                                               // without local ids, as in a snapshot
  std::map<std::pair<char, std::string>, std::string> rows = {};  // (kind, suffix)
  bool whole = true;                                              // KeyEnd was seen

  friend bool operator==(const FakeValue&, const FakeValue&) = default;
};

// Ordered as a store visits keys: by database, row hash, row key.
using FakeKey = std::tuple<int, uint64_t, std::string, std::string>;  // db, hash, row key, key
using FakeContent = std::map<FakeKey, FakeValue>;

inline FakeKey MakeFakeKey(int db, std::string_view key) {
  const uint64_t hash = RowHash(key);
  return {db, hash, KeyRowKey(0, hash, key), std::string(key)};
}

inline std::string CountBody(uint64_t count, std::string_view more = {}) {
  std::string body;
  AppendLittle<uint64_t>(body, count);
  return body += more;
}

inline std::string MemberSuffix(std::string_view member) {
  std::string suffix;
  AppendBig<uint64_t>(suffix, RowHash(member));
  return suffix += member;
}

template <typename T>
std::string BigEndian(T value) {
  std::string bytes;
  AppendBig<T>(bytes, value);
  return bytes;
}

// A string kept in chunks. An empty chunk stands for one that was never written.
inline FakeValue ChunkedString(uint64_t length, const std::vector<std::string>& chunks) {
  FakeValue value{.chunked = true, .body = CountBody(length)};
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (!chunks[i].empty()) value.rows[{'c', BigEndian(static_cast<uint32_t>(i))}] = chunks[i];
  }
  return value;
}

class FakeStoreView : public StoreView {
 public:
  FakeStoreView(FakeContent content, StreamPosition position, int databases = 16)
      : content_(std::move(content)), position_(std::move(position)), databases_(databases) {
    uint64_t id = 1000;
    for (const auto& [key, value] : content_) by_id_[id++] = &value;
  }

  [[nodiscard]] const StreamPosition& position() const override { return position_; }
  [[nodiscard]] int database_count() const override { return databases_; }
  [[nodiscard]] uint64_t KeyCount(int db) const override {
    uint64_t count = 0;
    for (const auto& [key, value] : content_) count += std::get<0>(key) == db ? 1 : 0;
    return count;
  }
  [[nodiscard]] uint64_t ExpiryCount(int) const override { return 0; }

  Result<void> VisitKeys(int db, const Visitor& visit) override {
    uint64_t id = 1000;
    for (const auto& [key, value] : content_) {
      const uint64_t this_id = id++;
      if (std::get<0>(key) != db) continue;
      KeyValue stored{value.type, value.chunked, value.expire_at_ms, {}};
      std::string body;
      if (value.type == ValueType::kString && !value.chunked) {
        body = value.body;
      } else if (value.type == ValueType::kString) {
        body = value.body + BytesOf(this_id);
      } else {
        body = BytesOf(this_id) + value.body;
      }
      stored.body = body;
      if (auto visited = visit(std::get<3>(key), std::get<1>(key), stored); !visited.ok()) return visited;
    }
    return {};
  }

  Result<void> VisitRows(CollectionId id, CollectionKind kind, const RowVisitor& visit) override {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return Error{ErrorCode::kCorruption, "no such collection"};
    std::map<std::string, std::pair<std::string, std::string>> ordered;  // by row key, which folds long suffixes
    for (const auto& [name, value] : found->second->rows) {
      if (name.first != static_cast<char>(kind)) continue;
      ordered[CollectionRowKey(id, kind, name.second)] = {name.second, value};
    }
    for (const auto& [row_key, row] : ordered) {
      if (!visit(row.first, row.second)) return {};
    }
    return {};
  }

 private:
  static std::string BytesOf(uint64_t id) {
    std::string bytes;
    AppendLittle<uint64_t>(bytes, id);
    return bytes;
  }

  const FakeContent content_;
  const StreamPosition position_;
  const int databases_;
  std::map<uint64_t, const FakeValue*> by_id_;
};

// Collects what it is given; a key that got no KeyEnd has whole == false.
class CollectVisitor : public SnapshotVisitor {
 public:
  Result<void> Key(const SnapshotKey& key) override {
    current_ = &content_[MakeFakeKey(key.db, key.key)];
    *current_ =
        FakeValue{key.value.type, key.value.chunked, key.value.expire_at_ms, std::string(key.value.body), {}, false};
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    current_->rows[{static_cast<char>(row.kind), std::string(row.suffix)}] = row.value;
    return {};
  }
  Result<void> KeyEnd() override {
    current_->whole = true;
    return {};
  }
  [[nodiscard]] const FakeContent& content() const { return content_; }

 private:
  FakeContent content_;
  FakeValue* current_ = nullptr;
};

inline StreamPosition SamplePosition() {
  StreamPosition position;
  position.offset = 123456;
  position.selected_db = 3;
  position.time_ms = 1'700'000'000'123;
  position.digest.Update("*1\r\n$4\r\nPING\r\n");
  position.lineage_id = "0123456789abcdef0123456789abcdef01234567";
  return position;
}

inline SnapshotHeader SampleHeader() {
  SnapshotHeader header;
  header.lineage_table = "lineage table, opaque";
  header.created_ms = 1'700'000'001'000;
  header.node_id = "89abcdef0123456789abcdef0123456789abcdef";
  return header;
}

// One entry, one group, and one consumer that was given the entry.
inline FakeValue FakeStream() {
  StreamHeader header;
  header.length = header.entries_added = header.groups = 1;
  header.first = header.last = {5, 1};
  header.next_group = 2;
  const GroupState group{1, {5, 1}, 1, 1, 1, 2};
  FakeValue stream{.type = ValueType::kStream, .body = header.Encode().substr(sizeof(CollectionId))};
  const std::vector<std::string_view> fields = {"field", "value"};
  stream.rows[{'e', header.last.Bytes()}] = EncodeStreamFields(fields);
  stream.rows[{'g', "group"}] = group.Encode();
  stream.rows[{'o', ConsumerSuffix(1, "consumer")}] = ConsumerState{1, 1'700'000'000'000, 1}.Encode();
  stream.rows[{'p', PendingSuffix(1, header.last)}] = PendingState{1'700'000'000'000, 1, "consumer"}.Encode();
  stream.rows[{'q', OwnedSuffix(1, 1, header.last)}] = "";
  return stream;
}

// A few keys of each type, each with rows of all kinds it may have.
inline FakeContent ContentOfAllTypes() {
  FakeContent content;
  content[MakeFakeKey(0, "name")] = {.body = "yingges"};
  content[MakeFakeKey(0, "empty")] = {.body = ""};
  content[MakeFakeKey(0, "")] = {.body = "the empty key"};
  content[MakeFakeKey(0, std::string("binary\0\r\n\xff", 10))] = {.body = std::string("\0\1\2", 3)};
  content[MakeFakeKey(0, "expires")] = {.expire_at_ms = 1'700'000'009'999, .body = "soon"};
  content[MakeFakeKey(0, "expired")] = {.expire_at_ms = 1, .body = "long ago"};
  content[MakeFakeKey(0, std::string(3000, 'k'))] = {.body = "a key longer than LMDB's"};
  content[MakeFakeKey(1, "chunked")] =
      ChunkedString(3 * kChunkSize + 5, {std::string(kChunkSize, 'a'), "", std::string(kChunkSize - 7, 'c'), "tail!"});
  content[MakeFakeKey(1, "list")] = {.type = ValueType::kList,
                                     .body = CountBody(2),
                                     .rows = {{{'i', BigEndian<uint64_t>(1ull << 63)}, "left"},
                                              {{'i', BigEndian<uint64_t>((1ull << 63) + 1)}, "right"}}};
  FakeValue set{.type = ValueType::kSet, .body = CountBody(3)};
  set.rows[{'m', MemberSuffix("one")}] = "";
  set.rows[{'m', MemberSuffix("two")}] = "";
  set.rows[{'m', MemberSuffix(std::string(2000, 'm'))}] = "";
  content[MakeFakeKey(7, "set")] = set;
  FakeValue sorted{.type = ValueType::kSortedSet, .expire_at_ms = 1'800'000'000'000, .body = CountBody(1)};
  sorted.rows[{'m', MemberSuffix("member")}] = "score 8b";
  sorted.rows[{'s', BigEndian<uint64_t>(42) + "member"}] = "";
  content[MakeFakeKey(7, "sorted")] = sorted;
  content[MakeFakeKey(15, "hash")] = {
      .type = ValueType::kHash, .body = CountBody(1), .rows = {{{'m', MemberSuffix("field")}, "value"}}};
  content[MakeFakeKey(15, "stream")] = FakeStream();
  return content;
}

}  // namespace holdfast::testing
