// Zeroed memory for a large table that is looked into at random. It costs nothing until it is touched, and comes in
// huge pages where the system has them: with small ones each look would be a miss of the TLB, too, for which
// processors drop prefetches.
#pragma once

#include <cstddef>

namespace holdfast {

class ZeroedMemory {
 public:
  ZeroedMemory() = default;
  // No bytes: none. What happens when there is no memory: storage/base/out_of_memory.h.
  explicit ZeroedMemory(size_t bytes);
  ~ZeroedMemory();
  ZeroedMemory(ZeroedMemory&& other) noexcept;
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace holdfast
