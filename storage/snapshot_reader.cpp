#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "storage/base/hash.h"
#include "storage/snapshot.h"
#include "storage/snapshot_ahead.h"
#include "storage/snapshot_format.h"
#include "storage/snapshot_parser.h"
#include "storage/snapshot_parts.h"

namespace holdfast {

namespace {

using namespace snapshot_format;  // NOLINT: this file is the format's other half

// Forwards one key's records.
class OneKeyVisitor : public SnapshotVisitor {
 public:
  OneKeyVisitor(std::string_view key, SnapshotVisitor& target) : key_(key), target_(target) {}

  Result<void> Key(const SnapshotKey& key) override {
    if (key.key != key_) return {};
    inside_ = true;
    return target_.Key(key);
  }
  Result<void> Row(const SnapshotRow& row) override { return inside_ ? target_.Row(row) : Result<void>(); }
  Result<void> KeyEnd() override {
    if (!inside_) return {};
    inside_ = false;
    done_ = true;
    return target_.KeyEnd();
  }
  [[nodiscard]] bool inside() const { return inside_; }
  [[nodiscard]] bool done() const { return done_; }

 private:
  std::string_view key_;
  SnapshotVisitor& target_;
  bool inside_ = false;
  bool done_ = false;
};

// A block whose checksums are right.
struct OwnedBlock {
  BlockHeader header;
  std::string raw;
};

// Reads one block after the other on a thread of its own, a few ahead. Buffers go round.
class BlockReadAhead {
 public:
  using Read = std::function<Result<void>(size_t i, OwnedBlock& to)>;

  BlockReadAhead(size_t count, Read read) : count_(count), read_(std::move(read)), thread_([this] { Run(); }) {}
  ~BlockReadAhead() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  BlockReadAhead(const BlockReadAhead&) = delete;
  BlockReadAhead& operator=(const BlockReadAhead&) = delete;

  // The next block; it lives until the next call.
  Result<const OwnedBlock*> Next() {
    std::unique_lock lock(mutex_);
    spare_.push_back(std::move(current_));
    changed_.notify_all();
    changed_.wait(lock, [this] { return !ready_.empty() || failure_; });
    if (ready_.empty()) return *failure_;
    current_ = std::move(ready_.front());
    ready_.pop_front();
    return &current_;
  }

 private:
  static constexpr size_t kAhead = 6;

  void Run() {
    for (size_t i = 0; i < count_; ++i) {
      OwnedBlock block;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return ready_.size() < kAhead || stopping_; });
        if (stopping_) return;
        if (!spare_.empty()) {
          block = std::move(spare_.back());
          spare_.pop_back();
        }
      }
      Result<void> got = read_(i, block);
      std::lock_guard lock(mutex_);
      changed_.notify_all();
      if (!got.ok()) {
        failure_ = std::move(got).error();
        return;
      }
      ready_.push_back(std::move(block));
    }
  }

  const size_t count_;
  const Read read_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<OwnedBlock> ready_, spare_;  // guarded by mutex_
  std::optional<Error> failure_;          // guarded by mutex_
  bool stopping_ = false;                 // guarded by mutex_
  OwnedBlock current_;                    // the consumer's
  std::thread thread_;                    // last: starts when all the rest exists
};

class Reader : public SnapshotReader {
 public:
  Reader(std::string path, std::unique_ptr<SnapshotParts> parts, ParsedHeader header, Footer footer,
         std::vector<IndexEntry> index)
      : path_(std::move(path)),
        parts_(std::move(parts)),
        header_(std::move(header)),
        footer_(footer),
        index_(std::move(index)) {}

  [[nodiscard]] const SnapshotHeader& header() const override { return header_.header; }
  [[nodiscard]] const SnapshotFooter& footer() const override { return footer_.counts; }

  Result<void> VisitAll(SnapshotVisitor& visitor) override {
    RecordParser parser(header().databases);
    uint64_t digest = header_.checksum;
    for (size_t i = 0; i < index_.size(); ++i) RETURN_IF_ERROR(VisitBlock(i, parser, visitor, &digest));
    return FinishAll(parser, digest, visitor);
  }

  Result<void> VisitAllAhead(SnapshotVisitor& visitor) {
    BlockReadAhead ahead(index_.size(), [this](size_t i, OwnedBlock& to) -> Result<void> {
      ASSIGN_OR_RETURN(const SnapshotParts::RawBlock block, ReadBlock(i));
      to.header = block.header;
      to.raw = block.raw;
      return {};
    });
    RecordParser parser(header().databases);
    uint64_t digest = header_.checksum;
    for (size_t i = 0; i < index_.size(); ++i) {
      ASSIGN_OR_RETURN(const OwnedBlock* block, ahead.Next());
      RETURN_IF_ERROR(ConsumeBlock(i, {block->header, block->raw}, parser, visitor, &digest));
    }
    return FinishAll(parser, digest, visitor);
  }

 private:
  Result<void> FinishAll(RecordParser& parser, uint64_t digest, SnapshotVisitor& visitor) const {
    Result<void> finished = parser.Finish(visitor);
    if (!finished.ok()) {
      return parser.visitor_failed() ? finished : Result<void>(BlameAt(footer_.index_position, finished.error()));
    }
    const SnapshotFooter& seen = parser.counts();
    const SnapshotFooter& told = footer_.counts;
    if (digest != footer_.blocks_digest || seen.keys != told.keys || seen.records != told.records ||
        !std::equal(std::begin(seen.keys_by_type), std::end(seen.keys_by_type), std::begin(told.keys_by_type))) {
      return BlameAt(parts_->file_bytes() - kFooterSize,
                     {ErrorCode::kCorruption, "the blocks are not those the footer describes"});
    }
    return {};
  }

 public:
  Result<void> VisitUndamaged(SnapshotVisitor& visitor,
                              const std::function<void(const SnapshotFinding&)>& damage) override {
    RecordParser parser(header().databases);
    for (size_t i = 0; i < index_.size(); ++i) {
      Result<void> visited = VisitBlock(i, parser, visitor, nullptr);
      if (visited.ok()) continue;
      if (parser.visitor_failed() || visited.error().code != ErrorCode::kCorruption) return visited;
      damage({index_[i].position, visited.error().message});
      parser.SkipGap();
    }
    Result<void> finished = parser.Finish(visitor);
    if (!finished.ok() && !parser.visitor_failed()) {
      damage({footer_.index_position, finished.error().message});
      return {};
    }
    return finished;
  }

  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    if (db < 0 || static_cast<uint32_t>(db) >= header().databases) return false;
    const auto wanted = std::pair(static_cast<uint32_t>(db), RowHash(key));
    // The first block whose last key is not before the wanted one.
    auto entry = std::partition_point(index_.begin(), index_.end(), [&](const IndexEntry& candidate) {
      return std::pair(candidate.db, candidate.last_hash) < wanted;
    });
    RecordParser parser(header().databases);
    if (entry != index_.begin()) parser.SkipGap();
    OneKeyVisitor one(key, visitor);
    for (; entry != index_.end() && !one.done(); ++entry) {
      // Behind the last block that may hold the key, only what goes on with it is read.
      if (std::pair(entry->db, entry->first_hash) > wanted) break;
      if (one.inside() && !entry->continues_key()) break;
      RETURN_IF_ERROR(VisitBlock(static_cast<size_t>(entry - index_.begin()), parser, one, nullptr));
    }
    if (one.done()) return true;
    if (!one.inside() && parser.cut_hash() != wanted.second) return false;
    Result<void> finished = parser.Finish(one);
    if (!finished.ok()) {
      if (parser.visitor_failed()) return std::move(finished).error();
      return BlameAt(entry == index_.end() ? footer_.index_position : entry->position, finished.error());
    }
    return one.done();
  }

 private:
  Result<void> VisitBlock(size_t i, RecordParser& parser, SnapshotVisitor& visitor, uint64_t* digest) {
    ASSIGN_OR_RETURN(const SnapshotParts::RawBlock block, ReadBlock(i));
    return ConsumeBlock(i, block, parser, visitor, digest);
  }

  Result<SnapshotParts::RawBlock> ReadBlock(size_t i) {
    const IndexEntry& entry = index_[i];
    auto block = parts_->ReadBlock(entry.position, entry.end(), header_.checksum, entry.stored_length);
    if (!block.ok()) return Blame(i, block.error());
    if (block->header.number != i || !Agree(block->header, entry)) {
      return Blame(i, {ErrorCode::kCorruption, "the block is not the one the index describes"});
    }
    return block;
  }

  Result<void> ConsumeBlock(size_t i, const SnapshotParts::RawBlock& block, RecordParser& parser,
                            SnapshotVisitor& visitor, uint64_t* digest) const {
    if (digest != nullptr) *digest = NextBlocksDigest(*digest, block.header.header_checksum);
    Result<void> consumed = parser.Consume(block.header, block.raw, visitor);
    if (consumed.ok() || parser.visitor_failed()) return consumed;
    return Blame(i, consumed.error());
  }

  [[nodiscard]] Error Blame(size_t i, const Error& error) const {
    return error.WithContext("snapshot " + path_ + ": block " + std::to_string(i) + " at byte " +
                             std::to_string(index_[i].position));
  }
  [[nodiscard]] Error BlameAt(uint64_t position, const Error& error) const {
    return error.WithContext("snapshot " + path_ + ": at byte " + std::to_string(position));
  }

  const std::string path_;
  std::unique_ptr<SnapshotParts> parts_;
  const ParsedHeader header_;
  const Footer footer_;
  const std::vector<IndexEntry> index_;
};

}  // namespace

Result<void> VisitSnapshotAhead(SnapshotReader& reader, SnapshotVisitor& visitor) {
  // SnapshotReader::Open makes nothing else.
  return static_cast<Reader&>(reader).VisitAllAhead(visitor);
}

Result<std::unique_ptr<SnapshotReader>> SnapshotReader::Open(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SnapshotParts> parts, SnapshotParts::Open(fs, path));
  const auto blame = [&](Error error, uint64_t position) {
    error = error.WithContext("snapshot " + path + ": at byte " + std::to_string(position));
    if (error.code == ErrorCode::kCorruption) error.message += " (holdfast snapshot verify FILE shows more)";
    return error;
  };
  auto header = parts->ReadHeader();
  if (!header.ok()) return blame(std::move(header).error(), 0);
  auto footer = parts->ReadFooter();
  const uint64_t file_bytes = parts->file_bytes();
  const uint64_t footer_position = file_bytes < kFooterSize ? 0 : file_bytes - kFooterSize;
  if (!footer.ok()) return blame(std::move(footer).error(), footer_position);
  if (footer->header_checksum != header->checksum) {
    return blame({ErrorCode::kCorruption, "the footer belongs to another snapshot's header"}, footer_position);
  }
  auto index = parts->ReadIndex(*footer, header->size);
  if (!index.ok()) return blame(std::move(index).error(), footer->index_position);
  return std::unique_ptr<SnapshotReader>(
      new Reader(path, std::move(parts), std::move(header).value(), *footer, std::move(index).value()));
}

}  // namespace holdfast
