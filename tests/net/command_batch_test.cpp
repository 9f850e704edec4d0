#include "net/command_batch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast::net {
namespace {

using Status = RespParser::Status;
using Commands = std::vector<std::vector<std::string>>;

constexpr size_t kMany = CommandBatch::kCommandsMax;

std::string Command(const std::vector<std::string>& words) {
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return bytes;
}

// All commands of the bytes, in batches of at most `most`, of each of which only `run` are run before parsing goes on.
Commands CommandsOf(const std::string& bytes, size_t most, size_t run, std::string* error = nullptr) {
  Commands commands;
  RespParser parser;
  CommandBatch batch;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const Status status = batch.Fill(parser, rest, {}, most);
    for (size_t i = 0; i < std::min(run, batch.size()); ++i) {
      commands.emplace_back(batch.args(i).begin(), batch.args(i).end());
    }
    if (run < batch.size()) {
      rest.remove_prefix(batch.end(run - 1));
      parser.Restart();
      continue;
    }
    rest.remove_prefix(batch.consumed());
    if (!batch.empty() && status != Status::kNeedMore) continue;
    if (status == Status::kError && error != nullptr) *error = parser.error();
    break;
  }
  return commands;
}

TEST(CommandBatchTest, BatchesOfAnySizeGiveTheSameCommands) {
  const std::vector<std::string> long_one(100, "word");
  const std::string bytes = Command({"SET", "a", "1"}) + "\r\n" + Command({"GET", "a"}) + "PING 'a b'\r\nPING x\r\n" +
                            Command(long_one) + "*0\r\n" + Command({"GET", ""}) + Command(long_one) + "PING\r\n" +
                            Command({"PING"});
  const Commands expected = {{"SET", "a", "1"}, {"GET", "a"}, {"PING", "a b"}, {"PING", "x"}, long_one,
                             {"GET", ""},       long_one,     {"PING"},        {"PING"}};
  for (const size_t most : {size_t{1}, size_t{2}, size_t{3}, kMany}) {
    for (const size_t run : {size_t{1}, size_t{2}, kMany}) {
      EXPECT_EQ(CommandsOf(bytes, most, run), expected) << most << " " << run;
    }
  }
}

TEST(CommandBatchTest, ParsesAsManyAsAskedFor) {
  std::string bytes;
  for (size_t i = 0; i < kMany + 5; ++i) bytes += Command({"GET", std::to_string(i)});
  RespParser parser;
  CommandBatch batch;
  EXPECT_EQ(batch.Fill(parser, bytes, {}, kMany), Status::kCommand);
  EXPECT_EQ(batch.size(), kMany);
  EXPECT_EQ(batch.consumed(), batch.end(kMany - 1));
  EXPECT_EQ(batch.begin(0), 0u);
  EXPECT_EQ(batch.begin(7), batch.end(6));
}

TEST(CommandBatchTest, AnErrorIsMetWhenTheCommandsBeforeItHaveRun) {
  for (const size_t most : {size_t{1}, kMany}) {
    std::string error;
    EXPECT_EQ(CommandsOf(Command({"GET", "a"}) + Command({"GET", "b"}) + "*1\r\nx\r\n", most, most, &error).size(), 2u);
    EXPECT_EQ(error, "ERR Protocol error: expected '$', got 'x'");
  }
}

TEST(CommandBatchTest, TheRestOfACommandMayComeLater) {
  const std::string first = Command({"SET", "a", "1"});
  const std::string second = Command({"SET", "b", "2"});
  const std::string third = "SET c 3\r\n";
  const std::string bytes = first + second + third;
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    RespParser parser;
    CommandBatch batch;
    Commands commands;
    std::string buffer;
    for (const std::string& piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
      buffer += piece;
      while (!buffer.empty()) {
        const Status status = batch.Fill(parser, buffer, {}, kMany);
        for (size_t i = 0; i < batch.size(); ++i) commands.emplace_back(batch.args(i).begin(), batch.args(i).end());
        buffer.erase(0, batch.consumed());
        if (status == Status::kNeedMore) break;
      }
    }
    EXPECT_EQ(commands, (Commands{{"SET", "a", "1"}, {"SET", "b", "2"}, {"SET", "c", "3"}})) << cut;
  }
}

}  // namespace
}  // namespace holdfast::net
