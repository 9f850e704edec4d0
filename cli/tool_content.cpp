#include "cli/tool_content.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "storage/base/coding.h"
#include "storage/snapshot_ahead.h"
#include "storage/types/scores.h"
#include "storage/types/stream_id.h"

namespace holdfast::cli {

namespace {

class SnapshotContent : public ContentSource {
 public:
  SnapshotContent(std::unique_ptr<SnapshotReader> reader, const std::string& path) : reader_(std::move(reader)) {
    const SnapshotHeader& header = reader_->header();
    info_.path = path;
    info_.position = header.position;
    info_.lineage_table = header.lineage_table;
    info_.node_id = header.node_id;
    info_.created_ms = header.created_ms;
    info_.databases = static_cast<int>(header.databases);
    info_.keys = reader_->footer().keys;
  }

  [[nodiscard]] const ContentInfo& info() const override { return info_; }
  Result<void> VisitAll(SnapshotVisitor& visitor) override { return reader_->VisitAll(visitor); }
  Result<void> VisitAllOnTwoThreads(SnapshotVisitor& visitor) override { return VisitSnapshotAhead(*reader_, visitor); }
  Result<void> VisitUndamaged(SnapshotVisitor& visitor,
                              const std::function<void(const SnapshotFinding&)>& damage) override {
    return reader_->VisitUndamaged(visitor, damage);
  }
  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    return reader_->VisitKey(db, key, visitor);
  }

 private:
  std::unique_ptr<SnapshotReader> reader_;
  ContentInfo info_;
};

}  // namespace

Result<void> ContentSource::VisitUndamaged(SnapshotVisitor&, const std::function<void(const SnapshotFinding&)>&) {
  return Error{ErrorCode::kUnsupported, info().path + ": only snapshots can be read around damage"};
}

Result<std::unique_ptr<ContentSource>> OpenSnapshotContent(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SnapshotReader> reader, SnapshotReader::Open(fs, path));
  return std::unique_ptr<ContentSource>(std::make_unique<SnapshotContent>(std::move(reader), path));
}

Result<std::unique_ptr<ContentSource>> OpenContent(const ToolContext& tool, const ToolInput& input, OnlyKeys only) {
  switch (input.kind) {
    case InputKind::kSnapshot:
      return OpenSnapshotContent(tool.fs, input.path);
    case InputKind::kGeneration:
    case InputKind::kDataDirectory:
      return OpenStoreContent(tool, input, only);
    case InputKind::kRdb:
      return OpenRdbContent(tool.fs, input.path);
    case InputKind::kAof:
      return OpenAofContent(tool, input.path);
    default:
      return Error{ErrorCode::kUnsupported,
                   input.path + ": a " + InputKindName(input.kind) + " holds no content that can be read by itself"};
  }
}

Result<std::unique_ptr<ContentSource>> OpenContent(const ToolContext& tool, const std::string& path, OnlyKeys only) {
  ASSIGN_OR_RETURN(const ToolInput input, RecogniseInput(tool.fs, path));
  return OpenContent(tool, input, only);
}

uint64_t AnnouncedCount(const KeyValue& value) {
  if (value.type == ValueType::kString && !value.chunked) return value.body.size();
  return value.body.size() < 8 ? 0 : LoadLittle<uint64_t>(value.body.data());
}

std::optional<Element> DecodeElement(const KeyValue& key, const SnapshotRow& row, std::string& scratch) {
  Element element;
  switch (row.kind) {
    case CollectionKind::kChunk:
      if (row.suffix.size() != 4) return std::nullopt;
      element.offset = LoadBig<uint32_t>(row.suffix.data()) * uint64_t{kChunkSize};
      element.value = row.value;
      return element;
    case CollectionKind::kMember:
      if (row.suffix.size() < 8) return std::nullopt;
      element.field = row.suffix.substr(8);
      if (key.type == ValueType::kSortedSet) {
        const auto score = DecodeScore(row.value);
        if (!score.ok()) return std::nullopt;
        element.score = *score;
      } else {
        element.value = row.value;
      }
      return element;
    case CollectionKind::kItem:
      element.value = row.value;
      return element;
    case CollectionKind::kEntry:
      if (row.suffix.size() != StreamId::kBytes) return std::nullopt;
      scratch = StreamId::FromBytes(row.suffix).Text();
      element.field = scratch;
      element.value = row.value;
      return element;
    default:  // the score index, and what groups of a stream keep
      return std::nullopt;
  }
}

// ---- pulling ----------------------------------------------------------------------------------------------------

struct RecordStream::Shared {
  struct Batch {
    std::string bytes;
    std::vector<ContentRecord> records;
  };
  static constexpr size_t kBatchBytes = 1 << 20;
  static constexpr size_t kBatchRecords = 16384;
  static constexpr size_t kQueueMax = 3;

  // Collects records on the reading thread.
  class Collector : public SnapshotVisitor {
   public:
    explicit Collector(Shared& shared) : shared_(shared) {}
    Result<void> Key(const SnapshotKey& key) override {
      ContentRecord record;
      record.db = key.db;
      record.head = key.value;
      record.head.body = {};
      return Add(record, key.key, key.value.body);
    }
    Result<void> Row(const SnapshotRow& row) override {
      ContentRecord record;
      record.what = ContentRecord::What::kRow;
      record.kind = row.kind;
      return Add(record, row.suffix, row.value);
    }
    Result<void> KeyEnd() override {
      ContentRecord record;
      record.what = ContentRecord::What::kKeyEnd;
      return Add(record, {}, {});
    }
    Result<void> Flush() {
      if (batch_.records.empty()) return {};
      return shared_.Push(std::exchange(batch_, {}));
    }

   private:
    Result<void> Add(ContentRecord& record, std::string_view first, std::string_view second) {
      record.first_size = static_cast<uint32_t>(first.size());
      record.second_size = static_cast<uint32_t>(second.size());
      record.at = batch_.bytes.size();
      batch_.bytes += first;
      batch_.bytes += second;
      batch_.records.push_back(record);
      if (batch_.bytes.size() < kBatchBytes && batch_.records.size() < kBatchRecords) return {};
      return Flush();
    }

    Shared& shared_;
    Batch batch_;
  };

  Result<void> Push(Batch batch) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return queue.size() < kQueueMax || stopping; });
    if (stopping) return Error{ErrorCode::kAborted, "stopped"};
    queue.push_back(std::move(batch));
    changed.notify_all();
    return {};
  }

  void Run(ContentSource& source) {
    Collector collector(*this);
    Result<void> visited = source.VisitAll(collector);
    Result<void> flushed = collector.Flush();  // also before damage: what was good is shown
    if (visited.ok()) visited = std::move(flushed);
    std::lock_guard lock(mutex);
    result = std::move(visited);
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Batch> queue;             // guarded by mutex
  std::optional<Result<void>> result;  // guarded by mutex; set when the source is through
  bool stopping = false;               // guarded by mutex
  Batch current;                       // consumer's
  size_t next = 0;
  std::thread thread;
};

RecordStream::RecordStream(ContentSource& source) : shared_(std::make_unique<Shared>()) {
  shared_->thread = std::thread([shared = shared_.get(), &source] { shared->Run(source); });
}

RecordStream::~RecordStream() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
    shared_->changed.notify_all();
  }
  shared_->thread.join();
}

Result<bool> RecordStream::Next() {
  Shared& shared = *shared_;
  if (shared.next == shared.current.records.size()) {
    std::unique_lock lock(shared.mutex);
    shared.changed.wait(lock, [&] { return !shared.queue.empty() || shared.result.has_value(); });
    if (shared.queue.empty()) {
      RETURN_IF_ERROR(*shared.result);
      return false;
    }
    shared.current = std::move(shared.queue.front());
    shared.queue.pop_front();
    shared.next = 0;
    shared.changed.notify_all();
  }
  record_ = shared.current.records[shared.next++];
  return true;
}

SnapshotKey RecordStream::key() const {
  const std::string_view bytes = std::string_view(shared_->current.bytes).substr(record_.at);
  SnapshotKey key{record_.db, bytes.substr(0, record_.first_size), record_.head};
  key.value.body = bytes.substr(record_.first_size, record_.second_size);
  return key;
}

SnapshotRow RecordStream::row() const {
  const std::string_view bytes = std::string_view(shared_->current.bytes).substr(record_.at);
  return {record_.kind, bytes.substr(0, record_.first_size), bytes.substr(record_.first_size, record_.second_size)};
}

Result<void> ContentSource::VisitAllOnTwoThreads(SnapshotVisitor& visitor) {
  RecordStream stream(*this);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, stream.Next());
    if (!more) return {};
    switch (stream.what()) {
      case ContentRecord::What::kKey:
        RETURN_IF_ERROR(visitor.Key(stream.key()));
        break;
      case ContentRecord::What::kRow:
        RETURN_IF_ERROR(visitor.Row(stream.row()));
        break;
      case ContentRecord::What::kKeyEnd:
        RETURN_IF_ERROR(visitor.KeyEnd());
        break;
    }
  }
}

}  // namespace holdfast::cli
