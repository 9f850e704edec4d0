#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "net/client.h"

namespace holdfast::net {
namespace {

TEST(GatedOutputTest, UngatedBytesLeaveAtOnce) {
  GatedOutput output;
  output.bytes += "+OK\r\n";
  output.Gate(0, 100, 100);
  EXPECT_EQ(output.Sendable(100), "+OK\r\n");
  EXPECT_FALSE(output.HasGates());
}

TEST(GatedOutputTest, BytesWaitForTheirOffset) {
  GatedOutput output;
  output.bytes += "a";
  output.Gate(150, 100, 100);
  EXPECT_EQ(output.Sendable(149), "");
  EXPECT_TRUE(output.HasGates());
  EXPECT_EQ(output.Sendable(150), "a");
  output.Sent(1);
  EXPECT_TRUE(output.empty());
}

TEST(GatedOutputTest, LaterBytesNeverOvertakeGatedOnes) {
  GatedOutput output;
  output.bytes += "free";
  output.Gate(0, 100, 100);
  output.bytes += "gated";
  output.Gate(150, 100, 100);
  output.bytes += "later";
  output.Gate(0, 100, 100);
  EXPECT_EQ(output.Sendable(100), "free");
  output.Sent(2);
  EXPECT_EQ(output.Sendable(149), "ee");
  EXPECT_EQ(output.Sendable(150), "eegatedlater");
}

TEST(GatedOutputTest, OffsetsOfTheBatchInFlightAreNotHeldForTheNextOne) {
  GatedOutput output;
  output.bytes += "a";
  output.Gate(110, 100, 100);  // sealed later, together with 120
  output.bytes += "b";
  output.Gate(120, 100, 120);
  output.bytes += "c";
  output.Gate(130, 100, 120);
  EXPECT_EQ(output.Sendable(120), "ab");
  EXPECT_EQ(output.Sendable(130), "abc");
}

TEST(GatedOutputTest, RepliesWaitForMembersOfTheGroup) {
  GatedOutput output;
  output.bytes += "one";
  output.Gate(110, 200, 200, {1, false, 5});
  output.bytes += "two";
  output.Gate(120, 200, 200, {2, false, 5});
  output.bytes += "own";
  output.Gate(130, 200, 200);
  const std::vector<uint64_t> none;
  EXPECT_EQ(output.Sendable(200, none), "");
  EXPECT_EQ(output.Sendable(200, std::vector<uint64_t>{UINT64_MAX, 109}), "");
  EXPECT_EQ(output.Sendable(200, std::vector<uint64_t>{UINT64_MAX, 200}), "one");  // nobody counts two
  EXPECT_EQ(output.Sendable(200, std::vector<uint64_t>{UINT64_MAX, 200, 119}), "one");
  EXPECT_EQ(output.Sendable(119, std::vector<uint64_t>{UINT64_MAX, 200, 120}), "one");  // not durable here
  EXPECT_EQ(output.Sendable(120, std::vector<uint64_t>{UINT64_MAX, 200, 120}), "onetwo");
  EXPECT_EQ(output.Sendable(130), "onetwoown");
}

TEST(GatedOutputTest, WhatMembersDoNotConfirmBecomesAnErrorInItsPlace) {
  GatedOutput output;
  const auto error = [](int members, uint64_t offset) {
    return "-" + std::to_string(members) + "@" + std::to_string(offset) + "\r\n";
  };
  output.bytes += "free";
  output.Gate(0, 100, 100);
  output.bytes += "first";
  output.Gate(110, 100, 100, {1, false, 10});
  output.bytes += "push";
  output.Gate(110, 100, 100, {1, true, 10});
  output.bytes += "plain";
  output.Gate(0, 100, 100);
  output.bytes += "later";
  output.Gate(115, 100, 100, {2, false, 20});
  output.bytes += "unsynced";
  output.Gate(150, 100, 100, {1, false, 10});
  const std::vector<uint64_t> confirmed{UINT64_MAX, 50, 50};
  EXPECT_EQ(output.Sendable(120, confirmed), "free");
  output.Sent(2);
  EXPECT_EQ(output.GiveUp(120, confirmed, 9, error), 0u);  // not that long yet
  EXPECT_EQ(output.GiveUp(120, confirmed, 10, error), 1u);
  EXPECT_EQ(output.Sendable(120, confirmed), "ee-1@110\r\nplain");
  output.Sent(5);
  EXPECT_EQ(output.GiveUp(120, confirmed, 20, error), 1u);
  EXPECT_EQ(output.Sendable(120, confirmed), "110\r\nplain-2@115\r\n");
  EXPECT_EQ(output.Sendable(150, std::vector<uint64_t>{UINT64_MAX, 150}), "110\r\nplain-2@115\r\nunsynced");
}

// Against the plainest model: each reply has its offset and leaves when all before it may.
TEST(GatedOutputTest, AgreesWithAModelOnRandomHistories) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    GatedOutput output;
    std::vector<std::pair<std::string, uint64_t>> model;
    uint64_t appended = 0, durable = 0, sealed = 0;
    std::string expected_sent, sent;
    for (int step = 0; step < 100; ++step) {
      switch (random() % 3) {
        case 0: {
          appended += random() % 3;
          std::string reply(1 + random() % 5, static_cast<char>('a' + step % 26));
          uint64_t gate = random() % 2 == 0 ? appended : random() % (appended + 1);
          output.bytes += reply;
          output.Gate(gate, durable, sealed);
          model.emplace_back(reply, gate);
          break;
        }
        case 1:
          if (sealed == durable) {
            sealed = appended;
          } else {
            durable = sealed;
          }
          break;
        default: {
          std::string_view now = output.Sendable(durable);
          size_t count = now.empty() ? 0 : random() % (now.size() + 1);
          sent += now.substr(0, count);
          output.Sent(count);
        }
      }
      // Nothing that has left may have been closed.
      std::string open;
      for (const auto& [reply, gate] : model) {
        if (gate > durable) break;
        open += reply;
      }
      ASSERT_LE(sent.size(), open.size());
      ASSERT_EQ(sent, open.substr(0, sent.size()));
    }
    durable = appended;
    sent += output.Sendable(durable);
    std::string all;
    for (const auto& [reply, gate] : model) all += reply;
    ASSERT_EQ(sent, all);
  }
}

TEST(GatedOutputTest, AHeldReplyWaitsForItsReleaseAndThenForTheOffsetGiven) {
  GatedOutput output;
  output.bytes = "first";
  output.Gate(10, 0, 0);
  output.bytes += "held";
  output.Gate(GatedOutput::kHeld, 0, 10);
  output.bytes += "behind";
  output.Gate(20, 0, 10);
  EXPECT_EQ(output.Sendable(1'000'000), "first");
  output.ReleaseHeld(30);
  EXPECT_EQ(output.Sendable(29), "first");
  EXPECT_EQ(output.Sendable(30), "firstheldbehind");
}

}  // namespace
}  // namespace holdfast::net
