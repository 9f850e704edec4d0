// Compression of snapshot blocks on worker threads, in and out in the same order. Bounded: Push beyond the bound is the
// caller's bug, TakeFinished waits for the oldest block.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "storage/snapshot_format.h"
#include "storage/zstd_frame.h"

namespace holdfast::snapshot_format {

struct Block {
  BlockHeader header;  // flags, stored length and payload checksum are set by compression
  std::string raw;
  std::string compressed;

  [[nodiscard]] std::string_view stored() const {
    return (header.flags & kBlockZstd) != 0 ? std::string_view(compressed) : std::string_view(raw);
  }
};

// Used by one thread; owns its workers. Destruction drops blocks not taken.
class CompressionPipeline {
 public:
  // With 0 threads blocks are compressed inside Push.
  CompressionPipeline(int threads, int zstd_level);
  ~CompressionPipeline();
  CompressionPipeline(const CompressionPipeline&) = delete;
  CompressionPipeline& operator=(const CompressionPipeline&) = delete;

  [[nodiscard]] bool Full() const { return slots_.size() >= bound_; }
  [[nodiscard]] bool Empty() const { return slots_.empty(); }
  void Push(Block block);  // CHECKs !Full()
  // The oldest block. Without `wait`: nullopt if it is not compressed yet. CHECKs !Empty().
  std::optional<Block> TakeFinished(bool wait);

 private:
  struct Slot {
    Block block;
    bool finished = false;  // guarded by mutex_
  };
  void Work();

  const int zstd_level_;
  const size_t bound_;
  std::unique_ptr<ZstdCompressor> inline_zstd_;  // the caller's
  std::deque<std::shared_ptr<Slot>> slots_;      // caller's thread only; oldest first

  std::mutex mutex_;
  std::condition_variable work_ready_;
  std::condition_variable block_finished_;
  std::deque<std::shared_ptr<Slot>> work_;  // guarded by mutex_; at most bound_
  bool stop_ = false;                       // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace holdfast::snapshot_format
