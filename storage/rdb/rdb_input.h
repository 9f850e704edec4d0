// The bytes of an RDB file or payload, read from the front: numbers, lengths and strings. Counts position and checksum.
// Hostile lengths cost nothing: memory grows with the bytes that are really there. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/coding.h"
#include "storage/base/result.h"
#include "storage/rdb/byte_stream.h"

namespace holdfast::rdb {

// The longest string that is ever held as a whole: an element, or a packed collection. Redis' own limit for elements is
// 512 MB unless it was configured otherwise.
inline constexpr uint64_t kWholeStringMax = 1ull << 30;

class Input {
 public:
  // `source` outlives the input.
  explicit Input(ByteSource& source);
  // Bytes in memory, which outlive the input.
  explicit Input(std::string_view bytes) : window_(bytes) {}
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // Of the next byte.
  [[nodiscard]] uint64_t position() const { return window_start_ + at_; }
  // Checksum of everything read so far.
  [[nodiscard]] uint64_t Checksum();
  // From here on Checksum() is not needed any more.
  void StopChecksum() { checksum_wanted_ = false; }

  Result<uint8_t> Byte();
  // Exactly `size` bytes.
  Result<void> Bytes(char* to, size_t size);
  template <typename T>
  Result<T> Little() {
    char bytes[sizeof(T)];
    RETURN_IF_ERROR(Bytes(bytes, sizeof(T)));
    return LoadLittle<T>(bytes);
  }
  // A length or other count; kCorruption if it is one of the encodings of strings.
  Result<uint64_t> Length();
  Result<double> Double();      // 8 bytes
  Result<double> TextDouble();  // scores of old versions; may be NaN

  // A string as a whole. Integers come as text, compressed strings as what they were.
  Result<void> String(std::string& to);
  // A string in pieces of at most kPieceSize, after `begin` was told its length. Only a compressed one is ever in
  // memory as a whole.
  static constexpr size_t kPieceSize = 64 * 1024;
  using PieceVisitor = std::function<Result<void>(std::string_view piece)>;
  Result<void> StringPieces(const std::function<Result<void>(uint64_t length)>& begin, const PieceVisitor& piece);
  Result<void> SkipString();
  Result<void> Skip(uint64_t size);
  // Whether nothing follows.
  Result<bool> AtEnd();

  // kCorruption with the position in front.
  [[nodiscard]] Error Damage(const std::string& what) const { return DamageAt(position(), what); }
  [[nodiscard]] static Error DamageAt(uint64_t position, const std::string& what);

 private:
  struct StringHead {
    bool encoded = false;
    uint64_t value = 0;  // length, or which encoding
  };
  Result<StringHead> Head();
  Result<void> Encoded(uint64_t encoding, std::string& to);
  Result<void> Compressed(std::string& to);
  Result<void> Whole(uint64_t size, std::string& to);
  // Makes bytes available behind the window's end; false at the end of everything.
  Result<bool> Refill();

  ByteSource* source_ = nullptr;
  std::unique_ptr<char[]> buffer_;
  std::string_view window_;    // bytes at hand
  size_t at_ = 0;              // in the window
  size_t summed_ = 0;          // bytes of the window that are in the checksum
  uint64_t window_start_ = 0;  // position of the window
  uint64_t checksum_ = 0;
  bool checksum_wanted_ = true;
  std::string compressed_;
};

}  // namespace holdfast::rdb
