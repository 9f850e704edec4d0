#include "cli/tool_key_tail.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/cli/tool_test_files.h"

namespace holdfast::cli {
namespace {

using testing::Resp;

EffectUnits Units(const std::string& bytes, int db = 0) { return {1000, db, 1'700'000'000'000, bytes}; }

TEST(ToolKeyTailTest, KeepsWhatConcernsTheKeysAndWholeDatabases) {
  KeyTail tail({"a", "b"});
  const std::string bytes = Resp({"SET", "a", "1"}) + Resp({"SET", "c", "1"}) + Resp({"SELECT", "2"}) +
                            Resp({"HSET", "b", "a", "1"}) + Resp({"SADD", "c", "a"}) + Resp({"FLUSHDB"}) +
                            Resp({"MULTI"}) + Resp({"DEL", "c", "b"}) + Resp({"SET", "d", "b"}) + Resp({"EXEC"}) +
                            Resp({"PING"}) + Resp({"PUBLISH", "a", "b"});
  // DEL names a key that was not asked for, whose effects nobody kept: it is one of the keys now.
  ASSERT_TRUE(tail.Add(Units(bytes)).ok());
  EXPECT_TRUE(tail.grew());
  KeyTail again(tail.keys());
  ASSERT_TRUE(again.Add(Units(bytes)).ok());
  EXPECT_FALSE(again.grew());
  EXPECT_EQ(again.effects(), 6U);
  KeyTail other({"x"});
  ASSERT_TRUE(other.Add(Units(bytes)).ok());
  EXPECT_FALSE(other.grew());
  EXPECT_EQ(other.effects(), 1U);
}

TEST(ToolKeyTailTest, GrowsByWhatAKeyIsMadeFrom) {
  const std::string bytes = Resp({"SET", "from", "1"}) + Resp({"RENAME", "from", "middle"}) +
                            Resp({"COPY", "middle", "to", "DB", "1"}) + Resp({"SET", "else", "1"});
  std::vector<std::string> keys = {"to"};
  size_t rounds = 0;
  while (true) {
    KeyTail tail(keys);
    ASSERT_TRUE(tail.Add(Units(bytes)).ok());
    keys = tail.keys();
    if (!tail.grew()) {
      EXPECT_EQ(tail.effects(), 3U);
      break;
    }
    ASSERT_LT(++rounds, 5U);
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys, (std::vector<std::string>{"from", "middle", "to"}));
}

TEST(ToolKeyTailTest, RefusesWhatDoesNotSayWhichKeysItReads) {
  const std::string sort = Resp({"SORT", "list", "BY", "weight:*", "STORE", "to"});
  for (const char* key : {"list", "to"}) {
    KeyTail tail({key});
    EXPECT_EQ(tail.Add(Units(sort)).error().code, ErrorCode::kUnsupported) << key;
    EXPECT_TRUE(tail.refused());
  }
  KeyTail other({"other"});
  EXPECT_TRUE(other.Add(Units(sort)).ok());
  EXPECT_EQ(other.effects(), 0U);
  EXPECT_EQ(other.Add(Units(Resp({"NEWCOMMAND", "x", "y"}))).error().code, ErrorCode::kUnsupported);
  EXPECT_TRUE(other.refused());
  KeyTail torn({"a"});
  EXPECT_EQ(torn.Add(Units("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhal")).error().code, ErrorCode::kCorruption);
  EXPECT_FALSE(torn.refused());
}

}  // namespace
}  // namespace holdfast::cli
