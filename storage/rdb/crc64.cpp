#include "storage/rdb/crc64.h"

#include <array>
#include <cstddef>

#include "storage/base/coding.h"

namespace holdfast::rdb {
namespace {

constexpr uint64_t kReflectedPolynomial = 0x95ac9329ac4bc9b5;
constexpr size_t kSlices = 8;
using Tables = std::array<std::array<uint64_t, 256>, kSlices>;

// Slicing by eight: table k holds what a byte does to the checksum after k more zero bytes, so that eight bytes cost
// eight look-ups that do not wait for each other.
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint64_t byte = 0; byte < 256; ++byte) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ kReflectedPolynomial : crc >> 1;
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < kSlices; ++slice) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint64_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

uint64_t Crc64(std::string_view bytes, uint64_t crc) {
  while (bytes.size() >= kSlices) {
    crc ^= LoadLittle<uint64_t>(bytes.data());
    uint64_t next = 0;
    for (size_t i = 0; i < kSlices; ++i) next ^= kTables[kSlices - 1 - i][(crc >> (8 * i)) & 0xff];
    crc = next;
    bytes.remove_prefix(kSlices);
  }
  for (const char c : bytes) crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return crc;
}

}  // namespace holdfast::rdb
