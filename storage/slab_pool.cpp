#include "storage/slab_pool.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "storage/base/out_of_memory.h"

namespace holdfast {
namespace {

constexpr size_t kReadyLeast = 2;

}  // namespace

SlabPool::~SlabPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (const Slab& slab : ready_) std::free(slab.memory);
}

SlabPool::Slab SlabPool::Take() {
  Slab slab;
  // Without waiting: who holds the lock may not get a processor for a long time.
  if (std::unique_lock lock(mutex_, std::try_to_lock); lock.owns_lock()) {
    if (!thread_.joinable()) thread_ = std::thread([this] { Prepare(); });
    if (!ready_.empty()) {
      slab = ready_.back();
      ready_.pop_back();
    }
    if (ready_.size() < kReadyLeast) wake_.notify_one();
  }
  if (slab.memory != nullptr) return slab;
  // Of small pages, which cost as they are used, not all at once.
  slab.memory = Allocated(static_cast<char*>(std::malloc(kSlabBytes)));
  return slab;
}

void SlabPool::Give(Slab slab) {
  if (!slab.huge) {
    std::free(slab.memory);
    return;
  }
  std::lock_guard lock(mutex_);
  ready_.push_back(slab);
}

SlabPool::Slab SlabPool::Touched() {
  Slab slab;
  slab.huge = true;
  slab.memory = static_cast<char*>(std::aligned_alloc(kSlabBytes, kSlabBytes));
  if (slab.memory == nullptr) return slab;
  ::madvise(slab.memory, kSlabBytes, MADV_HUGEPAGE);  // where there are none it is only slower
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (size_t at = 0; at < kSlabBytes; at += page) *static_cast<volatile char*>(slab.memory + at) = 0;
  return slab;
}

void SlabPool::Prepare() {
  pthread_setname_np(pthread_self(), "hf-memory");
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || ready_.size() < kReadyLeast; });
    if (stopping_) return;
    lock.unlock();
    const Slab slab = Touched();
    lock.lock();
    if (slab.memory == nullptr) return;  // out of memory: Take() will say so
    ready_.push_back(slab);
  }
}

}  // namespace holdfast
