#include "storage/base/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "storage/base/clock.h"
#include "storage/base/coding.h"

// The library's own XXH64, as the second opinion on HistoryDigest (xxhash.h itself stays in its one wrapper).
extern "C" unsigned long long XXH64(const void* input, size_t length, unsigned long long seed);

namespace holdfast {
namespace {

uint64_t DigestOf(std::string_view bytes) {
  HistoryDigest digest;
  digest.Update(bytes);
  return digest.Value();
}

std::string RandomBytes(Random& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random.Below(256));
  return bytes;
}

TEST(HistoryDigest, MatchesPublishedVectors) {
  EXPECT_EQ(DigestOf(""), 0xEF46DB3751D8E999);
  EXPECT_EQ(DigestOf("a"), 0xD24EC4F1A98C6E5B);
  EXPECT_EQ(DigestOf("abc"), 0x44BC2CF5AD770999);
  EXPECT_EQ(DigestOf("Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1);
}

TEST(HistoryDigest, EqualsTheLibraryForEveryShortLength) {
  SeededRandom random(7);
  const std::string bytes = RandomBytes(random, 300);
  for (size_t length = 0; length <= bytes.size(); length++) {
    EXPECT_EQ(DigestOf(bytes.substr(0, length)), XXH64(bytes.data(), length, 0)) << "length " << length;
  }
}

TEST(HistoryDigest, AnySplitGivesTheSameStateThroughSerialization) {
  const uint64_t seed = RandomSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  SeededRandom random(seed);
  for (int round = 0; round < 300; round++) {
    const std::string bytes = RandomBytes(random, random.Below(2000));
    HistoryDigest whole;
    whole.Update(bytes);
    HistoryDigest pieces;
    for (size_t at = 0; at < bytes.size();) {
      const size_t taken = std::min<size_t>(bytes.size() - at, random.Below(90));
      pieces.Update(std::string_view(bytes).substr(at, taken));
      at += taken;
      std::string serialized;
      pieces.AppendTo(serialized);
      ASSERT_EQ(serialized.size(), HistoryDigest::kSerializedSize);
      Result<HistoryDigest> parsed = HistoryDigest::Parse(serialized);
      ASSERT_TRUE(parsed.ok()) << parsed.error().message;
      pieces = *parsed;
    }
    ASSERT_EQ(pieces, whole);
    ASSERT_EQ(whole.total_length(), bytes.size());
    ASSERT_EQ(whole.Value(), XXH64(bytes.data(), bytes.size(), 0));
  }
}

TEST(HistoryDigest, SerializedFormIsFixed) {
  HistoryDigest digest;
  digest.Update("0123456789abcdef0123456789abcdefXY");
  std::string serialized;
  digest.AppendTo(serialized);
  EXPECT_EQ(serialized.substr(0, 8), std::string("\x22\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(serialized.substr(40), "XY" + std::string(30, '\0'));
  HistoryDigest initial;
  serialized.clear();
  initial.AppendTo(serialized);
  EXPECT_EQ(serialized.substr(8, 8), "\xd6\xb5\xc0\xad\xee\x27\xea\x60");  // P1 + P2, little-endian
}

TEST(HistoryDigest, ParseRefusesImpossibleStates) {
  HistoryDigest digest;
  digest.Update("abc");
  std::string good;
  digest.AppendTo(good);
  ASSERT_TRUE(HistoryDigest::Parse(good).ok());
  EXPECT_FALSE(HistoryDigest::Parse("").ok());
  EXPECT_FALSE(HistoryDigest::Parse(good.substr(1)).ok());
  EXPECT_FALSE(HistoryDigest::Parse(good + "x").ok());
  std::string beyond = good;
  beyond[43] = 'x';
  EXPECT_EQ(HistoryDigest::Parse(beyond).error().code, ErrorCode::kCorruption);
  std::string lane = good;
  lane[8] = static_cast<char>(lane[8] + 1);
  EXPECT_EQ(HistoryDigest::Parse(lane).error().code, ErrorCode::kCorruption);
}

TEST(Checksum, FixedValues) {
  EXPECT_EQ(Checksum64(""), 0x2D06800538D394C2);  // published for XXH3-64, seed 0
  EXPECT_EQ(Checksum64("abc"), Checksum64("abc", 0));
  EXPECT_NE(Checksum64("abc", 1), Checksum64("abc"));
  EXPECT_NE(Checksum64("abc"), Checksum64("abd"));
}

TEST(RowHash, IsPartOfTheDiskFormat) {
  // Computed with the system's libxxhash 0.8.1 from another language.
  EXPECT_EQ(RowHash(""), 0xa622c237874ab529u);
  EXPECT_EQ(RowHash("abc"), 0x820d493618e025fau);
  EXPECT_EQ(RowHash("key:000000000001"), 0x50741bd948ee813du);
  EXPECT_EQ(RowHash(std::string(300, 'x')), 0xbd745f57a540c1f3u);
  EXPECT_EQ(LoadBig<uint64_t>(RowDigest("abc").data()), 0x42f4af401d01dd94u);
  EXPECT_EQ(LoadBig<uint64_t>(RowDigest("abc").data() + 8), 0x820d493618e025fau);
  EXPECT_NE(RowDigest("a"), RowDigest("b"));
  EXPECT_EQ(RowDigest("a"), RowDigest("a"));
}

}  // namespace
}  // namespace holdfast
