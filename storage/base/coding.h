// Fixed-width integers as bytes. Little-endian inside values and frames, big-endian inside row keys, where byte order
// must equal number order. Reader is for bytes from disk or network: it never reads past the end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace holdfast {

static_assert(std::endian::native == std::endian::little, "big-endian machines are not supported");

template <typename T>
inline void StoreLittle(void* to, T value) {
  static_assert(std::is_integral_v<T>);
  std::memcpy(to, &value, sizeof(T));
}

template <typename T>
[[nodiscard]] inline T LoadLittle(const void* from) {
  static_assert(std::is_integral_v<T>);
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
[[nodiscard]] constexpr T SwapBytes(T value) {
  static_assert(std::is_unsigned_v<T>);
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <typename T>
inline void StoreBig(void* to, T value) {
  StoreLittle(to, SwapBytes(value));
}

template <typename T>
[[nodiscard]] inline T LoadBig(const void* from) {
  return SwapBytes(LoadLittle<T>(from));
}

template <typename T>
inline void AppendLittle(std::string& to, T value) {
  char bytes[sizeof(T)];
  StoreLittle(bytes, value);
  to.append(bytes, sizeof(T));
}

template <typename T>
inline void AppendBig(std::string& to, T value) {
  char bytes[sizeof(T)];
  StoreBig(bytes, value);
  to.append(bytes, sizeof(T));
}

// Appends a 32-bit little-endian length and the bytes.
inline void AppendLengthPrefixed(std::string& to, std::string_view bytes) {
  AppendLittle<uint32_t>(to, static_cast<uint32_t>(bytes.size()));
  to.append(bytes);
}

// Takes values off the front of a byte range that it does not own. The first read past the end makes ok() false for
// good; values read from then on are zero or empty. Parse everything, check once.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Little() {
    if (!Has(sizeof(T))) return T{};
    T value = LoadLittle<T>(bytes_.data());
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  template <typename T>
  T Big() {
    if (!Has(sizeof(T))) return T{};
    T value = LoadBig<T>(bytes_.data());
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view Bytes(size_t count) {
    if (!Has(count)) return {};
    std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::string_view LengthPrefixed() { return Bytes(Little<uint32_t>()); }

  [[nodiscard]] bool ok() const { return ok_; }
  // True when everything was read and nothing was missing.
  [[nodiscard]] bool AtEnd() const { return ok_ && bytes_.empty(); }
  [[nodiscard]] std::string_view rest() const { return bytes_; }

 private:
  bool Has(size_t count) {
    if (bytes_.size() < count) {
      ok_ = false;
      bytes_ = {};
    }
    return ok_;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace holdfast
