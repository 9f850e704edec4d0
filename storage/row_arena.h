// The memory of one memtable: rows, the segments of its tables, the nodes of its tree. Freed as a whole.
//
// Executor; whoever lets go of the memtable destroys it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "storage/slab_pool.h"

namespace holdfast {

class RowArena {
 public:
  // A segment of a RowTable that is full-grown.
  static constexpr size_t kBlockBytes = (4096 + 64) * 16;

  // Without a pool all memory comes from malloc.
  explicit RowArena(std::shared_ptr<SlabPool> pool) : pool_(std::move(pool)) {}
  ~RowArena();
  RowArena(const RowArena&) = delete;
  RowArena& operator=(const RowArena&) = delete;

  // Aligned to 8; at most kLargest bytes.
  static constexpr size_t kLargest = 128 * 1024;
  [[nodiscard]] char* Allocate(size_t size);
  // kBlockBytes each. What is given back is taken again.
  [[nodiscard]] char* TakeBlock();
  void GiveBlock(char* block) { blocks_.push_back(block); }
  // Taken from the pool and from malloc.
  [[nodiscard]] size_t bytes() const;

 private:
  void Refill();

  std::shared_ptr<SlabPool> pool_;
  std::vector<std::unique_ptr<char[]>> chunks_;  // of a small memtable
  std::vector<SlabPool::Slab> slabs_;
  std::vector<char*> blocks_;  // given back
  char* at_ = nullptr;
  size_t left_ = 0;
};

}  // namespace holdfast
