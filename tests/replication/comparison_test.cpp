#include "replication/comparison.h"

#include <gtest/gtest.h>

#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast::replication {
namespace {

using Verdict = ContentJudge::Verdict;
using Commands = std::vector<std::vector<std::string>>;

RangedDigest DigestAfter(const Commands& commands) {
  testing::TestStore store;
  testing::RecordingSink sink;
  store->AttachSink(&sink);
  testing::OperationRunner runner(store.store());
  for (const auto& words : commands) runner.Run(words, 1'700'000'000'000);
  StreamPosition position;
  position.offset = sink.AppendedOffset();
  store.Checkpoint(position);
  auto view = store->OpenView();
  EXPECT_TRUE(view.ok());
  auto digest = RangedDigestOf(**view, [] { return false; });
  EXPECT_TRUE(digest.ok());
  EXPECT_EQ(digest->digest.Hex(), DigestOf(**view)->Hex());
  return *std::move(digest);
}

Commands ManyKeys(int count) {
  Commands commands;
  for (int i = 0; i < count; ++i) commands.push_back({"SET", "key" + std::to_string(i), "v"});
  return commands;
}

// What a node with this content answers.
std::string AnswerOf(const RangedDigest& digest, uint64_t offset, const std::vector<std::string>& question) {
  if (question.empty()) return FormatDigest(offset, digest);
  return FormatRanges(digest, std::stoi(question[0]),
                      question.size() > 1 ? std::optional<size_t>(std::stoul(question[1])) : std::nullopt);
}

struct Judged {
  Verdict verdict = Verdict::kOpen;
  std::string detail;
  int questions = 0;
};

Judged Judge(const RangedDigest& own, const RangedDigest& other) {
  ContentJudge judge(own, 7);
  Judged judged;
  while (judged.verdict == Verdict::kOpen && judged.questions < 10) {
    judged.verdict = judge.Take(AnswerOf(other, 7, judge.Question()));
    ++judged.questions;
  }
  judged.detail = judge.detail();
  return judged;
}

TEST(ContentJudge, EqualContentIsEqualAtOneQuestion) {
  EXPECT_EQ(Judge(DigestAfter({}), DigestAfter({})).verdict, Verdict::kEqual);
  const Judged judged =
      Judge(DigestAfter({{"SET", "a", "1"}, {"SET", "b", "2"}}), DigestAfter({{"SET", "b", "2"}, {"SET", "a", "1"}}));
  EXPECT_EQ(judged.verdict, Verdict::kEqual);
  EXPECT_EQ(judged.questions, 1);
}

TEST(ContentJudge, OneKeyAmongManyIsFoundInItsRange) {
  const RangedDigest own = DigestAfter(ManyKeys(3000));
  Commands other = ManyKeys(3000);
  other.push_back({"SET", "key1234", "w"});
  const Judged judged = Judge(own, DigestAfter(other));
  ASSERT_EQ(judged.verdict, Verdict::kDifferent);
  EXPECT_EQ(judged.questions, 3);
  // The one range that changed, as RangedDigest says.
  const RangedDigest changed = DigestAfter(other);
  for (uint64_t i = 0; i < kDigestRanges; ++i) {
    if (own.databases.at(0).ranges[i] == changed.databases.at(0).ranges[i]) continue;
    const std::string first = std::to_string(i << (64 - kDigestRangeBits));
    EXPECT_NE(judged.detail.find("database 0, keys from SCAN cursor " + first + " to "), std::string::npos)
        << judged.detail;
  }
}

TEST(ContentJudge, DifferencesOfEveryKindAreFound) {
  const Commands base = {{"SET", "a", "1"}, {"SET", "b", "1"}};
  const RangedDigest own = DigestAfter(base);
  const std::vector<std::pair<Commands, std::string>> others = {
      {{}, "database 0"},
      {{{"SET", "a", "1"}}, "database 0"},
      {{{"SET", "a", "1"}, {"SET", "b", "1"}, {"SET", "c", "1"}}, "database 0"},
      {{{"SET", "a", "1", "PX", "100000"}, {"SET", "b", "1"}}, "database 0"},
      {{{"SET", "a", "1"}, {"SET", "b", "1"}, {"SELECT", "5"}, {"SET", "c", "1"}}, "database 5"},
      {{{"SELECT", "1"}, {"SET", "a", "1"}, {"SET", "b", "1"}}, "database 0"},
  };
  for (const auto& [commands, where] : others) {
    const RangedDigest other = DigestAfter(commands);
    for (const Judged& judged : {Judge(own, other), Judge(other, own)}) {
      EXPECT_EQ(judged.verdict, Verdict::kDifferent) << commands.size();
      EXPECT_EQ(judged.detail.substr(0, where.size()), where) << judged.detail;
    }
  }
}

TEST(ContentJudge, DatabasesBeyondTheBoundCountAsOne) {
  RangedDigest own = DigestAfter({{"SET", "a", "1"}}), other = DigestAfter({{"SET", "a", "2"}});
  for (RangedDigest* digest : {&own, &other}) {
    auto node = digest->databases.extract(0);
    node.key() = kDigestDatabases;
    digest->databases.insert(std::move(node));
  }
  const Judged judged = Judge(own, other);
  EXPECT_EQ(judged.verdict, Verdict::kDifferent);
  EXPECT_EQ(judged.detail.rfind("databases from 64 on, keys from SCAN cursor ", 0), 0u) << judged.detail;
}

TEST(ContentJudge, WhatIsNoDigest) {
  const RangedDigest own = DigestAfter({{"SET", "a", "1"}});
  const std::vector<std::pair<std::string, Verdict>> answers = {
      {"RUNNING", Verdict::kWait},
      {"AWAY", Verdict::kAway},
      {"UNKNOWN 6", Verdict::kWait},
      {"UNKNOWN 7", Verdict::kAgain},
      {"UNKNOWN 8", Verdict::kAgain},
      {"UNKNOWN", Verdict::kFailed},
      {"BUSY a checkpoint is under way", Verdict::kAgain},
      {"FAILED the disk is broken", Verdict::kFailed},
      {"DONE 8 " + own.digest.Hex(), Verdict::kFailed},
      {"DONE x " + own.digest.Hex(), Verdict::kFailed},
      {"DONE 7 " + std::string(40, '0') + " -1:1:x", Verdict::kFailed},
      {"DONE 7 " + std::string(40, '0') + " 65:1:x", Verdict::kFailed},
      {"RANGES 0", Verdict::kFailed},
      {"", Verdict::kFailed},
      {"OK", Verdict::kFailed},
  };
  for (const auto& [line, verdict] : answers) {
    ContentJudge judge(own, 7);
    EXPECT_EQ(judge.Take(line), verdict) << line;
    EXPECT_TRUE(judge.Question().empty()) << line;
    EXPECT_TRUE(verdict != Verdict::kFailed || !judge.detail().empty()) << line;
  }
  ContentJudge judge(own, 7);
  EXPECT_EQ(judge.Take("FAILED a\x01"
                       "b" +
                       std::string(1000, 'x')),
            Verdict::kFailed);
  EXPECT_EQ(judge.detail().substr(0, 3), "a?b");
  EXPECT_LE(judge.detail().size(), 300u);
}

TEST(ContentJudge, RangesThatAreCutShortFail) {
  const RangedDigest own = DigestAfter({{"SET", "a", "1"}}), other = DigestAfter({{"SET", "a", "2"}});
  ContentJudge judge(own, 7);
  ASSERT_EQ(judge.Take(FormatDigest(7, other)), Verdict::kOpen);
  ASSERT_EQ(judge.Question(), std::vector<std::string>{"0"});
  EXPECT_EQ(judge.Take("RANGES"), Verdict::kFailed);
}

TEST(PreparedAnswer, RoundTripsAndLeavesOutWhatCannotBeWritten) {
  using Kind = ComparedReplica::Kind;
  PreparedAnswer answer;
  answer.state = PreparedAnswer::State::kBusy;
  answer.reason = "a checkpoint is under way";
  answer.replicas = {{Kind::kOnline, std::string(40, 'a'), "10.0.0.1", 6379},
                     {Kind::kRedis, "", "fe80::1%eth0", 1},
                     {Kind::kAway, std::string(40, 'b'), "db-3.example.org", 65535}};
  const auto parsed = ParsePrepared(FormatPrepared(answer));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->state, answer.state);
  EXPECT_EQ(parsed->replicas, answer.replicas);
  EXPECT_EQ(parsed->reason, answer.reason);
  // Announced addresses are what operators type.
  answer.replicas = {{Kind::kOnline, "", "a b", 1}, {Kind::kOnline, "", "x,y/z", 1}, {Kind::kOnline, "", "", 1}};
  EXPECT_EQ(ParsePrepared(FormatPrepared(answer))->replicas.size(), 0u);
  for (const char* bad : {"", "YES", "READY x", "READY online/a", "READY online//h:70000", "READY online//h:-1",
                          "READY online/xyz/h:1", "READY online//:1", "READY sometimes//h:1", "READY ,"}) {
    EXPECT_FALSE(ParsePrepared(bad).ok()) << bad;
  }
  EXPECT_EQ(ParsePrepared("READY")->replicas.size(), 0u);
}

}  // namespace
}  // namespace holdfast::replication
