#include "wal/diverged_tail.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

#include "storage/base/check.h"
#include "wal/log_walk.h"

namespace holdfast::wal {
namespace {

constexpr size_t kWindow = 2 << 20;
constexpr size_t kPiece = 1 << 20;

// Writes a segment under a temporary name.
class TailWriter {
 public:
  Result<void> Begin(FileSystem& fs, const std::string& path, uint64_t incarnation, const HistoryState& state) {
    ASSIGN_OR_RETURN(file_, fs.Open(path, {.mode = OpenMode::kCreateOrReplace}));
    SegmentHeader header;
    header.sequence = 1;
    header.incarnation = incarnation_ = incarnation;
    header.state = state;
    buffer_.resize(kSegmentHeaderSize);
    chain_ = WriteSegmentHeader(buffer_.data(), header);
    return {};
  }
  [[nodiscard]] bool begun() const { return file_ != nullptr; }

  Result<void> Add(const HistoryFrame& frame) {
    const size_t start = buffer_.size();
    buffer_.resize(start + FrameSizeOnDisk(frame.payload.size()));
    frame.payload.copy(buffer_.data() + start + kFrameHeaderSize, frame.payload.size());
    // The file gets its name only when all of it is durable: each frame vouches for those before it.
    const LocalFields local{.incarnation = incarnation_, .chain = chain_, .durable_mark = written_ + start};
    chain_ = WriteFrameHeader(buffer_.data() + start, frame, local);
    return buffer_.size() < kPiece ? Result<void>() : Flush();
  }

  Result<void> Finish() {
    RETURN_IF_ERROR(Flush());
    return file_->Sync();
  }

 private:
  Result<void> Flush() {
    RETURN_IF_ERROR(file_->WriteAt(written_, buffer_));
    written_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  std::unique_ptr<File> file_;
  std::string buffer_;
  uint64_t written_ = 0, incarnation_ = 0, chain_ = 0;
};

class TailRun {
 public:
  explicit TailRun(const TailRequest& request) : request_(request), directory_(TailDirectory(request.data_directory)) {}

  Result<SavedTail> Run();

 private:
  Result<void> Take(const HistoryState& now, const HistoryFrame& frame);

  const TailRequest& request_;
  const std::string directory_;
  const std::string temporary_ = JoinPath(directory_, "tail.tmp");
  HistoryState at_from_;  // what is known where the tail begins
  TailWriter writer_;
  SavedTail saved_;
  uint64_t end_ = 0;
  std::string lineage_id_;  // at the tail's end
};

Result<void> TailRun::Take(const HistoryState& now, const HistoryFrame& frame) {
  const bool data = frame.kind == FrameKind::kData;
  if (data ? frame.EndOffset() <= saved_.from : frame.offset < saved_.from) {
    // Control payloads change seldom, positions with every frame.
    at_from_.end = now.end;
    at_from_.inside_unit = now.inside_unit;
    if (data) return {};
    at_from_.lineage = now.lineage;
    at_from_.role = now.role;
    at_from_.membership = now.membership;
    return {};
  }
  if (frame.kind == FrameKind::kDurableMark || end_ >= request_.to) return {};
  if (!writer_.begun()) {
    saved_.from = at_from_.end.offset;
    RETURN_IF_ERROR(writer_.Begin(*request_.fs, temporary_, request_.random->Next(), at_from_));
  }
  lineage_id_ = now.lineage.current_id();
  if (data) {
    end_ = frame.EndOffset();
    saved_.bytes += frame.payload.size();
    if (frame.EndsUnit()) ++saved_.units;
  }
  return writer_.Add(frame);
}

Result<SavedTail> TailRun::Run() {
  FileSystem& fs = *request_.fs;
  ASSIGN_OR_RETURN(const std::vector<LogFile> files, ListLogFiles(fs, request_.log_directory));
  if (files.empty()) return Error{ErrorCode::kNotFound, request_.log_directory + " holds no log"};
  saved_.from = std::max(request_.from, files.front().numbers.first_offset);
  if (saved_.from >= request_.to) {
    return Error{ErrorCode::kNotFound, fmt::format("the log begins at offset {} and holds nothing of [{}, {})",
                                                   saved_.from, request_.from, request_.to)};
  }
  size_t first = 0;
  while (first + 1 < files.size() && files[first + 1].numbers.first_offset < saved_.from) ++first;
  RETURN_IF_ERROR(fs.CreateDirectory(directory_));
  RETURN_IF_ERROR(fs.SyncDirectory(request_.data_directory));
  WalkState state;
  for (size_t i = first; i < files.size(); ++i) {
    ASSIGN_OR_RETURN(const std::unique_ptr<SegmentReader> reader,
                     SegmentReader::Open(fs, files[i].path, true, kWindow));
    if (i == first) state.history = at_from_ = reader->header().state;
    state.chain = reader->header_checksum();
    uint64_t limit = reader->file_size();
    if (i + 1 < files.size()) {
      ASSIGN_OR_RETURN(const auto next, SegmentReader::Open(fs, files[i + 1].path, true, kSegmentHeaderSize));
      limit = next->header().previous_end;
    }
    ASSIGN_OR_RETURN(const WalkEnd end, WalkFrames(*reader, kSegmentHeaderSize, limit, state,
                                                   [&](const StreamPosition&, const ParsedFrame& frame, uint64_t) {
                                                     return Take(state.history, frame.history);
                                                   }));
    if (end.broken && i + 1 < files.size()) return end.broken->WithContext(files[i].path);
  }
  if (end_ != request_.to || !writer_.begun()) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("the log can be read up to offset {} only, its end is {}", end_, request_.to)};
  }
  RETURN_IF_ERROR(writer_.Finish());
  saved_.path = JoinPath(directory_, TailFileName(lineage_id_, saved_.from, end_));
  RETURN_IF_ERROR(fs.Rename(temporary_, saved_.path));
  RETURN_IF_ERROR(fs.SyncDirectory(directory_));
  return saved_;
}

}  // namespace

std::string TailDirectory(const std::string& data_directory) { return JoinPath(data_directory, "diverged"); }

std::string TailFileName(const std::string& lineage_id, uint64_t from, uint64_t to) {
  return fmt::format("{}-{:020}-{:020}.log", lineage_id, from, to);
}

Result<SavedTail> SaveTail(const TailRequest& request) {
  CHECK(request.fs != nullptr);
  CHECK(request.random != nullptr);
  CHECK(request.from < request.to);
  return TailRun(request).Run();
}

TailFiles CountTails(FileSystem& fs, const std::string& data_directory) {
  TailFiles files;
  const Result<std::vector<std::string>> names = fs.List(TailDirectory(data_directory));
  if (!names.ok()) return files;
  constexpr size_t kIdEnd = kLineageIdSize + 1, kFromEnd = kIdEnd + 21, kSize = kFromEnd + 24;
  for (const std::string& name : *names) {
    if (name.size() != kSize || !name.ends_with(".log")) continue;
    uint64_t from = 0, to = 0;
    std::from_chars(name.data() + kIdEnd, name.data() + kIdEnd + 20, from);
    std::from_chars(name.data() + kFromEnd, name.data() + kFromEnd + 20, to);
    if (to <= from) continue;
    ++files.count;
    files.stream_bytes += to - from;
  }
  return files;
}

}  // namespace holdfast::wal
