// The checksum of RDB files and DUMP payloads: CRC-64 with the Jones polynomial 0xad93d23594c935a9, reflected in and
// out, initial value 0, no final inversion. Crc64("123456789") is 0xe9c6d914c4b8d9ca.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::rdb {

// Of `bytes` after bytes whose checksum is `crc`.
[[nodiscard]] uint64_t Crc64(std::string_view bytes, uint64_t crc = 0);

}  // namespace holdfast::rdb
