#include "storage/store_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/lmdb_env.h"
#include "storage/lmdb_view.h"
#include "storage/rank_rows.h"
#include "storage/store_meta.h"

namespace holdfast {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kExpiryBatchBytes = 16u << 20;  // expiry rows come unordered: sorted in batches of this size
constexpr uint64_t kCommitReserve = 1u << 20;
constexpr uint64_t kFenceBatchBytes = 16u << 20;
constexpr size_t kUnfencedHeader = 8 + 8 + 1;  // of a sorted set: id, count, shape

class LmdbBuilder : public StoreBuilder {
 public:
  LmdbBuilder(StoreOptions options, std::unique_ptr<LmdbEnv> env, StoreMeta meta)
      : options_(std::move(options)), env_(std::move(env)), meta_(std::move(meta)) {}

  Result<void> AddKey(int db, std::string_view key, const KeyValue& value) override {
    CHECK(!finished_);
    RETURN_IF_ERROR(AddFences());
    if (db < 0) return Error{ErrorCode::kOutOfRange, fmt::format("database {} does not exist", db)};
    while (meta_.databases.size() <= static_cast<size_t>(db)) meta_.databases.push_back({meta_.next_keyspace++, 0, 0});
    StoreMeta::Database& database = meta_.databases[static_cast<size_t>(db)];
    const uint64_t hash = RowHash(key);
    MakeKeyRowKey(row_key_, database.keyspace, hash, key);
    value_.clear();
    AppendKeyValue(value_, key, value);
    RETURN_IF_ERROR(Add(LmdbTable::kKeys, row_key_, value_));
    if (value.type == ValueType::kSortedSet && value.body.size() == kUnfencedHeader) {
      sorted_set_ = SortedSet{LoadLittle<uint64_t>(value.body.data()), 0, std::string(row_key_.view()), value_};
    }
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
    if (kind == CollectionKind::kScore && id == sorted_set_.id) ++sorted_set_.members;
    MakeCollectionRowKey(row_key_, id, kind, suffix);
    if (!CollectionRowFolds(suffix)) return Add(LmdbTable::kRows, row_key_, value);
    value_.clear();
    AppendCollectionValue(value_, suffix, value);
    return Add(LmdbTable::kRows, row_key_, value_);
  }

  Result<void> Finish(const StreamPosition& position) override {
    CHECK(!finished_);
    RETURN_IF_ERROR(AddFences());
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

  // The newest sorted set is complete: its fence rows, from its score rows, which may have come in any order.
  Result<void> AddFences() {
    const SortedSet done = std::exchange(sorted_set_, SortedSet());
    if (done.members <= kFencedFrom) return {};
    const std::string prefix = CollectionRowKey(done.id, CollectionKind::kScore, {});
    std::string next = prefix;
    FenceCounter counter;
    for (bool more = true; more;) {
      RETURN_IF_ERROR(Begin());
      {
        ASSIGN_OR_RETURN(LmdbCursor cursor, writer_->OpenCursor(LmdbTable::kRows));
        RETURN_IF_ERROR(cursor.Seek(next));
        more = false;
        while (cursor.valid() && cursor.key().starts_with(prefix)) {
          if (counter.bytes() >= kFenceBatchBytes) {
            next = cursor.key();
            more = true;
            break;
          }
          counter.Add(cursor.key().substr(prefix.size()));
          RETURN_IF_ERROR(cursor.Next());
        }
      }
      if (!more) counter.Finish();
      std::vector<FenceCounter::Fence> fences = counter.Take();
      std::stable_sort(fences.begin(), fences.end(), [](const auto& a, const auto& b) { return a.level < b.level; });
      for (const FenceCounter::Fence& fence : fences) {
        MakeCollectionRowKey(row_key_, done.id, FenceKind(fence.level), fence.suffix);
        std::string count;
        AppendLittle<uint64_t>(count, fence.count);
        RETURN_IF_ERROR(Add(LmdbTable::kRows, row_key_, count));
      }
    }
    RETURN_IF_ERROR(Begin());
    return writer_->Put(LmdbTable::kKeys, done.key_row, done.value + kFencedMark);
  }

  Result<void> AddExpiries() {
    std::sort(expiries_.begin(), expiries_.end());
    for (const auto& [row_key, value] : expiries_) RETURN_IF_ERROR(Add(LmdbTable::kExpiry, row_key, value));
    expiries_.clear();
    expiry_bytes_ = 0;
    return {};
  }

  // The newest one, whose score rows are being counted.
  struct SortedSet {
    CollectionId id = 0;
    uint64_t members = 0;
    std::string key_row;
    std::string value;
  };

  StoreOptions options_;
  std::unique_ptr<LmdbEnv> env_;
  StoreMeta meta_;
  SortedSet sorted_set_;
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
