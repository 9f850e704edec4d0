// HyperLogLogs: the bytes Redis makes, promotion, estimates, effects, damage.
#include "storage/types/hyperloglogs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "storage/effects/effect_table.h"
#include "storage/types/hyperloglog_value.h"
#include "storage/types/keys.h"
#include "storage/types/strings.h"
#include "tests/support/recorded_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::PercentDecode;
using ::holdfast::testing::PercentEncode;
using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr uint64_t kSparseMax = 3000;
constexpr uint64_t kNoSparseMax = std::numeric_limits<uint64_t>::max();

std::vector<std::string> Elements(int first, int count) {
  std::vector<std::string> elements;
  for (int i = 0; i < count; ++i) elements.push_back(std::to_string(first + i));
  return elements;
}

class HyperLogLogs : public ::testing::Test {
 protected:
  Transaction& Begin() { return store_.store().Begin(TransactionMode::kLive, 0, kNow); }

  Result<bool> Add(const std::string& key, const std::vector<std::string>& elements, uint64_t sparse_max = kSparseMax) {
    Transaction& tx = Begin();
    auto added =
        hyperloglogs::Add(tx, key, std::vector<std::string_view>(elements.begin(), elements.end()), sparse_max);
    tx.Commit();
    return added;
  }
  Result<uint64_t> Count(const std::vector<std::string_view>& keys) {
    Transaction& tx = Begin();
    auto count = hyperloglogs::Count(tx, keys);
    EXPECT_EQ(tx.Commit().effects, 0u);
    return count;
  }
  Result<void> Merge(const std::string& target, const std::vector<std::string_view>& sources) {
    Transaction& tx = Begin();
    auto merged = hyperloglogs::Merge(tx, target, sources, kSparseMax);
    tx.Commit();
    return merged;
  }
  std::string Bytes(const std::string& key) {
    Transaction& tx = Begin();
    auto bytes = hyperloglogs::Bytes(tx, key);
    tx.Commit();
    return bytes.ok() ? *bytes : "-" + bytes.error().message;
  }
  void ExpectReplayed() {
    Shadow shadow(store_);
    ASSERT_EQ(shadow.CatchUp(), "");
    EXPECT_EQ(shadow.Digest(), store_.Digest());
  }

  RecordedStore store_;
};

// As redis-server 7.0.15 answers GET, its remembered count out of date.
TEST_F(HyperLogLogs, BytesAreThoseOfRedis) {
  ASSERT_TRUE(*Add("h", {}));
  EXPECT_EQ(Bytes("h"), PercentDecode("HYLL%01%00%00%00%00%00%00%00%00%00%00%80%7F%FF"));
  ASSERT_TRUE(*Add("h", {"a", "b", "c"}));
  EXPECT_EQ(PercentEncode(Bytes("h")), "HYLL%01%00%00%00%00%00%00%00%00%00%00%80`%F3%80P%B1%84K%FB%80BZ");
  EXPECT_FALSE(*Add("h", {"a", "b"}));
  EXPECT_EQ(*Count({"h"}), 3u);
  EXPECT_EQ(store_.Effects(), "PFADD h | PFADD h a b c");
}

TEST_F(HyperLogLogs, OutgrowingSparseIsLoggedAsBytes) {
  ASSERT_TRUE(*Add("h", Elements(0, 500)));
  EXPECT_FALSE(HyperLogLog::IsDense(Bytes("h")));
  ASSERT_TRUE(*Add("h", Elements(500, 2500)));
  const std::string dense = Bytes("h");
  ASSERT_TRUE(HyperLogLog::IsDense(dense));
  EXPECT_EQ(dense.size(), HyperLogLog::kDenseSize);
  EXPECT_NE(store_.Effects().find(" | SET h HYLL"), std::string::npos);
  EXPECT_TRUE(*Add("h", {"one more", "0"}));
  EXPECT_EQ(store_.Effects(), "PFADD h one%20more");
  ExpectReplayed();
  // Another configuration than the replay's makes no difference.
  ASSERT_TRUE(*Add("small", Elements(0, 30), 60));
  ASSERT_TRUE(*Add("large", Elements(0, 3000), 16000));
  EXPECT_TRUE(HyperLogLog::IsDense(Bytes("small")));
  EXPECT_FALSE(HyperLogLog::IsDense(Bytes("large")));
  ExpectReplayed();
}

// A Redis master sends its PFADD and PFMERGE as they are: they become dense where its own do.
TEST_F(HyperLogLogs, EffectsOutgrowSparseAsCommandsOfRedisDo) {
  const auto apply = [this](const std::vector<std::string>& arguments) {
    Transaction& tx = store_.store().Begin(TransactionMode::kApply, 0, kNow);
    EXPECT_TRUE(ApplyEffect(tx, std::vector<std::string_view>(arguments.begin(), arguments.end())).ok());
    tx.Commit();
  };
  for (int first = 0; first < 3000; first += 50) {
    const auto elements = Elements(first, 50);
    std::vector<std::string> effect = {"PFADD", "applied"};
    effect.insert(effect.end(), elements.begin(), elements.end());
    apply(effect);
    ASSERT_TRUE(*Add("commanded", elements));
    ASSERT_EQ(Bytes("applied"), Bytes("commanded")) << first;
  }
  ASSERT_TRUE(*Add("left", Elements(0, 850)));
  ASSERT_TRUE(*Add("right", Elements(850, 850)));
  ASSERT_FALSE(HyperLogLog::IsDense(Bytes("right")));
  apply({"PFMERGE", "merged", "left", "right"});
  ASSERT_TRUE(Merge("union", {"left", "right"}).ok());
  EXPECT_TRUE(HyperLogLog::IsDense(Bytes("merged")));
  EXPECT_EQ(Bytes("merged"), Bytes("union"));
}

TEST_F(HyperLogLogs, EstimatesAreClose) {
  for (const int count : {1, 10, 100, 1000, 20'000}) {
    const std::string key = "h" + std::to_string(count);
    ASSERT_TRUE(*Add(key, Elements(0, count)));
    EXPECT_NEAR(static_cast<double>(*Count({key})), count, std::ceil(count * 0.05)) << count;
  }
  EXPECT_EQ(*Count({"none"}), 0u);
  EXPECT_EQ(*Count({"none", "h100", "h10"}), *Count({"h100"}));
}

TEST_F(HyperLogLogs, MergeIsTheUnion) {
  ASSERT_TRUE(*Add("a", Elements(0, 100)));
  ASSERT_TRUE(*Add("b", Elements(50, 100)));
  ASSERT_TRUE(*Add("c", Elements(0, 150)));
  store_.Effects();
  ASSERT_TRUE(Merge("d", {"a", "none", "b"}).ok());
  EXPECT_EQ(store_.Effects(), "PFMERGE d a none b");
  EXPECT_EQ(*Count({"d"}), *Count({"c"}));
  EXPECT_EQ(*Count({"a", "b"}), *Count({"c"}));
  ASSERT_TRUE(*Add("dense", Elements(0, 5000)));
  ASSERT_TRUE(Merge("d", {"dense"}).ok());
  EXPECT_TRUE(HyperLogLog::IsDense(Bytes("d")));
  ExpectReplayed();
}

TEST_F(HyperLogLogs, DenseAndSparseAgree) {
  HyperLogLog sparse;
  HyperLogLog dense;
  ASSERT_TRUE(dense.MakeDense().ok());
  for (uint32_t i = 0; i < 4000; ++i) {
    const HyperLogLog::Place place{static_cast<uint32_t>(i * 7919 % HyperLogLog::kRegisters),
                                   static_cast<uint8_t>(1 + i % 32)};
    ASSERT_EQ(*sparse.Raise(place, kNoSparseMax), *dense.Raise(place, 0)) << i;
    if (i % 500 != 0) continue;
    HyperLogLog copy = sparse;
    ASSERT_TRUE(copy.MakeDense().ok());
    ASSERT_EQ(copy.bytes(), dense.bytes()) << i;
    ASSERT_EQ(*HyperLogLog::Count(sparse.bytes()), *HyperLogLog::Count(dense.bytes()));
  }
  ASSERT_FALSE(sparse.dense());
  ASSERT_TRUE(*sparse.Raise({5, 33}, kNoSparseMax));
  EXPECT_TRUE(sparse.dense());
  EXPECT_TRUE(sparse.outgrew_sparse());  // long ago: an effect would have made it dense
}

TEST_F(HyperLogLogs, DamagedAndForeignValuesAreRefused) {
  const std::string header = PercentDecode("HYLL%01%00%00%00%00%00%00%00%00%00%00%80");
  const auto set = [this](const std::string& bytes) { store_.Run({"SET", "h", bytes}, kNow); };
  for (const std::string& bytes :
       {std::string("HYLL"), "Hyll" + header.substr(4) + "xx", header.substr(0, 4) + '\x02' + header.substr(5),
        header.substr(0, 4) + '\0' + header.substr(5), std::string("12")}) {
    set(bytes);
    EXPECT_EQ(Add("h", {"a"}).error().code, ErrorCode::kWrongType);
    EXPECT_EQ(Count({"h"}).error().message, "Key is not a valid HyperLogLog string value.");
  }
  for (const std::string& bytes : {header, header + "\x7f", header + "\x7f\xfe", header + "\x7f\xff\x01",
                                   header + std::string(200'000, '\x80'), header + std::string(30'000, '\xff')}) {
    set(bytes);
    EXPECT_EQ(Count({"h"}).error().message, "INVALIDOBJ Corrupted HLL object detected");
    EXPECT_EQ(Count({"h", "none"}).error().message, "INVALIDOBJ Corrupted HLL object detected");
    EXPECT_EQ(Bytes("h"), bytes);  // PFDEBUG ENCODING says what the header says
    EXPECT_FALSE(Merge("other", {"h"}).ok());
    EXPECT_EQ(store_.Run({"EXISTS", "other"}, kNow), ":0");
  }
  EXPECT_EQ(Add("h", {"a"}).ok(), true);  // its register is there, as Redis sees it
  EXPECT_EQ(Bytes("none"), "-The specified key does not exist");
}

// A count that a Redis remembered is believed until something changes.
TEST_F(HyperLogLogs, RememberedCountIsBelieved) {
  ASSERT_TRUE(*Add("h", {"a"}));
  HyperLogLog value(Bytes("h"));
  value.RememberCount(77);
  store_.Run({"SET", "h", value.bytes()}, kNow);
  EXPECT_EQ(*Count({"h"}), 77u);
  EXPECT_EQ(*Count({"h", "h"}), 1u);
  ASSERT_TRUE(*Add("h", {"b"}));
  EXPECT_EQ(*Count({"h"}), 2u);
}

}  // namespace
}  // namespace holdfast
