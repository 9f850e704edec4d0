#include "net/stream_spool.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/temp_directory.h"

namespace holdfast::net {
namespace {

TEST(StreamSpool, GivesBackWhatCameInOrderAndLeavesNoFile) {
  holdfast::testing::TempDirectory directory;
  StreamSpool spool(PosixFileSystem(), directory.path());
  EXPECT_TRUE(spool.empty());
  EXPECT_FALSE(spool.Full());
  std::mt19937 random(7);
  std::string in, out;
  for (int round = 0; round < 2000; ++round) {
    std::string piece(random() % 300, static_cast<char>('a' + round % 26));
    in += piece;
    ASSERT_TRUE(spool.Append(piece).ok());
    if (random() % 3 == 0) {
      char bytes[512];
      auto taken = spool.Take(bytes, 1 + random() % sizeof(bytes));
      ASSERT_TRUE(taken.ok());
      out.append(bytes, *taken);
    }
  }
  while (!spool.empty()) {
    char bytes[4096];
    auto taken = spool.Take(bytes, sizeof(bytes));
    ASSERT_TRUE(taken.ok());
    out.append(bytes, *taken);
  }
  EXPECT_EQ(out, in);
  char byte = 0;
  EXPECT_EQ(spool.Take(&byte, 1).value(), 0u);
  auto names = PosixFileSystem().List(directory.path());
  ASSERT_TRUE(names.ok());
  EXPECT_TRUE(names->empty()) << "it has no name, also while it is used";
}

}  // namespace
}  // namespace holdfast::net
