#include "storage/base/zeroed_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace holdfast {
namespace {

TEST(ZeroedMemoryTest, IsZeroAndMayBeWrittenUpToItsEnd) {
  for (const size_t bytes : {size_t{64}, size_t{4096}, size_t{2} << 20, (size_t{2} << 20) + 64, size_t{8} << 20}) {
    ZeroedMemory memory(bytes);
    ASSERT_EQ(memory.bytes(), bytes);
    auto* at = static_cast<char*>(memory.data());
    if (bytes % (size_t{2} << 20) == 0) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % (size_t{2} << 20), 0u);
    }
    EXPECT_EQ(at[0], 0);
    EXPECT_EQ(at[bytes - 1], 0);
    at[0] = at[bytes - 1] = 1;
  }
}

TEST(ZeroedMemoryTest, MovesAndMayBeNone) {
  ZeroedMemory none;
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_EQ(ZeroedMemory(0).data(), nullptr);
  ZeroedMemory some(100);
  void* data = some.data();
  ZeroedMemory moved(std::move(some));
  EXPECT_EQ(moved.data(), data);
  none = std::move(moved);
  EXPECT_EQ(none.data(), data);
  EXPECT_EQ(none.bytes(), 100u);
  none = {};
  EXPECT_EQ(none.bytes(), 0u);
}

}  // namespace
}  // namespace holdfast
