#include "storage/store_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/lmdb_env.h"
#include "storage/lmdb_view.h"
#include "storage/store_meta.h"

namespace holdfast {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kExpiryBatchBytes = 16u << 20;  // expiry rows come unordered: sorted in batches of this size
constexpr uint64_t kCommitReserve = 1u << 20;

class LmdbBuilder : public StoreBuilder {
 public:
  LmdbBuilder(StoreOptions options, std::unique_ptr<LmdbEnv> env, StoreMeta meta)
      : options_(std::move(options)), env_(std::move(env)), meta_(std::move(meta)) {}

  Result<void> AddKey(int db, std::string_view key, const KeyValue& value) override {
    CHECK(!finished_);
    if (db < 0) return Error{ErrorCode::kOutOfRange, fmt::format("database {} does not exist", db)};
    while (meta_.databases.size() <= static_cast<size_t>(db)) meta_.databases.push_back({meta_.next_keyspace++, 0, 0});
    StoreMeta::Database& database = meta_.databases[static_cast<size_t>(db)];
    const uint64_t hash = RowHash(key);
    MakeKeyRowKey(row_key_, database.keyspace, hash, key);
    value_.clear();
    AppendKeyValue(value_, key, value);
    RETURN_IF_ERROR(Add(LmdbTable::kKeys, row_key_, value_));
    ++database.keys;
    if (!value.HasExpiry()) return {};
    ++database.expiries;
    std::string expiry = ExpiryRowKey(value.expire_at_ms, database.keyspace, hash, key);
    expiry_bytes_ += 2 * sizeof(std::string) + expiry.size();
    expiries_.emplace_back(std::move(expiry), ExpiryRowFolds(key) ? std::string(key) : std::string());
    return expiry_bytes_ >= kExpiryBatchBytes ? AddExpiries() : Result<void>{};
  }

  CollectionId NewCollectionId() override { return meta_.next_collection++; }

  Result<void> AddRow(CollectionId id, CollectionKind kind, std::string_view suffix, std::string_view value) override {
    CHECK(!finished_);
    CHECK(id < meta_.next_collection);
    MakeCollectionRowKey(row_key_, id, kind, suffix);
    if (!CollectionRowFolds(suffix)) return Add(LmdbTable::kRows, row_key_, value);
    value_.clear();
    AppendCollectionValue(value_, suffix, value);
    return Add(LmdbTable::kRows, row_key_, value_);
  }

  Result<void> Finish(const StreamPosition& position) override {
    CHECK(!finished_);
    RETURN_IF_ERROR(AddExpiries());
    meta_.position = position;
    std::string state;
    AppendStoreMeta(state, meta_);
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(writer_->Put(LmdbTable::kMeta, kStateRow, state));
    RETURN_IF_ERROR(Commit());
    finished_ = true;
    env_.reset();
    return {};
  }

 private:
  Result<void> Begin() {
    if (writer_ != nullptr) return {};
    ASSIGN_OR_RETURN(writer_, env_->BeginWrite());
    return {};
  }

  Result<void> Commit() {
    const uint64_t needed = pending_bytes_ + kCommitReserve;
    pending_bytes_ = 0;
    Result<void> committed = writer_->Commit(needed);
    writer_.reset();
    return committed;
  }

  Result<void> Add(LmdbTable table, std::string_view row_key, std::string_view value) {
    RETURN_IF_ERROR(Begin());
    ASSIGN_OR_RETURN(const bool added, writer_->Append(table, row_key, value));
    if (!added) {
      return Error{ErrorCode::kAlreadyExists, fmt::format("row '{}' was added twice", PrintableKey(row_key))};
    }
    // Rows in order fill pages; others may touch one each.
    pending_bytes_ += row_key.size() + value.size() + 32 + (table == LmdbTable::kExpiry ? kPageSize : 0);
    const uint64_t bytes_max = uint64_t{options_.merge_dirty_pages} * kPageSize;
    return pending_bytes_ >= bytes_max ? Commit() : Result<void>{};
  }

  Result<void> AddExpiries() {
    std::sort(expiries_.begin(), expiries_.end());
    for (const auto& [row_key, value] : expiries_) RETURN_IF_ERROR(Add(LmdbTable::kExpiry, row_key, value));
    expiries_.clear();
    expiry_bytes_ = 0;
    return {};
  }

  StoreOptions options_;
  std::unique_ptr<LmdbEnv> env_;
  StoreMeta meta_;
  std::unique_ptr<LmdbWriter> writer_;
  uint64_t pending_bytes_ = 0;
  std::vector<std::pair<std::string, std::string>> expiries_;
  uint64_t expiry_bytes_ = 0;
  RowKey row_key_;
  std::string value_;
  bool finished_ = false;
};

}  // namespace

Result<std::unique_ptr<StoreBuilder>> StoreBuilder::Create(StoreOptions options) {
  FileSystem& fs = *options.fs;
  RETURN_IF_ERROR(fs.CreateDirectory(options.directory));
  RETURN_IF_ERROR(fs.CreateDirectory(JoinPath(options.directory, "run")));
  LmdbOptions lmdb{JoinPath(options.directory, "lmdb"), options.map_bytes, false, options.fs};
  RETURN_IF_ERROR(CreateEmptyLmdb(lmdb, options.databases));
  ASSIGN_OR_RETURN(std::unique_ptr<LmdbEnv> env, LmdbEnv::Open(lmdb));
  StoreMeta meta = EmptyStoreMeta(options.databases);
  return std::unique_ptr<StoreBuilder>(
      std::make_unique<LmdbBuilder>(std::move(options), std::move(env), std::move(meta)));
}

}  // namespace holdfast
