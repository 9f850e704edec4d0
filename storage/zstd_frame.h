// zstd, one frame at a time. The only wrapper of zstd.h. Objects keep their working memory between calls; one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

class ZstdCompressor {
 public:
  explicit ZstdCompressor(int level);  // clamped to what zstd knows
  ~ZstdCompressor();
  ZstdCompressor(const ZstdCompressor&) = delete;
  ZstdCompressor& operator=(const ZstdCompressor&) = delete;

  // Replaces `to` by one frame of `bytes`.
  void Compress(std::string_view bytes, std::string& to);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class ZstdDecompressor {
 public:
  ZstdDecompressor();
  ~ZstdDecompressor();
  ZstdDecompressor(const ZstdDecompressor&) = delete;
  ZstdDecompressor& operator=(const ZstdDecompressor&) = delete;

  // Replaces `to` by the content of `frame`, which must be exactly `raw_size` bytes (bounded by the caller: that much
  // is allocated). kCorruption otherwise.
  Result<void> Decompress(std::string_view frame, size_t raw_size, std::string& to);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
