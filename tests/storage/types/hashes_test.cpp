// Hashes: effects, rows in every layer against a model, replay, scans, random picks.
#include "storage/types/hashes.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "storage/base/hash.h"
#include "tests/support/recorded_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;

constexpr int64_t kNow = 1'700'000'000'000;

class Hashes : public ::testing::Test {
 protected:
  std::string Run(const std::vector<std::string>& words, int64_t now_ms = kNow) { return store_.Run(words, now_ms); }

  RecordedStore store_;
};

TEST_F(Hashes, EachOperationHasItsEffect) {
  struct Case {
    std::vector<std::string> words;
    std::string reply;
    std::string effect;
  };
  const std::string error = "-ERR hash value is not an integer";
  const std::vector<Case> cases = {
      {{"HSET", "h", "a", "1", "b", "2", "a", "3"}, ":2", "HSET h a 1 b 2 a 3"},
      {{"HSET", "h", "a", "3"}, ":0", "HSET h a 3"},
      {{"HSETNX", "h", "a", "4"}, ":0", ""},
      {{"HSETNX", "h", "c", "4"}, ":1", "HSET h c 4"},
      {{"HGET", "h", "a"}, "$3", ""},
      {{"HGET", "h", "nothing"}, "_", ""},
      {{"HMGET", "h", "a", "x", "c"}, "[$3 _ $4]", ""},
      {{"HMGET", "nothing", "a", "x"}, "[_ _]", ""},
      {{"HLEN", "h"}, ":3", ""},
      {{"HINCRBY", "h", "a", "-5"}, ":-2", "HINCRBY h a -5"},
      {{"HINCRBY", "h", "new", "9223372036854775807"}, ":9223372036854775807", "HINCRBY h new 9223372036854775807"},
      {{"HINCRBY", "h", "new", "1"}, "-ERR increment or decrement would overflow", ""},
      {{"HINCRBYFLOAT", "h", "a", "0.5"}, "$-1.5", "HSET h a -1.5"},
      {{"HINCRBY", "h", "a", "1"}, error, ""},
      {{"HSET", "h", "t", "text"}, ":1", "HSET h t text"},
      {{"HINCRBYFLOAT", "h", "t", "1"}, "-ERR hash value is not a float", ""},
      {{"HDEL", "h", "t", "nothing", "new", "t"}, ":2", "HDEL h t new"},
      {{"HDEL", "h", "nothing"}, ":0", ""},
      {{"HGETALL", "h"}, "[$a $-1.5 $b $2 $c $4]", ""},
      {{"COPY", "h", "copy"}, ":1", "COPY h copy DB 0 REPLACE"},
      {{"HSET", "copy", "a", "other"}, ":0", "HSET copy a other"},
      {{"HGET", "h", "a"}, "$-1.5", ""},
      {{"RENAME", "copy", "moved"}, "+OK", "RENAME copy moved"},
      {{"HGETALL", "moved"}, "[$a $other $b $2 $c $4]", ""},
      {{"MOVE", "moved", "1"}, ":1", "MOVE moved 1"},
      {{"TYPE", "h"}, "+hash", ""},
      {{"HDEL", "h", "a", "b", "c", "d"}, ":3", "HDEL h a b c"},
      {{"EXISTS", "h"}, ":0", ""},
      {{"DBSIZE"}, ":0", ""},
      {{"HGETALL", "h"}, "[]", ""},
      {{"SET", "s", "x"}, "+OK", "SET s x"},
      {{"HSET", "s", "a", "b"}, "-WRONGTYPE Operation against a key holding the wrong kind of value", ""},
      {{"HGETALL", "s"}, "-WRONGTYPE Operation against a key holding the wrong kind of value", ""},
      {{"GET", "s"}, "$x", ""},
      {{"HSET", "g", "a", "b"}, ":1", "HSET g a b"},
      {{"GET", "g"}, "-WRONGTYPE Operation against a key holding the wrong kind of value", ""},
      {{"SET", "g", "x"}, "+OK", "SET g x"},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(Run(one.words), one.reply) << one.words[0] << " " << one.words.back();
    EXPECT_EQ(store_.Effects(), one.effect) << one.words[0] << " " << one.words.back();
  }
}

TEST_F(Hashes, AnExpiredHashIsDeletedBeforeItIsWritten) {
  Run({"HSET", "h", "a", "1", "b", "2"});
  Run({"PEXPIRE", "h", "10"});
  EXPECT_EQ(Run({"HSET", "h", "a", "2"}), ":0");
  EXPECT_EQ(Run({"PEXPIRETIME", "h"}), ":" + std::to_string(kNow + 10));
  store_.Effects();
  EXPECT_EQ(Run({"HGETALL", "h"}, kNow + 11), "[]");
  EXPECT_EQ(store_.Effects(), "");
  EXPECT_EQ(Run({"HSET", "h", "c", "3"}, kNow + 11), ":1");
  EXPECT_EQ(store_.Effects(), "MULTI | DEL h | HSET h c 3 | EXEC");
  EXPECT_EQ(Run({"HGETALL", "h"}, kNow + 11), "[$c $3]");
  EXPECT_EQ(Run({"PEXPIRETIME", "h"}, kNow + 11), ":-1");
}

TEST_F(Hashes, EncodingIsAsRedisWouldHaveIt) {
  Run({"HSET", "h", "a", std::string(64, 'x')});
  EXPECT_EQ(Run({"ENCODING", "h"}), "$listpack");
  for (int i = 0; i < 511; ++i) Run({"HSET", "h", std::to_string(i), "x"});
  EXPECT_EQ(Run({"ENCODING", "h"}), "$listpack");
  Run({"HSET", "h", "b", "x"});
  EXPECT_EQ(Run({"ENCODING", "h"}), "$hashtable");
  Run({"HDEL", "h", "b"});
  EXPECT_EQ(Run({"ENCODING", "h"}), "$hashtable");
  Run({"HSET", "g", std::string(65, 'f'), "x"});
  EXPECT_EQ(Run({"ENCODING", "g"}), "$hashtable");
  Run({"HSETNX", "k", "f", std::string(65, 'f')});
  EXPECT_EQ(Run({"ENCODING", "k"}), "$hashtable");
}

// A write that changes no count leaves the key row alone; who watches the key is told all the same.
TEST_F(Hashes, OverwritingAFieldTouchesTheKey) {
  Run({"HSET", "h", "a", "1"});
  Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
  const std::string_view pair[] = {"a", "2"};
  auto added = hashes::Set(transaction, "h", pair);
  ASSERT_TRUE(added.ok());
  ASSERT_EQ(transaction.touched().size(), 1u);
  EXPECT_EQ(transaction.touched()[0].key, "h");
  transaction.Commit();
}

TEST_F(Hashes, AReplyThatShowsAWriteWaitsForIt) {
  Run({"HSET", "h", "a", "1", "b", "1"});
  Run({"HSET", "h", "a", "2"});
  const uint64_t before_b = store_.sink().units.back().offset;
  Run({"HDEL", "h", "b"});
  for (const char* field : {"a", "b"}) {
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto value = hashes::Get(transaction, "h", field);
    ASSERT_TRUE(value.ok());
    EXPECT_GT(transaction.Commit().seen_offset, before_b) << field;
  }
}

using Model = std::map<std::string, std::map<std::string, std::string>>;

std::string Expected(const Model& model, const std::string& key) {
  auto found = model.find(key);
  std::set<std::string> texts;
  if (found != model.end()) {
    for (const auto& [field, value] : found->second) {
      texts.insert("$" + testing::PercentEncode(field) + " $" + testing::PercentEncode(value));
    }
  }
  std::string text = "[";
  for (const std::string& one : texts) text += (text.size() > 1 ? " " : "") + one;
  return text + "]";
}

std::string RandomField(SeededRandom& random) {
  const uint64_t number = random.Below(60);
  // Longer than a row key can be: folded, with a common beginning.
  if (number < 6) return std::string(600, 'f') + std::to_string(number);
  return number == 7 ? std::string() : "field" + std::to_string(number);
}

void RunRandomly(uint64_t seed, uint64_t cache_bytes, int steps) {
  RecordedStore live(1 << 20, cache_bytes);
  Shadow shadow(live);
  SeededRandom random(seed);
  Model model;
  for (int step = 0; step < steps; ++step) {
    const std::string key = "h" + std::to_string(random.Below(4));
    const std::string field = RandomField(random);
    const std::string value(random.Below(8) == 0 ? 3000 : random.Below(30), static_cast<char>('a' + random.Below(26)));
    switch (random.Below(10)) {
      case 0:
      case 1:
      case 2:
        live.Run({"HSET", key, field, value, "common", "x"}, kNow);
        model[key][field] = value;
        model[key]["common"] = "x";
        break;
      case 3:
        live.Run({"HSETNX", key, field, value}, kNow);
        model[key].emplace(field, value);
        break;
      case 4:
      case 5:
      case 6: {
        const std::string other = RandomField(random);
        const size_t removed = model[key].erase(field) + model[key].erase(other);
        ASSERT_EQ(live.Run({"HDEL", key, field, other}, kNow), ":" + std::to_string(removed));
        break;
      }
      case 7:
        if (random.Below(10) == 0) {
          live.Run({"DEL", key}, kNow);
          model.erase(key);
        }
        break;
      case 8: {
        const std::string to = "h" + std::to_string(random.Below(4));
        if (to == key || model[key].empty()) break;
        if (random.Below(2) == 0) {
          live.Run({"COPY", key, to, "REPLACE"}, kNow);
          model[to] = model[key];
        } else {
          live.Run({"RENAME", key, to}, kNow);
          model[to] = model[key];
          model.erase(key);
        }
        break;
      }
      default: {
        auto found = model[key].find(field);
        ASSERT_EQ(live.Run({"HGET", key, field}, kNow),
                  found == model[key].end() ? "_" : "$" + testing::PercentEncode(found->second));
      }
    }
    ASSERT_EQ(live.Run({"HLEN", key}, kNow), ":" + std::to_string(model[key].size())) << "seed " << seed;
    ASSERT_EQ(live.Run({"HGETALL", key}, kNow), Expected(model, key)) << "seed " << seed << " step " << step;
    if (step % 97 == 96) live.Checkpoint();
    if (step % 331 == 330) live.CheckpointAndReopen();
    if (step % 50 == 49) {
      ASSERT_EQ(shadow.CatchUp(), "");
      ASSERT_EQ(live.Digest(), shadow.Digest()) << "seed " << seed << " step " << step;
    }
    if (step % 170 == 169) shadow.Checkpoint();
  }
}

TEST(HashesAgainstAModel, InEveryLayerAndReplayed) {
  const uint64_t seed = 20261122;
  RunRandomly(seed, 64 << 20, 2000);
  RunRandomly(seed + 1, 0, 1500);
}

// ---- scans and picks ------------------------------------------------------------------------------------------------

TEST_F(Hashes, ScanSeesEveryFieldThatIsThereAllTheTime) {
  constexpr int kFields = 3000;
  for (int i = 0; i < kFields; ++i) Run({"HSET", "h", "f" + std::to_string(i), std::to_string(i)});
  std::multiset<std::string> seen;
  uint64_t cursor = 0;
  int pages = 0;
  do {
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto hash = hashes::Open(transaction, "h");
    ASSERT_TRUE(hash.ok());
    ASSERT_TRUE(hash->has_value());
    uint64_t on_page = 0;
    auto next = (*hash)->Scan(cursor, 100, [&](std::string_view field, std::string_view value) {
      EXPECT_TRUE(!field.starts_with('f') || field.substr(1) == value) << field;
      seen.emplace(field);
      ++on_page;
      return true;
    });
    transaction.Commit();
    ASSERT_TRUE(next.ok());
    EXPECT_LE(on_page, 110u);
    cursor = *next;
    ++pages;
    // Others come and go, and the rows go from layer to layer.
    Run({"HSET", "h", "passing" + std::to_string(pages), "x"});
    if (pages > 1) Run({"HDEL", "h", "passing" + std::to_string(pages - 1)});
    if (pages % 7 == 0) store_.Checkpoint();
    if (pages % 10 == 0) store_.CheckpointAndReopen();
  } while (cursor != 0);
  EXPECT_GT(pages, 20);
  for (int i = 0; i < kFields; ++i) ASSERT_EQ(seen.count("f" + std::to_string(i)), 1u) << i;
}

// A page looks at some thousand deleted rows at most, and may then come out empty; all is seen in the end.
TEST_F(Hashes, ScanIsBoundedAmongDeletedFields) {
  constexpr int kFields = 30000;
  constexpr int kLeft = 600;
  std::vector<std::string> words = {"HSET", "h"};
  std::vector<std::string> gone = {"HDEL", "h"};
  for (int i = 0; i < kFields; ++i) {
    words.push_back("f" + std::to_string(i));
    words.push_back("v");
    if (i >= kLeft) gone.push_back("f" + std::to_string(i));
  }
  Run(words);
  store_.Checkpoint();
  Run(gone);
  std::set<std::string> seen;
  uint64_t cursor = 0;
  int pages = 0;
  do {
    Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto hash = hashes::Open(transaction, "h");
    ASSERT_TRUE(hash.ok());
    auto next = (*hash)->Scan(cursor, 1000, [&](std::string_view field, std::string_view) {
      seen.emplace(field);
      return true;
    });
    transaction.Commit();
    ASSERT_TRUE(next.ok());
    ASSERT_TRUE(*next == 0 || *next > cursor);
    cursor = *next;
    ++pages;
  } while (cursor != 0);
  EXPECT_GE(pages, kFields / 5000);
  EXPECT_EQ(seen.size(), size_t{kLeft});
  EXPECT_TRUE(store_.store().FreezeWanted());  // a checkpoint would help
}

TEST_F(Hashes, RandomFieldsComeWithTheirValues) {
  for (int i = 0; i < 200; ++i) Run({"HSET", "h", "f" + std::to_string(i), std::to_string(i)});
  store_.Checkpoint();
  Transaction& transaction = store_.store().Begin(TransactionMode::kLive, 0, kNow);
  auto hash = hashes::Open(transaction, "h");
  ASSERT_TRUE(hash.ok());
  for (uint64_t count : {1u, 10u, 49u, 51u, 199u, 200u, 1000u}) {
    auto picked = (*hash)->PickDistinct(count);
    ASSERT_TRUE(picked.ok());
    std::set<std::string> fields;
    for (const auto& [field, value] : *picked) {
      EXPECT_EQ(field, "f" + value);
      fields.insert(field);
    }
    EXPECT_EQ(fields.size(), std::min<uint64_t>(count, 200));
  }
  transaction.Commit();
}

}  // namespace
}  // namespace holdfast
