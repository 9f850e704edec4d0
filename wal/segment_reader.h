// Reads one segment file front to back through a bounded window. Not mmap: a read error is an error, not a signal.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "wal/frame.h"
#include "wal/segment_format.h"

namespace holdfast::wal {

class SegmentReader {
 public:
  // Opens and verifies the header. With `past_cache` reads come from the disk, not from the page cache: after a failed
  // sync good pages may lie over bad blocks. `window` is how much is read ahead.
  static Result<std::unique_ptr<SegmentReader>> Open(FileSystem& fs, std::string path, bool past_cache, size_t window);

  [[nodiscard]] const SegmentHeader& header() const { return parsed_.header; }
  [[nodiscard]] uint64_t header_checksum() const { return parsed_.checksum; }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Size when it was opened; a live segment does not shrink.
  [[nodiscard]] uint64_t file_size() const { return file_size_; }

  // From now on the next window is read by another thread while this one is used: for who reads from front to back.
  void ReadAhead() { read_ahead_ = true; }

  // Up to `size` bytes at `position`, fewer only at the end of the file. Valid until the next call. kIo.
  Result<std::string_view> Bytes(uint64_t position, size_t size);

  struct Placed {
    uint64_t position;  // where the frame was found: `from`, or the next block if only padding lies between
    ParsedFrame frame;  // payload valid until the next call
  };
  // The frame at `from`, verified by itself, of this segment's incarnation, ending at or before `limit`.
  // Where batches are padded to blocks the frame may begin at the next block. kCorruption: no good frame there; `*bad`
  // gets the position where one was expected. kIo: could not read.
  Result<Placed> FrameAt(uint64_t from, uint64_t limit, uint64_t* bad);

  // Forgets what was read ahead: the file has grown meanwhile. With `page_cache` also what the kernel keeps.
  void Forget(bool page_cache);

 private:
  SegmentReader(std::unique_ptr<File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  struct Window {
    uint64_t start = 0;  // in the file
    AlignedBuffer bytes;
    Result<size_t> got = size_t{0};
  };
  void StartReadingAhead();
  // Whether what was read ahead holds these bytes, which are then in the buffer.
  Result<bool> TakeWhatWasReadAhead(uint64_t position, size_t size);
  Result<void> ReadWindow(uint64_t position, size_t size);
  Result<ParsedFrame> WholeFrameAt(uint64_t position, uint64_t limit);

  const std::unique_ptr<File> file_;
  const std::string path_;
  size_t window_ = kSegmentHeaderSize;  // the header alone at first: many segments may be open
  uint64_t file_size_ = 0;
  ParsedSegmentHeader parsed_;
  AlignedBuffer buffer_;
  uint64_t buffer_start_ = 0;  // file position of buffer_
  bool read_ahead_ = false;
  std::future<Window> ahead_;  // last: its thread ends before the file is closed
};

}  // namespace holdfast::wal
