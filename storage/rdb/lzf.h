// LZF, the compression of strings in RDB files. The only wrapper of liblzf.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast::rdb {

// True if `to` holds the compressed bytes, which are then at least four fewer than `bytes`, as Redis wants them.
bool LzfCompress(std::string_view bytes, std::string& to);

// The most bytes that `compressed` bytes can stand for: a reference of three bytes copies up to 264.
[[nodiscard]] constexpr uint64_t LzfRawMax(uint64_t compressed) { return compressed * 88; }

// `raw_size`: what the bytes must become, at most LzfRawMax(bytes.size()). kCorruption if they do not.
Result<void> LzfDecompress(std::string_view bytes, size_t raw_size, std::string& to);

}  // namespace holdfast::rdb
