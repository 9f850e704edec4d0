#include "replication/role.h"

#include <gtest/gtest.h>

#include "wal/history_state.h"

namespace holdfast::replication {
namespace {

const MasterAddress kMaster;
const MasterAddress kA{std::in_place, "a.example", 6379};
const MasterAddress kB{std::in_place, "fe80::1%eth0", 6380};

TEST(RoleRecord, RoundTripsAndDetectsEveryFlip) {
  RoleRecord record{kB, HashOf(kA), true, {std::string(40, '1'), std::string(40, '2')}, {7, std::string(40, 'c')},
                    2,  {99, 7}};
  std::string text = FormatRole(record);
  auto parsed = ParseRole(text);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, record);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(ParseRole(damaged).ok()) << i;
    EXPECT_FALSE(ParseRole(text.substr(0, i)).ok()) << i;
  }
}

TEST(RoleRecord, LongestRecordFitsARoleFrame) {
  RoleRecord record{MasterAddress(std::in_place, std::string(kHostBytesMax, 'h'), 65535), 1, false, {}, {}, 0, {}};
  for (char digit = '0'; digit <= '9'; ++digit) AddIdMadeHere(record, std::string(40, digit));
  record.promise = {UINT64_MAX, std::string(40, 'f')};
  record.configured_durable = INT32_MAX;
  record.copied = {UINT64_MAX, UINT64_MAX};
  EXPECT_LE(FormatRole(record).size(), wal::kStickyPayloadMax);
}

TEST(RoleRecord, KeepsTheNewestIds) {
  RoleRecord record;
  for (int i = 0; i < 100; ++i) AddIdMadeHere(record, std::to_string(i % 90));
  EXPECT_EQ(record.ids_made_here.size(), kIdsMadeHereMax);
  EXPECT_EQ(record.ids_made_here.back(), "9");
}

TEST(RoleAtBoot, ChangedConfigurationWinsElseTheRecord) {
  auto record = [](const MasterAddress& master, const MasterAddress& configured) {
    return std::optional<RoleRecord>(RoleRecord{master, HashOf(configured), false, {}, {}, 0, {}});
  };
  EXPECT_EQ(RoleAtBoot(std::nullopt, kA), kA);
  EXPECT_EQ(RoleAtBoot(std::nullopt, kMaster), kMaster);
  EXPECT_EQ(RoleAtBoot(record(kB, kA), kA), kB);            // REPLICAOF at run time survives
  EXPECT_EQ(RoleAtBoot(record(kMaster, kA), kA), kMaster);  // so does a promotion
  EXPECT_EQ(RoleAtBoot(record(kMaster, kA), kB), kB);       // the file was edited since
  EXPECT_EQ(RoleAtBoot(record(kA, kA), kMaster), kMaster);
  EXPECT_EQ(RoleAtBoot(record(kA, kMaster), kMaster), kA);
}

TEST(Backoff, DoublesWithinBoundsAndStartsAnew) {
  SeededRandom random(1);
  Backoff backoff;
  int64_t bound = 100;
  for (int i = 0; i < 20; ++i) {
    int64_t pause = backoff.NextMs(random);
    EXPECT_GE(pause, bound / 2);
    EXPECT_LE(pause, bound);
    bound = std::min<int64_t>(5000, bound * 2);
  }
  backoff.Reset();
  EXPECT_LE(backoff.NextMs(random), 100);
}

}  // namespace
}  // namespace holdfast::replication
