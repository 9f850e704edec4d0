// Damage of every byte and every length of a snapshot is found, told with a position, and costs only what it hit.
#include <gtest/gtest.h>

#include "storage/snapshot.h"
#include "storage/snapshot_format.h"
#include "storage/snapshot_parser.h"
#include "storage/types/scores.h"
#include "tests/storage/fake_store_view.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

using testing::CollectVisitor;
using testing::CountBody;
using testing::FakeContent;
using testing::FakeStoreView;
using testing::FakeValue;
using testing::FaultFileSystem;
using testing::MakeFakeKey;
using testing::MemberSuffix;
using testing::SampleHeader;
using testing::SamplePosition;

constexpr char kPath[] = "snap.hfs";

// Small, but with two blocks.
FakeContent SmallContent() {
  FakeContent content;
  content[MakeFakeKey(0, "name")] = {.body = "yingges"};
  content[MakeFakeKey(0, "expires")] = {.expire_at_ms = 1'700'000'009'999, .body = "soon"};
  content[MakeFakeKey(2, "hash")] = {.type = ValueType::kHash,
                                     .body = CountBody(2),
                                     .rows = {{{'m', MemberSuffix("f1")}, "v1"}, {{'m', MemberSuffix("f2")}, "v2"}}};
  content[MakeFakeKey(2, "zeros")] = {.body = std::string(300, '0')};
  return content;
}

std::string RandomBytes(uint64_t seed, size_t size) {
  SeededRandom random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Next());
  return bytes;
}

// Many blocks, with a hash that spans several.
FakeContent ManyBlocks() {
  FakeContent content;
  for (uint64_t i = 0; i < 60; ++i)
    content[MakeFakeKey(0, "key" + std::to_string(i))] = {.body = RandomBytes(i, 50'000)};
  FakeValue hash{.type = ValueType::kHash, .body = CountBody(40)};
  for (uint64_t i = 0; i < 40; ++i) hash.rows[{'m', MemberSuffix(std::to_string(i))}] = RandomBytes(i, 30'000);
  content[MakeFakeKey(0, "hash")] = hash;
  content[MakeFakeKey(1, RandomBytes(9, 900'000))] = {.body = "long key"};
  content[MakeFakeKey(1, "other")] = {.body = "other"};
  return content;
}

std::string WriteTo(FaultFileSystem& fs, const FakeContent& content) {
  FakeStoreView view(content, SamplePosition(), 3);
  const std::atomic<bool> cancelled{false};
  auto written = WriteSnapshot(fs, kPath, SampleHeader(), view, {}, cancelled, {});
  EXPECT_TRUE(written.ok()) << written.error().message;
  return fs.Content(kPath);
}

struct Findings {
  Result<void> result;
  std::vector<SnapshotFinding> list;
  [[nodiscard]] bool found() const { return !result.ok() || !list.empty(); }
};

Findings Verify(FileSystem& fs) {
  Findings findings;
  findings.result =
      VerifySnapshot(fs, kPath, [&](const SnapshotFinding& finding) { findings.list.push_back(finding); });
  return findings;
}

// Reads all ways there are; whatever is given as whole must be what was written.
void ExpectNothingWrong(FileSystem& fs, const FakeContent& content, const std::string& what) {
  auto reader = SnapshotReader::Open(fs, kPath);
  if (!reader.ok()) return;
  CollectVisitor all;
  EXPECT_FALSE((*reader)->VisitAll(all).ok()) << what;
  CollectVisitor undamaged;
  int told = 0;
  EXPECT_TRUE((*reader)->VisitUndamaged(undamaged, [&](const SnapshotFinding&) { ++told; }).ok()) << what;
  EXPECT_GT(told, 0) << what;
  for (const CollectVisitor* visitor : {&all, &undamaged}) {
    for (const auto& [key, value] : visitor->content()) {
      if (!value.whole) continue;
      ASSERT_TRUE(content.contains(key)) << what;
      EXPECT_TRUE(content.at(key) == value) << what;
    }
  }
  for (const auto& [key, value] : content) {
    CollectVisitor one;
    auto found = (*reader)->VisitKey(std::get<0>(key), std::get<3>(key), one);
    if (!found.ok()) continue;
    EXPECT_TRUE(*found) << what;
    ASSERT_EQ(one.content().size(), 1u) << what;
    EXPECT_TRUE(one.content().begin()->second == value) << what;
  }
}

TEST(SnapshotDamageTest, EveryFlippedByteIsFound) {
  FaultFileSystem fs;
  const FakeContent content = SmallContent();
  const std::string good = WriteTo(fs, content);
  ASSERT_LT(good.size(), 4000u);
  ASSERT_FALSE(Verify(fs).found());
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      fs.SetContent(kPath, bad);
      const std::string what = "byte " + std::to_string(at) + " bit " + std::to_string(bit);
      ASSERT_TRUE(Verify(fs).found()) << what;
      ExpectNothingWrong(fs, content, what);
    }
  }
}

TEST(SnapshotDamageTest, EveryTruncationIsFound) {
  FaultFileSystem fs;
  const FakeContent content = SmallContent();
  const std::string good = WriteTo(fs, content);
  ASSERT_FALSE(Verify(fs).found());
  for (size_t size = 0; size < good.size(); ++size) {
    fs.SetContent(kPath, good.substr(0, size));
    const Findings findings = Verify(fs);
    ASSERT_TRUE(findings.result.ok()) << size << ": " << findings.result.error().message;
    ASSERT_FALSE(findings.list.empty()) << size;
    for (const SnapshotFinding& finding : findings.list) EXPECT_LE(finding.position, size) << finding.message;
    EXPECT_FALSE(SnapshotReader::Open(fs, kPath).ok()) << size;
  }
  fs.SetContent(kPath, good + "x");
  EXPECT_TRUE(Verify(fs).found());
}

TEST(SnapshotDamageTest, EveryRemovedOrZeroedRangeIsFound) {
  FaultFileSystem fs;
  const FakeContent content = SmallContent();
  const std::string good = WriteTo(fs, content);
  SeededRandom random(7);
  for (int round = 0; round < 500; ++round) {
    const size_t from = random.Below(good.size());
    const size_t size = 1 + random.Below(good.size() - from);
    std::string bad = good;
    if (round % 2 == 0) {
      bad.erase(from, size);
    } else {
      bad.replace(from, size, size, '\0');
      if (bad == good) continue;
    }
    fs.SetContent(kPath, bad);
    const std::string what = "round " + std::to_string(round) + " of seed 7";
    ASSERT_TRUE(Verify(fs).found()) << what;
    ExpectNothingWrong(fs, content, what);
  }
}

TEST(SnapshotDamageTest, DamagedBlockCostsItsOwnKeysOnly) {
  FaultFileSystem fs;
  const FakeContent content = ManyBlocks();
  const std::string good = WriteTo(fs, content);
  // Somewhere in the payload of a block in the middle.
  const size_t at = good.size() / 3;
  std::string bad = good;
  bad[at] = static_cast<char>(bad[at] ^ 1);
  fs.SetContent(kPath, bad);
  const Findings findings = Verify(fs);
  ASSERT_TRUE(findings.result.ok());
  ASSERT_EQ(findings.list.size(), 1u);
  EXPECT_LE(findings.list[0].position, at);
  EXPECT_GT(findings.list[0].position + kSnapshotBlockTarget + 72, at);
  EXPECT_NE(findings.list[0].message.find("checksum"), std::string::npos) << findings.list[0].message;
  ExpectNothingWrong(fs, content, "one block damaged");

  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_TRUE(reader.ok());
  CollectVisitor visitor;
  ASSERT_TRUE((*reader)->VisitUndamaged(visitor, [](const SnapshotFinding&) {}).ok());
  size_t whole = 0;
  for (const auto& [key, value] : visitor.content()) whole += value.whole ? 1 : 0;
  EXPECT_GE(whole + 7, content.size());
  EXPECT_LT(whole, content.size());
  CollectVisitor all;
  auto visited = (*reader)->VisitAll(all);
  ASSERT_FALSE(visited.ok());
  EXPECT_EQ(visited.error().code, ErrorCode::kCorruption);
  EXPECT_NE(visited.error().message.find(kPath), std::string::npos);
  EXPECT_NE(visited.error().message.find("at byte " + std::to_string(findings.list[0].position)), std::string::npos);
}

TEST(SnapshotDamageTest, WithoutIndexAllBlocksAreStillChecked) {
  FaultFileSystem fs;
  const std::string good = WriteTo(fs, ManyBlocks());
  // No footer: exactly one finding about it. A damaged block besides: one more.
  std::string bad = good.substr(0, good.size() - 10);
  fs.SetContent(kPath, bad);
  const Findings end_only = Verify(fs);
  const size_t at = good.size() / 2;
  bad[at] = static_cast<char>(bad[at] ^ 0x10);
  fs.SetContent(kPath, bad);
  const Findings both = Verify(fs);
  ASSERT_TRUE(end_only.result.ok() && both.result.ok());
  ASSERT_EQ(end_only.list.size(), 1u) << end_only.list.back().message;
  EXPECT_EQ(both.list.size(), 2u);
  bool named = false;
  for (const SnapshotFinding& finding : both.list) {
    named = named || (finding.position <= at && finding.position + kSnapshotBlockTarget + 72 > at);
  }
  EXPECT_TRUE(named);
}

TEST(SnapshotDamageTest, BlockOfAnotherSnapshotNeverPasses) {
  FaultFileSystem fs;
  const FakeContent content = SmallContent();
  const std::string good = WriteTo(fs, content);
  FakeStoreView view(content, SamplePosition(), 3);
  const std::atomic<bool> cancelled{false};
  SnapshotHeader header = SampleHeader();
  header.created_ms += 1;
  ASSERT_TRUE(WriteSnapshot(fs, "other.hfs", header, view, {}, cancelled, {}).ok());
  const std::string other = fs.Content("other.hfs");
  ASSERT_EQ(other.size(), good.size());
  const size_t half = good.find("HFSB") + 10;
  fs.SetContent(kPath, good.substr(0, half) + other.substr(half));
  EXPECT_TRUE(Verify(fs).found());
  EXPECT_FALSE(SnapshotReader::Open(fs, kPath).ok());
}

TEST(SnapshotDamageTest, PartialFileIsKeptUpToItsLastWholeBlock) {
  FaultFileSystem fs;
  const std::string good = WriteTo(fs, ManyBlocks());
  auto whole = CheckPartialSnapshot(fs, kPath);
  ASSERT_TRUE(whole.ok());
  EXPECT_TRUE(whole->complete);
  EXPECT_EQ(whole->verified_bytes, good.size());
  EXPECT_GT(whole->blocks, 10u);

  SeededRandom random(11);
  uint64_t most = 0;
  for (int round = 0; round < 60; ++round) {
    const size_t size = random.Below(good.size());
    fs.SetContent(kPath, good.substr(0, size));
    auto partial = CheckPartialSnapshot(fs, kPath);
    ASSERT_TRUE(partial.ok());
    EXPECT_FALSE(partial->complete);
    EXPECT_LE(partial->verified_bytes, size);
    EXPECT_LT(size - partial->verified_bytes, 2 * kSnapshotBlockTarget);
    EXPECT_EQ(partial->identity, size > 1000 ? whole->identity : partial->identity);
    most = std::max(most, partial->blocks);
    // Going on from there gives the whole file.
    fs.SetContent(kPath, good.substr(0, partial->verified_bytes) + good.substr(partial->verified_bytes));
    EXPECT_TRUE(CheckPartialSnapshot(fs, kPath)->complete);
  }
  EXPECT_GT(most, 5u);

  std::string bad = good.substr(0, good.size() - 300);
  bad[good.size() / 2] = static_cast<char>(bad[good.size() / 2] ^ 1);
  fs.SetContent(kPath, bad);
  auto damaged = CheckPartialSnapshot(fs, kPath);
  ASSERT_TRUE(damaged.ok());
  EXPECT_LT(damaged->verified_bytes, good.size() / 2);
  fs.SetContent(kPath, "");
  EXPECT_EQ(CheckPartialSnapshot(fs, kPath)->verified_bytes, 0u);
}

// ---- Rules beyond checksums: hostile blocks -----------------------------------------------------------------------

class HostileTest : public ::testing::Test {
 protected:
  void Key(std::string_view key, const KeyValue& value) {
    snapshot_format::AppendKeyHead(raw_, value, key.size(), value.body.size());
    raw_ += key;
    raw_ += value.body;
    const uint64_t hash = RowHash(key);
    if (header_.records == 0) header_.first_hash = hash;
    header_.last_hash = hash;
    ++header_.records;
    ++header_.keys;
  }
  void Row(CollectionKind kind, std::string_view suffix, std::string_view value) {
    snapshot_format::AppendRowHead(raw_, kind, suffix.size(), value.size());
    raw_ += suffix;
    raw_ += value;
    ++header_.records;
  }
  // What the parser says, "" if it takes it.
  std::string Parse() {
    snapshot_format::RecordParser parser(16);
    CollectVisitor visitor;
    auto consumed = parser.Consume(header_, raw_, visitor);
    if (!consumed.ok()) return consumed.error().message;
    auto finished = parser.Finish(visitor);
    return finished.ok() ? "" : finished.error().message;
  }
  static KeyValue Hash() { return {ValueType::kHash, false, kNoExpiry, std::string_view("\1\0\0\0\0\0\0\0", 8)}; }
  static KeyValue Chunked() { return {ValueType::kString, true, kNoExpiry, std::string_view("\5\0\0\0\0\0\0\0", 8)}; }

  snapshot_format::BlockHeader header_;
  std::string raw_;
};

TEST_F(HostileTest, GoodBlockIsTaken) {
  Key("k", Hash());
  Row(CollectionKind::kMember, MemberSuffix("f"), "v");
  EXPECT_EQ(Parse(), "");
}

TEST_F(HostileTest, RowWithoutKeyIsRefused) {
  Row(CollectionKind::kMember, MemberSuffix("f"), "v");
  EXPECT_NE(Parse().find("row of no key"), std::string::npos);
}

TEST_F(HostileTest, KeysOutOfOrderAreRefused) {
  const bool ordered = RowHash("a") < RowHash("b");
  Key(ordered ? "b" : "a", {});
  Key(ordered ? "a" : "b", {});
  EXPECT_NE(Parse().find("keys are not in order"), std::string::npos);
}

TEST_F(HostileTest, SameKeyTwiceIsRefused) {
  Key("a", {});
  Key("a", {});
  EXPECT_NE(Parse().find("keys are not in order"), std::string::npos);
}

TEST_F(HostileTest, RowsOutOfOrderAreRefused) {
  Key("k", Hash());
  Row(CollectionKind::kMember, MemberSuffix("f"), "v");
  Row(CollectionKind::kMember, MemberSuffix("f"), "v");
  EXPECT_NE(Parse().find("rows are not in order"), std::string::npos);
}

TEST_F(HostileTest, MemberUnderAWrongHashIsRefused) {
  Key("k", Hash());
  Row(CollectionKind::kMember, std::string(8, 'x') + "f", "v");
  EXPECT_NE(Parse().find("wrong hash"), std::string::npos);
}

TEST_F(HostileTest, RowOfAnotherTypeIsRefused) {
  Key("k", Hash());
  Row(CollectionKind::kItem, std::string(8, 'x'), "v");
  EXPECT_NE(Parse().find("a row of kind"), std::string::npos);
}

TEST_F(HostileTest, ChunkOutsideOfItsStringIsRefused) {
  Key("k", Chunked());
  Row(CollectionKind::kChunk, std::string(4, '\0'), "123456");
  EXPECT_NE(Parse().find("outside of its string"), std::string::npos);
}

TEST_F(HostileTest, ItemsOfAListThatDoNotFollowEachOtherAreRefused) {
  Key("k", {ValueType::kList, false, kNoExpiry, testing::CountBody(2)});
  Row(CollectionKind::kItem, testing::BigEndian<uint64_t>(1ull << 63), "first");
  Row(CollectionKind::kItem, testing::BigEndian<uint64_t>((1ull << 63) + 2), "third");
  EXPECT_NE(Parse().find("wrong position"), std::string::npos);
}

TEST_F(HostileTest, ListWithFewerItemsThanItsHeaderSaysIsRefused) {
  Key("k", {ValueType::kList, false, kNoExpiry, testing::CountBody(2)});
  Row(CollectionKind::kItem, testing::BigEndian<uint64_t>(1ull << 63), "first");
  EXPECT_NE(Parse().find("a list of 2 elements that has 1"), std::string::npos);
}

TEST_F(HostileTest, MembersThatAreNotAsManyAsTheHeaderSaysAreRefused) {
  for (const ValueType type : {ValueType::kHash, ValueType::kSet}) {
    for (const uint64_t count : {uint64_t{2}, uint64_t{0}}) {
      header_ = {};
      raw_.clear();
      Key("k", {type, false, kNoExpiry, testing::CountBody(count)});
      Row(CollectionKind::kMember, MemberSuffix("f"), "");
      const std::string name(ValueTypeName(type));
      const std::string expected = count == 0 ? "a " + name + " of nothing" : "a " + name + " of 2 elements that has 1";
      EXPECT_NE(Parse().find(expected), std::string::npos);
    }
  }
}

TEST_F(HostileTest, ASortedSetWithMoreScoresThanMembersIsRefused) {
  const std::string score = EncodeScore(1.0);
  Key("k", {ValueType::kSortedSet, false, kNoExpiry, testing::CountBody(1)});
  Row(CollectionKind::kMember, MemberSuffix("f"), score);
  Row(CollectionKind::kScore, score + "f", "");
  Row(CollectionKind::kScore, score + "g", "");
  EXPECT_NE(Parse().find("a zset of 1 elements that has 2 scores"), std::string::npos);
}

TEST_F(HostileTest, CollectionWithoutCountIsRefused) {
  Key("k", {ValueType::kList, false, kNoExpiry, "short"});
  EXPECT_NE(Parse().find("without element count"), std::string::npos);
}

TEST_F(HostileTest, WrongCountsAreRefused) {
  Key("k", {});
  header_.records = 2;
  EXPECT_NE(Parse().find("its header says"), std::string::npos);
}

TEST_F(HostileTest, RecordCutAtTheEndIsRefused) {
  Key("k", Hash());
  snapshot_format::AppendRowHead(raw_, CollectionKind::kMember, 4'000'000'000u, 4'000'000'000u);
  ++header_.records;
  EXPECT_NE(Parse().find("cut short"), std::string::npos);
}

TEST_F(HostileTest, DatabaseBeyondTheHeadersIsRefused) {
  Key("k", {});
  header_.db = 16;
  EXPECT_NE(Parse().find("database 16"), std::string::npos);
}

TEST_F(HostileTest, LongFormsOfLengthsAreRefused) {
  raw_ = std::string("k\0\0\x81\x00\x00x", 7);
  header_.records = header_.keys = 1;
  EXPECT_NE(Parse().find("lengths"), std::string::npos);
}

}  // namespace
}  // namespace holdfast
