#include "replication/history.h"

#include <gtest/gtest.h>

namespace holdfast::replication {
namespace {

std::string Id(char digit) { return std::string(wal::kLineageIdSize, digit); }

struct Entry {
  char id;
  uint64_t from;
};
wal::Lineage Table(std::initializer_list<Entry> entries) {
  wal::Lineage lineage;
  for (const auto& entry : entries) lineage.Push(Id(entry.id), entry.from, 1000);
  return lineage;
}

struct Case {
  const char* name;
  std::initializer_list<Entry> own;
  uint64_t first, own_end;
  std::initializer_list<Entry> peer;
  uint64_t peer_end;
  Verdict verdict;
  const char* reason;  // part of it
};

TEST(DecideByLineage, TableOfCases) {
  const Case cases[] = {
      {"same id, replica at our end", {{'a', 0}}, 0, 100, {{'a', 0}}, 100, Verdict::kContinue, ""},
      {"same id, replica behind", {{'a', 0}}, 0, 100, {{'a', 0}}, 40, Verdict::kContinue, ""},
      {"replica exactly at the first retained offset", {{'a', 0}}, 40, 100, {{'a', 0}}, 40, Verdict::kContinue, ""},
      {"replica one byte before what is retained",
       {{'a', 0}},
       40,
       100,
       {{'a', 0}},
       39,
       Verdict::kFullSync,
       "needs offset 39, the log begins at 40"},
      {"replica one byte beyond our end", {{'a', 0}}, 0, 100, {{'a', 0}}, 101, Verdict::kRefuse, "lost data"},
      {"replica far beyond our empty end", {{'a', 0}}, 0, 0, {{'a', 0}}, 50, Verdict::kRefuse, "lost data"},
      {"no shared id", {{'a', 0}}, 0, 100, {{'b', 0}}, 50, Verdict::kFullSync, "no shared history"},
      {"promoted, replica below the fork", {{'a', 0}, {'b', 80}}, 0, 100, {{'a', 0}}, 60, Verdict::kContinue, ""},
      {"promoted, replica at the fork", {{'a', 0}, {'b', 80}}, 0, 100, {{'a', 0}}, 80, Verdict::kContinue, ""},
      {"promoted, replica one byte beyond the fork",
       {{'a', 0}, {'b', 80}},
       0,
       100,
       {{'a', 0}},
       81,
       Verdict::kFullSync,
       "part at offset 80"},
      {"promoted, old master longer than us",
       {{'a', 0}, {'b', 80}},
       0,
       100,
       {{'a', 0}},
       500,
       Verdict::kFullSync,
       "420 bytes"},
      {"replica two promotions behind",
       {{'a', 0}, {'b', 80}, {'c', 90}},
       0,
       100,
       {{'a', 0}},
       70,
       Verdict::kContinue,
       ""},
      {"replica knows a middle id",
       {{'a', 0}, {'b', 80}, {'c', 90}},
       0,
       100,
       {{'a', 0}, {'b', 80}},
       90,
       Verdict::kContinue,
       ""},
      {"replica beyond the middle id's end",
       {{'a', 0}, {'b', 80}, {'c', 90}},
       0,
       100,
       {{'a', 0}, {'b', 80}},
       91,
       Verdict::kFullSync,
       "part at offset 90"},
      {"replica was promoted and wrote nothing", {{'a', 0}}, 0, 100, {{'a', 0}, {'d', 60}}, 60, Verdict::kContinue, ""},
      {"replica was promoted and wrote",
       {{'a', 0}},
       0,
       100,
       {{'a', 0}, {'d', 60}},
       61,
       Verdict::kFullSync,
       "part at offset 60"},
      {"both promoted from one point",
       {{'a', 0}, {'b', 60}},
       0,
       100,
       {{'a', 0}, {'d', 60}},
       60,
       Verdict::kContinue,
       ""},
      {"replica follows a newer history than ours",
       {{'a', 0}},
       0,
       50,
       {{'a', 0}, {'b', 80}},
       90,
       Verdict::kRefuse,
       "lost data"},
      {"oldest ids dropped from our table",
       {{'b', 80}, {'c', 90}},
       0,
       100,
       {{'a', 0}, {'b', 80}},
       85,
       Verdict::kContinue,
       ""},
      {"only dropped ids in common",
       {{'b', 80}, {'c', 90}},
       0,
       100,
       {{'a', 0}},
       70,
       Verdict::kFullSync,
       "no shared history"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    HistoryClaim claim;
    claim.lineage = Table(test.peer);
    claim.end_offset = test.peer_end;
    OwnHistory own{Table(test.own), test.first, test.own_end, 0};
    Decision decision = DecideByLineage(own, &claim);
    EXPECT_EQ(static_cast<int>(decision.verdict), static_cast<int>(test.verdict)) << decision.reason;
    EXPECT_NE(decision.reason.find(test.reason), std::string::npos) << decision.reason;
    EXPECT_EQ(decision.reason.empty(), test.verdict == Verdict::kContinue);
  }
}

TEST(DecideByLineage, ReplicaWithoutHistoryGetsEverything) {
  OwnHistory own{Table({{'a', 0}}), 0, 100, 0};
  EXPECT_EQ(DecideByLineage(own, nullptr).verdict, Verdict::kFullSync);
}

TEST(DecideByDigest, ComparesWhatBothSidesHave) {
  HistoryClaim claim;
  claim.lineage = Table({{'a', 0}});
  claim.end_offset = 100;
  claim.digest = 7;
  claim.tail_length = 50;
  claim.tail_checksum = 9;
  using Value = std::optional<uint64_t>;
  struct {
    uint64_t base;
    Value digest, tail;
    Verdict verdict;
  } cases[] = {
      {0, Value(7), std::nullopt, Verdict::kContinue},  // same base, same digest
      {0, Value(8), std::nullopt, Verdict::kFullSync},
      {0, Value(8), Value(9), Verdict::kFullSync},  // the whole past outweighs an equal tail
      {0, std::nullopt, Value(9), Verdict::kContinue},
      {0, std::nullopt, Value(8), Verdict::kFullSync},
      {0, std::nullopt, std::nullopt, Verdict::kContinue},  // the next frame's digest decides
      {5, Value(7), Value(9), Verdict::kContinue},          // other base: only the tail counts
      {5, Value(7), Value(8), Verdict::kFullSync},
      {5, Value(7), std::nullopt, Verdict::kFullSync},
  };
  for (const auto& test : cases) {
    Decision decision = DecideByDigest(claim, DigestEvidence{test.base, test.digest, test.tail}, false);
    EXPECT_EQ(static_cast<int>(decision.verdict), static_cast<int>(test.verdict)) << decision.reason;
  }
  claim.tail_length = 0;  // the replica retains nothing: a tail checksum of nothing proves nothing
  EXPECT_EQ(DecideByDigest(claim, DigestEvidence{5, std::nullopt, Value(9)}, false).verdict, Verdict::kFullSync);
}

TEST(RefuseFullSync, TableOfCases) {
  struct {
    const char* name;
    std::initializer_list<Entry> own;
    uint64_t own_end;
    bool made_here, consents;
    std::initializer_list<Entry> master;
    uint64_t master_end;
    const char* refusal;  // null: allowed
  } cases[] = {
      {"we are empty, master empty", {{'d', 0}}, 0, true, false, {{'a', 0}}, 0, nullptr},
      {"we are empty", {{'d', 0}}, 0, true, false, {{'a', 0}}, 10, nullptr},
      {"master empty, we are not", {{'a', 0}}, 50, false, false, {{'b', 0}}, 0, "is empty"},
      {"master empty, operator consents to another thing", {{'a', 0}}, 50, true, true, {{'b', 0}}, 0, "is empty"},
      {"our id with less data", {{'a', 0}}, 50, false, false, {{'a', 0}}, 49, "lost data"},
      {"our id with as much", {{'a', 0}}, 50, false, false, {{'a', 0}}, 50, nullptr},
      {"our id with more", {{'a', 0}}, 50, false, false, {{'a', 0}}, 500, nullptr},
      {"an ancestor with less data", {{'a', 0}, {'b', 40}}, 50, false, false, {{'a', 0}}, 30, "lost data"},
      {"a newer history, shorter than ours", {{'a', 0}}, 50, true, false, {{'a', 0}, {'b', 30}}, 40, nullptr},
      {"foreign master, our data from another master", {{'a', 0}}, 50, false, false, {{'b', 0}}, 10, nullptr},
      {"foreign master, our own data", {{'a', 0}}, 50, true, false, {{'b', 0}}, 10, "shares no history"},
      {"foreign master, our own data, operator consents", {{'a', 0}}, 50, true, true, {{'b', 0}}, 10, nullptr},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    OwnSituation own;
    own.lineage = Table(test.own);
    own.end_offset = test.own_end;
    if (test.made_here) own.ids_made_here = {own.lineage.current_id()};
    own.operator_consents = test.consents;
    auto refusal = RefuseFullSync(own, FullSyncOffer{Table(test.master), test.master_end});
    ASSERT_EQ(refusal.has_value(), test.refusal != nullptr) << refusal.value_or("");
    if (test.refusal != nullptr) {
      EXPECT_NE(refusal->find(test.refusal), std::string::npos) << *refusal;
    }
  }
}

TEST(PlanRewind, TableOfCases) {
  struct {
    const char* name;
    std::initializer_list<Entry> own;
    uint64_t own_end, floor;
    std::initializer_list<Entry> master;
    uint64_t master_end;
    uint64_t fork;           // 0: none
    const char* impossible;  // null: no reason
  } cases[] = {
      {"deposed, with more", {{'a', 0}}, 50, 0, {{'a', 0}, {'b', 30}}, 40, 30, nullptr},
      {"deposed, with less", {{'a', 0}}, 20, 0, {{'a', 0}, {'b', 30}}, 40, 0, nullptr},
      {"deposed, exactly at the fork", {{'a', 0}}, 30, 0, {{'a', 0}, {'b', 30}}, 40, 0, nullptr},
      {"checkpoint at the fork", {{'a', 0}}, 50, 30, {{'a', 0}, {'b', 30}}, 40, 30, nullptr},
      {"checkpoint past the fork", {{'a', 0}}, 50, 31, {{'a', 0}, {'b', 30}}, 40, 0, "checkpoint"},
      {"two promotions from one point", {{'a', 0}, {'c', 30}}, 50, 0, {{'a', 0}, {'b', 30}}, 40, 30, nullptr},
      {"ours was promoted later", {{'a', 0}, {'c', 45}}, 50, 0, {{'a', 0}, {'b', 30}}, 40, 30, nullptr},
      {"the master lost data of our id", {{'a', 0}}, 50, 0, {{'a', 0}}, 40, 0, nullptr},
      {"the master is an ancestor", {{'a', 0}, {'b', 30}}, 50, 0, {{'a', 0}}, 40, 0, nullptr},
      {"nothing shared", {{'a', 0}}, 50, 0, {{'b', 0}}, 40, 0, nullptr},
      {"parted at the beginning", {{'a', 0}}, 50, 0, {{'a', 0}, {'b', 0}}, 40, 0, "beginning"},
      {"several promotions passed us by",
       {{'a', 0}, {'b', 10}},
       50,
       0,
       {{'b', 10}, {'c', 20}, {'d', 30}},
       40,
       20,
       nullptr},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    OwnSituation own;
    own.lineage = Table(test.own);
    own.end_offset = test.own_end;
    own.rewind_floor = test.floor;
    const RewindPlan plan = PlanRewind(own, FullSyncOffer{Table(test.master), test.master_end});
    EXPECT_EQ(plan.fork.value_or(0), test.fork);
    ASSERT_EQ(plan.impossible.empty(), test.impossible == nullptr) << plan.impossible;
    if (test.impossible != nullptr) {
      EXPECT_NE(plan.impossible.find(test.impossible), std::string::npos);
    }
  }
}

TEST(FullSyncOffer, RoundTripsAndRejectsEveryCut) {
  const FullSyncOffer offer{Table({{'a', 0}, {'b', 80}}), 1234};
  const std::string text = FormatOffer(offer);
  auto parsed = ParseOffer(text);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->lineage, offer.lineage);
  EXPECT_EQ(parsed->end_offset, 1234u);
  for (size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(ParseOffer(text.substr(0, size)).ok()) << size;
  EXPECT_FALSE(ParseOffer(text + "00").ok());
  EXPECT_FALSE(ParseOffer("1 zz").ok());
}

TEST(DecideByDigest, APastThatEndsInsideAUnitDiffers) {
  HistoryClaim claim;
  claim.end_offset = 50;
  claim.digest = 7;
  claim.tail_length = 10;
  claim.tail_checksum = 9;
  DigestEvidence evidence{0, std::nullopt, 9};
  evidence.inside_frame = true;
  EXPECT_EQ(DecideByDigest(claim, evidence, false).verdict, Verdict::kFullSync);
  EXPECT_EQ(DecideByDigest(claim, evidence, true).verdict, Verdict::kFullSync);
}

TEST(DecideByDigest, AForkIsCutOnlyWhereThePastWasSeenToBeEqual) {
  HistoryClaim claim;
  claim.lineage = Table({{'a', 0}});
  claim.end_offset = 50;
  claim.digest = 7;
  EXPECT_EQ(DecideByDigest(claim, DigestEvidence{0, std::nullopt, std::nullopt}, false).verdict, Verdict::kContinue);
  EXPECT_EQ(DecideByDigest(claim, DigestEvidence{0, std::nullopt, std::nullopt}, true).verdict, Verdict::kFullSync);
  EXPECT_EQ(DecideByDigest(claim, DigestEvidence{0, 7, std::nullopt}, true).verdict, Verdict::kContinue);
}

TEST(HistoryClaim, RoundTripsAndRejectsEveryCut) {
  HistoryClaim claim;
  claim.lineage = Table({{'a', 0}, {'b', 80}});
  claim.end_offset = 1000;
  claim.digest_base = 10;
  claim.digest = 0x1122334455667788;
  claim.tail_length = 500;
  claim.tail_checksum = 42;
  std::string bytes;
  AppendClaim(bytes, claim);
  auto parsed = ParseClaim(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, claim);
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(ParseClaim(bytes.substr(0, size)).ok()) << size;
  EXPECT_FALSE(ParseClaim(bytes + "x").ok());
  std::string newer = bytes;
  newer[0] = 9;
  EXPECT_EQ(ParseClaim(newer).error().code, ErrorCode::kUnsupported);
}

TEST(HistoryClaim, ImpossibleOffsetsAreRejected) {
  HistoryClaim claim;
  claim.lineage = Table({{'a', 0}});
  claim.end_offset = 10;
  claim.tail_length = 11;
  std::string bytes;
  AppendClaim(bytes, claim);
  EXPECT_EQ(ParseClaim(bytes).error().code, ErrorCode::kCorruption);
}

TEST(LineageUpTo, KeepsWhatConcernsTheReplica) {
  wal::Lineage table = Table({{'a', 0}, {'b', 80}, {'c', 100}});
  EXPECT_EQ(LineageUpTo(table, 79).current_id(), Id('a'));
  EXPECT_EQ(LineageUpTo(table, 80).current_id(), Id('b'));
  EXPECT_EQ(LineageUpTo(table, 99).current_id(), Id('b'));
  EXPECT_EQ(LineageUpTo(table, 100), table);
}

}  // namespace
}  // namespace holdfast::replication
