// What single patterns match is compared with Redis by redis_transcript_test.
#include "storage/types/glob.h"

#include <gtest/gtest.h>

#include <string>

namespace holdfast {
namespace {

TEST(Glob, CaseIsIgnoredOnlyOnRequest) {
  EXPECT_TRUE(GlobMatch("MAX*", "maxmemory", true));
  EXPECT_FALSE(GlobMatch("MAX*", "maxmemory"));
  EXPECT_TRUE(GlobMatch("[A-C]x", "bX", true));
}

TEST(Glob, ManyStarsTakePolynomialTime) {
  std::string pattern;
  for (int i = 0; i < 2000; ++i) pattern += "a*";
  pattern += "b";
  std::string text(20000, 'a');
  EXPECT_FALSE(GlobMatch(pattern, text));
  EXPECT_TRUE(GlobMatch(pattern, text + "b"));
}

TEST(Glob, BytesBeyondAsciiMatch) {
  EXPECT_TRUE(GlobMatch("\xff?", "\xff\x80"));
  EXPECT_TRUE(GlobMatch("[\x80-\xff]", "\xc0"));
  EXPECT_FALSE(GlobMatch("[\x80-\x90]", "\xc0"));
}

}  // namespace
}  // namespace holdfast
