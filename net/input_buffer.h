// A growable byte buffer for what a client has sent and nobody has run yet. Grows by realloc, never zeroes, and gives
// its memory back when it is empty.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "storage/base/check.h"
#include "storage/base/out_of_memory.h"

namespace holdfast::net {

class InputBuffer {
 public:
  InputBuffer() = default;
  ~InputBuffer() { std::free(data_); }
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  [[nodiscard]] std::string_view view() const { return {data_ + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] size_t size() const { return end_ - begin_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }

  // Room for `count` more bytes behind the content; the content may move. Grows by exactly that: callers ask for
  // amounts in proportion to size(), so that copying stays linear.
  char* Prepare(size_t count) {
    if (capacity_ - end_ < count) Grow(count);
    return data_ + end_;
  }
  [[nodiscard]] size_t room() const { return capacity_ - end_; }
  void Commit(size_t count) { end_ += count; }
  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(Prepare(bytes.size()), bytes.data(), bytes.size());
    Commit(bytes.size());
  }
  void Consume(size_t count) {
    CHECK(count <= size());
    begin_ += count;
    if (begin_ == end_) Release();
  }
  void Release() {
    std::free(data_);
    data_ = nullptr;
    begin_ = end_ = capacity_ = 0;
  }

 private:
  void Grow(size_t count) {
    if (begin_ > 0) {
      std::memmove(data_, data_ + begin_, size());
      end_ -= begin_;
      begin_ = 0;
      if (capacity_ - end_ >= count) return;
    }
    size_t wanted = end_ + count;
    data_ = Allocated(static_cast<char*>(std::realloc(data_, wanted)));
    capacity_ = wanted;
  }

  char* data_ = nullptr;
  size_t begin_ = 0, end_ = 0, capacity_ = 0;
};

}  // namespace holdfast::net
