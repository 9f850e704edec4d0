#include "net/resp_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast::net {
namespace {

using Status = RespParser::Status;

struct Parsed {
  std::vector<std::vector<std::string>> commands;
  std::string error;
  friend bool operator==(const Parsed&, const Parsed&) = default;
};

// Feeds the bytes in the given pieces, as a session does.
Parsed Feed(const std::vector<std::string_view>& pieces, RespParser::Limits limits = {}) {
  Parsed parsed;
  RespParser parser;
  std::string buffer;
  for (std::string_view piece : pieces) {
    // A fresh string each time, so that a view kept across calls would be found by the sanitizer.
    std::string moved = buffer;
    moved += piece;
    buffer = std::move(moved);
    while (parsed.error.empty()) {
      Status status = parser.Parse(buffer, limits);
      if (status == Status::kCommand) {
        parsed.commands.emplace_back(parser.args().begin(), parser.args().end());
        EXPECT_GT(parser.consumed(), 0u);
      }
      buffer.erase(0, parser.consumed());
      if (status == Status::kError) parsed.error = parser.error();
      if (status == Status::kNeedMore) break;
    }
  }
  return parsed;
}

Parsed FeedWhole(std::string_view bytes, RespParser::Limits limits = {}) { return Feed({bytes}, limits); }

Parsed FeedByteByByte(std::string_view bytes, RespParser::Limits limits = {}) {
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i < bytes.size(); ++i) pieces.push_back(bytes.substr(i, 1));
  return Feed(pieces, limits);
}

std::string ErrorOf(std::string_view bytes, RespParser::Limits limits = {}) { return FeedWhole(bytes, limits).error; }

TEST(RespParserTest, ReadsArraysAndInlineCommands) {
  Parsed parsed = FeedWhole("*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\nPING  x\r\n*1\r\n$0\r\n\r\n");
  ASSERT_EQ(parsed.commands.size(), 3u);
  EXPECT_EQ(parsed.commands[0], (std::vector<std::string>{"GET", "a\r\n"}));
  EXPECT_EQ(parsed.commands[1], (std::vector<std::string>{"PING", "x"}));
  EXPECT_EQ(parsed.commands[2], (std::vector<std::string>{""}));
  EXPECT_EQ(parsed.error, "");
}

TEST(RespParserTest, EmptyCommandsAreSkipped) {
  Parsed parsed = FeedWhole("\r\n\n*0\r\n*-1\r\n   \r\nPING\r\n");
  ASSERT_EQ(parsed.commands.size(), 1u);
  EXPECT_EQ(parsed.commands[0], (std::vector<std::string>{"PING"}));
}

TEST(RespParserTest, InlineQuotesAreUnescaped) {
  Parsed parsed = FeedWhole("SET 'a b' \"\\x41\\n\\\"\" 'it\\'s' plain\"\"\r\nEND\n");
  ASSERT_EQ(parsed.commands.size(), 2u);
  EXPECT_EQ(parsed.commands[0], (std::vector<std::string>{"SET", "a b", "A\n\"", "it's", "plain"}));
  EXPECT_EQ(FeedWhole("GET \"\"\r\n").commands[0], (std::vector<std::string>{"GET", ""}));
}

TEST(RespParserTest, EverySplitGivesTheSameResult) {
  const std::vector<std::string> inputs = {
      "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*1\r\n$4\r\nPING\r\n",
      "\r\n*0\r\nPING \"a b\" 'c'\r\n\n*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n",
      "*2\r\n$3\r\nGET\r\n+3\r\nabc\r\n",
      "*1\r\n$-1\r\n",
      "*abc\r\n",
      "PING\r\n*1\r\n$99999999999999999999\r\n",
      "SET \"unbalanced\r\nPING\r\n",
  };
  for (const std::string& input : inputs) {
    Parsed whole = FeedWhole(input);
    EXPECT_EQ(FeedByteByByte(input), whole) << input;
    std::string_view bytes = input;
    for (size_t i = 0; i <= bytes.size(); ++i) {
      for (size_t j = i; j <= bytes.size(); ++j) {
        ASSERT_EQ(Feed({bytes.substr(0, i), bytes.substr(i, j - i), bytes.substr(j)}), whole) << input << i << " " << j;
      }
    }
  }
}

TEST(RespParserTest, ErrorsAreWordedAsRedisWordsThem) {
  EXPECT_EQ(ErrorOf("*abc\r\n"), "ERR Protocol error: invalid multibulk length");
  EXPECT_EQ(ErrorOf("*2147483648\r\n"), "ERR Protocol error: invalid multibulk length");
  EXPECT_EQ(ErrorOf("*1\r\nx3\r\nabc\r\n"), "ERR Protocol error: expected '$', got 'x'");
  EXPECT_EQ(ErrorOf("*1\r\n$-1\r\n"), "ERR Protocol error: invalid bulk length");
  EXPECT_EQ(ErrorOf("*1\r\n$536870913\r\n"), "ERR Protocol error: invalid bulk length");
  EXPECT_EQ(ErrorOf("GET 'a\r\n"), "ERR Protocol error: unbalanced quotes in request");
  EXPECT_EQ(ErrorOf("GET \"a\"b\r\n"), "ERR Protocol error: unbalanced quotes in request");
}

TEST(RespParserTest, LongLinesAreRefusedWhereverTheyAreSplit) {
  const std::string digits(RespParser::kLineMax + 1, '1');
  const std::string inline_request(RespParser::kLineMax + 1, 'a');
  EXPECT_EQ(ErrorOf("*" + digits), "ERR Protocol error: too big mbulk count string");
  EXPECT_EQ(ErrorOf("*1\r\n$" + digits), "ERR Protocol error: too big bulk count string");
  EXPECT_EQ(ErrorOf(inline_request), "ERR Protocol error: too big inline request");
  EXPECT_EQ(FeedByteByByte(inline_request + "\r\n"), FeedWhole(inline_request + "\r\n"));
  EXPECT_EQ(FeedByteByByte("*" + digits + "\r\n"), FeedWhole("*" + digits + "\r\n"));
  EXPECT_EQ(ErrorOf(std::string(RespParser::kLineMax, 'a') + "\n"), "");
}

TEST(RespParserTest, UnauthenticatedClientsHaveTighterLimits) {
  RespParser::Limits limits;
  limits.unauthenticated = true;
  EXPECT_EQ(ErrorOf("*11\r\n", limits), "ERR Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(ErrorOf("*10\r\n", limits), "");
  EXPECT_EQ(ErrorOf("*1\r\n$16385\r\n", limits), "ERR Protocol error: unauthenticated bulk length");
  EXPECT_EQ(ErrorOf("*1\r\n$16384\r\n", limits), "");
}

TEST(RespParserTest, SaysHowMuchIsMissing) {
  RespParser parser;
  std::string input = "*1\r\n$1000\r\nabc";
  ASSERT_EQ(parser.Parse(input, {}), Status::kNeedMore);
  EXPECT_EQ(parser.missing(), 999u);
}

TEST(RespParserTest, AnnouncedArgumentsCostNothingBeforeTheyCome) {
  RespParser parser;
  ASSERT_EQ(parser.Parse("*2147483647\r\n", {}), Status::kNeedMore);
  EXPECT_EQ(parser.consumed(), 0u);
}

TEST(RespParserTest, RestartReadsTheSameCommandAgain) {
  RespParser parser;
  std::string input = "*1\r\n$4\r\nPING\r\n";
  ASSERT_EQ(parser.Parse(input, {}), Status::kCommand);
  parser.Restart();
  ASSERT_EQ(parser.Parse(input, {}), Status::kCommand);
  EXPECT_EQ(parser.args()[0], "PING");
}

}  // namespace
}  // namespace holdfast::net
