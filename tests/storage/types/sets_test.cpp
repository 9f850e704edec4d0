// Sets: effects, algebra in every layer against a model, replay, random members.
#include "storage/types/sets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/recorded_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr const char* kWrongType = "-WRONGTYPE Operation against a key holding the wrong kind of value";

class Sets : public ::testing::Test {
 protected:
  std::string Run(const std::vector<std::string>& words, int64_t now_ms = kNow) { return store_.Run(words, now_ms); }

  RecordedStore store_;
};

TEST_F(Sets, EachOperationHasItsEffect) {
  struct Case {
    std::vector<std::string> words;
    std::string reply;
    std::string effect;
  };
  const std::vector<Case> cases = {
      {{"SADD", "s", "a", "b", "a"}, ":2", "SADD s a b"},
      {{"SADD", "s", "a", "c"}, ":1", "SADD s c"},
      {{"SADD", "s", "a"}, ":0", ""},
      {{"SCARD", "s"}, ":3", ""},
      {{"SREM", "s", "x", "a", "a"}, ":1", "SREM s a"},
      {{"SREM", "s", "x"}, ":0", ""},
      {{"SMEMBERS", "s"}, "[$b $c]", ""},
      {{"SMOVE", "s", "t", "b"}, ":1", "SMOVE s t b"},
      {{"SMOVE", "s", "t", "b"}, ":0", ""},
      {{"SMOVE", "t", "t", "b"}, ":1", ""},
      {{"SMOVE", "s", "t", "c"}, ":1", "SMOVE s t c"},
      {{"EXISTS", "s"}, ":0", ""},
      {{"SADD", "s", "b", "d"}, ":2", "SADD s b d"},
      {{"SMOVE", "s", "t", "b"}, ":1", "SMOVE s t b"},
      {{"SADD", "s", "b"}, ":1", "SADD s b"},
      {{"SINTER", "s", "t"}, "[$b]", ""},
      {{"SUNION", "s", "nothing", "t"}, "[$b $c $d]", ""},
      {{"SDIFF", "s", "t", "nothing"}, "[$d]", ""},
      {{"SDIFF", "nothing", "t"}, "[]", ""},
      {{"SINTER", "s", "nothing"}, "[]", ""},
      {{"SINTERSTORE", "d", "s", "t"}, ":1", "SINTERSTORE d s t"},
      {{"SUNIONSTORE", "s", "s", "t"}, ":3", "SUNIONSTORE s s t"},
      {{"SMEMBERS", "s"}, "[$b $c $d]", ""},
      {{"SDIFFSTORE", "d", "t", "s"}, ":0", "DEL d"},
      {{"SDIFFSTORE", "d", "t", "s"}, ":0", ""},
      {{"SET", "x", "1"}, "+OK", "SET x 1"},
      {{"SADD", "x", "1"}, kWrongType, ""},
      {{"SINTER", "nothing", "x"}, kWrongType, ""},
      {{"SMOVE", "s", "x", "b"}, kWrongType, ""},
      {{"SMOVE", "nothing", "x", "b"}, ":0", ""},
      {{"SDIFFSTORE", "x", "s", "t"}, ":1", "SDIFFSTORE x s t"},
      {{"SMEMBERS", "x"}, "[$d]", ""},
      {{"SPOP", "x"}, "[$d]", "DEL x"},
      {{"SPOP", "x"}, "[]", ""},
      {{"SPOP", "t", "10"}, "[$b $c]", "DEL t"},
      {{"TYPE", "s"}, "+set", ""},
  };
  for (const Case& one : cases) {
    std::string reply = Run(one.words);
    if (one.words[0] == "SPOP" && reply == "[$c $b]") reply = "[$b $c]";
    EXPECT_EQ(reply, one.reply) << one.words[0] << " " << one.words.back();
    EXPECT_EQ(store_.Effects(), one.effect) << one.words[0] << " " << one.words.back();
  }
}

TEST_F(Sets, StoringForgetsTheExpiryAndMeetsExpiredSources) {
  Run({"SADD", "a", "1", "2"});
  Run({"SADD", "b", "2", "3"});
  Run({"PEXPIRE", "b", "10"});
  Run({"SUNIONSTORE", "b", "a", "b"});
  EXPECT_EQ(Run({"PEXPIRETIME", "b"}), ":-1");
  Run({"PEXPIRE", "a", "10"});
  store_.Effects();
  EXPECT_EQ(Run({"SUNIONSTORE", "c", "a", "b"}, kNow + 11), ":3");
  EXPECT_EQ(store_.Effects(), "MULTI | DEL a | SUNIONSTORE c a b | EXEC");
}

TEST_F(Sets, EncodingIsAsRedisWouldHaveIt) {
  for (int i = 0; i < 512; ++i) Run({"SADD", "s", std::to_string(i)});
  EXPECT_EQ(Run({"ENCODING", "s"}), "$intset");
  Run({"SADD", "s", "512"});
  EXPECT_EQ(Run({"ENCODING", "s"}), "$hashtable");
  Run({"SREM", "s", "512"});
  EXPECT_EQ(Run({"ENCODING", "s"}), "$hashtable");
  Run({"SADD", "t", "1", "01"});
  EXPECT_EQ(Run({"ENCODING", "t"}), "$hashtable");
  Run({"SINTERSTORE", "d", "s", "t"});
  EXPECT_EQ(Run({"ENCODING", "d"}), "$intset");
}

TEST_F(Sets, ManyPoppedMembersLeaveInSeveralEffects) {
  for (int i = 0; i < 5000; ++i) Run({"SADD", "s", "m" + std::to_string(i)});
  Shadow shadow(store_);
  ASSERT_EQ(shadow.CatchUp(), "");
  Run({"SPOP", "s", "3000"});
  EXPECT_EQ(Run({"SCARD", "s"}), ":2000");
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
  for (int i = 0; i < 2000; ++i) Run({"SPOP", "s"});
  EXPECT_EQ(Run({"EXISTS", "s"}), ":0");
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
}

std::string Expected(const std::set<std::string>& members) {
  std::set<std::string> texts;
  for (const std::string& member : members) texts.insert("$" + testing::PercentEncode(member));
  std::string text = "[";
  for (const std::string& one : texts) text += (text.size() > 1 ? " " : "") + one;
  return text + "]";
}

class Algebra {
 public:
  explicit Algebra(uint64_t seed, uint64_t cache_bytes) : live_(1 << 20, cache_bytes), shadow_(live_), random_(seed) {}

  void Step(int step) {
    const std::string key = Key();
    const std::string member = Member();
    switch (random_.Below(8)) {
      case 0:
      case 1:
      case 2: {
        const std::string other = Member();
        live_.Run({"SADD", key, member, other, "common"}, kNow);
        model_[key].insert({member, other, "common"});
        break;
      }
      case 3:
        ASSERT_EQ(live_.Run({"SREM", key, member}, kNow), ":" + std::to_string(model_[key].erase(member)));
        break;
      case 4: {
        const std::string to = Key();
        const bool known = model_[key].count(member) > 0;
        ASSERT_EQ(live_.Run({"SMOVE", key, to, member}, kNow), known ? ":1" : ":0");
        if (known) {
          model_[key].erase(member);
          model_[to].insert(member);
        }
        break;
      }
      case 5:
        Pop(key);
        break;
      default:
        Combine();
    }
    ASSERT_EQ(live_.Run({"SMEMBERS", key}, kNow), Expected(model_[key]));
    ASSERT_EQ(live_.Run({"SCARD", key}, kNow), ":" + std::to_string(model_[key].size()));
    if (step % 89 == 88) live_.Checkpoint();
    if (step % 301 == 300) live_.CheckpointAndReopen();
    if (step % 50 != 49) return;
    ASSERT_EQ(shadow_.CatchUp(), "");
    ASSERT_EQ(live_.Digest(), shadow_.Digest());
    if (random_.Below(4) == 0) shadow_.Checkpoint();
  }

 private:
  std::string Key() { return "s" + std::to_string(random_.Below(4)); }
  std::string Member() {
    const uint64_t number = random_.Below(50);
    if (number < 5) return std::string(700, 'm') + std::to_string(number);
    return number < 20 ? std::to_string(number) : "member" + std::to_string(number);
  }

  void Pop(const std::string& key) {
    const std::set<std::string> before = model_[key];
    live_.Run({"SPOP", key, "2"}, kNow);
    Transaction& transaction = live_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto left = sets::Open(transaction, key);
    std::set<std::string> members;
    if (left.ok() && *left) {
      auto visited = (*left)->Visit([&](std::string_view member, std::string_view) {
        members.emplace(member);
        return true;
      });
      EXPECT_TRUE(visited.ok());
    }
    transaction.Commit();
    ASSERT_EQ(members.size(), before.size() - std::min<size_t>(before.size(), 2));
    ASSERT_TRUE(std::includes(before.begin(), before.end(), members.begin(), members.end()));
    model_[key] = members;
  }

  void Combine() {
    const std::string a = Key(), b = Key(), c = Key(), target = Key();
    const char* names[] = {"SUNION", "SINTER", "SDIFF"};
    const uint64_t which = random_.Below(3);
    std::set<std::string> result;
    if (which == 0) {
      for (const auto* key : {&a, &b, &c}) result.insert(model_[*key].begin(), model_[*key].end());
    } else {
      for (const std::string& member : model_[a]) {
        const bool in_b = model_[b].count(member) > 0;
        const bool in_c = model_[c].count(member) > 0;
        if (which == 1 ? in_b && in_c : !in_b && !in_c) result.insert(member);
      }
    }
    ASSERT_EQ(live_.Run({names[which], a, b, c}, kNow), Expected(result));
    ASSERT_EQ(live_.Run({std::string(names[which]) + "STORE", target, a, b, c}, kNow),
              ":" + std::to_string(result.size()));
    model_[target] = result;
    ASSERT_EQ(live_.Run({"SMEMBERS", target}, kNow), Expected(result));
  }

  RecordedStore live_;
  Shadow shadow_;
  SeededRandom random_;
  std::map<std::string, std::set<std::string>> model_;
};

TEST(SetsAgainstAModel, InEveryLayerAndReplayed) {
  const uint64_t seed = 4711;
  for (uint64_t cache_bytes : {uint64_t{64} << 20, uint64_t{0}}) {
    Algebra algebra(seed, cache_bytes);
    for (int step = 0; step < 1500; ++step) {
      algebra.Step(step);
      ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "seed " << seed << " step " << step;
    }
  }
}

// A store larger than a batch of the copy that *STORE makes.
TEST_F(Sets, StoringMoreThanABatch) {
  const std::string filler(2000, 'x');
  for (int i = 0; i < 2000; ++i) Run({"SADD", "s", filler + std::to_string(i)});
  store_.Checkpoint();
  EXPECT_EQ(Run({"SUNIONSTORE", "d", "s", "s"}), ":2000");
  EXPECT_EQ(Run({"SDIFF", "s", "d"}), "[]");
  EXPECT_EQ(Run({"SINTERSTORE", "e", "d", "s"}), ":2000");
}

// ---- chance ---------------------------------------------------------------------------------------------------------

// Sum of (seen - expected)^2 / expected.
double ChiSquare(const std::map<std::string, int>& seen, size_t kinds, double picks) {
  const double expected = picks / static_cast<double>(kinds);
  double sum = static_cast<double>(kinds - seen.size()) * expected;
  for (const auto& [member, count] : seen) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

// Half of the members are on disk, some of those are deleted in memory, the others are in memory.
TEST_F(Sets, EveryMemberHasTheSameChance) {
  for (size_t size : {size_t{3}, size_t{40}, size_t{41}, size_t{300}}) {
    Run({"DEL", "s"});
    for (size_t i = 0; i < size; ++i) Run({"SADD", "s", "m" + std::to_string(i), "gone" + std::to_string(i)});
    store_.Checkpoint();
    for (size_t i = 0; i < size; ++i) Run({"SREM", "s", "gone" + std::to_string(i)});
    for (size_t i = 0; i < size; ++i) Run({"SADD", "s", "n" + std::to_string(i)});
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto set = sets::Open(transaction, "s");
    ASSERT_TRUE(set.ok());
    const size_t kinds = 2 * size;
    const int picks = static_cast<int>(kinds) * 40;
    std::map<std::string, int> single, several;
    for (int i = 0; i < picks; ++i) {
      auto picked = (*set)->Pick();
      ASSERT_TRUE(picked.ok());
      ++single[picked->member];
    }
    const uint64_t at_once = 3;
    for (int i = 0; i < picks; ++i) {
      auto picked = (*set)->PickDistinct(at_once);
      ASSERT_TRUE(picked.ok());
      for (const auto& one : *picked) ++several[one.member];
    }
    transaction.Commit();
    // Mean kinds - 1, deviation sqrt(2 * kinds): five of them are a chance below one in a million. The seed is fixed.
    const double bound = static_cast<double>(kinds) + 5 * std::sqrt(2.0 * static_cast<double>(kinds));
    EXPECT_LT(ChiSquare(single, kinds, picks), bound) << size;
    EXPECT_LT(ChiSquare(several, kinds, picks * static_cast<double>(at_once)), bound) << size;
    EXPECT_EQ(single.size(), kinds);
  }
}

// Picks go on after most members went without a pick.
TEST_F(Sets, PicksFromWhatBecameSmall) {
  constexpr int kMembers = 100'000;
  constexpr int kLeft = 70;
  std::vector<std::string> words = {"SADD", "s"};
  for (int i = 0; i < kMembers; ++i) words.push_back("m" + std::to_string(i));
  Run(words);
  const std::set<std::string> left(words.end() - kLeft, words.end());
  const auto pick = [&] {
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    const auto picked = (*sets::Open(transaction, "s"))->PickDistinct(1);
    EXPECT_TRUE(picked.ok()) << picked.error().message;
    const std::string member = picked.ok() ? picked->at(0).member : "";
    transaction.Commit();
    return member;
  };
  pick();
  words[0] = "SREM";
  words.resize(words.size() - kLeft);
  EXPECT_EQ(Run(words), ":" + std::to_string(kMembers - kLeft));
  std::set<std::string> picked;
  for (int i = 0; i < 2000; ++i) picked.insert(pick());
  EXPECT_EQ(picked, left);
}

// The last members of what was large are found among thousands of deleted rows without walking over these.
TEST_F(Sets, TakingAllByChanceDoesNotWalkOverWhatWasTaken) {
  constexpr int kMembers = 9000;
  std::vector<std::string> words = {"SADD", "s"};
  for (int i = 0; i < kMembers; ++i) words.push_back("m" + std::to_string(i));
  Run(words);
  store_.Checkpoint();
  std::set<std::string> taken;
  for (int i = 0; i < kMembers; ++i) {
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    const auto popped = sets::Pop(transaction, "s", 1);
    transaction.Commit();
    ASSERT_TRUE(popped.ok()) << popped.error().message;
    ASSERT_TRUE(taken.insert(popped->at(0)).second);
  }
  EXPECT_EQ(Run({"EXISTS", "s"}), ":0");
  EXPECT_FALSE(store_.store().FreezeWanted());
}

}  // namespace
}  // namespace holdfast
