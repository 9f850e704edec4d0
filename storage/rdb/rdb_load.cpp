#include "storage/rdb/rdb_load.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/rank_rows.h"
#include "storage/record_sorter.h"
#include "storage/snapshot_format.h"
#include "storage/store_builder.h"

namespace holdfast::rdb {
namespace {

constexpr size_t kAuxFieldsMax = 64;
constexpr size_t kAuxBytesMax = 4096;
constexpr uint64_t kFenceBytesMax = 16u << 20;

class Loader : public RdbVisitor {
 public:
  Loader(StoreBuilder& builder, const StoreOptions& generation, const RdbLoadOptions& options, RdbLoaded& loaded)
      : builder_(builder),
        databases_(generation.databases),
        options_(options),
        loaded_(loaded),
        keys_(*generation.fs, JoinPath(generation.directory, "keys.sort"), options.sort_memory_bytes),
        rows_(*generation.fs, JoinPath(generation.directory, "rows.sort"), options.sort_memory_bytes / 2) {}

  Result<void> Key(const RdbKey& key) override {
    if (key.db >= databases_) {
      return Error{ErrorCode::kInvalidArgument, "there are keys in database " + std::to_string(key.db) +
                                                    ", but 'databases' is " + std::to_string(databases_) +
                                                    ": set it to at least " + std::to_string(key.db + 1)};
    }
    db_ = key.db;
    key_ = key.key;
    dropped_ = options_.drop_expired_ms != kNoExpiry && key.expire_at_ms != kNoExpiry &&
               key.expire_at_ms <= options_.drop_expired_ms;
    collection_.reset();
    return {};
  }

  Result<void> Row(const SnapshotRow& row) override {
    if (dropped_) return {};
    if (!collection_) collection_ = builder_.NewCollectionId();
    // These come in their final order, and before all others of their key.
    if (row.kind == CollectionKind::kChunk || row.kind == CollectionKind::kItem || row.kind == CollectionKind::kEntry) {
      return builder_.AddRow(*collection_, row.kind, row.suffix, row.value);
    }
    MakeCollectionRowKey(row_key_, *collection_, row.kind, row.suffix);
    record_.clear();
    AppendLittle<uint8_t>(record_, static_cast<uint8_t>(row.kind));
    AppendLengthPrefixed(record_, row.suffix);
    record_ += row.value;
    return rows_.Add(row_key_, record_);
  }

  Result<void> KeyEnd(const KeyValue& value) override {
    if (dropped_) {
      ++loaded_.expired_keys;
      return {};
    }
    fences_.reset();
    if (value.type == ValueType::kSortedSet && LoadLittle<uint64_t>(value.body.data()) > kFencedFrom) fences_.emplace();
    RETURN_IF_ERROR(rows_.Drain([this](std::string_view, std::string_view record) { return AddRow(record); }));
    if (fences_) {
      fences_->Finish();
      RETURN_IF_ERROR(AddFences());
    }
    KeyValue stored = value;
    std::string body;
    if (value.type != ValueType::kString || value.chunked) {
      if (!collection_) collection_ = builder_.NewCollectionId();
      body = snapshot_format::JoinStoredBody(value, *collection_);
      if (fences_) body += kFencedMark;
      stored.body = body;
    }
    MakeKeyRowKey(row_key_, static_cast<KeyspaceId>(db_), RowHash(key_), key_);
    record_.clear();
    AppendLittle<int32_t>(record_, db_);
    AppendLengthPrefixed(record_, key_);
    AppendKeyValue(record_, {}, stored);
    return keys_.Add(row_key_, record_);
  }

  Result<void> Aux(std::string_view name, std::string_view value) override {
    const bool sane = name.size() <= kAuxBytesMax && value.size() <= kAuxBytesMax;
    if (sane && loaded_.aux.size() < kAuxFieldsMax) loaded_.aux[std::string(name)] = value;
    return {};
  }

  Result<void> Skipped(const std::string& what) override {
    if (options_.skipped) options_.skipped(what);
    return {};
  }

  // Everything was read: the keys.
  Result<void> Finish() {
    return keys_.Drain([this](std::string_view, std::string_view record) -> Result<void> {
      if (options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed)) {
        return Error{ErrorCode::kAborted, "loading cancelled"};
      }
      ByteReader reader(record);
      const auto db = reader.Little<int32_t>();
      const std::string_view key = reader.LengthPrefixed();
      ASSIGN_OR_RETURN(const KeyValue value, ParseKeyValue(reader.rest()));
      auto added = builder_.AddKey(db, key, value);
      if (added.ok() || added.error().code != ErrorCode::kAlreadyExists) return added;
      return Error{ErrorCode::kCorruption,
                   "key '" + PrintableKey(key) + "' of database " + std::to_string(db) + " comes twice"};
    });
  }

 private:
  Result<void> AddRow(std::string_view record) {
    ByteReader reader(record);
    const auto kind = static_cast<CollectionKind>(reader.Little<uint8_t>());
    const std::string_view suffix = reader.LengthPrefixed();
    auto added = builder_.AddRow(*collection_, kind, suffix, reader.rest());
    if (added.ok() && fences_ && kind == CollectionKind::kScore) {
      fences_->Add(suffix);
      if (fences_->bytes() >= kFenceBytesMax) return AddFences();
    }
    if (added.ok() || added.error().code != ErrorCode::kAlreadyExists) return added;
    return Error{ErrorCode::kCorruption, "a member comes twice"};
  }

  // The fence rows of a sorted set that are complete. Those of a very large one come before its last score rows.
  Result<void> AddFences() {
    std::vector<FenceCounter::Fence> fences = fences_->Take();
    std::stable_sort(fences.begin(), fences.end(), [](const auto& a, const auto& b) { return a.level < b.level; });
    for (const FenceCounter::Fence& fence : fences) {
      record_.clear();
      AppendLittle<uint64_t>(record_, fence.count);
      RETURN_IF_ERROR(builder_.AddRow(*collection_, FenceKind(fence.level), fence.suffix, record_));
    }
    return {};
  }

  StoreBuilder& builder_;
  const int databases_;
  const RdbLoadOptions& options_;
  RdbLoaded& loaded_;
  RecordSorter keys_, rows_;
  int db_ = 0;
  std::string key_;
  bool dropped_ = false;
  std::optional<CollectionId> collection_;  // of the key, once it has rows
  std::optional<FenceCounter> fences_;      // of a sorted set that has them
  RowKey row_key_;
  std::string record_;
};

}  // namespace

Result<RdbLoaded> LoadRdb(ByteSource& source, StoreOptions generation, const RdbLoadOptions& options,
                          const std::function<Result<StreamPosition>(const RdbLoaded&)>& position) {
  ASSIGN_OR_RETURN(std::unique_ptr<StoreBuilder> builder, StoreBuilder::Create(generation));
  RdbLoaded loaded;
  {
    Loader loader(*builder, generation, options, loaded);
    RdbReadOptions read;
    read.skip_unsupported = options.skip_unsupported;
    read.cancelled = options.cancelled;
    read.progress = options.progress;
    ASSIGN_OR_RETURN(loaded.summary, ReadRdb(source, read, loader));
    RETURN_IF_ERROR(loader.Finish());
  }
  ASSIGN_OR_RETURN(const StreamPosition stands, position(loaded));
  RETURN_IF_ERROR(builder->Finish(stands));
  return loaded;
}

}  // namespace holdfast::rdb
