// Any bytes as a HyperLogLog: refused, or read and raised without stepping outside; its dense form counts the same and
// a register raised is there.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/check.h"
#include "storage/types/hyperloglog_value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::HyperLogLog;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  // The first bytes choose the register to raise; a header saves the fuzzer guessing it.
  HyperLogLog::Place place{0, 1};
  if (size > 3) {
    place.index = (uint32_t{data[0]} << 8 | data[1]) % uint32_t{HyperLogLog::kRegisters};
    place.value = static_cast<uint8_t>(1 + data[2] % 51);
  }
  if (size > 20 && (data[3] & 1) != 0) bytes.replace(0, 5, std::string_view("HYLL\x01", 5));
  if (!HyperLogLog::Check(bytes).ok()) return 0;
  auto before = std::make_unique<HyperLogLog::Registers>();
  const bool sound = HyperLogLog::RaiseTo(bytes, *before).ok();
  (void)HyperLogLog::Count(bytes);
  if (!HyperLogLog::IsDense(bytes)) CHECK(HyperLogLog::Describe(bytes).size() >= (sound ? 7 : 0));
  HyperLogLog value(bytes);
  const auto raised = value.Raise(place, 3000);
  if (!sound) return 0;
  CHECK(raised.ok());
  CHECK(*raised == ((*before)[place.index] < place.value));
  (*before)[place.index] = std::max((*before)[place.index], place.value);
  auto after = std::make_unique<HyperLogLog::Registers>();
  CHECK(HyperLogLog::RaiseTo(value.bytes(), *after).ok());
  CHECK(*after == *before);
  CHECK(value.MakeDense().ok());
  auto dense = std::make_unique<HyperLogLog::Registers>();
  CHECK(HyperLogLog::RaiseTo(value.bytes(), *dense).ok());
  CHECK(*dense == *before);
  return 0;
}
