#include "storage/builder_behind.h"
#include "storage/snapshot.h"
#include "storage/snapshot_ahead.h"
#include "storage/snapshot_format.h"
#include "storage/store_builder.h"

namespace holdfast {

namespace {

constexpr uint64_t kProgressEveryKeys = 4096;

class LoadVisitor : public SnapshotVisitor {
 public:
  LoadVisitor(StoreBuilder& builder, int databases, uint64_t keys_total, const std::atomic<bool>& cancelled,
              const std::function<void(const SnapshotProgress&)>& progress)
      : builder_(builder), databases_(databases), keys_total_(keys_total), cancelled_(cancelled), progress_(progress) {}

  Result<void> Key(const SnapshotKey& key) override {
    if (cancelled_.load(std::memory_order_relaxed)) return Cancelled();
    if (key.db >= databases_) {
      return Error{ErrorCode::kInvalidArgument, "the snapshot has keys in database " + std::to_string(key.db) +
                                                    ", but 'databases' is " + std::to_string(databases_) +
                                                    ": set it to at least " + std::to_string(key.db + 1)};
    }
    bytes_ += key.key.size() + key.value.body.size();
    if (++keys_ % kProgressEveryKeys == 0) Tell();
    if (key.value.type == ValueType::kString && !key.value.chunked) return builder_.AddKey(key.db, key.key, key.value);
    collection_ = builder_.NewCollectionId();
    const std::string body = snapshot_format::JoinStoredBody(key.value, collection_);
    KeyValue value = key.value;
    value.body = body;
    return builder_.AddKey(key.db, key.key, value);
  }

  Result<void> Row(const SnapshotRow& row) override {
    if (cancelled_.load(std::memory_order_relaxed)) return Cancelled();
    bytes_ += row.suffix.size() + row.value.size();
    return builder_.AddRow(collection_, row.kind, row.suffix, row.value);
  }

  void Tell() const {
    if (progress_) progress_({keys_, keys_total_, bytes_, 0});
  }

 private:
  static Error Cancelled() { return Error{ErrorCode::kAborted, "loading cancelled"}; }

  StoreBuilder& builder_;
  const int databases_;
  const uint64_t keys_total_;
  const std::atomic<bool>& cancelled_;
  const std::function<void(const SnapshotProgress&)>& progress_;
  CollectionId collection_ = 0;  // of the newest key with rows
  uint64_t keys_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace

Result<SnapshotHeader> LoadSnapshot(FileSystem& fs, const std::string& path, StoreOptions generation,
                                    const std::atomic<bool>& cancelled,
                                    const std::function<void(const SnapshotProgress&)>& progress) {
  ASSIGN_OR_RETURN(std::unique_ptr<SnapshotReader> reader, SnapshotReader::Open(fs, path));
  const int databases = generation.databases;
  ASSIGN_OR_RETURN(std::unique_ptr<StoreBuilder> store, StoreBuilder::Create(std::move(generation)));
  BuilderBehind builder(std::move(store));
  LoadVisitor visitor(builder, databases, reader->footer().keys, cancelled, progress);
  RETURN_IF_ERROR(VisitSnapshotAhead(*reader, visitor));
  visitor.Tell();
  RETURN_IF_ERROR(builder.Finish(reader->header().position));
  return reader->header();
}

}  // namespace holdfast
