// Writes a snapshot: records from a StoreView into blocks, blocks through the compression pipeline, in order to the
// file.
#include <algorithm>
#include <chrono>
#include <thread>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/snapshot.h"
#include "storage/snapshot_format.h"
#include "storage/snapshot_pipeline.h"
#include "storage/sync_behind.h"
#include "storage/types/list_value.h"

namespace holdfast {

namespace {

using namespace snapshot_format;  // NOLINT: this file is the format's other half

// A long write is synced in pieces, so that the final sync does not stall the log's syncs behind gigabytes.
constexpr uint64_t kSyncEvery = 16ull << 20;
// A long record begins in the room left of a block only if this much of it fits; else in the next block.
constexpr size_t kCutRoomMin = 4096;

Error Cancelled() { return Error{ErrorCode::kAborted, "snapshot cancelled"}; }

class Writer {
 public:
  Writer(FileSystem& fs, std::string path, std::unique_ptr<File> file, const SnapshotHeader& header,
         const SnapshotWriteOptions& options, const std::atomic<bool>& cancelled,
         const std::function<void(const SnapshotProgress&)>& progress)
      : fs_(fs),
        path_(std::move(path)),
        file_(std::move(file)),
        header_(header),
        options_(options),
        cancelled_(cancelled),
        progress_(progress),
        pipeline_(options.threads, options.zstd_level),
        started_us_(SystemClock().MonotonicUs()) {
    block_.raw.reserve(kSnapshotBlockTarget);
  }

  Result<void> WriteHeader() {
    std::string bytes;
    seed_ = AppendHeader(bytes, header_);
    footer_.header_checksum = seed_;
    footer_.blocks_digest = seed_;
    return WriteBytes(bytes);
  }

  Result<void> WriteDatabase(int db, StoreView& view) {
    block_.header.db = static_cast<uint32_t>(db);
    RETURN_IF_ERROR(view.VisitKeys(db, [&](std::string_view key, uint64_t hash, const KeyValue& value) {
      return WriteKey(view, key, hash, value);
    }));
    return CloseBlock();
  }

  Result<SnapshotFooter> Finish() {
    while (!pipeline_.Empty()) RETURN_IF_ERROR(WriteBlock(*pipeline_.TakeFinished(true)));
    std::string bytes = EncodeIndex(index_);
    footer_.index_position = position_;
    footer_.index_checksum = Checksum64(bytes, seed_);
    footer_.counts.blocks = index_.size();
    footer_.counts.file_bytes = position_ + bytes.size() + kFooterSize;
    AppendFooter(bytes, footer_);
    RETURN_IF_ERROR(WriteBytes(bytes));
    if (behind_ != nullptr) RETURN_IF_ERROR(behind_->Wait());
    RETURN_IF_ERROR(file_->Sync());
    if (cancelled_.load(std::memory_order_relaxed)) return Cancelled();
    return footer_.counts;
  }

 private:
  Result<void> WriteKey(StoreView& view, std::string_view key, uint64_t hash, const KeyValue& value) {
    if (cancelled_.load(std::memory_order_relaxed)) return Cancelled();
    ASSIGN_OR_RETURN(const SplitBody split, SplitStoredBody(value));
    const bool chunked = value.chunked;
    const ValueType type = value.type;
    next_hash_ = hash;
    head_.clear();
    AppendKeyHead(head_, value, key.size(), split.body.size());
    RETURN_IF_ERROR(Append(head_, key, split.body, /*is_key=*/true));
    ++footer_.counts.keys;
    ++footer_.counts.keys_by_type[static_cast<size_t>(type)];
    if (!split.has_rows) return {};
    for (const char kind : KindsOf(type, chunked)) {
      RETURN_IF_ERROR(WriteRows(view, split.id, static_cast<CollectionKind>(kind)));
    }
    return {};
  }

  Result<void> WriteRows(StoreView& view, CollectionId id, CollectionKind kind) {
    Result<void> written;
    uint64_t items = 0;
    std::string position;
    RETURN_IF_ERROR(view.VisitRows(id, kind, [&](std::string_view suffix, std::string_view value) {
      if (cancelled_.load(std::memory_order_relaxed)) {
        written = Cancelled();
        return false;
      }
      if (kind == CollectionKind::kItem) {
        // Two nodes may keep one list at different positions: in a file it always begins at the same one.
        position.clear();
        AppendBig<uint64_t>(position, ListBody::kStart + items++);
        suffix = position;
      }
      head_.clear();
      AppendRowHead(head_, kind, suffix.size(), value.size());
      written = Append(head_, suffix, value, /*is_key=*/false);
      return written.ok();
    }));
    return written;
  }

  // Places one record. Records that fit a block are never cut.
  Result<void> Append(std::string_view head, std::string_view first, std::string_view second, bool is_key) {
    if (first.size() > kFieldMax || second.size() > kFieldMax) {
      return Error{ErrorCode::kLimit, "a key or value of more than 4 GiB does not fit the snapshot format"};
    }
    const size_t size = head.size() + first.size() + second.size();
    const size_t room = kSnapshotBlockTarget - block_.raw.size();
    if (size > room && !(size > kSnapshotBlockTarget && room >= kCutRoomMin)) RETURN_IF_ERROR(CloseBlock());
    BeginRecord(is_key);
    block_.raw += head;
    size_t left = first.size() + second.size();
    for (std::string_view part : {first, second}) {
      while (true) {
        const size_t fits = std::min(part.size(), kSnapshotBlockTarget - block_.raw.size());
        block_.raw += part.substr(0, fits);
        part.remove_prefix(fits);
        left -= fits;
        if (part.empty()) break;
        RETURN_IF_ERROR(CloseBlock());
        PlaceContinuation(left);
      }
    }
    return {};
  }

  void BeginRecord(bool is_key) {
    BlockHeader& header = block_.header;
    if (block_.raw.empty()) {
      if (!is_key) header.flags |= kBlockContinuesKey;
      header.first_hash = next_hash_;
    }
    header.last_hash = next_hash_;
    ++header.records;
    if (is_key) ++header.keys;
    ++footer_.counts.records;
  }

  void PlaceContinuation(size_t left) {
    BlockHeader& header = block_.header;
    header.flags |= kBlockContinuesKey;
    header.first_hash = header.last_hash = next_hash_;
    header.continued = static_cast<uint32_t>(std::min(left, kSnapshotBlockTarget));
  }

  Result<void> CloseBlock() {
    if (block_.raw.empty()) return {};
    block_.header.number = next_number_++;
    block_.header.raw_length = static_cast<uint32_t>(block_.raw.size());
    const uint32_t db = block_.header.db;
    if (pipeline_.Full()) RETURN_IF_ERROR(WriteBlock(*pipeline_.TakeFinished(true)));
    pipeline_.Push(std::move(block_));
    block_ = Block();
    block_.header.db = db;
    block_.raw.reserve(kSnapshotBlockTarget);
    while (!pipeline_.Empty()) {
      std::optional<Block> finished = pipeline_.TakeFinished(false);
      if (!finished) break;
      RETURN_IF_ERROR(WriteBlock(std::move(*finished)));
    }
    return {};
  }

  Result<void> WriteBlock(Block block) {
    std::string bytes;
    bytes.reserve(kBlockHeaderSize + block.stored().size());
    const uint64_t position = position_;
    AppendBlockHeader(bytes, block.header, seed_);
    bytes += block.stored();
    RETURN_IF_ERROR(WriteBytes(bytes));
    index_.push_back(MakeIndexEntry(block.header, position));
    footer_.blocks_digest = NextBlocksDigest(footer_.blocks_digest, block.header.header_checksum);
    footer_.counts.raw_bytes += block.header.raw_length;
    footer_.counts.stored_bytes += block.header.stored_length;
    keys_written_ += block.header.keys;
    if (progress_) {
      progress_({keys_written_, header_.key_count, footer_.counts.raw_bytes, footer_.counts.stored_bytes});
    }
    return {};
  }

  Result<void> WriteBytes(std::string_view bytes) {
    RETURN_IF_ERROR(Throttle(bytes.size()));
    RETURN_IF_ERROR(file_->WriteAt(position_, bytes));
    position_ += bytes.size();
    return position_ - synced_ >= kSyncEvery ? SyncPart() : Result<void>();
  }

  Result<void> SyncPart() {
    synced_ = position_;
    if (options_.threads == 0) return file_->Sync();
    if (behind_ == nullptr) {
      ASSIGN_OR_RETURN(std::unique_ptr<File> same, fs_.Open(path_, {.mode = OpenMode::kWrite}));
      behind_ = std::make_unique<SyncBehind>(std::move(same));
    }
    return behind_->Begin();
  }

  // Waits until `size` more bytes are within the rate since the start; in slices, so that cancelling is quick.
  Result<void> Throttle(size_t size) {
    if (options_.bytes_per_second_max == 0) return {};
    const double due_us =
        static_cast<double>(position_ + size) * 1e6 / static_cast<double>(options_.bytes_per_second_max);
    while (true) {
      if (cancelled_.load(std::memory_order_relaxed)) return Cancelled();
      const int64_t left = started_us_ + static_cast<int64_t>(due_us) - SystemClock().MonotonicUs();
      if (left <= 0) return {};
      std::this_thread::sleep_for(std::chrono::microseconds(std::min<int64_t>(left, 20'000)));
    }
  }

  FileSystem& fs_;
  const std::string path_;
  std::unique_ptr<File> file_;
  std::unique_ptr<SyncBehind> behind_;  // from the first part on
  const SnapshotHeader& header_;
  const SnapshotWriteOptions& options_;
  const std::atomic<bool>& cancelled_;
  const std::function<void(const SnapshotProgress&)>& progress_;
  CompressionPipeline pipeline_;
  const int64_t started_us_;

  Block block_;             // being filled
  std::string head_;        // of the record being placed
  uint64_t next_hash_ = 0;  // of the key being written
  uint32_t next_number_ = 0;

  uint64_t seed_ = 0;
  uint64_t position_ = 0;
  uint64_t synced_ = 0;
  uint64_t keys_written_ = 0;
  std::vector<IndexEntry> index_;
  Footer footer_;
};

Result<SnapshotFooter> WriteFile(FileSystem& fs, const std::string& temporary, const SnapshotHeader& header,
                                 StoreView& view, const SnapshotWriteOptions& options,
                                 const std::atomic<bool>& cancelled,
                                 const std::function<void(const SnapshotProgress&)>& progress) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(temporary, {.mode = OpenMode::kCreateOrReplace}));
  Writer writer(fs, temporary, std::move(file), header, options, cancelled, progress);
  RETURN_IF_ERROR(writer.WriteHeader());
  for (uint32_t db = 0; db < header.databases; ++db) {
    RETURN_IF_ERROR(writer.WriteDatabase(static_cast<int>(db), view));
  }
  return writer.Finish();
}

}  // namespace

Result<SnapshotFooter> WriteSnapshot(FileSystem& fs, const std::string& path, SnapshotHeader header, StoreView& view,
                                     const SnapshotWriteOptions& options, const std::atomic<bool>& cancelled,
                                     const std::function<void(const SnapshotProgress&)>& progress) {
  header.version = kSnapshotVersion;
  header.position = view.position();
  header.databases = static_cast<uint32_t>(view.database_count());
  header.key_count = 0;
  for (uint32_t db = 0; db < header.databases; ++db) header.key_count += view.KeyCount(static_cast<int>(db));

  const std::string temporary = path + ".tmp";
  auto written = WriteFile(fs, temporary, header, view, options, cancelled, progress);
  if (!written.ok()) {
    (void)fs.Remove(temporary);  // may not even exist
    return std::move(written).error().WithContext("snapshot " + path);
  }
  Result<void> renamed = fs.Rename(temporary, path);
  if (!renamed.ok()) {
    (void)fs.Remove(temporary);
    return std::move(renamed).error().WithContext("snapshot " + path);
  }
  Result<void> synced = fs.SyncDirectory(ParentDirectory(path));
  if (!synced.ok()) {
    (void)fs.Remove(path);  // its name may not survive a crash: not a finished snapshot
    return std::move(synced).error().WithContext("snapshot " + path);
  }
  return written;
}

}  // namespace holdfast
