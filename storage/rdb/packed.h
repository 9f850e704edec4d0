// Collections that Redis keeps, and saves, as one block of bytes: ziplist, zipmap, listpack, intset. Cursors walk over
// their elements and check every byte on the way; the builder makes listpacks. Pure.
//
//   ziplist   bytes u32 | last entry u32 | count u16 (65535: unknown) | entry ... | 0xff             little-endian
//     entry   length of the entry before: u8, or 0xfe u32 | encoding | bytes
//   listpack  bytes u32 | count u16 (65535: unknown) | entry ... | 0xff
//     entry   encoding | bytes | length of both, seven bits a byte, to be read backwards
//   zipmap    count u8 (254 and more: unknown) | { length field length free:u8 value free bytes } ... | 0xff
//     length  u8, or 0xfe u32
//   intset    bytes a number u32 (2, 4, 8) | count u32 | numbers, ascending
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace holdfast::rdb {

enum class PackedKind { kZiplist, kListpack, kZipmap, kIntset };

class PackedCursor {
 public:
  virtual ~PackedCursor() = default;
  // The next element as text, numbers too; false at the end, when all that can be said about the whole was found to be
  // right. Zipmaps give field and value by turns. kCorruption names the byte in the block. The view lives until the
  // next call.
  virtual Result<bool> Next(std::string_view& element) = 0;
};

// `bytes` outlive the cursor. kCorruption if they cannot be such a collection.
Result<std::unique_ptr<PackedCursor>> OpenPacked(PackedKind kind, std::string_view bytes);

class ListpackBuilder {
 public:
  ListpackBuilder();
  // What is the text of an integer is kept as one.
  void Append(std::string_view element);
  void AppendInteger(int64_t value);
  [[nodiscard]] uint64_t count() const { return count_; }
  // Bytes that Finish() would return.
  [[nodiscard]] size_t size() const { return bytes_.size() + 1; }
  // The block; the builder is empty afterwards.
  [[nodiscard]] std::string Finish();
  // The most bytes that an element of `size` bytes can take.
  [[nodiscard]] static constexpr size_t RoomFor(size_t size) { return size + 10; }

 private:
  void AppendEntry(std::string_view head, std::string_view bytes);

  std::string bytes_;
  uint64_t count_ = 0;
};

// Numbers in ascending order, none twice.
[[nodiscard]] std::string BuildIntset(const std::vector<int64_t>& numbers);

}  // namespace holdfast::rdb
