// SORT: orders, patterns, what is stored and replayed.
#include "storage/types/sorting.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/effects/applier.h"
#include "storage/effects/effect_codec.h"
#include "tests/support/recorded_store.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;
using ::holdfast::testing::TestStore;

constexpr int64_t kNow = 1'700'000'000'000;
using Words = std::vector<std::string_view>;

class Sorting : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"RPUSH", "l", "10", "9", "-1.5", "9", "200"},
                                               {"SADD", "s", "b", "a", "c"},
                                               {"ZADD", "z", "1", "c", "2", "a", "3", "b"},
                                               {"SET", "w_a", "2"},
                                               {"SET", "w_b", "1"},
                                               {"HSET", "o_a", "f", "va"},
                                               {"HSET", "o_c", "f", "vc", "g", "3"}}) {
      store_.Run(words, kNow);
    }
    store_.Effects();
  }

  std::string Sort(const Words& words) {
    Transaction& tx = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    std::string text = SortIn(tx, words);
    tx.Commit();
    return text;
  }

  RecordedStore store_;

 private:
  static std::string SortIn(Transaction& tx, const Words& words) {
    const auto options = sorting::Parse(std::span(words).subspan(1), true);
    if (!options.ok()) return "-" + options.error().message;
    if (options->target) {
      const auto stored = sorting::SortAndStore(tx, words[0], *options);
      return stored.ok() ? ":" + std::to_string(*stored) : "-" + stored.error().message;
    }
    const auto answer = sorting::Sort(tx, words[0], *options);
    if (!answer.ok()) return "-" + answer.error().message;
    std::string text;
    for (const auto& item : *answer) text += (text.empty() ? "" : " ") + item.value_or("_");
    return text;
  }
};

TEST_F(Sorting, OrdersAndLimits) {
  EXPECT_EQ(Sort({"l"}), "-1.5 9 9 10 200");
  EXPECT_EQ(Sort({"l", "DESC", "LIMIT", "1", "2"}), "10 9");
  EXPECT_EQ(Sort({"l", "ALPHA"}), "-1.5 10 200 9 9");
  EXPECT_EQ(Sort({"l", "LIMIT", "-3", "100"}), "-1.5 9 9 10 200");
  EXPECT_EQ(Sort({"l", "LIMIT", "9", "1"}), "");
  EXPECT_EQ(Sort({"s"}), "-One or more scores can't be converted into double");
  EXPECT_EQ(Sort({"s", "ALPHA", "desc"}), "c b a");
  EXPECT_EQ(Sort({"none"}), "");
  EXPECT_EQ(Sort({"w_a"}), "-Operation against a key holding the wrong kind of value");
  EXPECT_EQ(Sort({"l", "LIMIT", "1"}), "-syntax error");
  EXPECT_EQ(Sort({"l", "LIMIT", "x", "1"}), "-value is not an integer or out of range");
}

TEST_F(Sorting, ByAndGetLookElsewhere) {
  EXPECT_EQ(Sort({"s", "BY", "w_*"}), "c b a");
  EXPECT_EQ(Sort({"s", "BY", "w_*", "GET", "#", "GET", "o_*->f", "GET", "none"}), "c vc _ b _ _ a va _");
  EXPECT_EQ(Sort({"z", "BY", "nosort"}), "c a b");
  EXPECT_EQ(Sort({"z", "BY", "nosort", "DESC", "LIMIT", "1", "1"}), "a");
  EXPECT_EQ(Sort({"z", "BY", "nosort", "BY", "w_*"}), Sort({"z", "BY", "nosort"}));  // the first one counts, too
  EXPECT_EQ(Sort({"z", "BY", "w_*", "BY", "nosort"}), Sort({"z", "BY", "nosort"}));
  EXPECT_EQ(Sort({"l", "BY", "nosort", "DESC", "LIMIT", "0", "2"}), "200 9");
  EXPECT_EQ(Sort({"z", "BY", "o_*->f", "ALPHA"}), "b a c");
  EXPECT_EQ(Sort({"z", "BY", "o_*->g", "GET", "o_*->"}), "_ _ _");
}

TEST_F(Sorting, WhatIsStoredIsLoggedAsItCameOut) {
  EXPECT_EQ(Sort({"s", "BY", "nosort", "GET", "w_*", "STORE", "d"}), ":3");
  EXPECT_EQ(store_.Effects(), "RPUSH d 2 1 ");
  EXPECT_EQ(Sort({"l", "STORE", "z"}), ":5");
  EXPECT_EQ(store_.Effects(), "MULTI | DEL z | RPUSH z -1.5 9 9 10 200 | EXEC");
  EXPECT_EQ(Sort({"l", "STORE", "l", "LIMIT", "0", "1"}), ":1");
  EXPECT_EQ(Sort({"none", "STORE", "d"}), ":0");
  EXPECT_EQ(store_.Run({"EXISTS", "d"}, kNow), ":0");
  EXPECT_EQ(Sort({"l"}), "-1.5");
  Shadow shadow(store_);
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
}

TEST_F(Sorting, ReplayTakesTheFormOfRedis) {
  std::string bytes;
  for (const Words& effect : std::vector<Words>{{"RPUSH", "l", "3", "1", "2"}, {"SORT", "l", "DESC", "STORE", "d"}}) {
    AppendEffect(bytes, effect);
  }
  TestStore replica;
  Applier applier(replica.store());
  ASSERT_TRUE(applier.Apply({0, 0, kNow, bytes}).ok());
  RecordedStore expected;
  expected.Run({"RPUSH", "l", "3", "1", "2"}, kNow);
  expected.Run({"RPUSH", "d", "3", "2", "1"}, kNow);
  EXPECT_EQ(replica.Digest(), expected.Digest());
}

}  // namespace
}  // namespace holdfast
