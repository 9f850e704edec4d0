#include "storage/snapshot_pipeline.h"

#include <algorithm>

#include "storage/base/check.h"
#include "storage/base/hash.h"
#include "storage/zstd_frame.h"

namespace holdfast::snapshot_format {

namespace {

void CompressBlock(ZstdCompressor& zstd, Block& block) {
  zstd.Compress(block.raw, block.compressed);
  // Decompression costs time at every reading; below 1/32 it is not worth it.
  if (block.compressed.size() + block.raw.size() / 32 < block.raw.size()) {
    block.header.flags |= kBlockZstd;
  } else {
    block.compressed.clear();
  }
  block.header.stored_length = static_cast<uint32_t>(block.stored().size());
  block.header.payload_checksum = Checksum64(block.stored());
}

}  // namespace

CompressionPipeline::CompressionPipeline(int threads, int zstd_level)
    : zstd_level_(zstd_level), bound_(static_cast<size_t>(std::clamp(threads, 0, 64)) * 2 + 1) {
  inline_zstd_ = std::make_unique<ZstdCompressor>(zstd_level);
  for (int i = 0; i < std::clamp(threads, 0, 64); ++i) threads_.emplace_back([this] { Work(); });
}

CompressionPipeline::~CompressionPipeline() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    work_.clear();
  }
  work_ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void CompressionPipeline::Push(Block block) {
  CHECK(!Full());
  auto slot = std::make_shared<Slot>();
  slot->block = std::move(block);
  slots_.push_back(slot);
  if (threads_.empty()) {
    CompressBlock(*inline_zstd_, slot->block);
    slot->finished = true;
    return;
  }
  {
    std::lock_guard lock(mutex_);
    work_.push_back(std::move(slot));
  }
  work_ready_.notify_one();
}

std::optional<Block> CompressionPipeline::TakeFinished(bool wait) {
  CHECK(!Empty());
  {
    std::unique_lock lock(mutex_);
    if (!slots_.front()->finished && !wait) return std::nullopt;
    // Who would wait takes a hand: the newest block, which nobody else will need soon.
    while (!slots_.front()->finished && !work_.empty()) {
      std::shared_ptr<Slot> slot = std::move(work_.back());
      work_.pop_back();
      lock.unlock();
      CompressBlock(*inline_zstd_, slot->block);
      lock.lock();
      slot->finished = true;
    }
    block_finished_.wait(lock, [this] { return slots_.front()->finished; });
  }
  Block block = std::move(slots_.front()->block);
  slots_.pop_front();
  return block;
}

void CompressionPipeline::Work() {
  ZstdCompressor zstd(zstd_level_);
  std::unique_lock lock(mutex_);
  while (true) {
    work_ready_.wait(lock, [this] { return stop_ || !work_.empty(); });
    if (stop_) return;
    std::shared_ptr<Slot> slot = std::move(work_.front());
    work_.pop_front();
    lock.unlock();
    CompressBlock(zstd, slot->block);
    lock.lock();
    slot->finished = true;
    block_finished_.notify_one();
  }
}

}  // namespace holdfast::snapshot_format
