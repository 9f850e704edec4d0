// Packed collections of old Redis versions, which the product reads but never writes, built from the descriptions at
// the head of ziplist.c and zipmap.c. By hand, not by the code under test.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/coding.h"
#include "storage/types/numbers.h"

namespace holdfast::testing {

inline std::string ZiplistEntry(std::string_view element) {
  std::string bytes;
  const auto number = ParseInteger(element);
  if (number && *number >= 0 && *number <= 12) {
    bytes += static_cast<char>(0xf1 + *number);
  } else if (number && *number >= INT8_MIN && *number <= INT8_MAX) {
    bytes += '\xfe';
    AppendLittle<int8_t>(bytes, static_cast<int8_t>(*number));
  } else if (number && *number >= INT16_MIN && *number <= INT16_MAX) {
    bytes += '\xc0';
    AppendLittle<int16_t>(bytes, static_cast<int16_t>(*number));
  } else if (number && *number >= -(1 << 23) && *number < (1 << 23)) {
    bytes += '\xf0';
    AppendLittle<int32_t>(bytes, static_cast<int32_t>(*number));
    bytes.pop_back();
  } else if (number && *number >= INT32_MIN && *number <= INT32_MAX) {
    bytes += '\xd0';
    AppendLittle<int32_t>(bytes, static_cast<int32_t>(*number));
  } else if (number) {
    bytes += '\xe0';
    AppendLittle<int64_t>(bytes, *number);
  } else if (element.size() < 64) {
    bytes += static_cast<char>(element.size());
    bytes += element;
  } else if (element.size() < 16384) {
    AppendBig<uint16_t>(bytes, static_cast<uint16_t>(0x4000 | element.size()));
    bytes += element;
  } else {
    bytes += '\x80';
    AppendBig<uint32_t>(bytes, static_cast<uint32_t>(element.size()));
    bytes += element;
  }
  return bytes;
}

inline std::string MakeZiplist(const std::vector<std::string>& elements) {
  std::string bytes(10, '\0');
  size_t last = bytes.size(), previous = 0;
  for (const std::string& element : elements) {
    last = bytes.size();
    if (previous < 254) {
      bytes += static_cast<char>(previous);
    } else {
      bytes += '\xfe';
      AppendLittle<uint32_t>(bytes, static_cast<uint32_t>(previous));
    }
    bytes += ZiplistEntry(element);
    previous = bytes.size() - last;
  }
  bytes += '\xff';
  StoreLittle<uint32_t>(bytes.data(), static_cast<uint32_t>(bytes.size()));
  StoreLittle<uint32_t>(bytes.data() + 4, static_cast<uint32_t>(last));
  StoreLittle<uint16_t>(bytes.data() + 8, static_cast<uint16_t>(elements.size()));
  return bytes;
}

inline std::string MakeZipmap(const std::vector<std::pair<std::string, std::string>>& fields) {
  auto length = [](size_t size) {
    std::string bytes(1, static_cast<char>(size < 254 ? size : 254));
    if (size >= 254) AppendLittle<uint32_t>(bytes, static_cast<uint32_t>(size));
    return bytes;
  };
  std::string bytes(1, static_cast<char>(fields.size()));
  for (const auto& [field, value] : fields) {
    bytes += length(field.size()) + field + length(value.size()) + '\0' + value;
  }
  return bytes + '\xff';
}

}  // namespace holdfast::testing
