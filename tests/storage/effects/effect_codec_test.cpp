#include "storage/effects/effect_codec.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using Arguments = std::vector<std::string_view>;

TEST(EffectCodec, WhatIsWrittenIsRead) {
  Arguments written = {"SET", "key", std::string_view("a\r\n\0b", 5), ""};
  std::string bytes = "x";
  AppendEffect(bytes, written);
  EXPECT_EQ(bytes.size(), 1 + EffectSize(written));
  Arguments read;
  auto length = ParseEffect(std::string_view(bytes).substr(1), read);
  ASSERT_TRUE(length.ok());
  EXPECT_EQ(*length, bytes.size() - 1);
  EXPECT_EQ(read, written);
}

TEST(EffectCodec, KnownBytes) {
  std::string bytes;
  AppendEffect(bytes, Arguments{"PING"});
  EXPECT_EQ(bytes, "*1\r\n$4\r\nPING\r\n");
}

TEST(EffectCodec, EveryPrefixIsIncomplete) {
  std::string bytes;
  AppendEffect(bytes, Arguments{"SETRANGE", "k", "10", "0123456789ab"});
  for (size_t size = 0; size < bytes.size(); ++size) {
    Arguments read;
    auto length = ParseEffect(std::string_view(bytes).substr(0, size), read);
    ASSERT_TRUE(length.ok()) << size;
    EXPECT_FALSE(length->has_value()) << size;
  }
}

TEST(EffectCodec, WhatCannotBecomeAnEffectIsRefused) {
  for (const char* bytes :
       {"PING\r\n", "\r\n", "*0\r\n", "*-1\r\n", "*x", "*01\r\n", "*1\n", "*1\rx", "*1\r\n+OK\r\n", "*1\r\n$-1\r\n",
        "*1\r\n$01\r\n", "*1\r\n$1\r\nabc", "*99999999999\r\n", "*1\r\n$99999999999", "*1\r\n*1\r\n", "* 1\r\n"}) {
    Arguments read;
    auto length = ParseEffect(bytes, read);
    ASSERT_FALSE(length.ok()) << bytes;
    EXPECT_EQ(length.error().code, ErrorCode::kCorruption) << bytes;
  }
}

TEST(EffectCodec, AnnouncedLengthsCostNoMemory) {
  Arguments read;
  auto length = ParseEffect("*16777216\r\n$4294967296\r\nabc", read);
  ASSERT_TRUE(length.ok());
  EXPECT_FALSE(length->has_value());
  EXPECT_LT(read.capacity(), 100u);
}

TEST(EffectCodec, TheDatabaseSelectedBehindEffects) {
  const auto effects = [](const std::vector<std::vector<std::string_view>>& all) {
    std::string bytes;
    for (const auto& each : all) AppendEffect(bytes, each);
    return bytes;
  };
  const std::string two = effects({{"SELECT", "2"}, {"SET", "k", "SELECT"}});
  EXPECT_EQ(SelectedDbBehind("", 5), 5);
  EXPECT_EQ(SelectedDbBehind(two, 5), 2);
  EXPECT_EQ(SelectedDbBehind(two + effects({{"select", "7"}}), 5), 7);
  EXPECT_EQ(SelectedDbBehind(effects({{"SET", "SELECT", "3"}}), -1), -1);
  EXPECT_EQ(SelectedDbBehind(effects({{"MULTI"}, {"SELECT", "4"}, {"EXEC"}}), 0), 4);
  EXPECT_EQ(SelectedDbBehind(two.substr(0, two.size() - 1), 5), std::nullopt);
  EXPECT_EQ(SelectedDbBehind("no effect", 5), std::nullopt);
  EXPECT_EQ(SelectedDbBehind(effects({{"SELECT", "-1"}}), 5), std::nullopt);
  EXPECT_EQ(SelectedDbBehind(effects({{"SELECT", "99999"}}), 5), std::nullopt);
}

}  // namespace
}  // namespace holdfast
