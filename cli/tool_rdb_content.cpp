// Content of RDB files. Keys come in any order and members in the order of the file: what needs order is sorted through
// spilled files; what is printed or counted is taken as it comes.
#include <algorithm>
#include <array>

#include "cli/tool_content.h"
#include "cli/tool_temporary.h"
#include "storage/base/coding.h"
#include "storage/rdb/byte_stream.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/record_sorter.h"

namespace holdfast::cli {

namespace {

constexpr uint64_t kSortMemory = 48ull << 20;
constexpr uint64_t kValueMemory = 32ull << 20;  // of one key's rows, before they are spilled

// Sort keys: database u32 BE, row key escaped and ended, kind, row suffix. Order is that of snapshots.
std::string KeyPrefix(int db, std::string_view key) {
  std::string prefix;
  AppendBig<uint32_t>(prefix, static_cast<uint32_t>(db));
  for (const char c : KeyRowKey(0, RowHash(key), key)) {
    prefix += c;
    if (c == '\0') prefix += '\xff';
  }
  prefix += std::string_view("\0\0", 2);
  return prefix;
}

void AppendHead(std::string& to, int db, std::string_view key, const KeyValue& value) {
  AppendLittle<int32_t>(to, db);
  AppendLittle<uint8_t>(to, static_cast<uint8_t>(value.type));
  AppendLittle<uint8_t>(to, value.chunked ? 1 : 0);
  AppendLittle<int64_t>(to, value.expire_at_ms);
  AppendLengthPrefixed(to, key);
  to += value.body;
}

struct Head {
  int db = 0;
  std::string_view key;
  KeyValue value;
};

Head ReadHead(std::string_view bytes) {
  ByteReader reader(bytes);
  Head head;
  head.db = reader.Little<int32_t>();
  head.value.type = static_cast<ValueType>(reader.Little<uint8_t>());
  head.value.chunked = reader.Little<uint8_t>() != 0;
  head.value.expire_at_ms = reader.Little<int64_t>();
  head.key = reader.LengthPrefixed();
  head.value.body = bytes.substr(4 + 1 + 1 + 8 + 4 + head.key.size());
  return head;
}

void AppendRow(std::string& to, const SnapshotRow& row) {
  AppendLittle<uint8_t>(to, static_cast<uint8_t>(row.kind));
  AppendLengthPrefixed(to, row.suffix);
  to += row.value;
}

SnapshotRow ReadRow(std::string_view bytes) {
  ByteReader reader(bytes);
  SnapshotRow row;
  row.kind = static_cast<CollectionKind>(reader.Little<uint8_t>());
  row.suffix = reader.LengthPrefixed();
  row.value = bytes.substr(1 + 4 + row.suffix.size());
  return row;
}

// Gives each key with its header first: rows wait in memory, of very large values in a file.
class InFileOrder : public rdb::RdbVisitor {
 public:
  InFileOrder(FileSystem& fs, const std::string& directory, SnapshotVisitor& to)
      : to_(to), rows_(fs, JoinPath(directory, "rows"), kValueMemory) {}

  Result<void> Key(const rdb::RdbKey& key) override {
    db_ = key.db;
    key_ = key.key;
    rows_.Clear();
    next_ = 0;
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    number_.clear();
    AppendBig<uint64_t>(number_, next_++);
    bytes_.clear();
    AppendRow(bytes_, row);
    return rows_.Add(number_, bytes_);
  }
  Result<void> KeyEnd(const KeyValue& value) override {
    RETURN_IF_ERROR(to_.Key({db_, key_, value}));
    RETURN_IF_ERROR(rows_.Drain([&](std::string_view, std::string_view bytes) { return to_.Row(ReadRow(bytes)); }));
    return to_.KeyEnd();
  }

 private:
  SnapshotVisitor& to_;
  int db_ = 0;
  std::string key_;
  RecordSorter rows_;
  std::string number_;
  uint64_t next_ = 0;
  std::string bytes_;
};

// Puts everything into a sorter.
class IntoSorter : public rdb::RdbVisitor {
 public:
  explicit IntoSorter(RecordSorter& to) : to_(to) {}

  Result<void> Key(const rdb::RdbKey& key) override {
    db_ = key.db;
    key_ = key.key;
    prefix_ = KeyPrefix(key.db, key.key);
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    sort_key_ = prefix_;
    // The order of rows is that of their row keys, which fold long suffixes.
    sort_key_ += CollectionRowKey(0, row.kind, row.suffix).substr(kCollectionRowPrefix - 1);
    bytes_.clear();
    AppendRow(bytes_, row);
    return to_.Add(sort_key_, bytes_);
  }
  Result<void> KeyEnd(const KeyValue& value) override {
    bytes_.clear();
    AppendHead(bytes_, db_, key_, value);
    return to_.Add(prefix_, bytes_);
  }

 private:
  RecordSorter& to_;
  int db_ = 0;
  std::string key_, prefix_, sort_key_, bytes_;
};

// Ends the reading when the key was found.
class OneKey : public SnapshotVisitor {
 public:
  OneKey(int db, std::string_view key, SnapshotVisitor& to) : db_(db), key_(key), to_(to) {}
  Result<void> Key(const SnapshotKey& key) override {
    inside_ = key.db == db_ && key.key == key_;
    return inside_ ? to_.Key(key) : Result<void>();
  }
  Result<void> Row(const SnapshotRow& row) override { return inside_ ? to_.Row(row) : Result<void>(); }
  Result<void> KeyEnd() override {
    if (!inside_) return {};
    RETURN_IF_ERROR(to_.KeyEnd());
    found = true;
    return Error{ErrorCode::kAborted, "found"};
  }
  bool found = false;

 private:
  const int db_;
  const std::string_view key_;
  SnapshotVisitor& to_;
  bool inside_ = false;
};

class RdbContent : public ContentSource {
 public:
  RdbContent(FileSystem& fs, const std::string& path) : fs_(fs) {
    info_.path = path;
    info_.kind = InputKind::kRdb;
    info_.ordered = false;
  }

  [[nodiscard]] const ContentInfo& info() const override { return info_; }

  Result<void> VisitAll(SnapshotVisitor& visitor) override {
    ASSIGN_OR_RETURN(const auto directory, TemporaryDirectory::Make(fs_));
    InFileOrder order(fs_, directory->path(), visitor);
    return Read(order);
  }

  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    OneKey one(db, key, visitor);
    ASSIGN_OR_RETURN(const auto directory, TemporaryDirectory::Make(fs_));
    InFileOrder order(fs_, directory->path(), one);
    const auto read = Read(order);
    if (!read.ok() && !one.found) return read.error();
    return one.found;
  }

  Result<void> Read(rdb::RdbVisitor& visitor) {
    ASSIGN_OR_RETURN(const auto file, fs_.Open(info_.path, {.mode = OpenMode::kRead}));
    rdb::FileSource source(*file);
    auto summary = rdb::ReadRdb(source, {}, visitor);
    if (!summary.ok()) {
      return summary.error().code == ErrorCode::kAborted ? std::move(summary).error()
                                                         : summary.error().WithContext(info_.path);
    }
    return {};
  }

 private:
  FileSystem& fs_;
  ContentInfo info_;
};

class SortedContent : public ContentSource {
 public:
  SortedContent(FileSystem& fs, std::unique_ptr<TemporaryDirectory> directory, ContentInfo info)
      : directory_(std::move(directory)),
        sorter_(fs, JoinPath(directory_->path(), "sort"), kSortMemory),
        info_(std::move(info)) {
    info_.ordered = true;
  }

  [[nodiscard]] const ContentInfo& info() const override { return info_; }
  RecordSorter& sorter() { return sorter_; }

  // Checks that no key or member came twice, and counts. Called once, before anything is read.
  Result<void> Count() {
    Counting counting;
    info_.databases = 16;
    RETURN_IF_ERROR(VisitAll(counting));
    info_.keys = counting.keys;
    info_.databases = std::max(16, counting.highest_db + 1);
    return {};
  }

  Result<void> VisitAll(SnapshotVisitor& visitor) override {
    RETURN_IF_ERROR(sorter_.Rewind());
    std::string_view sort_key;
    std::string_view bytes;
    std::string last;
    bool inside = false;
    size_t prefix_size = 0;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, sorter_.Next(sort_key, bytes));
      if (!more) break;
      if (sort_key == last) {
        return Error{ErrorCode::kCorruption, info_.path + ": a key or member comes twice"};
      }
      const bool is_row = inside && sort_key.size() > prefix_size &&
                          sort_key.starts_with(std::string_view(last).substr(0, prefix_size));
      last = sort_key;
      if (is_row) {
        RETURN_IF_ERROR(visitor.Row(ReadRow(bytes)));
        continue;
      }
      if (inside) RETURN_IF_ERROR(visitor.KeyEnd());
      inside = true;
      prefix_size = sort_key.size();
      const Head head = ReadHead(bytes);
      RETURN_IF_ERROR(visitor.Key({head.db, head.key, head.value}));
    }
    return inside ? visitor.KeyEnd() : Result<void>();
  }

  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    OneKey one(db, key, visitor);
    const auto read = VisitAll(one);
    if (!read.ok() && !one.found) return read.error();
    return one.found;
  }

 private:
  struct Counting : SnapshotVisitor {
    Result<void> Key(const SnapshotKey& key) override {
      ++keys;
      highest_db = std::max(highest_db, key.db);
      return {};
    }
    Result<void> Row(const SnapshotRow&) override { return {}; }
    uint64_t keys = 0;
    int highest_db = 0;
  };

  const std::unique_ptr<TemporaryDirectory> directory_;
  RecordSorter sorter_;
  ContentInfo info_;
};

}  // namespace

Result<std::unique_ptr<ContentSource>> OpenRdbContent(FileSystem& fs, const std::string& path) {
  return std::unique_ptr<ContentSource>(std::make_unique<RdbContent>(fs, path));
}

Result<std::unique_ptr<ContentSource>> MakeOrdered(FileSystem& fs, std::unique_ptr<ContentSource> content) {
  if (content->info().ordered) return content;
  ASSIGN_OR_RETURN(auto directory, TemporaryDirectory::Make(fs));
  auto sorted = std::make_unique<SortedContent>(fs, std::move(directory), content->info());
  IntoSorter into(sorted->sorter());
  RETURN_IF_ERROR(static_cast<RdbContent&>(*content).Read(into));
  RETURN_IF_ERROR(sorted->Count());
  return std::unique_ptr<ContentSource>(std::move(sorted));
}

}  // namespace holdfast::cli
