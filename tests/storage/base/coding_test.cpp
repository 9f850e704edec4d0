#include "storage/base/coding.h"

#include <gtest/gtest.h>

#include <limits>

namespace holdfast {
namespace {

TEST(Coding, ByteOrderIsAsNamed) {
  std::string bytes;
  AppendLittle<uint32_t>(bytes, 0x01020304);
  AppendBig<uint32_t>(bytes, 0x01020304);
  EXPECT_EQ(bytes, "\x04\x03\x02\x01\x01\x02\x03\x04");
  EXPECT_EQ(LoadLittle<uint32_t>(bytes.data()), 0x01020304u);
  EXPECT_EQ(LoadBig<uint32_t>(bytes.data() + 4), 0x01020304u);
}

TEST(Coding, BigEndianOrderIsNumberOrder) {
  const uint64_t values[] = {0, 1, 255, 256, 65535, 1u << 24, uint64_t{1} << 40, std::numeric_limits<uint64_t>::max()};
  std::string previous;
  for (uint64_t value : values) {
    std::string bytes;
    AppendBig(bytes, value);
    EXPECT_LT(previous, bytes);
    previous = bytes;
  }
}

TEST(Coding, ReaderGivesBackWhatWasWritten) {
  std::string bytes;
  AppendLittle<uint8_t>(bytes, 7);
  AppendLittle<int64_t>(bytes, -5);
  AppendBig<uint16_t>(bytes, 0xabcd);
  AppendLengthPrefixed(bytes, std::string_view("a\0b", 3));
  AppendLengthPrefixed(bytes, "");
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Little<uint8_t>(), 7);
  EXPECT_EQ(reader.Little<int64_t>(), -5);
  EXPECT_EQ(reader.Big<uint16_t>(), 0xabcd);
  EXPECT_EQ(reader.LengthPrefixed(), std::string_view("a\0b", 3));
  EXPECT_FALSE(reader.AtEnd());
  EXPECT_EQ(reader.LengthPrefixed(), "");
  EXPECT_TRUE(reader.AtEnd());
}

TEST(Coding, ReaderLatchesTheFirstReadPastTheEnd) {
  std::string bytes;
  AppendLittle<uint32_t>(bytes, 1000);  // a length that lies
  bytes += "abc";
  ByteReader reader(bytes);
  EXPECT_EQ(reader.LengthPrefixed(), "");
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.Little<uint8_t>(), 0);
  EXPECT_EQ(reader.Bytes(1), "");
  EXPECT_EQ(reader.rest(), "");
  EXPECT_FALSE(reader.AtEnd());
}

TEST(Coding, EveryCutOfARecordIsNoticed) {
  std::string bytes;
  AppendLittle<uint64_t>(bytes, 1);
  AppendLengthPrefixed(bytes, "hello");
  for (size_t length = 0; length < bytes.size(); length++) {
    ByteReader reader(std::string_view(bytes).substr(0, length));
    reader.Little<uint64_t>();
    reader.LengthPrefixed();
    EXPECT_FALSE(reader.AtEnd()) << "cut at " << length;
  }
}

}  // namespace
}  // namespace holdfast
