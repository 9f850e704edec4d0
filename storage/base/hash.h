// Hashes and checksums. The only wrapper of xxhash.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

// Checksum of bytes in files and on the wire: XXH3-64 with seed 0.
[[nodiscard]] uint64_t Checksum64(std::string_view bytes);

// Checksum of bytes continued from an earlier value: XXH3-64 with `seed`. For a checksum over several parts.
[[nodiscard]] uint64_t Checksum64(std::string_view bytes, uint64_t seed);

// The row hash: XXH3-64 with the published seed kRowHashSeed; hash 0 is mapped to 1, so that SCAN's cursor 0 is both
// start and end. Part of the disk format and of SCAN's cursors: never changes.
inline constexpr uint64_t kRowHashSeed = 0x486f6c6466617374;  // "Holdfast"
[[nodiscard]] uint64_t RowHash(std::string_view bytes);

// 128-bit digest (XXH3-128, seed kRowHashSeed) of a key too long for a row key; big-endian canonical form.
[[nodiscard]] std::array<unsigned char, 16> RowDigest(std::string_view bytes);

// Streaming XXH64 (seed 0) over the replication stream: the history digest. An own implementation of the published
// algorithm (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), because its state is part of our formats
// and the library's struct is not a format. Copyable; 32 bytes buffered at most.
class HistoryDigest {
 public:
  // Serialized form: total length u64, four lanes u64, buffered bytes (32, unused ones zero); little-endian.
  static constexpr size_t kSerializedSize = 8 + 4 * 8 + 32;

  HistoryDigest() { Reset(); }
  void Reset();
  void Update(std::string_view bytes);
  // The digest of everything so far. Does not change the state.
  [[nodiscard]] uint64_t Value() const;
  // Bytes digested since the base.
  [[nodiscard]] uint64_t total_length() const { return total_length_; }

  void AppendTo(std::string& to) const;
  [[nodiscard]] static Result<HistoryDigest> Parse(std::string_view bytes);

  friend bool operator==(const HistoryDigest&, const HistoryDigest&) = default;

 private:
  void ConsumeStripe(const char* stripe);

  uint64_t total_length_ = 0;
  std::array<uint64_t, 4> lanes_{};
  std::array<char, 32> buffer_{};  // the last total_length_ % 32 bytes; the rest is zero
};

}  // namespace holdfast
