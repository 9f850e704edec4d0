// The bytes of an RDB file or payload being written: numbers, lengths and strings, in chunks to a sink. Counts position
// and checksum. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/coding.h"
#include "storage/base/result.h"
#include "storage/rdb/byte_stream.h"

namespace holdfast::rdb {

class Output {
 public:
  // `compress`: strings that get smaller by it are written as LZF. `sink` outlives the output.
  Output(ByteSink& sink, bool compress) : sink_(sink), compress_(compress) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Of the next byte.
  [[nodiscard]] uint64_t position() const { return flushed_ + buffer_.size(); }
  // Checksum of everything written so far.
  [[nodiscard]] uint64_t Checksum();

  Result<void> Bytes(std::string_view bytes);
  Result<void> Byte(uint8_t byte);
  template <typename T>
  Result<void> Little(T value) {
    char bytes[sizeof(T)];
    StoreLittle<T>(bytes, value);
    return Bytes({bytes, sizeof(T)});
  }
  Result<void> Length(uint64_t value);
  // As an integer if it is the text of one that fits 32 bits, compressed, or as it is.
  Result<void> String(std::string_view bytes);
  // Gives everything to the sink.
  Result<void> Flush();

 private:
  ByteSink& sink_;
  const bool compress_;
  std::string buffer_;
  size_t summed_ = 0;  // bytes of the buffer that are in the checksum
  uint64_t flushed_ = 0;
  uint64_t checksum_ = 0;
  std::string compressed_;
};

}  // namespace holdfast::rdb
