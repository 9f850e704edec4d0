// Positions as scores, cells that cover shapes, searches and what they store.
#include "storage/types/geo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "storage/base/clock.h"
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
constexpr geo::Position kPalermo{13.361389, 38.115556};
constexpr geo::Position kCatania{15.087269, 37.502669};

double Uniform(Random& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random.Below(1u << 30)) / static_cast<double>(1u << 30);
}

// Figures of redis-server 7.0.15.
TEST(GeoPositions, AreThoseOfRedis) {
  EXPECT_EQ(geo::Encode(kPalermo), 3479099956230698u);
  EXPECT_EQ(geo::Encode(kCatania), 3479447370796909u);
  EXPECT_EQ(geo::GeohashText(3479099956230698), "sqc8b49rny0");
  const double metres = geo::Distance(geo::Decode(3479099956230698), geo::Decode(3479447370796909));
  EXPECT_EQ(geo::FormatDistance(metres), "166274.1516");
  EXPECT_EQ(geo::Encode({-180, -geo::kLatitudeMax}), 0u);
  EXPECT_FALSE(geo::IsOnTheMap({180.1, 0}));
  EXPECT_FALSE(geo::IsOnTheMap({0, std::nan("")}));
}

TEST(GeoPositions, ComeBackWithinACell) {
  SeededRandom random(7);
  for (int i = 0; i < 2000; ++i) {
    const geo::Position position{Uniform(random, -180, 180), Uniform(random, -85, 85)};
    EXPECT_LT(geo::Distance(position, geo::Decode(static_cast<double>(geo::Encode(position)))), 1.0);
  }
  for (const double odd : {-1.0, 1e300, -1e300, 1e18, std::nan(""), HUGE_VAL}) {
    EXPECT_TRUE(geo::IsOnTheMap(geo::Decode(odd))) << odd;
  }
}

// Not around the date line and the poles, where Redis misses some as well.
TEST(GeoPositions, CellsCoverTheirShape) {
  SeededRandom random(8);
  for (int i = 0; i < 3000; ++i) {
    geo::Shape shape;
    shape.centre = {Uniform(random, -100, 100), Uniform(random, -60, 60)};
    shape.box = random.Below(2) == 0;
    shape.radius = std::pow(10, Uniform(random, 0, 5.5));
    shape.width = 2 * shape.radius;
    shape.height = shape.radius;
    const double degrees = shape.radius / 111'000 * 1.5;
    const geo::Position inside{shape.centre.longitude + Uniform(random, -degrees, degrees),
                               shape.centre.latitude + Uniform(random, -degrees, degrees)};
    double metres = 0;
    const uint64_t score = geo::Encode(inside);
    if (!shape.Holds(geo::Decode(static_cast<double>(score)), &metres)) continue;
    const auto spans = geo::Cover(shape);
    EXPECT_LE(spans.size(), 9u);
    EXPECT_TRUE(std::any_of(spans.begin(), spans.end(), [score](const geo::ScoreSpan& span) {
      return score >= span.min && score < span.max;
    })) << i;
  }
}

class Geo : public ::testing::Test {
 protected:
  void SetUp() override {
    store_.Run({"ZADD", "g", "3479099956230698", "palermo", "3479447370796909", "catania"}, kNow);
    store_.Effects();
  }
  Result<uint64_t> Store(const std::vector<std::string_view>& words, geo::Command command) {
    Transaction& tx = store_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto stored = StoreIn(tx, words, command);
    tx.Commit();
    return stored;
  }

  RecordedStore store_;

 private:
  static Result<uint64_t> StoreIn(Transaction& tx, const std::vector<std::string_view>& words, geo::Command command) {
    ASSIGN_OR_RETURN(const auto set, SortedSetReader::Open(tx, words[geo::SourceIndex(command)]));
    const SortedSetReader* reader = set ? &*set : nullptr;
    ASSIGN_OR_RETURN(const auto query, geo::ParseQuery(words, command, true, reader));
    return geo::SearchAndStore(tx, command, reader, query);
  }
};

TEST_F(Geo, WhatIsStoredIsLoggedAsItWasFound) {
  using geo::Command;
  EXPECT_EQ(
      *Store({"GEOSEARCHSTORE", "d", "g", "FROMLONLAT", "15", "37", "BYRADIUS", "200", "km"}, Command::kSearchStore),
      2u);
  EXPECT_EQ(store_.Effects(), "ZADD d 3479099956230698 palermo 3479447370796909 catania");
  EXPECT_EQ(*Store({"GEORADIUS", "g", "15", "37", "100", "km", "STOREDIST", "d"}, Command::kRadius), 1u);
  EXPECT_EQ(store_.Effects(), "MULTI | DEL d | ZADD d 56.441257870158204 catania | EXEC");
  EXPECT_EQ(
      *Store({"GEORADIUSBYMEMBER", "g", "palermo", "1", "m", "COUNT", "1", "STORE", "d"}, Command::kRadiusByMember),
      1u);
  EXPECT_EQ(*Store({"GEORADIUS", "none", "15", "37", "100", "km", "STORE", "d"}, Command::kRadius), 0u);
  EXPECT_EQ(store_.Run({"EXISTS", "d"}, kNow), ":0");
  Shadow shadow(store_);
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
}

// A Redis master sends searches as its client wrote them.
TEST_F(Geo, ReplayTakesTheFormsOfRedis) {
  std::string bytes;
  const std::vector<std::vector<std::string_view>> effects = {
      {"ZADD", "g", "3479099956230698", "palermo", "3479447370796909", "catania"},
      {"GEORADIUS", "g", "15", "37", "200", "km", "COUNT", "1", "STORE", "d"},
      {"GEOSEARCHSTORE", "e", "g", "FROMMEMBER", "palermo", "BYBOX", "1", "1", "km", "STOREDIST"},
      {"GEORADIUSBYMEMBER", "g", "palermo", "1", "m", "STORE", "f"}};
  for (const auto& effect : effects) AppendEffect(bytes, effect);
  TestStore replica;
  Applier applier(replica.store());
  const auto applied = applier.Apply({0, 0, kNow, bytes});
  ASSERT_TRUE(applied.ok()) << applied.error().message;
  store_.Run({"ZADD", "d", "3479447370796909", "catania"}, kNow);
  store_.Run({"ZADD", "e", "0", "palermo"}, kNow);
  store_.Run({"ZADD", "f", "3479099956230698", "palermo"}, kNow);
  EXPECT_EQ(replica.Digest(), store_.Digest());
}

}  // namespace
}  // namespace holdfast
