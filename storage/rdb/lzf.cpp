#include "storage/rdb/lzf.h"

#include <liblzf/lzf.h>

#include <limits>

#include "storage/base/check.h"

namespace holdfast::rdb {

bool LzfCompress(std::string_view bytes, std::string& to) {
  constexpr size_t kGain = 4;
  if (bytes.size() <= kGain || bytes.size() > std::numeric_limits<unsigned>::max()) return false;
  to.resize(bytes.size() - kGain);
  const unsigned size =
      lzf_compress(bytes.data(), static_cast<unsigned>(bytes.size()), to.data(), static_cast<unsigned>(to.size()));
  to.resize(size);
  return size != 0;
}

Result<void> LzfDecompress(std::string_view bytes, size_t raw_size, std::string& to) {
  CHECK(raw_size <= LzfRawMax(bytes.size()));
  if (raw_size == 0 || raw_size > std::numeric_limits<unsigned>::max()) {
    return Error{ErrorCode::kCorruption, "a compressed string of " + std::to_string(raw_size) + " bytes"};
  }
  to.resize(raw_size);
  const unsigned size =
      lzf_decompress(bytes.data(), static_cast<unsigned>(bytes.size()), to.data(), static_cast<unsigned>(raw_size));
  if (size == raw_size) return {};
  to.clear();
  return Error{ErrorCode::kCorruption, "compressed bytes that are no LZF of " + std::to_string(raw_size) + " bytes"};
}

}  // namespace holdfast::rdb
