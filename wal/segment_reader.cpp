#include "wal/segment_reader.h"

#include <algorithm>
#include <utility>

namespace holdfast::wal {
namespace {

constexpr uint64_t RoundDown(uint64_t position) { return position / kDirectAlignment * kDirectAlignment; }
constexpr uint64_t RoundUp(uint64_t position) { return RoundDown(position + kDirectAlignment - 1); }

}  // namespace

Result<std::unique_ptr<SegmentReader>> SegmentReader::Open(FileSystem& fs, std::string path, bool past_cache,
                                                           size_t window) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, {.mode = OpenMode::kRead, .direct_sync = past_cache}));
  if (past_cache) file->DropCache();
  std::unique_ptr<SegmentReader> reader(new SegmentReader(std::move(file), std::move(path)));
  ASSIGN_OR_RETURN(reader->file_size_, reader->file_->Size());
  ASSIGN_OR_RETURN(const std::string_view block, reader->Bytes(0, kSegmentHeaderSize));
  Result<ParsedSegmentHeader> parsed = ParseSegmentHeader(block);
  if (!parsed.ok()) return parsed.error().WithContext(reader->path_ + " at byte 0");
  reader->parsed_ = std::move(parsed).value();
  reader->window_ = window;
  return reader;
}

Result<void> SegmentReader::ReadWindow(uint64_t position, size_t size) {
  const uint64_t start = RoundDown(position);
  // Not far beyond the file: the buffer is zeroed before it is read into.
  const uint64_t window_end = std::min(position + window_, std::max(file_size_, position + size));
  const uint64_t wanted = RoundUp(std::max(position + size, window_end)) - start;
  buffer_.Clear();
  buffer_.Resize(static_cast<size_t>(wanted));
  Result<size_t> got = file_->ReadAt(start, buffer_.data(), buffer_.size());
  if (!got.ok()) {
    buffer_.Clear();
    return got.error().WithContext(path_ + " at byte " + std::to_string(start));
  }
  buffer_start_ = start;
  buffer_.Resize(*got);
  return {};
}

void SegmentReader::StartReadingAhead() {
  const uint64_t start = buffer_start_ + buffer_.size();
  if (!read_ahead_ || start >= file_size_ || RoundDown(start) != start) return;
  const auto size = static_cast<size_t>(std::min<uint64_t>(window_, RoundUp(file_size_ - start)));
  ahead_ = std::async(std::launch::async, [file = file_.get(), start, size] {
    Window window;
    window.start = start;
    window.bytes.Resize(size);
    window.got = file->ReadAt(start, window.bytes.data(), size);
    if (window.got.ok()) window.bytes.Resize(*window.got);
    return window;
  });
}

Result<bool> SegmentReader::TakeWhatWasReadAhead(uint64_t position, size_t size) {
  if (!ahead_.valid()) return false;
  const Window next = ahead_.get();
  const uint64_t start = RoundDown(position);
  const uint64_t buffer_end = buffer_start_ + buffer_.size();
  if (next.start != buffer_end || start < buffer_start_ || start > buffer_end) return false;
  if (!next.got.ok()) return next.got.error().WithContext(path_ + " at byte " + std::to_string(next.start));
  if (position + size > next.start + next.bytes.size()) return false;
  // What is left of the window before, and this one.
  AlignedBuffer joined(static_cast<size_t>(buffer_end - start) + next.bytes.size());
  joined.Append(buffer_.view().substr(static_cast<size_t>(start - buffer_start_)));
  joined.Append(next.bytes.view());
  buffer_ = std::move(joined);
  buffer_start_ = start;
  return true;
}

Result<std::string_view> SegmentReader::Bytes(uint64_t position, size_t size) {
  const uint64_t buffer_end = buffer_start_ + buffer_.size();
  if (position < buffer_start_ || position + size > buffer_end || buffer_.size() == 0) {
    ASSIGN_OR_RETURN(const bool taken, TakeWhatWasReadAhead(position, size));
    if (!taken) RETURN_IF_ERROR(ReadWindow(position, size));
    StartReadingAhead();
  }
  const uint64_t skip = position - buffer_start_;
  if (skip >= buffer_.size()) return std::string_view();
  return buffer_.view().substr(static_cast<size_t>(skip), size);
}

Result<ParsedFrame> SegmentReader::WholeFrameAt(uint64_t position, uint64_t limit) {
  if (position >= limit) return Error{ErrorCode::kCorruption, "the segment ends"};
  const size_t header_size = static_cast<size_t>(std::min<uint64_t>(kFrameHeaderSize, limit - position));
  ASSIGN_OR_RETURN(const std::string_view header_bytes, Bytes(position, header_size));
  ASSIGN_OR_RETURN(const ParsedFrame header, ParseFrameHeader(header_bytes));
  if (header.local.incarnation != parsed_.header.incarnation) {
    return Error{ErrorCode::kCorruption, "the frame belongs to another life of the file"};
  }
  const size_t size = static_cast<size_t>(std::min<uint64_t>(header.size_on_disk, limit - position));
  ASSIGN_OR_RETURN(const std::string_view bytes, Bytes(position, size));
  return ParseFrame(bytes);
}

Result<SegmentReader::Placed> SegmentReader::FrameAt(uint64_t from, uint64_t limit, uint64_t* bad) {
  *bad = from;
  Result<ParsedFrame> frame = WholeFrameAt(from, limit);
  if (frame.ok()) return Placed{from, std::move(frame).value()};
  if (frame.error().code != ErrorCode::kCorruption) return std::move(frame).error();
  const uint64_t next_block = RoundUp(from);
  if (next_block == from || next_block >= limit) return std::move(frame).error();
  ASSIGN_OR_RETURN(const std::string_view padding, Bytes(from, static_cast<size_t>(next_block - from)));
  if (padding.find_first_not_of('\0') != std::string_view::npos) return std::move(frame).error();
  Result<ParsedFrame> padded = WholeFrameAt(next_block, limit);
  if (padded.ok()) return Placed{next_block, std::move(padded).value()};
  return std::move(padded).error();
}

void SegmentReader::Forget(bool page_cache) {
  ahead_ = {};
  buffer_.Clear();
  if (page_cache) file_->DropCache();
}

}  // namespace holdfast::wal
