#include "storage/types/hyperloglog_value.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"

namespace holdfast {
namespace {

constexpr int kIndexBits = 14;
constexpr int kHashBits = 64 - kIndexBits;
constexpr uint8_t kRegisterMask = 63;
constexpr uint8_t kSparseValueMax = 32;
constexpr uint32_t kShortZerosMax = 64;
constexpr uint32_t kValueRunMax = 4;
constexpr uint32_t kHashSeed = 0xadc83b19;

Error DamagedError() { return {ErrorCode::kCorruption, "INVALIDOBJ Corrupted HLL object detected"}; }

// MurmurHash2, 64 bits, by Austin Appleby (public domain), little-endian.
uint64_t Murmur64A(std::string_view bytes, uint32_t seed) {
  constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995;
  constexpr int kShift = 47;
  uint64_t hash = seed ^ (bytes.size() * kMultiplier);
  while (bytes.size() >= 8) {
    uint64_t word = LoadLittle<uint64_t>(bytes.data()) * kMultiplier;
    word = (word ^ (word >> kShift)) * kMultiplier;
    hash = (hash ^ word) * kMultiplier;
    bytes.remove_prefix(8);
  }
  if (!bytes.empty()) {
    uint64_t word = 0;
    for (size_t i = 0; i < bytes.size(); ++i) word |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    hash = (hash ^ word) * kMultiplier;
  }
  hash = (hash ^ (hash >> kShift)) * kMultiplier;
  return hash ^ (hash >> kShift);
}

// ---- dense ----------------------------------------------------------------------------------------------------------

uint8_t ByteAt(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

uint8_t DenseRegister(std::string_view bytes, uint32_t index) {
  const size_t bit = size_t{index} * 6;
  const size_t at = HyperLogLog::kHeaderSize + bit / 8;
  unsigned pair = ByteAt(bytes, at);
  if (at + 1 < bytes.size()) pair |= static_cast<unsigned>(ByteAt(bytes, at + 1)) << 8;
  return static_cast<uint8_t>((pair >> (bit % 8)) & kRegisterMask);
}

void SetDenseRegister(std::string& bytes, uint32_t index, uint8_t value) {
  const size_t bit = size_t{index} * 6;
  const size_t at = HyperLogLog::kHeaderSize + bit / 8;
  const unsigned shift = bit % 8;
  const unsigned mask = static_cast<unsigned>(kRegisterMask) << shift;
  const unsigned placed = static_cast<unsigned>(value) << shift;
  bytes[at] = static_cast<char>((ByteAt(bytes, at) & ~mask) | placed);
  if (shift <= 2) return;
  bytes[at + 1] = static_cast<char>((ByteAt(bytes, at + 1) & ~(mask >> 8)) | (placed >> 8));
}

// ---- sparse ---------------------------------------------------------------------------------------------------------

struct Run {
  enum class Form { kZeros, kManyZeros, kValue };
  Form form = Form::kZeros;
  uint32_t registers = 0;
  uint8_t value = 0;
  size_t bytes = 1;
};

// nullopt if the second byte is missing.
std::optional<Run> RunAt(std::string_view bytes, size_t at) {
  const uint8_t first = ByteAt(bytes, at);
  if ((first & 0x80) != 0) {
    return Run{Run::Form::kValue, (first & 3u) + 1, static_cast<uint8_t>(((first >> 2) & 31) + 1), 1};
  }
  if ((first & 0x40) == 0) return Run{Run::Form::kZeros, (first & 63u) + 1, 0, 1};
  if (at + 1 >= bytes.size()) return std::nullopt;
  return Run{Run::Form::kManyZeros, ((first & 63u) << 8 | ByteAt(bytes, at + 1)) + 1, 0, 2};
}

void AppendZeros(std::string& to, uint32_t registers) {
  if (registers == 0) return;
  const uint32_t coded = registers - 1;
  if (registers > kShortZerosMax) {
    to += static_cast<char>(0x40 | coded >> 8);
    to += static_cast<char>(coded & 0xff);
  } else {
    to += static_cast<char>(coded);
  }
}

char ValueRun(uint8_t value, uint32_t registers) {
  return static_cast<char>(0x80u | (value - 1u) << 2 | (registers - 1));
}

void AppendValues(std::string& to, uint8_t value, uint32_t registers) {
  if (registers > 0) to += ValueRun(value, registers);
}

// Calls `visit(run, index of its first register)`; all runs together must be all registers.
template <typename Visit>
Result<void> VisitRuns(std::string_view bytes, const Visit& visit) {
  uint32_t index = 0;
  for (size_t at = HyperLogLog::kHeaderSize; at < bytes.size();) {
    const auto run = RunAt(bytes, at);
    if (!run || index + run->registers > HyperLogLog::kRegisters) return DamagedError();
    visit(*run, index);
    index += run->registers;
    at += run->bytes;
  }
  if (index != HyperLogLog::kRegisters) return DamagedError();
  return {};
}

// ---- estimate -------------------------------------------------------------------------------------------------------

using Histogram = std::array<uint32_t, 64>;  // how many registers have a value

double Sigma(double x) {
  if (x == 1) return std::numeric_limits<double>::infinity();
  double y = 1;
  double z = x;
  double before;
  do {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  } while (before != z);
  return z;
}

double Tau(double x) {
  if (x == 0 || x == 1) return 0;
  double y = 1;
  double z = 1 - x;
  double before;
  do {
    x = std::sqrt(x);
    before = z;
    y *= 0.5;
    z -= std::pow(1 - x, 2) * y;
  } while (before != z);
  return z / 3;
}

uint64_t EstimateOf(const Histogram& histogram) {
  constexpr double kAlpha = 0.721347520444481703680;  // 1 / (2 ln 2)
  constexpr double kCount = HyperLogLog::kRegisters;
  double z = kCount * Tau((kCount - histogram[kHashBits + 1]) / kCount);
  for (size_t value = kHashBits; value >= 1; --value) {
    z += histogram[value];
    z *= 0.5;
  }
  z += kCount * Sigma(histogram[0] / kCount);
  return static_cast<uint64_t>(std::llroundl(kAlpha * kCount * kCount / z));
}

Result<Histogram> HistogramOf(std::string_view bytes) {
  Histogram histogram{};
  if (HyperLogLog::IsDense(bytes)) {
    for (size_t at = HyperLogLog::kHeaderSize; at < bytes.size(); at += 3) {  // four registers
      const unsigned three = ByteAt(bytes, at) | static_cast<unsigned>(ByteAt(bytes, at + 1)) << 8 |
                             static_cast<unsigned>(ByteAt(bytes, at + 2)) << 16;
      ++histogram[three & kRegisterMask];
      ++histogram[(three >> 6) & kRegisterMask];
      ++histogram[(three >> 12) & kRegisterMask];
      ++histogram[three >> 18];
    }
    return histogram;
  }
  RETURN_IF_ERROR(VisitRuns(bytes, [&](const Run& run, uint32_t) { histogram[run.value] += run.registers; }));
  return histogram;
}

}  // namespace

HyperLogLog::Place HyperLogLog::PlaceOf(std::string_view element) {
  const uint64_t hash = Murmur64A(element, kHashSeed);
  const uint64_t rest = hash >> kIndexBits | uint64_t{1} << kHashBits;
  return {static_cast<uint32_t>(hash & (kRegisters - 1)), static_cast<uint8_t>(std::countr_zero(rest) + 1)};
}

Result<void> HyperLogLog::Check(std::string_view bytes) {
  const bool header = bytes.size() >= kHeaderSize && bytes.substr(0, 4) == "HYLL" && ByteAt(bytes, 4) <= 1;
  if (header && (!IsDense(bytes) || bytes.size() == kDenseSize)) return {};
  return Error{ErrorCode::kWrongType, "Key is not a valid HyperLogLog string value."};
}

Result<void> HyperLogLog::RaiseTo(std::string_view bytes, Registers& registers) {
  const auto raise = [&registers](uint32_t index, uint8_t value) {
    if (value > registers[index]) registers[index] = value;
  };
  if (!IsDense(bytes)) {
    return VisitRuns(bytes, [&raise](const Run& run, uint32_t first) {
      if (run.value == 0) return;
      for (uint32_t i = 0; i < run.registers; ++i) raise(first + i, run.value);
    });
  }
  for (uint32_t index = 0; index < kRegisters; ++index) raise(index, DenseRegister(bytes, index));
  return {};
}

Result<uint64_t> HyperLogLog::Count(std::string_view bytes) {
  const auto remembered = LoadLittle<uint64_t>(bytes.data() + 8);
  if (remembered >> 63 == 0) return remembered;
  ASSIGN_OR_RETURN(const Histogram histogram, HistogramOf(bytes));
  return EstimateOf(histogram);
}

uint64_t HyperLogLog::Estimate(const Registers& registers) {
  Histogram histogram{};
  for (const uint8_t value : registers) ++histogram[value];
  return EstimateOf(histogram);
}

std::string HyperLogLog::Describe(std::string_view bytes) {
  std::string text;
  for (size_t at = kHeaderSize; at < bytes.size();) {
    const auto run = RunAt(bytes, at);
    if (!run) break;
    if (!text.empty()) text += ' ';
    if (run->form == Run::Form::kValue) {
      text += "v:" + std::to_string(run->value) + ',';
    } else {
      text += run->form == Run::Form::kZeros ? "z:" : "Z:";
    }
    text += std::to_string(run->registers);
    at += run->bytes;
  }
  return text;
}

HyperLogLog::HyperLogLog() {
  bytes_.assign(kHeaderSize, '\0');
  bytes_.replace(0, 4, "HYLL");
  bytes_[4] = 1;
  AppendZeros(bytes_, kRegisters);
}

void HyperLogLog::RememberCount(uint64_t count) { StoreLittle<uint64_t>(bytes_.data() + 8, count); }

Result<bool> HyperLogLog::Raise(Place place, uint64_t sparse_max) {
  if (!dense() && place.value > kSparseValueMax) RETURN_IF_ERROR(MakeDense());
  if (!dense()) return RaiseSparse(place, sparse_max);
  if (DenseRegister(bytes_, place.index) >= place.value) return false;
  SetDenseRegister(bytes_, place.index, place.value);
  ForgetCount();
  return true;
}

Result<void> HyperLogLog::MakeDense() {
  if (dense()) return {};
  std::string made = bytes_.substr(0, kHeaderSize);
  made[4] = 0;
  made.resize(kDenseSize, '\0');
  RETURN_IF_ERROR(VisitRuns(bytes_, [&made](const Run& run, uint32_t first) {
    if (run.value == 0) return;
    for (uint32_t i = 0; i < run.registers; ++i) SetDenseRegister(made, first + i, run.value);
  }));
  bytes_ = std::move(made);
  return {};
}

// The run that holds the register is split into what was before it, itself, and what was behind it.
Result<bool> HyperLogLog::RaiseSparse(Place place, uint64_t sparse_max) {
  size_t at = kHeaderSize;
  size_t before = kHeaderSize;  // the run in front of it
  uint32_t first = 0;
  Run run;
  while (true) {
    if (at >= bytes_.size()) return DamagedError();
    const auto found = RunAt(bytes_, at);
    if (!found) return DamagedError();
    run = *found;
    if (place.index < first + run.registers) break;
    before = at;
    at += run.bytes;
    first += run.registers;
  }
  if (run.value >= place.value) return false;
  const uint32_t in_front = place.index - first;
  const uint32_t behind = run.registers - in_front - 1;
  std::string parts;
  if (run.form == Run::Form::kValue) {
    AppendValues(parts, run.value, in_front);
    AppendValues(parts, place.value, 1);
    AppendValues(parts, run.value, behind);
  } else {
    AppendZeros(parts, in_front);
    AppendValues(parts, place.value, 1);
    AppendZeros(parts, behind);
  }
  if (parts.size() > run.bytes) {
    const size_t grown = bytes_.size() + parts.size() - run.bytes;
    if (grown > std::min(sparse_max, kSparseMaxOfEffects)) outgrew_sparse_ = true;
    if (grown > sparse_max) {
      RETURN_IF_ERROR(MakeDense());
      return Raise(place, sparse_max);
    }
  }
  bytes_.replace(at, run.bytes, parts);
  JoinRunsFrom(before);
  ForgetCount();
  return true;
}

// Joins neighbours of equal value. Looks at five runs, as Redis does: further ones have not changed.
void HyperLogLog::JoinRunsFrom(size_t at) {
  for (int looks = 5; looks > 0 && at < bytes_.size(); --looks) {
    const auto run = RunAt(bytes_, at);
    if (!run) return;
    const auto next = at + run->bytes < bytes_.size() ? RunAt(bytes_, at + run->bytes) : std::nullopt;
    const bool joins = run->form == Run::Form::kValue && next && next->form == Run::Form::kValue &&
                       next->value == run->value && run->registers + next->registers <= kValueRunMax;
    if (joins) {
      bytes_.replace(at, 2, 1, ValueRun(run->value, run->registers + next->registers));
    } else {
      at += run->bytes;
    }
  }
}

}  // namespace holdfast
