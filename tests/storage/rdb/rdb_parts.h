// Pieces of RDB files by hand, from Redis' description of the format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/coding.h"
#include "storage/rdb/packed.h"

namespace holdfast::testing {

// A string with its length, in 6, 14 or 32 bits.
inline std::string Str(std::string_view bytes) {
  std::string coded;
  if (bytes.size() < 64) {
    coded += static_cast<char>(bytes.size());
  } else if (bytes.size() < (1 << 14)) {
    coded += static_cast<char>(0x40 | bytes.size() >> 8);
    coded += static_cast<char>(bytes.size() & 0xff);
  } else {
    coded += '\x80';
    AppendBig<uint32_t>(coded, static_cast<uint32_t>(bytes.size()));
  }
  return coded += bytes;
}

inline std::string Key(int type, std::string_view name) { return std::string(1, static_cast<char>(type)) + Str(name); }

inline std::string Listpack(const std::vector<std::string>& elements) {
  rdb::ListpackBuilder builder;
  for (const std::string& element : elements) builder.Append(element);
  return builder.Finish();
}

}  // namespace holdfast::testing
