// A HyperLogLog as the bytes of a string, exactly as Redis keeps it: what PFADD makes there, it makes here, byte by
// byte, apart from the remembered count.
//
//   "HYLL" | encoding u8: 0 dense, 1 sparse | 3 bytes unused | count u64 LE | registers
//
// The count is that of the last PFCOUNT in Redis; bit 63 says that it is out of date. Nothing here ever writes a count,
// because reads do not write; one that a Redis wrote is believed as long as it is not out of date.
//
// There are 16384 registers of 6 bits. Dense: one behind the other from the lowest bit up, 12288 bytes. Sparse: runs,
//   00nnnnnn           n + 1 registers of 0
//   01nnnnnn nnnnnnnn  n + 1 registers of 0 (n big-endian)
//   1vvvvvnn           n + 1 registers of v + 1
// An element is hashed with MurmurHash2 (64A, seed 0xadc83b19): the low 14 bits name the register, which is raised to
// one more than the number of zeros that follow, at most 51. The estimate is Ertl's (arXiv:1702.01284).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

class HyperLogLog {
 public:
  static constexpr size_t kRegisters = 16384;
  static constexpr size_t kHeaderSize = 16;
  static constexpr size_t kDenseSize = kHeaderSize + kRegisters * 6 / 8;
  // Every run is of at least one register and two bytes at most: nothing longer can be sound.
  static constexpr size_t kSizeMax = kHeaderSize + 2 * kRegisters;
  // hll-sparse-max-bytes of a Redis that nobody configured, and the limit of every effect: see hyperloglogs.h.
  static constexpr uint64_t kSparseMaxOfEffects = 3000;
  using Registers = std::array<uint8_t, kRegisters>;

  // Where an element belongs, and what its register must have at least.
  struct Place {
    uint32_t index = 0;
    uint8_t value = 0;
  };
  [[nodiscard]] static Place PlaceOf(std::string_view element);

  // Whether bytes are a HyperLogLog by their header and length: kWrongType with Redis' text if not.
  static Result<void> Check(std::string_view bytes);

  // Of bytes that passed Check(); views them.
  [[nodiscard]] static bool IsDense(std::string_view bytes) { return bytes[4] == 0; }
  // kCorruption "INVALIDOBJ ..." if the runs are not those of 16384 registers.
  static Result<void> RaiseTo(std::string_view bytes, Registers& registers);
  // The remembered count if it is up to date, else the estimate.
  static Result<uint64_t> Count(std::string_view bytes);
  [[nodiscard]] static uint64_t Estimate(const Registers& registers);
  // "z:3 Z:16000 v:2,1 ...": the runs of a sparse one, sound or not, as PFDEBUG DECODE prints them.
  [[nodiscard]] static std::string Describe(std::string_view bytes);

  // An empty one, sparse.
  HyperLogLog();
  // Takes bytes that passed Check().
  explicit HyperLogLog(std::string bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] bool dense() const { return IsDense(bytes_); }

  // Raises a register; whether that changed it. A sparse one that would grow beyond `sparse_max` bytes, header
  // included, or whose register gets a value above 32, becomes dense.
  Result<bool> Raise(Place place, uint64_t sparse_max);
  Result<void> MakeDense();
  void ForgetCount() { bytes_[15] = static_cast<char>(static_cast<uint8_t>(bytes_[15]) | 0x80); }
  // For effects of a Redis master alone.
  void RememberCount(uint64_t count);
  // Whether it was raised to what `sparse_max` or kSparseMaxOfEffects do not let be sparse.
  [[nodiscard]] bool outgrew_sparse() const { return outgrew_sparse_; }

 private:
  Result<bool> RaiseSparse(Place place, uint64_t sparse_max);
  void JoinRunsFrom(size_t at);

  std::string bytes_;
  bool outgrew_sparse_ = false;
};

}  // namespace holdfast
