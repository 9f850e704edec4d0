#include "storage/row_arena.h"

#include "storage/base/check.h"

namespace holdfast {
namespace {

constexpr size_t kChunkBytes = 256 * 1024;
constexpr size_t kChunksBeforeSlabs = SlabPool::kSlabBytes / kChunkBytes;

}  // namespace

RowArena::~RowArena() {
  for (const SlabPool::Slab& slab : slabs_) pool_->Give(slab);
}

void RowArena::Refill() {
  if (pool_ == nullptr || chunks_.size() < kChunksBeforeSlabs) {
    chunks_.emplace_back(new char[kChunkBytes]);
    at_ = chunks_.back().get();
    left_ = kChunkBytes;
    return;
  }
  slabs_.push_back(pool_->Take());
  at_ = slabs_.back().memory;
  left_ = SlabPool::kSlabBytes;
}

char* RowArena::Allocate(size_t size) {
  CHECK(size <= kLargest);
  size = (size + 7) & ~size_t{7};
  if (size > left_) Refill();
  char* place = at_;
  at_ += size;
  left_ -= size;
  return place;
}

size_t RowArena::bytes() const { return chunks_.size() * kChunkBytes + slabs_.size() * SlabPool::kSlabBytes; }

char* RowArena::TakeBlock() {
  if (blocks_.empty()) return Allocate(kBlockBytes);
  char* block = blocks_.back();
  blocks_.pop_back();
  return block;
}

}  // namespace holdfast
