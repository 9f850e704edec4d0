// What an RDB file holds, as the maps of tests/storage/fake_store_view.h, and files written from such maps.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "storage/rdb/crc64.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/rdb/rdb_writer.h"
#include "storage/types/members.h"
#include "storage/types/scores.h"
#include "storage/types/stream_value.h"
#include "tests/storage/fake_store_view.h"

namespace holdfast::testing {

class CollectRdb : public rdb::RdbVisitor {
 public:
  Result<void> Key(const rdb::RdbKey& key) override {
    EXPECT_EQ(current_, nullptr) << "a key inside of a key";
    name_ = MakeFakeKey(key.db, key.key);
    current_ = &content_[name_];
    *current_ = FakeValue{key.type, false, key.expire_at_ms, {}, {}, false};
    if (key.idle_seconds) idle_[std::string(key.key)] = *key.idle_seconds;
    if (key.frequency) frequency_[std::string(key.key)] = *key.frequency;
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    const bool added =
        current_->rows.emplace(std::pair(static_cast<char>(row.kind), std::string(row.suffix)), row.value).second;
    return added ? Result<void>() : Result<void>(Error{ErrorCode::kAlreadyExists, "a row twice"});
  }
  Result<void> KeyEnd(const KeyValue& value) override {
    EXPECT_EQ(value.type, current_->type);
    EXPECT_EQ(value.expire_at_ms, current_->expire_at_ms);
    current_->chunked = value.chunked;
    current_->body = value.body;
    current_->whole = true;
    current_ = nullptr;
    return {};
  }
  Result<void> Aux(std::string_view name, std::string_view value) override {
    aux_[std::string(name)] = value;
    return {};
  }
  Result<void> Skipped(const std::string& what) override {
    skipped_.push_back(what);
    return {};
  }

  [[nodiscard]] const FakeContent& content() const { return content_; }
  [[nodiscard]] const FakeValue& at(std::string_view key, int db = 0) const {
    return content_.at(MakeFakeKey(db, key));
  }
  std::map<std::string, std::string> aux_;
  std::map<std::string, uint64_t> idle_;
  std::map<std::string, unsigned> frequency_;
  std::vector<std::string> skipped_;

 private:
  FakeContent content_;
  FakeKey name_;
  FakeValue* current_ = nullptr;
};

// ---- values as they must come out -----------------------------------------------------------------------------------

inline std::string Shape(CollectionShape shape) { return {static_cast<char>(shape)}; }
inline constexpr auto kCompact = CollectionShape::kCompact;
inline constexpr auto kLarge = CollectionShape::kLarge;

inline FakeValue ListOf(const std::vector<std::string>& items) {
  FakeValue value{.type = ValueType::kList, .body = CountBody(items.size())};
  for (size_t i = 0; i < items.size(); ++i) value.rows[{'i', BigEndian<uint64_t>((1ull << 63) + i)}] = items[i];
  return value;
}

inline FakeValue SetOf(const std::vector<std::string>& members, CollectionShape shape) {
  FakeValue value{.type = ValueType::kSet, .body = CountBody(members.size(), Shape(shape))};
  for (const std::string& member : members) value.rows[{'m', MemberSuffix(member)}] = "";
  return value;
}

inline FakeValue HashOf(const std::vector<std::pair<std::string, std::string>>& fields,
                        CollectionShape shape = kCompact) {
  FakeValue value{.type = ValueType::kHash, .body = CountBody(fields.size(), Shape(shape))};
  for (const auto& [field, content] : fields) value.rows[{'m', MemberSuffix(field)}] = content;
  return value;
}

inline FakeValue SortedSetOf(const std::vector<std::pair<std::string, double>>& members,
                             CollectionShape shape = kCompact) {
  FakeValue value{.type = ValueType::kSortedSet, .body = CountBody(members.size(), Shape(shape))};
  for (const auto& [member, score] : members) {
    value.rows[{'m', MemberSuffix(member)}] = EncodeScore(score);
    value.rows[{'s', BigEndian<uint64_t>(SortableScore(score)) + member}] = "";
  }
  return value;
}

inline FakeValue StringOf(std::string bytes) {
  if (bytes.size() <= kInlineStringMax) return FakeValue{.body = std::move(bytes)};
  std::vector<std::string> chunks;
  for (size_t at = 0; at < bytes.size(); at += kChunkSize) chunks.push_back(bytes.substr(at, kChunkSize));
  return ChunkedString(bytes.size(), chunks);
}

struct FakeEntry {
  StreamId id;
  std::vector<std::string_view> fields;
};

// Adds the header and the entries; groups are the caller's.
inline FakeValue StreamOf(const std::vector<FakeEntry>& entries, StreamHeader header) {
  FakeValue value{.type = ValueType::kStream, .body = {}};
  header.length = entries.size();
  if (!entries.empty()) header.first = entries.front().id;
  if (!entries.empty() && header.last.IsZero()) header.last = entries.back().id;
  for (const FakeEntry& entry : entries) value.rows[{'e', entry.id.Bytes()}] = EncodeStreamFields(entry.fields);
  value.body = header.Encode().substr(8);
  return value;
}

inline FakeValue Expiring(FakeValue value, int64_t expire_at_ms) {
  value.expire_at_ms = expire_at_ms;
  return value;
}

// ---- files ----------------------------------------------------------------------------------------------------------

inline std::string WriteRdbOf(const FakeContent& content, const rdb::RdbWriteOptions& options = {},
                              const rdb::RdbOrigin& origin = {}) {
  FakeStoreView view(content, SamplePosition());
  rdb::MemorySink sink;
  auto written = rdb::WriteRdb(sink, options, origin, view, nullptr, {});
  EXPECT_TRUE(written.ok()) << written.error().message;
  EXPECT_EQ(written.ok() ? *written : 0, sink.bytes().size());
  return std::move(sink).bytes();
}

// Gives at most so many bytes at a time, so that every field is cut somewhere.
class SlowSource : public rdb::ByteSource {
 public:
  SlowSource(std::string_view bytes, size_t step) : memory_(bytes), step_(step) {}
  Result<size_t> Read(char* to, size_t size) override { return memory_.Read(to, std::min(size, step_)); }

 private:
  rdb::MemorySource memory_;
  size_t step_;
};

inline Result<rdb::RdbSummary> ReadRdbInto(CollectRdb& collect, std::string_view bytes, bool skip_unsupported = false,
                                           size_t step = 1 << 20) {
  SlowSource source(bytes, step);
  rdb::RdbReadOptions options;
  options.skip_unsupported = skip_unsupported;
  return rdb::ReadRdb(source, options, collect);
}

// A file by hand: the parts between header and end, and a checksum if the version has one.
inline std::string HandMade(std::string_view header, std::string_view parts) {
  std::string bytes(header);
  bytes += parts;
  bytes += '\xff';
  if (header.substr(0, 5) == "REDIS" && header < "REDIS0005") return bytes;
  AppendLittle<uint64_t>(bytes, rdb::Crc64(bytes));
  return bytes;
}

}  // namespace holdfast::testing
