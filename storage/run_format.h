// The bytes of run files that writer and reader share. docs/formats-store.md "Run files".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::run_format {

inline constexpr std::string_view kMagic = "HFRUN\r\n\x1a";
inline constexpr std::string_view kEndMagic = "HFRUNEND";
inline constexpr std::string_view kIndexMagic = "HFRUNIDX";
inline constexpr uint32_t kRunVersion = 2;          // 1 had no index
inline constexpr size_t kPrefixSize = 8 + 4 + 4;    // magic, version, header size
inline constexpr size_t kBlockHeader = 4 + 4 + 8;   // payload size, rows, checksum
inline constexpr size_t kFooterSize = 8 + 8 + 8;    // rows, checksum of checksums, end magic
inline constexpr size_t kTailSize = 4 + 4 + 8 + 8;  // blocks, bytes of their entries, checksum, magic
inline constexpr uint8_t kFlagTombstone = 1;

[[nodiscard]] inline uint64_t ChainChecksum(uint64_t chain, uint64_t checksum) {
  char bytes[8];
  StoreLittle<uint64_t>(bytes, checksum);
  return Checksum64(std::string_view(bytes, sizeof(bytes)), chain);
}

// Where a block begins, and with which row.
inline void AppendIndexEntry(std::string& index, uint64_t position, std::string_view row_key) {
  AppendLittle<uint64_t>(index, position);
  AppendLittle<uint16_t>(index, static_cast<uint16_t>(row_key.size()));
  index += row_key;
}

// The entries and what follows them up to the end of the file. `seed`: the checksum of the header.
[[nodiscard]] inline std::string SealIndex(std::string entries, uint32_t blocks, uint64_t seed) {
  const auto size = static_cast<uint32_t>(entries.size());
  AppendLittle<uint32_t>(entries, blocks);
  AppendLittle<uint32_t>(entries, size);
  AppendLittle<uint64_t>(entries, Checksum64(entries, seed));
  entries += kIndexMagic;
  return entries;
}

}  // namespace holdfast::run_format
