// Sorted sets: order of scores, effects, ranges in every layer against a model, replay.
#include "storage/types/sorted_sets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "storage/effects/applier.h"
#include "storage/effects/effect_codec.h"
#include "storage/types/numbers.h"
#include "storage/types/sorted_set_value.h"
#include "tests/support/recorded_store.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;
using ::holdfast::testing::TestStore;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr const char* kWrongType = "-WRONGTYPE Operation against a key holding the wrong kind of value";

TEST(Scores, UnsignedOrderIsTheOrderOfScores) {
  using Limits = std::numeric_limits<double>;
  const std::vector<double> ascending = {-Limits::infinity(),
                                         Limits::lowest(),
                                         -1e10,
                                         -1.5,
                                         -1,
                                         -Limits::min(),
                                         -Limits::denorm_min(),
                                         0,
                                         Limits::denorm_min(),
                                         0.1,
                                         1,
                                         1e300,
                                         Limits::max(),
                                         Limits::infinity()};
  for (size_t i = 0; i < ascending.size(); ++i) {
    EXPECT_EQ(ScoreFromSortable(SortableScore(ascending[i])), ascending[i]);
    if (i == 0) continue;
    EXPECT_LT(SortableScore(ascending[i - 1]), SortableScore(ascending[i]));
  }
  EXPECT_EQ(SortableScore(-0.0), SortableScore(0.0));
  EXPECT_FALSE(DecodeScore(EncodeScore(Limits::quiet_NaN())).ok());
  EXPECT_FALSE(DecodeScore("short").ok());
}

class SortedSets : public ::testing::Test {
 protected:
  std::string Run(const std::vector<std::string>& words, int64_t now_ms = kNow) { return store_.Run(words, now_ms); }

  // Members that begin alike, all with one score.
  void AddLong(const std::string& key, int members) {
    const std::string shared(500, 'x');
    for (int i = 0; i < members; ++i) Run({"ZADD", key, "0", shared + std::to_string(i)});
  }
  // All of them as they are told: "member=score".
  std::vector<std::string> Range(const std::string& key) {
    const std::string text = Run({"ZRANGE", key, "0", "-1"});
    std::istringstream words(text.substr(1, text.size() - 2));
    return {std::istream_iterator<std::string>(words), {}};
  }

  RecordedStore store_;
};

TEST_F(SortedSets, EachOperationHasItsEffect) {
  struct Case {
    std::vector<std::string> words;
    std::string reply;
    std::string effect;
  };
  const std::vector<Case> cases = {
      {{"ZADD", "z", "1", "a", "2", "b", "3", "a"}, ":2", "ZADD z 1 a 2 b 3 a"},
      {{"ZADD", "z", "3", "a"}, ":0", ""},
      {{"ZADD", "z", "CH", "GT", "1", "a", "5", "b", "0.1", "c"}, ":2", "ZADD z 5 b 0.10000000000000001 c"},
      {{"ZADD", "z", "NX", "9", "a"}, ":0", ""},
      {{"ZADD", "z", "XX", "9", "new"}, ":0", ""},
      {{"ZADD", "z", "LT", "INCR", "-1", "a"}, ",2", "ZADD z 2 a"},
      {{"ZADD", "z", "LT", "INCR", "1", "a"}, "_", ""},
      {{"ZINCRBY", "z", "inf", "a"}, ",inf", "ZADD z inf a"},
      {{"ZINCRBY", "z", "-inf", "a"}, "-ERR resulting score is not a number (NaN)", ""},
      {{"ZADD", "z", "NX", "XX", "1", "a"}, "-ERR XX and NX options at the same time are not compatible", ""},
      {{"ZADD", "z", "nan", "a"}, "-ERR value is not a valid float", ""},
      {{"ZRANGE", "z", "0", "-1"}, "[c=0.10000000000000001 b=5 a=inf]", ""},
      {{"ZRANGE", "z", "(5", "-inf", "BYSCORE", "REV"}, "[c=0.10000000000000001]", ""},
      {{"ZRANK", "z", "a"}, ":2", ""},
      {{"ZREVRANK", "z", "a"}, ":0", ""},
      {{"ZREVRANK", "z", "none"}, "_", ""},
      {{"ZREM", "z", "c", "none", "c"}, ":1", "ZREM z c"},
      {{"SADD", "s", "a", "x"}, ":2", "SADD s a x"},
      {{"ZUNION", "2", "z", "s", "WEIGHTS", "1", "3"}, "[a=inf b=5 x=3]", ""},
      {{"ZINTER", "2", "z", "s", "AGGREGATE", "MIN"}, "[a=1]", ""},
      {{"ZDIFF", "2", "z", "s"}, "[b=5]", ""},
      {{"ZUNIONSTORE", "d", "2", "z", "s"}, ":3", "ZUNIONSTORE d 2 z s"},
      {{"ZRANGESTORE", "e", "d", "1", "(inf", "BYSCORE"}, ":2", "ZRANGESTORE e d 1 (inf BYSCORE"},
      {{"ZINTERSTORE", "d", "2", "d", "none"}, ":0", "DEL d"},
      {{"ZINTERSTORE", "d", "2", "d", "none"}, ":0", ""},
      {{"ZPOPMAX", "z", "1"}, "[a=inf]", "ZPOPMAX z 1"},
      {{"ZPOPMIN", "z", "5"}, "[b=5]", "ZPOPMIN z 1"},
      {{"ZPOPMIN", "z", "5"}, "_", ""},
      {{"ZADD", "z", "1", "a", "2", "b", "3", "c", "4", "d"}, ":4", "ZADD z 1 a 2 b 3 c 4 d"},
      {{"ZREMRANGEBYRANK", "z", "-1", "-1"}, ":1", "ZREMRANGEBYRANK z -1 -1"},
      {{"ZREMRANGEBYSCORE", "z", "(1", "2"}, ":1", "ZREMRANGEBYSCORE z (1 2"},
      {{"ZREMRANGEBYSCORE", "z", "7", "8"}, ":0", ""},
      {{"ZREMRANGEBYLEX", "z", "-", "+"}, ":2", "ZREMRANGEBYLEX z - +"},
      {{"EXISTS", "z"}, ":0", ""},
      {{"ZADD", "s", "1", "a"}, kWrongType, ""},
      {{"TYPE", "e"}, "+zset", ""},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(Run(one.words), one.reply) << one.words[0] << " " << one.words.back();
    EXPECT_EQ(store_.Effects(), one.effect) << one.words[0] << " " << one.words.back();
  }
}

TEST_F(SortedSets, EncodingIsAsRedisWouldHaveIt) {
  for (int i = 0; i < 128; ++i) Run({"ZADD", "z", "1", std::to_string(i)});
  EXPECT_EQ(Run({"ENCODING", "z"}), "$listpack");
  Run({"ZADD", "z", "1", "one more"});
  EXPECT_EQ(Run({"ENCODING", "z"}), "$skiplist");
  Run({"ZREM", "z", "one more"});
  EXPECT_EQ(Run({"ENCODING", "z"}), "$skiplist");
  Run({"ZRANGESTORE", "y", "z", "0", "-1"});
  EXPECT_EQ(Run({"ENCODING", "y"}), "$listpack");
  Run({"ZADD", "y", "-0", std::string(65, 'm')});
  EXPECT_EQ(Run({"ENCODING", "y"}), "$skiplist");
  EXPECT_EQ(Run({"ZRANGE", "y", "0", "0"}), "[" + std::string(65, 'm') + "=-0]");
}

TEST_F(SortedSets, OnlyLargeOnesKeepTheSignOfZero) {
  Run({"ZADD", "z", "-0", "a", "1", "b"});
  EXPECT_EQ(Run({"ZRANGE", "z", "0", "-1"}), "[a=0 b=1]");
  EXPECT_EQ(Run({"ZUNIONSTORE", "y", "1", "z", "WEIGHTS", "-1"}), ":2");
  EXPECT_EQ(Run({"ZRANGE", "y", "0", "-1"}), "[b=-1 a=0]");
  Run({"ZADD", "z", "2", std::string(65, 'm')});
  EXPECT_EQ(Run({"ZUNIONSTORE", "y", "1", "z", "WEIGHTS", "-1"}), ":3");
  EXPECT_EQ(Run({"ZRANGE", "y", "-1", "-1"}), "[a=-0]");
}

// Around bounds that long members share in all bytes that rows order by.
TEST_F(SortedSets, NamesLongerThanRowsHold) {
  const std::string shared(600, 'm');
  std::vector<std::string> words = {"ZADD", "z"};
  for (const std::string& member : {shared + "1", shared + "2", shared + "3", std::string("a"), std::string("z")}) {
    words.insert(words.end(), {"0", member});
  }
  EXPECT_EQ(Run(words), ":5");
  for (const std::vector<std::string>& range :
       {std::vector<std::string>{"[" + shared + "2", "+"}, std::vector<std::string>{"(" + shared + "1", "[zz"}}) {
    EXPECT_EQ(Run({"ZRANGE", "z", range[1], range[0], "BYLEX", "REV", "LIMIT", "0", "1"}), "[z=0]");
    EXPECT_EQ(Run({"ZRANGESTORE", "y", "z", range[0], range[1], "BYLEX"}), ":3");
    EXPECT_EQ(Run({"ZRANGESTORE", "y", "z", range[1], range[0], "BYLEX", "REV"}), ":3");
  }
  EXPECT_EQ(Run({"ZREMRANGEBYLEX", "z", "[a", "[" + shared + "2"}), ":3");
  EXPECT_EQ(Run({"ZRANGE", "z", "0", "-1"}), "[" + shared + "3=0 z=0]");
}

// Their rows are folded: they lie in the order of their digests, also where a walk begins at one of them.
TEST_F(SortedSets, WalksBeginAmongNamesLongerThanRowsHold) {
  for (const int members : {130, 400}) {  // counted one by one; found by fences
    const std::string key = "z" + std::to_string(members);
    AddLong(key, members);
    for (const bool on_disk : {false, true}) {
      SCOPED_TRACE(key + (on_disk ? " on disk" : ""));
      if (on_disk) store_.Checkpoint();
      const std::vector<std::string> order = Range(key);
      ASSERT_EQ(order.size(), static_cast<size_t>(members));
      ASSERT_EQ(std::set<std::string>(order.begin(), order.end()).size(), order.size());
      for (size_t i = 0; i < order.size(); ++i) {
        const std::string at = std::to_string(i), back = std::to_string(order.size() - 1 - i);
        const std::string member = order[i].substr(0, order[i].size() - 2);  // without "=0"
        ASSERT_EQ(Run({"ZRANGE", key, at, at}), "[" + order[i] + "]") << i;
        ASSERT_EQ(Run({"ZRANGE", key, back, back, "REV"}), "[" + order[i] + "]") << i;
        ASSERT_EQ(Run({"ZRANK", key, member}), ":" + at);
        ASSERT_EQ(Run({"ZREVRANK", key, member}), ":" + back);
      }
    }
    const std::vector<std::string> before = Range(key);
    EXPECT_EQ(Run({"ZREMRANGEBYRANK", key, "90", "99"}), ":10");
    std::vector<std::string> left(before.begin(), before.begin() + 90);
    left.insert(left.end(), before.begin() + 100, before.end());
    EXPECT_EQ(Range(key), left);
  }
}

TEST_F(SortedSets, BatchesOfNamesLongerThanRowsHold) {
  AddLong("z", 3000);
  for (const bool on_disk : {false, true}) {
    SCOPED_TRACE(on_disk);
    if (on_disk) store_.Checkpoint();
    EXPECT_EQ(Run({"ZRANGESTORE", "stored", "z", "0", "-1"}), ":3000");
    EXPECT_EQ(Run({"COPY", "z", "copied"}), ":1");
    EXPECT_EQ(Range("stored"), Range("z"));
    EXPECT_EQ(Range("copied"), Range("z"));
    for (const char* key : {"stored", "copied"}) {
      EXPECT_EQ(Run({"ZREMRANGEBYSCORE", key, "-inf", "+inf"}), ":3000") << key;
      EXPECT_EQ(Run({"EXISTS", key}), ":0") << key;
    }
  }
  Shadow shadow(store_);
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
}

// The row of the old score is gone without a trace, and the count stays.
TEST_F(SortedSets, AReplyThatMissesAMemberWaitsForTheWriteThatMovedIt) {
  for (const int others : {0, 400}) {
    const std::string key = "z" + std::to_string(others);
    for (int i = 0; i < others; ++i) Run({"ZADD", key, "7", "other" + std::to_string(i)});
    Run({"ZADD", key, "1", "a", "1", "b", "5", "c"});
    Run({"ZADD", key, "9", "a"});
    const uint64_t begin = store_.sink().units.back().offset;
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto set = SortedSetReader::Open(transaction, key);
    ASSERT_TRUE(set.ok());
    SortedSetRange range;
    range.by = SortedSetRange::By::kScore;
    range.scores.min = range.scores.max = 1;
    std::vector<std::string> seen;
    ASSERT_TRUE((*set)
                    ->Visit(range,
                            [&seen](std::string_view member, double) {
                              seen.emplace_back(member);
                              return true;
                            })
                    .ok());
    EXPECT_EQ(seen, std::vector<std::string>{"b"});
    EXPECT_GT(transaction.Commit().seen_offset, begin) << key;
  }
}

TEST_F(SortedSets, RangesLargerThanABatch) {
  const std::string filler(2000, 'x');
  for (int i = 0; i < 1500; ++i) Run({"ZADD", "z", std::to_string(i % 700), std::to_string(i) + filler});
  store_.Checkpoint();
  EXPECT_EQ(Run({"ZRANGESTORE", "d", "z", "100", "-1"}), ":1400");
  EXPECT_EQ(Run({"ZUNIONSTORE", "e", "1", "z"}), ":1500");
  EXPECT_EQ(Run({"ZREMRANGEBYRANK", "e", "10", "-11"}), ":1480");
  EXPECT_EQ(Run({"ZREMRANGEBYSCORE", "d", "-inf", "(699"}), ":1398");
  Shadow shadow(store_);
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
}

// A master of another make sends what its client said.
TEST_F(SortedSets, ReplayTakesTheFormsOfRedis) {
  std::string bytes;
  const std::vector<std::vector<std::string_view>> effects = {
      {"ZADD", "z", "NX", "CH", "1", "a", "2", "b"}, {"ZADD", "z", "NX", "9", "a"}, {"zadd", "z", "XX", "GT", "3", "a"},
      {"ZADD", "z", "LT", "INCR", "-0.5", "b"},      {"ZINCRBY", "z", "2", "c"},    {"ZPOPMAX", "z"}};
  for (const auto& effect : effects) AppendEffect(bytes, effect);
  TestStore replica;
  Applier applier(replica.store());
  ASSERT_TRUE(applier.Apply({0, 0, kNow, bytes}).ok());
  Run({"ZADD", "z", "2", "c", "1.5", "b"});
  EXPECT_EQ(replica.Digest(), store_.Digest());
  std::string broken;
  AppendEffect(broken, std::vector<std::string_view>{"ZADD", "z", "nan", "a"});
  EXPECT_FALSE(applier.Apply({bytes.size(), 0, kNow, broken}).ok());
}

// ---- a model --------------------------------------------------------------------------------------------------------

using Model = std::map<std::string, double>;
using Order = std::vector<std::pair<double, std::string>>;

Order Sorted(const Model& model) {
  Order order;
  for (const auto& [member, score] : model) order.emplace_back(score, member);
  std::sort(order.begin(), order.end());
  return order;
}

std::string Text(const Order& order) {
  std::string text = "[";
  for (const auto& [score, member] : order) {
    text += (text.size() > 1 ? " " : "") + testing::PercentEncode(member) + "=" + FormatDouble(score);
  }
  return text + "]";
}

class Walk {
 public:
  Walk(uint64_t seed, uint64_t cache_bytes) : live_(1 << 20, cache_bytes), shadow_(live_), random_(seed) {}

  void Step(int step) {
    const std::string key = Key();
    Change(key);
    const Order order = Sorted(model_[key]);
    ASSERT_EQ(live_.Run({"ZRANGE", key, "0", "-1"}, kNow), Text(order));
    Look(key, order);
    if (step % 89 == 88) live_.Checkpoint();
    if (step % 301 == 300) live_.CheckpointAndReopen();
    if (step % 50 != 49) return;
    ASSERT_EQ(shadow_.CatchUp(), "");
    ASSERT_EQ(live_.Digest(), shadow_.Digest());
    if (random_.Below(4) == 0) shadow_.Checkpoint();
  }

 private:
  std::string Key() { return "z" + std::to_string(random_.Below(3)); }
  // The long ones differ early: their order is that of their bytes.
  std::string Member() {
    const uint64_t number = random_.Below(300);
    return "m" + std::to_string(number) + (number < 10 ? std::string(700, 'l') : "");
  }
  double Score() { return static_cast<double>(random_.Below(41)) / 4 - 5; }

  void Change(const std::string& key) {
    Model& model = model_[key];
    const std::string member = Member();
    const double score = Score();
    switch (random_.Below(9)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const std::string other = Member();
        live_.Run({"ZADD", key, FormatDouble(score), member, FormatDouble(score + 1), other}, kNow);
        model[member] = score;
        model[other] = score + 1;
        break;
      }
      case 4:
        model[member] += score;
        ASSERT_EQ(live_.Run({"ZINCRBY", key, FormatDouble(score), member}, kNow), "," + FormatDouble(model[member]));
        break;
      case 5:
        ASSERT_EQ(live_.Run({"ZREM", key, member}, kNow), ":" + std::to_string(model.erase(member)));
        break;
      case 6:
        Cut(key, score);
        break;
      case 7:
        Pop(key);
        break;
      default:
        Combine(key);
    }
  }

  void Cut(const std::string& key, double score) {
    const auto erased =
        std::erase_if(model_[key], [&](const auto& one) { return one.second >= score && one.second < score + 0.75; });
    ASSERT_EQ(live_.Run({"ZREMRANGEBYSCORE", key, FormatDouble(score), "(" + FormatDouble(score + 0.75)}, kNow),
              ":" + std::to_string(erased));
  }

  void Pop(const std::string& key) {
    Order order = Sorted(model_[key]);
    const bool max = random_.Below(2) == 0;
    if (max) std::reverse(order.begin(), order.end());
    const size_t count = std::min<size_t>(order.size(), 2);
    order.resize(count);
    const std::string reply = live_.Run({max ? "ZPOPMAX" : "ZPOPMIN", key, "2"}, kNow);
    ASSERT_EQ(reply, model_[key].empty() ? "_" : Text(order));
    for (const auto& one : order) model_[key].erase(one.second);
  }

  void Combine(const std::string& target) {
    const std::string a = Key(), b = Key();
    const uint64_t which = random_.Below(3);
    Model result;
    for (const auto& [member, score] : model_[a]) {
      const auto other = model_[b].find(member);
      const bool both = other != model_[b].end();
      if (which == 2 ? !both : both || which == 0) result[member] = both ? score + 2 * other->second : score;
    }
    if (which == 0) {
      for (const auto& [member, score] : model_[b]) {
        if (!model_[a].contains(member)) result[member] = 2 * score;
      }
    }
    const char* names[] = {"ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"};
    std::vector<std::string> words = {names[which], target, "2", a, b};
    if (which != 2) words.insert(words.end(), {"WEIGHTS", "1", "2"});
    ASSERT_EQ(live_.Run(words, kNow), ":" + std::to_string(result.size()));
    model_[target] = result;
  }

  void Look(const std::string& key, const Order& order) {
    const auto size = static_cast<int64_t>(order.size());
    const auto start = static_cast<int64_t>(random_.Below(order.size() + 2));
    const int64_t stop = start + static_cast<int64_t>(random_.Below(5));
    const auto at = [&](int64_t place) { return order.begin() + std::clamp<int64_t>(place, 0, size); };
    const std::vector<std::string> by_rank = {"ZRANGE", key, std::to_string(start), std::to_string(stop)};
    ASSERT_EQ(live_.Run(by_rank, kNow), Text(Order(at(start), at(stop + 1))));
    Order reversed(order.rbegin(), order.rend());
    std::vector<std::string> words = by_rank;
    words.emplace_back("REV");
    const auto from_end = [&](int64_t place) { return reversed.begin() + std::clamp<int64_t>(place, 0, size); };
    ASSERT_EQ(live_.Run(words, kNow), Text(Order(from_end(start), from_end(stop + 1))));
    const double low = Score();
    Order between;
    for (const auto& one : order) {
      if (one.first > low && one.first <= low + 2) between.push_back(one);
    }
    ASSERT_EQ(live_.Run({"ZRANGE", key, "(" + FormatDouble(low), FormatDouble(low + 2), "BYSCORE"}, kNow),
              Text(between));
    std::reverse(between.begin(), between.end());
    ASSERT_EQ(live_.Run({"ZRANGE", key, FormatDouble(low + 2), "(" + FormatDouble(low), "BYSCORE", "REV"}, kNow),
              Text(between));
    if (start >= size) return;
    ASSERT_EQ(live_.Run({"ZRANK", key, at(start)->second}, kNow), ":" + std::to_string(start));
    ASSERT_EQ(live_.Run({"ZREVRANK", key, at(start)->second}, kNow), ":" + std::to_string(size - 1 - start));
  }

  RecordedStore live_;
  Shadow shadow_;
  SeededRandom random_;
  std::map<std::string, Model> model_;
};

TEST(SortedSetsAgainstAModel, InEveryLayerAndReplayed) {
  const uint64_t seed = 4711;
  for (uint64_t cache_bytes : {uint64_t{64} << 20, uint64_t{0}}) {
    Walk walk(seed, cache_bytes);
    for (int step = 0; step < 1500; ++step) {
      walk.Step(step);
      ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace holdfast
