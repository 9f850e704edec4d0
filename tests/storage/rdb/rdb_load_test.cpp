// RDB to store, and from there to RDB again.
#include "storage/rdb/rdb_load.h"

#include <gtest/gtest.h>

#include "storage/store.h"
#include "storage/types/sorted_set_value.h"
#include "tests/storage/rdb/rdb_content.h"
#include "tests/support/operation_runner.h"
#include "tests/support/temp_directory.h"

namespace holdfast::testing {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes

class RdbLoadTest : public ::testing::Test {
 protected:
  StoreOptions Generation(int databases = 16) {
    StoreOptions options;
    options.directory = directory_.File("gen-" + std::to_string(++generations_));
    EXPECT_TRUE(fs_.CreateDirectory(options.directory).ok());
    options.databases = databases;
    options.map_bytes = 1ull << 30;
    options.fs = &fs_;
    options.random = &random_;
    return options;
  }

  static Result<StreamPosition> At1(const rdb::RdbLoaded&) {
    StreamPosition position;
    position.offset = 1;
    position.lineage_id = std::string(40, 'a');
    return position;
  }

  Result<rdb::RdbLoaded> Load(std::string_view bytes, const StoreOptions& generation,
                              const rdb::RdbLoadOptions& options = {}) {
    rdb::MemorySource source(bytes);
    return rdb::LoadRdb(source, generation, options, At1);
  }

  TempDirectory directory_;
  FileSystem& fs_ = PosixFileSystem();
  SeededRandom random_{1};
  int generations_ = 0;
};

FakeContent AllTypes() {
  FakeContent content;
  content[MakeFakeKey(0, "string")] = StringOf("value");
  content[MakeFakeKey(0, "long")] = StringOf(std::string(200'000, 'x'));
  content[MakeFakeKey(0, std::string(3000, 'k'))] = Expiring(StringOf("a key longer than LMDB's"), 1'900'000'000'000);
  content[MakeFakeKey(1, "list")] = ListOf({"a", "b", "a"});
  content[MakeFakeKey(1, "integers")] = SetOf({"1", "-2"}, kCompact);
  content[MakeFakeKey(7, "sorted")] = SortedSetOf({{"m", 1.5}, {"n", -3}});
  std::vector<std::pair<std::string, double>> members;
  for (int i = 0; i < 5000; ++i) members.emplace_back("m" + std::to_string(i), (i * 7919) % 5000);
  content[MakeFakeKey(7, "ranks")] = SortedSetOf(members, kLarge);
  std::vector<std::pair<std::string, std::string>> fields;
  for (int i = 0; i < 3000; ++i) fields.emplace_back("field " + std::to_string(i), std::string(100, 'v'));
  fields.emplace_back(std::string(2000, 'f'), "a field longer than LMDB's keys");
  content[MakeFakeKey(15, "hash")] = HashOf(fields, kLarge);
  for (int i = 0; i < 5000; ++i) content[MakeFakeKey(i % 3, "key:" + std::to_string(i))] = StringOf(std::to_string(i));
  return content;
}

TEST_F(RdbLoadTest, LoadedStoreGivesTheSameRdb) {
  const FakeContent content = AllTypes();
  const std::string bytes = WriteRdbOf(content);
  for (const uint64_t memory : {64u << 20, 20'000u}) {  // the second one sorts in files
    const StoreOptions generation = Generation();
    rdb::RdbLoadOptions options;
    options.sort_memory_bytes = memory;
    auto loaded = Load(bytes, generation, options);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->summary.keys, content.size());
    EXPECT_EQ(loaded->aux["redis-ver"], "7.0.15");
    EXPECT_EQ(*fs_.List(generation.directory), (std::vector<std::string>{"lmdb", "run"})) << "sorting left files";
    auto store = Store::Open(generation);
    ASSERT_TRUE(store.ok()) << store.error().message;
    EXPECT_EQ((*store)->CheckpointPosition().offset, 1u);
    auto view = (*store)->OpenView();
    ASSERT_TRUE(view.ok()) << view.error().message;
    rdb::MemorySink sink;
    auto written = rdb::WriteRdb(sink, {}, {}, **view, nullptr, {});
    ASSERT_TRUE(written.ok()) << written.error().message;
    CollectRdb collect;
    auto again = ReadRdbInto(collect, sink.bytes());
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(collect.content(), content);
  }
}

TEST_F(RdbLoadTest, LoadedSortedSetKnowsItsRanks) {
  const StoreOptions generation = Generation();
  ASSERT_TRUE(Load(WriteRdbOf(AllTypes()), generation).ok());
  auto store = Store::Open(generation);
  ASSERT_TRUE(store.ok());
  RecordingSink sink;
  (*store)->AttachSink(&sink);
  Transaction& tx = (*store)->Begin(TransactionMode::kLive, 7, 1);
  auto ranks = SortedSetReader::Open(tx, "ranks");
  ASSERT_TRUE(ranks.ok() && ranks->has_value());
  EXPECT_TRUE((*ranks)->members().header().fenced);
  for (const int i : {0, 1, 777, 4999}) {
    EXPECT_EQ(*(*ranks)->Rank("m" + std::to_string(i), false), static_cast<uint64_t>((i * 7919) % 5000)) << i;
  }
  tx.Commit();
}

TEST_F(RdbLoadTest, LeavesOutWhatIsExpired) {
  FakeContent content;
  content[MakeFakeKey(0, "over")] = Expiring(ListOf({"a"}), 1000);
  content[MakeFakeKey(0, "now")] = Expiring(StringOf("a"), 1001);
  content[MakeFakeKey(0, "later")] = Expiring(StringOf("a"), 1002);
  const std::string bytes = WriteRdbOf(content);
  const StoreOptions generation = Generation();
  rdb::RdbLoadOptions options;
  options.drop_expired_ms = 1001;
  auto loaded = Load(bytes, generation, options);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->expired_keys, 2u);
  auto store = Store::Open(generation);
  ASSERT_TRUE(store.ok());
  auto view = (*store)->OpenView();
  EXPECT_EQ((*view)->KeyCount(0), 1u);
  EXPECT_EQ((*view)->ExpiryCount(0), 1u);
}

TEST_F(RdbLoadTest, RefusesWhatComesTwice) {
  auto message_of = [this](const std::string& parts) {
    const std::string bytes = HandMade("REDIS0010", parts);
    auto loaded = Load(bytes, Generation());
    EXPECT_FALSE(loaded.ok());
    return loaded.ok() ? "" : loaded.error().message;
  };
  EXPECT_EQ(message_of("\x00\x01k\x01v\x00\x01k\x01w"s), "key 'k' of database 0 comes twice");
  EXPECT_EQ(message_of("\x02\x01k\x02\x01m\x01m"s), "key 'k' of database 0 (set at byte 9): a member comes twice");
}

TEST_F(RdbLoadTest, TellsThatMoreDatabasesAreNeeded) {
  const std::string bytes = HandMade("REDIS0010", "\xfe\x05\x00\x01k\x01v"s);
  auto loaded = Load(bytes, Generation(4));
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(loaded.error().message.find("'databases' is 4: set it to at least 6"), std::string::npos)
      << loaded.error().message;
}

}  // namespace
}  // namespace holdfast::testing
