// Contents of files in pages that are shared and never change: a state of a disk is made of the pages of the one before
// it, and compared by their hashes.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::faults {

inline constexpr uint64_t kPage = 4096;

struct Page {
  std::array<char, kPage> bytes;
  mutable uint64_t hash = 0;  // 0: not known yet
  uint64_t owner = 0;         // who may change it in place
};

// Memory of pages. Contents that take theirs from one pool end with it.
class PagePool {
 public:
  PagePool() = default;
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // A page like `old` (null: zeros) that `owner` may change.
  Page* Take(const Page* old, uint64_t owner);
  // All pages are free again.
  void Clear() { used_ = 0; }

 private:
  std::deque<Page> pages_;
  size_t used_ = 0;
};

// A file's bytes. Copies share pages; a copy is changed under another owner, and before the original is.
class Content {
 public:
  [[nodiscard]] uint64_t size() const { return size_; }
  void Resize(uint64_t size, PagePool& pool, uint64_t owner);
  // Grows the file where needed. Null data: zeros.
  void Store(uint64_t position, uint64_t size, const char* data, PagePool& pool, uint64_t owner);
  [[nodiscard]] uint64_t Hash() const;
  [[nodiscard]] std::string Bytes() const;
  // Calls `write(position, bytes)` for what is not zeros, in order.
  template <typename Write>
  void ForEachRun(Write write) const {
    for (size_t i = 0; i < pages_.size(); i++) {
      if (pages_[i] == nullptr) continue;
      const uint64_t position = i * kPage;
      const uint64_t size = size_ - position < kPage ? size_ - position : kPage;
      write(position, std::string_view(pages_[i]->bytes.data(), size));
    }
  }

 private:
  Page& Changeable(size_t index, PagePool& pool, uint64_t owner);

  uint64_t size_ = 0;
  std::vector<const Page*> pages_;  // null: zeros. Behind the size the last one is zero
};

}  // namespace holdfast::faults
