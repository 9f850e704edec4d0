// Of a run only the rows of some keys, found by its index: the same rows as in the whole, whatever is damaged.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/run_file.h"
#include "storage/run_format.h"
#include "storage/store.h"
#include "tests/storage/memtable_rows.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

using testing::Rows;
using testing::RowsOf;

// Two databases: strings, deleted keys, hashes and lists whose key row is in the run, and one hash whose is not.
class RunKeysTest : public ::testing::Test {
 protected:
  RunKeysTest() {
    EXPECT_TRUE(fs_.CreateDirectory("run").ok());
    meta_ = EmptyStoreMeta(2);
    meta_.checkpoint = 7;
    meta_.position.offset = 4711;
    for (StoreMeta::Database& database : meta_.databases) database.keys = 1000;
    for (int i = 0; i < 2000; ++i) {
      const std::string key = "key" + std::to_string(i);
      if (i % 10 == 9) {
        memtable_.Erase(*memtable_.KeyTable(Keyspace(i % 2)), RowHash(key), key, 0);
      } else if (i % 10 == 8) {
        AddCollection(key, 100 + static_cast<CollectionId>(i), i == 1008 ? 5000 : 5);
      } else {
        PutKey(key, {.body = std::string(random_.Below(300), 'x')}, i % 2);
      }
    }
    FillCollection(kBelow, 700);
    memtable_.PutOrdered(ExpiryRowKey(5, Keyspace(0), RowHash("key2"), "key2"), 0, 0);
    memtable_.AddDeadCollection(50);
    memtable_.AddDeadKeyspace(9);
    auto path = WriteRun(fs_, "run", meta_, memtable_);
    EXPECT_TRUE(path.ok());
    path_ = *path;
    whole_ = fs_.Content(path_);
    all_ = RowsOf(memtable_);
  }

  [[nodiscard]] KeyspaceId Keyspace(int db) const { return meta_.databases[static_cast<size_t>(db)].keyspace; }

  void PutKey(const std::string& key, const KeyValue& value, int db) {
    char* to = memtable_.Put(*memtable_.KeyTable(Keyspace(db)), RowHash(key), key, KeyValueSize(key, value), 0);
    WriteKeyValue(to, key, value);
  }
  void FillCollection(CollectionId id, int rows) {
    for (int i = 0; i < rows; ++i) {
      const std::string name = "member" + std::to_string(i);
      std::memset(memtable_.Put(*memtable_.MemberTable(id), RowHash(name), name, 20, 0), 'm', 20);
      memtable_.PutOrdered(CollectionRowKey(id, CollectionKind::kScore, name), 0, 0);
      if (i % 7 == 0) memtable_.EraseOrdered(CollectionRowKey(id, CollectionKind::kItem, name), 0);
    }
  }
  void AddCollection(const std::string& key, CollectionId id, int rows) {
    std::string body;
    AppendLittle<uint64_t>(body, id);
    AppendLittle<uint64_t>(body, static_cast<uint64_t>(rows));
    PutKey(key, {.type = ValueType::kSortedSet, .body = body}, 0);
    FillCollection(id, rows);
  }

  Result<holdfast::Run> Read(const std::vector<std::string>& keys) {
    return ReadRunOfKeys(fs_, path_, keys, [&](const std::string& row_key) -> Result<std::optional<CollectionId>> {
      if (row_key == KeyRowKey(Keyspace(1), RowHash("below"), "below")) return std::optional<CollectionId>(kBelow);
      return std::optional<CollectionId>();
    });
  }
  // By looking at every row.
  [[nodiscard]] Rows Expected(const std::string& key) const {
    Rows expected;
    CollectionId id = key == "below" ? kBelow : 0;
    for (const auto& [row_key, row] : all_) {
      for (int db = 0; db < 2; ++db) {
        if (row_key != KeyRowKey(Keyspace(db), RowHash(key), key)) continue;
        expected[row_key] = row;
        if (row.second) continue;
        if (auto named = CollectionOf(*ParseKeyValue(row.first)); *named) id = **named;
      }
    }
    for (const auto& [row_key, row] : all_) {
      if (row_key[0] == '\x20' && LoadBig<uint64_t>(row_key.data() + 1) == id) expected[row_key] = row;
    }
    return expected;
  }

  static constexpr CollectionId kBelow = 77;
  testing::FaultFileSystem fs_;
  SeededRandom random_{3};
  StoreMeta meta_;
  Memtable memtable_;
  std::string path_, whole_;
  Rows all_;
};

TEST_F(RunKeysTest, TheRowsOfEachKeyAreFound) {
  std::vector<std::string> names = {"below", "nothing", "", "key1008", std::string(600, 'k')};
  for (int i = 0; i < 2000; i += 13) names.push_back("key" + std::to_string(i));
  size_t rows = 0;
  for (const std::string& name : names) {
    const auto run = Read({name});
    ASSERT_TRUE(run.ok()) << run.error().message;
    EXPECT_EQ(run->meta, meta_);
    const Rows found = RowsOf(*run->rows);
    EXPECT_EQ(found, Expected(name)) << name;
    rows += found.size();
  }
  EXPECT_GT(rows, 11'000u);
}

TEST_F(RunKeysTest, SeveralKeysTogether) {
  const std::vector<std::string> names = {"key8", "below", "key1008", "key3", "key9", "nothing", "key3"};
  Rows expected;
  for (const std::string& name : names) expected.merge(Expected(name));
  const auto run = Read(names);
  ASSERT_TRUE(run.ok()) << run.error().message;
  EXPECT_EQ(RowsOf(*run->rows), expected);
}

TEST_F(RunKeysTest, OfManyKeysAllOfItIsRead) {
  const auto run = Read(std::vector<std::string>(5000, "key3"));
  ASSERT_TRUE(run.ok()) << run.error().message;
  EXPECT_EQ(RowsOf(*run->rows), RowsOf(memtable_));
}

// What is not read is not vouched for, and does no harm.
TEST_F(RunKeysTest, DamageElsewhereDoesNoHarm) {
  std::string bytes = whole_;
  const size_t rows_begin = bytes.find("member");
  ASSERT_GT(rows_begin, 200'000u);
  for (size_t at = rows_begin + 65'536; at + 2000 < bytes.size(); ++at) bytes[at] = static_cast<char>(~bytes[at]);
  fs_.SetContent(path_, bytes);
  EXPECT_EQ(ReadRun(fs_, path_).error().code, ErrorCode::kCorruption);
  for (int i = 0; i < 2000; i += 10) EXPECT_TRUE(Read({"key" + std::to_string(i)}).ok()) << i;
  EXPECT_EQ(Read({"key1008"}).error().code, ErrorCode::kCorruption);
}

TEST_F(RunKeysTest, NoDamageMakesARowAnother) {
  const std::vector<std::string> names = {"key8", "below", "key3", "key9", "nothing"};
  Rows good;
  for (const std::string& name : names) good.merge(Expected(name));
  size_t refused = 0;
  for (size_t at = 0; at < whole_.size(); at += at < 300 || at + 400 > whole_.size() ? 1 : 997) {
    std::string bytes = whole_;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    fs_.SetContent(path_, bytes);
    const auto run = Read(names);
    if (run.ok()) {
      ASSERT_EQ(RowsOf(*run->rows), good) << "byte " << at;
    } else {
      EXPECT_NE(run.error().message.find(path_), std::string::npos) << run.error().message;
      ++refused;
    }
    const auto all = ReadRun(fs_, path_);
    ASSERT_FALSE(all.ok()) << "byte " << at;
  }
  EXPECT_GT(refused, 600u);
  for (size_t size = 0; size<whole_.size(); size += size + 900> whole_.size() ? 1 : 997) {
    fs_.SetContent(path_, std::string_view(whole_).substr(0, size));
    EXPECT_EQ(Read(names).error().code, ErrorCode::kCorruption) << "cut to " << size;
    EXPECT_EQ(ReadRun(fs_, path_).error().code, ErrorCode::kCorruption) << "cut to " << size;
  }
}

// Sealed with the right checksum, but not what the blocks say.
TEST_F(RunKeysTest, AnIndexOfOtherBlocksIsRefused) {
  const size_t tail = whole_.size() - run_format::kTailSize;
  const auto blocks = LoadLittle<uint32_t>(whole_.data() + tail);
  const size_t bytes = LoadLittle<uint32_t>(whole_.data() + tail + 4);
  const std::string entries = whole_.substr(tail - bytes, bytes);
  std::string header;
  AppendStoreMeta(header, meta_);
  const uint64_t seed = Checksum64(std::string_view(whole_).substr(0, run_format::kPrefixSize + header.size()));
  const auto put = [&](const std::string& other, uint32_t count) {
    fs_.SetContent(path_, whole_.substr(0, tail - bytes) + run_format::SealIndex(other, count, seed));
  };
  put(entries, blocks);
  ASSERT_TRUE(Read({"key3"}).ok() && ReadRun(fs_, path_).ok());
  const auto refused = [&](const std::string& other, uint32_t count) {
    put(other, count);
    EXPECT_EQ(ReadRun(fs_, path_).error().code, ErrorCode::kCorruption);
    size_t taken = 0;
    for (int i = 0; i < 2000; i += 5) taken += Read({"key" + std::to_string(i)}).ok();
    return taken < 400;
  };
  const size_t first = 10 + LoadLittle<uint16_t>(entries.data() + 8);
  EXPECT_TRUE(refused("", 0)) << "no blocks";
  EXPECT_TRUE(refused(entries, blocks + 1)) << "more blocks";
  EXPECT_TRUE(refused(entries.substr(first), blocks - 1)) << "without the first";
  EXPECT_TRUE(refused(entries + entries.substr(0, first), blocks + 1)) << "one that goes back";
  std::string other = entries;
  StoreLittle<uint64_t>(other.data() + first, LoadLittle<uint64_t>(other.data() + first) + 1);
  EXPECT_TRUE(refused(other, blocks)) << "another position";
  other = entries;
  other[10 + 5] = static_cast<char>(other[10 + 5] ^ 1);
  EXPECT_TRUE(refused(other, blocks)) << "another first row";
  StoreLittle<uint64_t>(other.data(), UINT64_MAX);
  EXPECT_TRUE(refused(other, blocks)) << "a position out of all bounds";
}

// ---- a store
// ----------------------------------------------------------------------------------------------------------

class StoreOfKeysTest : public testing::StoreFixture {
 protected:
  // The run is written and stays.
  void StopBeforeMerging() {
    Freeze();
    const std::atomic<bool> cancelled{true};
    EXPECT_EQ(job_->Run({}, cancelled).error().code, ErrorCode::kAborted);
  }
};

TEST_F(StoreOfKeysTest, AnswersWhatTheWholeStoreDoes) {
  for (int i = 0; i < 3000; ++i) Set("key" + std::to_string(i), "old" + std::to_string(i), kNoExpiry, i % 2);
  Checkpoint();
  for (int i = 0; i < 3000; i += 2) Set("key" + std::to_string(i), std::string(200, 'n') + std::to_string(i));
  for (int i = 0; i < 3000; i += 10) Delete("key" + std::to_string(i));
  StopBeforeMerging();
  std::map<int, std::optional<std::string>> whole;
  Open();
  for (int i = 0; i < 3010; i += 5) whole[i] = Get("key" + std::to_string(i), i % 2);
  store_.reset();

  size_t there = 0;
  for (const auto& [i, body] : whole) {
    options_.read_only = options_.check_paths = true;
    const std::vector<std::string> keys = {"key" + std::to_string(i)};
    const OnlyKeysWanted wanted(keys);
    Open();
    EXPECT_EQ(Get("key" + std::to_string(i), i % 2), body) << i;
    there += body.has_value();
  }
  EXPECT_EQ(there, 300u);
}

}  // namespace
}  // namespace holdfast
