// Memory for memtables, in pieces of one huge page, which memtables that go leave to those that come.
//
// Rows lie at places without order, so that each access to one costs a walk of page tables unless pages are huge. And
// the first touch of fresh memory costs the kernel's clearing of it, on a virtual machine the host's, too: 2 MB took up
// to 11 ms on one. So a thread of the pool's own touches memory before the executor gets it, and what has come back is
// kept.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace holdfast {

class SlabPool {
 public:
  static constexpr size_t kSlabBytes = size_t{2} << 20;

  SlabPool() = default;
  // All slabs have come back.
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  struct Slab {
    char* memory = nullptr;  // kSlabBytes, aligned to 16; contents undefined
    bool huge = false;       // touched, of huge pages where the system has them
  };
  // Never waits for memory to be touched. Any thread.
  [[nodiscard]] Slab Take();
  void Give(Slab slab);

 private:
  void Prepare();
  static Slab Touched();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Slab> ready_;  // guarded by mutex_
  bool stopping_ = false;    // guarded by mutex_
  std::thread thread_;       // guarded by mutex_; from the first Take() on
};

}  // namespace holdfast
