// Blocks with right checksums whose records break the format: each rule of docs/formats-snapshot.md about keys, rows
// and what goes over the border of two blocks. And each read of a file that fails.
#include <gtest/gtest.h>

#include <functional>

#include "storage/snapshot.h"
#include "storage/snapshot_parser.h"
#include "storage/types/scores.h"
#include "tests/storage/fake_store_view.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

using snapshot_format::BlockHeader;
using snapshot_format::kBlockContinuesKey;
using snapshot_format::RecordParser;
using testing::BigEndian;
using testing::CollectVisitor;
using testing::CountBody;
using testing::FakeContent;
using testing::FakeStream;
using testing::FakeValue;
using testing::MakeFakeKey;
using testing::MemberSuffix;

struct Block {
  BlockHeader header;
  std::string raw;
};

// A block of one key with its rows, as a writer makes it.
Block BlockOf(std::string_view key, const FakeValue& value, uint32_t db = 0) {
  Block block;
  const KeyValue stored{value.type, value.chunked, value.expire_at_ms, value.body};
  snapshot_format::AppendKeyHead(block.raw, stored, key.size(), value.body.size());
  block.raw += std::string(key) + value.body;
  for (const auto& [name, row] : value.rows) {
    snapshot_format::AppendRowHead(block.raw, static_cast<CollectionKind>(name.first), name.second.size(), row.size());
    block.raw += name.second + row;
  }
  block.header.db = db;
  block.header.first_hash = block.header.last_hash = RowHash(key);
  block.header.records = static_cast<uint32_t>(1 + value.rows.size());
  block.header.keys = 1;
  return block;
}

// What the parser says to the blocks, one after the other; "" if it takes them.
std::string RefusalOf(const std::vector<Block>& blocks) {
  RecordParser parser(16);
  CollectVisitor visitor;
  for (const Block& block : blocks) {
    const auto consumed = parser.Consume(block.header, block.raw, visitor);
    if (consumed.ok()) continue;
    EXPECT_EQ(consumed.error().code, ErrorCode::kCorruption);
    EXPECT_FALSE(parser.visitor_failed());
    return consumed.error().message;
  }
  const auto finished = parser.Finish(visitor);
  return finished.ok() ? "" : finished.error().message;
}

void ExpectRefused(const std::vector<Block>& blocks, std::string_view why) {
  const std::string refusal = RefusalOf(blocks);
  EXPECT_NE(refusal, "") << why << ": taken";
  EXPECT_NE(refusal.find(why), std::string::npos) << why << " is not in: " << refusal;
}

TEST(SnapshotRecordsTest, StreamsWhoseRowsDoNotFitTogether) {
  ASSERT_EQ(RefusalOf({BlockOf("k", FakeStream())}), "");
  const std::string id = StreamId{5, 1}.Bytes();
  const auto move = [](FakeValue& value, char kind, const std::string& from, const std::string& to) {
    auto row = value.rows.extract({kind, from});
    ASSERT_FALSE(row.empty());
    row.key() = {kind, to};
    value.rows.insert(std::move(row));
  };
  const std::string consumer = ConsumerSuffix(1, "consumer"), pending = PendingSuffix(1, {5, 1});
  const std::string owned = OwnedSuffix(1, 1, {5, 1});
  const std::vector<std::pair<const char*, std::function<void(FakeValue&)>>> changes = {
      {"an entry of a stream without id", [&](auto& value) { move(value, 'e', id, id + "x"); }},
      {"an entry outside of its stream",
       [&](auto& value) {
         move(value, 'e', id, StreamId{5, 2}.Bytes());
       }},
      {"an entry outside of its stream",
       [&](auto& value) {
         move(value, 'e', id, StreamId{5, 0}.Bytes());
       }},
      {"",
       [&](auto& value) {
         value.rows[{'e', id}] = "no fields";
       }},
      {"a stream of 1 entries that has 0",
       [&](auto& value) {
         value.rows.erase({'e', id});
       }},
      {"",
       [](auto& value) {
         value.rows[{'g', "group"}] = "no group";
       }},
      {"an impossible number",
       [](auto& value) {
         value.rows[{'g', "group"}] = GroupState{2, {5, 1}, 1, 1, 1, 2}.Encode();
       }},
      {"groups do not count",
       [](auto& value) {
         value.rows[{'g', "group"}] = GroupState{1, {5, 1}, 1, 2, 1, 2}.Encode();
       }},
      {"groups do not count",
       [](auto& value) {
         value.rows[{'g', "group"}] = GroupState{1, {5, 1}, 1, 1, 2, 3}.Encode();
       }},
      {"groups do not count",
       [](auto& value) {
         value.rows.erase({'g', "group"});
       }},
      {"a consumer of no group", [&](auto& value) { move(value, 'o', consumer, "short"); }},
      {"",
       [&](auto& value) {
         value.rows[{'o', consumer}] = "no consumer";
       }},
      {"groups do not count",
       [&](auto& value) {
         value.rows.erase({'o', consumer});
       }},
      {"a pending entry without id", [&](auto& value) { move(value, 'p', pending, pending + "x"); }},
      {"",
       [&](auto& value) {
         value.rows[{'p', pending}] = "no state";
       }},
      {"groups do not count",
       [&](auto& value) {
         value.rows.erase({'p', pending});
       }},
      {"a pending entry without id", [&](auto& value) { move(value, 'q', owned, pending); }},
      {"an owned row with a value",
       [&](auto& value) {
         value.rows[{'q', owned}] = "x";
       }},
      {"groups do not count",
       [&](auto& value) {
         value.rows.erase({'q', owned});
       }},
      {"", [](auto& value) { value.body += "x"; }},
      {"", [](auto& value) { value.body = CountBody(1); }},
  };
  for (const auto& [why, change] : changes) {
    FakeValue value = FakeStream();
    change(value);
    ExpectRefused({BlockOf("k", value)}, why);
  }
}

TEST(SnapshotRecordsTest, RowsThatTheirTypeDoesNotHave) {
  const auto refused = [](std::string_view why, ValueType type, char kind, const std::string& suffix,
                          const std::string& row, bool chunked = false) {
    FakeValue value{.type = type, .chunked = chunked, .body = CountBody(1)};
    value.rows[{kind, suffix}] = row;
    ExpectRefused({BlockOf("k", value)}, why);
  };
  const std::string score = EncodeScore(1.0);
  refused("a chunk without index", ValueType::kString, 'c', "123", "x", true);
  refused("a chunk outside of its string of 1 bytes", ValueType::kString, 'c', BigEndian<uint32_t>(1), "x", true);
  refused("a chunk outside of its string", ValueType::kString, 'c', BigEndian<uint32_t>(0),
          std::string(kChunkSize + 1, 'x'), true);
  refused("a member without hash", ValueType::kSet, 'm', "1234567", "");
  refused("", ValueType::kSortedSet, 'm', MemberSuffix("m"), "short");
  refused("a score row with a value", ValueType::kSortedSet, 's', score + "m", "x");
  refused("a row with a short name", ValueType::kSortedSet, 's', "1234567", "");
  refused("an item of a list at a wrong position", ValueType::kList, 'i', "1234567", "x");
  for (const char fence : {'t', 'u', 'v'}) refused("a row of kind", ValueType::kSortedSet, fence, score + "m", "x");
  refused("a row of kind", ValueType::kString, 'c', BigEndian<uint32_t>(0), "x");
  FakeValue two{.type = ValueType::kSortedSet, .body = CountBody(1)};
  two.rows[{'m', MemberSuffix("m")}] = score;
  ExpectRefused({BlockOf("k", two)}, "a zset of 1 elements that has 0 scores");
}

TEST(SnapshotRecordsTest, HeadersOfKeysThatCannotBe) {
  ExpectRefused({BlockOf("k", {.body = std::string(kInlineStringMax + 1, 'x')})}, "an inline string of 65537 bytes");
  ExpectRefused({BlockOf("k", {.chunked = true, .body = "seven b"})}, "a chunked string without length");
  ExpectRefused({BlockOf("k", {.chunked = true, .body = CountBody(1, "x")})}, "a chunked string without length");
  ExpectRefused({BlockOf("k", {.type = ValueType::kList, .body = CountBody(1, "x")})}, "a list with a strange header");
  ExpectRefused({BlockOf("k", {.type = ValueType::kSortedSet, .body = CountBody(0)})}, "a zset of nothing");
}

TEST(SnapshotRecordsTest, KeysAndDatabasesAscend) {
  const bool ordered = RowHash("a") < RowHash("b");
  const std::string first = ordered ? "a" : "b", second = ordered ? "b" : "a";
  EXPECT_EQ(RefusalOf({BlockOf(first, {}), BlockOf(second, {}), BlockOf(first, {}, 1)}), "");
  ExpectRefused({BlockOf(second, {}), BlockOf(first, {})}, "keys are not in order");
  ExpectRefused({BlockOf(first, {}, 1), BlockOf(second, {})}, "databases are not in order");
  // The hash of a block's header is where a key is looked for.
  for (uint64_t BlockHeader::*field : {&BlockHeader::first_hash, &BlockHeader::last_hash}) {
    Block block = BlockOf("k", {});
    block.header.*field ^= 1;
    ExpectRefused({block}, "key's hash is not what the block header says");
  }
  FakeValue broken{.type = ValueType::kHash, .body = CountBody(2)};
  broken.rows[{'m', MemberSuffix("f")}] = "v";
  ExpectRefused({BlockOf(first, broken), BlockOf(second, {})}, "a hash of 2 elements that has 1");
}

// The record of a long value, cut after `first` of its bytes.
std::vector<Block> CutRecord(size_t first, const std::string& value = std::string(100, 'v')) {
  Block whole = BlockOf("k", {.body = value});
  Block rest;
  rest.header = whole.header;
  rest.header.flags = kBlockContinuesKey;
  rest.header.records = rest.header.keys = 0;
  rest.raw = whole.raw.substr(first);
  rest.header.continued = static_cast<uint32_t>(rest.raw.size());
  whole.raw.resize(first);
  return {whole, rest};
}

TEST(SnapshotRecordsTest, WhatGoesOverABorderGoesOnBehindIt) {
  const std::vector<Block> good = CutRecord(50);
  ASSERT_EQ(RefusalOf(good), "");
  ExpectRefused({good[0]}, "the last record is cut short");
  ExpectRefused({good[1]}, "goes on with a key that was not begun");
  ExpectRefused({good[0], BlockOf("x", {})}, "does not go on");
  const std::vector<std::pair<const char*, std::function<void(std::vector<Block>&)>>> changes = {
      {"goes on with another key", [](auto& blocks) { blocks[1].header.first_hash ^= 1; }},
      {"goes on with another key", [](auto& blocks) { blocks[1].header.db = 1; }},
      {"goes on differently", [](auto& blocks) { --blocks[1].header.continued; }},
      {"one key, but the block header says two hashes", [](auto& blocks) { blocks[0].header.first_hash ^= 1; }},
      {"a key's hash is not what the block header says",
       [](auto& blocks) {
         for (Block& block : blocks) block.header.first_hash = block.header.last_hash = 77;
       }},
  };
  for (const auto& [why, change] : changes) {
    std::vector<Block> blocks = good;
    change(blocks);
    ExpectRefused(blocks, why);
  }
  // A key that ended, and a block that goes on with a record of it.
  Block more = good[1];
  more.header.first_hash = more.header.last_hash = RowHash("x");
  ExpectRefused({BlockOf("x", {}), more}, "goes on with a record that was not begun");
  // A value that is cut breaks rules only when it is whole.
  ExpectRefused(CutRecord(50, std::string(kInlineStringMax + 1, 'x')), "an inline string");
}

TEST(SnapshotRecordsTest, AfterAGapTheNextWholeKeyIsTaken) {
  FakeValue hash{.type = ValueType::kHash, .body = CountBody(1)};
  hash.rows[{'m', MemberSuffix("f")}] = "v";
  const bool ordered = RowHash("a") < RowHash("b");
  Block rows;  // of a lost key; the last of them goes over the border
  snapshot_format::AppendRowHead(rows.raw, CollectionKind::kMember, 9, 1);
  rows.raw += MemberSuffix("f") + "v";
  snapshot_format::AppendRowHead(rows.raw, CollectionKind::kMember, 100, 1);
  rows.header.flags = kBlockContinuesKey;
  rows.header.first_hash = rows.header.last_hash = RowHash(ordered ? "a" : "b");
  rows.header.records = 2;
  RecordParser parser(16);
  CollectVisitor visitor;
  parser.SkipGap();
  EXPECT_TRUE(parser.Consume(rows.header, rows.raw, visitor).ok());
  const Block next = BlockOf(ordered ? "b" : "a", hash);
  EXPECT_TRUE(parser.Consume(next.header, next.raw, visitor).ok());
  EXPECT_TRUE(parser.Finish(visitor).ok());
  ASSERT_EQ(visitor.content().size(), 1u);
  EXPECT_TRUE(visitor.content().begin()->second == hash);
}

// ---- reads that fail ------------------------------------------------------------------------------------------------

constexpr char kPath[] = "snap.hfs";

FakeContent SomeBlocks() {
  FakeContent content = testing::ContentOfAllTypes();
  SeededRandom random(1);
  FakeValue hash{.type = ValueType::kHash, .body = CountBody(30)};
  for (int i = 0; i < 30; ++i) {
    std::string bytes(30'000, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Next());
    hash.rows[{'m', MemberSuffix(std::to_string(i))}] = bytes;
  }
  content[MakeFakeKey(9, "several blocks")] = hash;
  return content;
}

TEST(SnapshotRecordsTest, EachReadThatFailsIsToldAndNotTakenForDamage) {
  testing::FaultFileSystem fs;
  testing::FakeStoreView view(SomeBlocks(), testing::SamplePosition());
  const std::atomic<bool> never{false};
  ASSERT_TRUE(WriteSnapshot(fs, kPath, testing::SampleHeader(), view, {}, never, {}).ok());
  const auto opened = [&](const std::function<Result<void>(SnapshotReader&)>& act) -> Result<void> {
    ASSIGN_OR_RETURN(const auto reader, SnapshotReader::Open(fs, kPath));
    return act(*reader);
  };
  const auto no_finding = [](const SnapshotFinding& finding) { ADD_FAILURE() << finding.message; };
  const std::vector<std::pair<const char*, std::function<Result<void>()>>> ways = {
      {"all",
       [&] {
         return opened([](SnapshotReader& reader) {
           CollectVisitor visitor;
           return reader.VisitAll(visitor);
         });
       }},
      {"what is undamaged",
       [&] {
         return opened([&](SnapshotReader& reader) {
           CollectVisitor visitor;
           return reader.VisitUndamaged(visitor, no_finding);
         });
       }},
      {"one key",
       [&] {
         return opened([](SnapshotReader& reader) -> Result<void> {
           CollectVisitor visitor;
           ASSIGN_OR_RETURN(const bool found, reader.VisitKey(9, "several blocks", visitor));
           EXPECT_TRUE(found);
           return {};
         });
       }},
      {"to verify", [&] { return VerifySnapshot(fs, kPath, no_finding); }},
      {"a transfer",
       [&]() -> Result<void> {
         ASSIGN_OR_RETURN(const PartialSnapshot partial, CheckPartialSnapshot(fs, kPath));
         EXPECT_TRUE(partial.complete);
         return {};
       }},
  };
  for (const auto& [name, act] : ways) {
    for (uint64_t nth = 1;; ++nth) {
      SCOPED_TRACE(std::string(name) + ", call " + std::to_string(nth));
      const uint64_t before = fs.calls();
      fs.FailCall(nth, ErrorCode::kIo);
      const auto outcome = act();
      const bool fired = fs.calls() - before >= nth;
      fs.ClearFaults();
      if (!fired) {
        EXPECT_TRUE(outcome.ok()) << outcome.error().message;
        EXPECT_GT(nth, 5u);
        break;
      }
      ASSERT_FALSE(outcome.ok());
      EXPECT_EQ(outcome.error().code, ErrorCode::kIo) << outcome.error().message;
    }
  }
}

}  // namespace
}  // namespace holdfast
