#include "storage/store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <set>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/lmdb_env.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

class RecordingSink : public EffectSink {
 public:
  uint64_t AppendedOffset() const override { return offset; }
  int SelectedDb() const override { return selected; }
  uint64_t AppendUnit(std::string_view bytes, int db_after, int64_t now_ms) override {
    selected = db_after;
    last = bytes;
    last_time_ms = now_ms;
    return offset += bytes.size();
  }
  uint64_t offset = 0;
  int selected = -1;
  int64_t last_time_ms = 0;
  std::string last;
};

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    options_.directory = directory_.File("gen-1");
    options_.map_bytes = 4ull << 30;
    options_.fs = &PosixFileSystem();
    options_.random = &random_;
    Open();
  }

  void Open() {
    store_.reset();
    auto opened = Store::Open(options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(*opened);
    store_->AttachSink(&sink_);
  }

  Transaction& Live(int64_t now_ms = 1000) { return store_->Begin(TransactionMode::kLive, 0, now_ms); }

  UnitResult Set(const std::string& key, const std::string& body, int64_t expire_at_ms = kNoExpiry, int db = 0) {
    Transaction& txn = Live();
    auto old = txn.FindForWrite(db, key);
    CHECK(old.ok());
    KeyValue value;
    value.body = body;
    value.expire_at_ms = expire_at_ms;
    txn.Put(db, key, value, *old);
    txn.EmitOn(db, {"SET", key, body});
    return txn.Commit();
  }

  UnitResult Delete(const std::string& key) {
    Transaction& txn = Live();
    auto old = txn.FindForWrite(key);
    CHECK(old.ok());
    CHECK(old->has_value());
    txn.Erase(0, key, **old);
    txn.Emit({"DEL", key});
    return txn.Commit();
  }

  std::optional<std::string> Get(const std::string& key, int db = 0, int64_t now_ms = 1000) {
    Transaction& txn = Live(now_ms);
    auto found = txn.Find(db, key);
    EXPECT_TRUE(found.ok()) << found.error().message;
    std::optional<std::string> body;
    if (found.ok() && found->has_value()) body = std::string((*found)->body);
    seen_ = txn.Commit().seen_offset;
    return body;
  }

  StreamPosition Position() {
    StreamPosition position;
    position.offset = sink_.offset;
    position.selected_db = sink_.selected;
    position.time_ms = sink_.last_time_ms;
    position.lineage_id = std::string(40, 'b');
    return position;
  }

  void Freeze() { job_ = store_->FreezeActive(Position()); }

  void Merge() {
    std::atomic<bool> cancelled = false;
    auto run = std::exchange(job_, nullptr)->Run({}, cancelled);
    ASSERT_TRUE(run.ok()) << run.error().message;
    ASSERT_TRUE(store_->FinishCheckpoint().ok());
  }

  void Checkpoint() {
    Freeze();
    Merge();
  }

  std::string DataFile() { return options_.directory + "/lmdb/data.mdb"; }

  std::string ReadData() { return *ReadFile(PosixFileSystem(), DataFile(), 1ull << 30); }

  void WriteData(std::string_view bytes) {
    auto file = PosixFileSystem().Open(DataFile(), {OpenMode::kCreateOrReplace, false});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->WriteAt(0, bytes).ok());
  }

  testing::TempDirectory directory_;
  SeededRandom random_{7};
  StoreOptions options_;
  RecordingSink sink_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<CheckpointJob> job_;
  uint64_t seen_ = 0;
};

TEST_F(StoreTest, UnitOfOneEffectIsNotWrappedAndSeveralAre) {
  Set("a", "1");
  EXPECT_EQ(sink_.last, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n");
  Set("a", "2");
  EXPECT_EQ(sink_.last, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n");
  Transaction& txn = Live();
  txn.Emit({"PING"});
  txn.EmitOn(11, {"PING"});
  const UnitResult result = txn.Commit();
  EXPECT_EQ(result.effects, 2u);
  EXPECT_EQ(result.end_offset, sink_.offset);
  EXPECT_EQ(sink_.selected, 11);
  EXPECT_EQ(sink_.last,
            "*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n11\r\n*1\r\n$4\r\nPING\r\n"
            "*1\r\n$4\r\nEXEC\r\n");
}

TEST_F(StoreTest, SeenOffsetCoversRowsTombstonesAndKeyspaceMarkers) {
  const uint64_t first = Set("a", "1").end_offset;
  const uint64_t second = Set("b", "1").end_offset;
  Get("a");
  EXPECT_GT(seen_, 0u);
  EXPECT_LE(seen_, first);
  Get("b");
  EXPECT_GT(seen_, first);
  EXPECT_LE(seen_, second);
  Get("absent");
  EXPECT_EQ(seen_, 0u);
  const uint64_t third = Delete("a").end_offset;
  EXPECT_FALSE(Get("a").has_value());
  EXPECT_GT(seen_, second);
  EXPECT_LE(seen_, third);
  Transaction& txn = Live();
  txn.FlushDb(0);
  txn.Emit({"FLUSHDB"});
  const uint64_t flushed = txn.Commit().end_offset;
  EXPECT_FALSE(Get("absent").has_value());
  EXPECT_GT(seen_, third);
  EXPECT_LE(seen_, flushed);
}

TEST_F(StoreTest, ExpiredKeyIsHiddenFromReadsAndDeletedByWrites) {
  Set("a", "1", 5000);
  EXPECT_EQ(Get("a", 0, 4999), "1");
  EXPECT_FALSE(Get("a", 0, 5000).has_value());
  EXPECT_GT(seen_, 0u);
  Transaction& counting = Live();
  EXPECT_EQ(counting.KeyCount(0), 1u);
  EXPECT_EQ(counting.ExpiryCount(0), 1u);
  counting.Commit();
  Transaction& txn = Live(5000);
  auto found = txn.FindForWrite("a");
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->has_value());
  EXPECT_EQ(txn.KeyCount(0), 0u);
  EXPECT_EQ(txn.ExpiryCount(0), 0u);
  txn.Commit();
  EXPECT_EQ(sink_.last, "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n");
  EXPECT_EQ(sink_.last_time_ms, 5000);
  // Time never goes back below a unit's.
  Transaction& later = Live(10);
  EXPECT_EQ(later.now_ms(), 5000);
  later.Commit();
}

TEST_F(StoreTest, ApplyModeSeesExpiredKeysAndEmitsNothing) {
  Set("a", "1", 5000);
  const uint64_t before = sink_.offset;
  store_->SetApplyUnit(before, before + 10);
  Transaction& txn = store_->Begin(TransactionMode::kApply, 0, 9000);
  auto found = txn.FindForWrite("a");
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->has_value());
  txn.Emit({"PING"});
  EXPECT_EQ(txn.Commit().end_offset, before + 10);
  EXPECT_EQ(sink_.offset, before);
}

TEST_F(StoreTest, ViewsOfSeveralReadsLiveThroughTheUnitWhileTheCacheEvicts) {
  options_.cache_bytes = 16 << 10;
  Open();
  for (int i = 0; i < 1000; ++i) Set("k" + std::to_string(i), std::string(100, static_cast<char>('a' + i % 26)));
  Checkpoint();
  Set("other", "x");
  Checkpoint();  // now the rows of the first checkpoint are in LMDB alone
  Transaction& txn = Live();
  std::vector<std::string_view> views;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 1000; ++i) {
      auto found = txn.Find("k" + std::to_string(i));
      ASSERT_TRUE(found.ok());
      ASSERT_TRUE(found->has_value());
      views.push_back((*found)->body);
    }
  }
  for (size_t i = 0; i < views.size(); ++i)
    EXPECT_EQ(views[i], std::string(100, static_cast<char>('a' + i % 1000 % 26)));
  txn.Commit();
  EXPECT_GT(store_->Stats().cache_rows, 0u);
  EXPECT_LE(store_->Stats().cache_bytes, options_.cache_bytes);
}

TEST_F(StoreTest, RowsOfTheLastCheckpointStayInMemoryUntilTheNextFreeze) {
  Set("kept", "1");
  Set("gone", "2", 5000);
  Checkpoint();
  EXPECT_GT(store_->Stats().merged_bytes, 0u);
  const uint64_t misses = store_->Stats().cache_misses;
  EXPECT_EQ(Get("kept"), "1");
  EXPECT_EQ(store_->Stats().cache_misses, misses);  // not looked for any further
  Delete("gone");
  EXPECT_EQ(Get("gone"), std::nullopt);
  Set("kept", "3");
  EXPECT_EQ(Get("kept"), "3");
  Freeze();
  EXPECT_EQ(store_->Stats().merged_bytes, 0u);
  EXPECT_EQ(Get("gone"), std::nullopt);
  Merge();
  EXPECT_EQ(Get("gone"), std::nullopt);  // a tombstone of the merged layer
  EXPECT_EQ(Get("kept"), "3");
  Open();
  EXPECT_EQ(Get("gone"), std::nullopt);
  EXPECT_EQ(Get("kept"), "3");
}

TEST_F(StoreTest, APlainStringIsReplacedWithoutLookingItUp) {
  for (int i = 0; i < 100; ++i) Set("plain" + std::to_string(i), "1");
  for (int i = 0; i < 100; ++i) Set("timed" + std::to_string(i), "1", 5000);
  Checkpoint();
  Set("other", "1");
  Checkpoint();  // now the rows of the first one are in LMDB alone
  const auto replace = [&](const std::string& key) {
    Transaction& txn = Live();
    auto old = txn.FindForReplace(0, key);
    CHECK(old.ok());
    CHECK(old->has_value());
    KeyValue value;
    value.body = "2";
    txn.Put(0, key, value, *old);
    txn.Emit({"SET", key, "2"});
    txn.Commit();
  };
  const uint64_t misses = store_->Stats().cache_misses;
  for (int i = 0; i < 100; ++i) replace("plain" + std::to_string(i));
  EXPECT_EQ(store_->Stats().cache_misses, misses);
  for (int i = 0; i < 100; ++i) replace("timed" + std::to_string(i));
  EXPECT_GE(store_->Stats().cache_misses, misses + 100);
  Transaction& txn = Live();
  EXPECT_EQ(txn.KeyCount(0), 201u);
  EXPECT_EQ(txn.ExpiryCount(0), 0u);
  txn.Commit();
  EXPECT_EQ(Get("plain7"), "2");
  EXPECT_EQ(Get("timed7", 0, 9000), "2");
}

TEST_F(StoreTest, MergedRowsFollowTheirDatabase) {
  Set("key", "zero");
  Set("key", "one", kNoExpiry, 1);
  Checkpoint();
  Transaction& swap = Live();
  swap.SwapDb(0, 1);
  swap.EmitOn(0, {"SWAPDB", "0", "1"});
  swap.Commit();
  EXPECT_EQ(Get("key"), "one");
  EXPECT_EQ(Get("key", 1), "zero");
  Transaction& flush = Live();
  flush.FlushDb(0);
  flush.EmitOn(0, {"FLUSHDB"});
  flush.Commit();
  EXPECT_EQ(Get("key"), std::nullopt);
  EXPECT_EQ(Get("key", 1), "zero");
}

TEST_F(StoreTest, WithoutACacheNoMergedRowsAreKept) {
  options_.cache_bytes = 0;
  Open();
  Set("key", "value");
  Checkpoint();
  EXPECT_EQ(store_->Stats().merged_bytes, 0u);
  EXPECT_EQ(Get("key"), "value");
}

TEST_F(StoreTest, PrefetchIsAHintForAnyKeysInAnyLayer) {
  const std::vector<std::string_view> keys = {"frozen", "active", "nowhere", ""};
  store_->Prefetch(0, keys, false);  // no tables yet
  Set("frozen", "1");
  Freeze();
  Set("active", "2");
  store_->Prefetch(0, keys, false);
  store_->Prefetch(3, keys, true);
  Merge();
  store_->Prefetch(0, std::vector<std::string_view>(1000, "frozen"), true);
  EXPECT_EQ(Get("frozen"), "1");
  EXPECT_EQ(Get("active"), "2");
  EXPECT_EQ(Get("nowhere"), std::nullopt);
}

TEST_F(StoreTest, ScanReturnsEveryKeyThatStaysAcrossFreezeMergeAndReopening) {
  std::set<std::string> staying;
  for (int i = 0; i < 500; ++i) {
    Set("stay" + std::to_string(i), "x");
    staying.insert("stay" + std::to_string(i));
  }
  std::set<std::string> seen;
  uint64_t cursor = 0;
  int step = 0;
  do {
    Transaction& txn = Live();
    int left = 7;
    auto next = txn.VisitKeys(0, cursor, [&](std::string_view key, const KeyValue&) {
      seen.emplace(key);
      return --left > 0;
    });
    ASSERT_TRUE(next.ok());
    txn.Commit();
    cursor = *next;
    Set("other" + std::to_string(step), "y");
    if (step > 3) Delete("other" + std::to_string(step - 3));
    if (step % 10 == 3) Checkpoint();
    if (step % 20 == 13) {
      Checkpoint();
      Open();
    }
    ++step;
  } while (cursor != 0);
  for (const std::string& key : staying) EXPECT_TRUE(seen.contains(key)) << key;
}

TEST_F(StoreTest, RandomKeyIsUniform) {
  constexpr int kKeys = 200;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kKeys; ++i) {
    Set(std::to_string(i), "x", i % 10 == 0 ? 500 : kNoExpiry);  // every tenth has expired
    if (i == 80) Checkpoint();
  }
  for (int i = 1; i < 20; i += 2) Delete(std::to_string(i));
  const int live = kKeys - kKeys / 10 - 10;
  std::map<std::string, int> counts;
  for (int i = 0; i < kDraws; ++i) {
    Transaction& txn = Live();
    auto key = txn.RandomKey(0);
    ASSERT_TRUE(key.ok());
    ASSERT_TRUE(key->has_value());
    ++counts[**key];
    txn.Commit();
  }
  EXPECT_EQ(counts.size(), static_cast<size_t>(live));
  const double expected = static_cast<double>(kDraws) / live;
  double chi_square = 0;
  for (const auto& [key, count] : counts) chi_square += (count - expected) * (count - expected) / expected;
  // 169 degrees of freedom: mean 169, deviation 18.4; the seed is fixed.
  EXPECT_LT(chi_square, 169 + 5 * 18.4);
}

TEST_F(StoreTest, RandomKeyOfOnlyExpiredKeysIsNone) {
  for (int i = 0; i < 300; ++i) Set(std::to_string(i), "x", 500);
  Transaction& txn = Live();
  auto key = txn.RandomKey(0);
  ASSERT_TRUE(key.ok());
  EXPECT_FALSE(key->has_value());
  txn.Commit();
}

TEST_F(StoreTest, EachFlippedBitOfAValueIsDetected) {
  options_.cache_bytes = 0;
  const std::string body = "a value that stands in data.mdb";
  Set("key", body);
  Checkpoint();
  store_.reset();
  const std::string whole = ReadData();
  const size_t at = whole.rfind(body);
  ASSERT_NE(at, std::string::npos);
  ASSERT_EQ(whole.find(body), at);
  for (size_t bit = 0; bit < (body.size() + 4) * 8; bit += 7) {  // with the checksum behind it
    std::string damaged = whole;
    damaged[at + bit / 8] = static_cast<char>(damaged[at + bit / 8] ^ (1 << (bit % 8)));
    WriteData(damaged);
    Open();
    Transaction& txn = Live();
    auto found = txn.Find("key");
    ASSERT_FALSE(found.ok()) << "bit " << bit;
    EXPECT_EQ(found.error().code, ErrorCode::kCorruption);
    EXPECT_NE(found.error().message.find("database 'keys'"), std::string::npos) << found.error().message;
    txn.Commit();
  }
}

TEST_F(StoreTest, TruncatedDataFileIsRefusedWithAClearMessage) {
  for (int i = 0; i < 2000; ++i) Set("k" + std::to_string(i), std::string(100, 'x'));
  Checkpoint();
  store_.reset();
  const std::string whole = ReadData();
  for (const size_t size : {size_t{0}, size_t{100}, size_t{4096}, size_t{8192}, whole.size() / 2}) {
    WriteData(std::string_view(whole).substr(0, size));
    auto opened = Store::Open(options_);
    ASSERT_FALSE(opened.ok()) << size;
    EXPECT_EQ(opened.error().code, ErrorCode::kCorruption) << opened.error().message;
    EXPECT_NE(opened.error().message.find("data.mdb"), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().message.find("truncated"), std::string::npos) << opened.error().message;
  }
  WriteData(whole);
  Open();
  EXPECT_EQ(Get("k7"), std::string(100, 'x'));
}

TEST_F(StoreTest, DamagedRunIsRefusedAndAnIncompleteOneIsDeleted) {
  Set("a", "1");
  auto job = store_->FreezeActive(Position());
  std::atomic<bool> cancelled = true;  // after the run is written
  ASSERT_EQ(job->Run({}, cancelled).error().code, ErrorCode::kAborted);
  job.reset();
  store_.reset();
  FileSystem& fs = PosixFileSystem();
  const std::string run_directory = options_.directory + "/run";
  const std::vector<std::string> names = *fs.List(run_directory);
  ASSERT_EQ(names.size(), 1u);
  const std::string path = run_directory + "/" + names[0];
  const std::string whole = *ReadFile(fs, path, 1 << 20);
  for (size_t at = 0; at < whole.size(); at += 5) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    auto file = fs.Open(path, {OpenMode::kCreateOrReplace, false});
    ASSERT_TRUE((*file)->WriteAt(0, damaged).ok());
    auto opened = Store::Open(options_);
    ASSERT_FALSE(opened.ok()) << "byte " << at;
    EXPECT_NE(opened.error().message.find(names[0]), std::string::npos) << opened.error().message;
  }
  auto file = fs.Open(path, {OpenMode::kCreateOrReplace, false});
  ASSERT_TRUE((*file)->WriteAt(0, whole).ok());
  auto leftover = fs.Open(run_directory + "/00000000000000000099.tmp", {OpenMode::kCreate, false});
  ASSERT_TRUE((*leftover)->WriteAt(0, "half").ok());
  Open();
  EXPECT_EQ(fs.List(run_directory)->size(), 1u);
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(store_->CheckpointPosition(), Position());
}

TEST_F(StoreTest, HalfMergedLmdbWithoutItsRunIsRefused) {
  options_.merge_dirty_pages = 1;
  Open();
  for (int i = 0; i < 500; ++i) Set("k" + std::to_string(i), std::string(200, 'x'));
  auto job = store_->FreezeActive(Position());
  std::atomic<bool> cancelled = false;
  ASSERT_FALSE(job->Run([&](double) { cancelled = true; }, cancelled).ok());
  auto view = store_->OpenView();
  ASSERT_FALSE(view.ok());
  EXPECT_EQ(view.error().code, ErrorCode::kBusy);
  job.reset();
  store_.reset();
  ASSERT_TRUE(PosixFileSystem().RemoveTree(options_.directory + "/run").ok());
  auto opened = Store::Open(options_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, ErrorCode::kCorruption);
}

// Nearly all keys were deleted since the last checkpoint: each is a row in LMDB and one in the memtable that hides it.
TEST_F(StoreTest, ReadsAmongMassesOfDeletedKeysAreBoundedAndAskForACheckpoint) {
  constexpr int kKeys = 60'000;
  for (int i = 0; i < kKeys; ++i) Set("key" + std::to_string(i), "v");
  Checkpoint();
  std::set<std::string> left;
  for (int i = 0; i < kKeys; ++i) {
    const std::string key = "key" + std::to_string(i);
    if (i % 20'000 == 7) {
      left.insert(key);
    } else {
      Delete(key);
    }
  }
  EXPECT_FALSE(store_->FreezeWanted());
  const auto elapsed = [](const std::function<void()>& run) {
    const auto begun = std::chrono::steady_clock::now();
    run();
    return std::chrono::steady_clock::now() - begun;
  };
  Transaction& txn = Live();
  const auto walk = elapsed([&] {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(*txn.VisitKeys(0, 0, [](auto&&...) { return true; }), 0u);
  });
  EXPECT_FALSE(store_->FreezeWanted()) << "who wants all rows must walk over all of them";
  EXPECT_TRUE(left.contains(txn.RandomKey(0)->value_or(""))) << "the first one may have to search";
  const auto picks = elapsed([&] {
    for (int i = 0; i < 15; ++i) EXPECT_TRUE(left.contains(txn.RandomKey(0)->value_or("")));
  });
  EXPECT_LT(picks, walk) << "fifteen picks take less than five walks";

  std::set<std::string> scanned;
  uint64_t cursor = 0;
  int pages = 0;
  do {
    const auto next = txn.VisitKeys(
        0, cursor,
        [&](std::string_view key, const KeyValue&) {
          scanned.emplace(key);
          return false;
        },
        1000);
    ASSERT_TRUE(next.ok());
    cursor = *next;
    ++pages;
  } while (cursor != 0);
  EXPECT_EQ(scanned, left);
  EXPECT_GE(pages, kKeys / 1000);
  txn.Commit();

  EXPECT_TRUE(store_->FreezeWanted());
  Checkpoint();
  EXPECT_FALSE(store_->FreezeWanted());
  std::set<std::string> picked;
  for (int i = 0; i < 200; ++i) {
    Transaction& after = Live();
    picked.insert(after.RandomKey(0)->value_or(""));
    after.Commit();
  }
  EXPECT_EQ(picked, left);
}

TEST_F(StoreTest, ViewStaysAsItWasWhileTheStoreMovesOn) {
  for (int i = 0; i < 100; ++i) Set("k" + std::to_string(i), "old", i % 2 == 0 ? 9999 : kNoExpiry);
  Checkpoint();
  auto view = store_->OpenView();
  ASSERT_TRUE(view.ok());
  for (int i = 0; i < 100; ++i) Set("k" + std::to_string(i), "new");
  Checkpoint();
  uint64_t last_hash = 0;
  int keys = 0;
  ASSERT_TRUE((*view)
                  ->VisitKeys(0,
                              [&](std::string_view key, uint64_t hash, const KeyValue& value) -> Result<void> {
                                EXPECT_EQ(value.body, "old");
                                EXPECT_EQ(hash, RowHash(key));
                                EXPECT_GE(hash, last_hash);
                                last_hash = hash;
                                ++keys;
                                return {};
                              })
                  .ok());
  EXPECT_EQ(keys, 100);
  EXPECT_EQ((*view)->KeyCount(0), 100u);
  EXPECT_EQ((*view)->ExpiryCount(0), 50u);
  EXPECT_EQ(Get("k1"), "new");
}

TEST_F(StoreTest, BuilderMakesAStoreThatOpens) {
  store_.reset();
  options_.directory = directory_.File("gen-2");
  options_.merge_dirty_pages = 4;
  const std::string long_key(5000, 'L');
  StreamPosition position;
  position.offset = 12345;
  position.time_ms = 77;
  position.digest.Update("history");
  position.lineage_id = std::string(40, 'c');
  {
    auto builder = StoreBuilder::Create(options_);
    ASSERT_TRUE(builder.ok()) << builder.error().message;
    KeyValue value;
    value.body = "v";
    for (int i = 0; i < 1000; ++i) {
      value.expire_at_ms = i % 3 == 0 ? 5000 + i : kNoExpiry;
      ASSERT_TRUE((*builder)->AddKey(i % 2, "k" + std::to_string(i), value).ok());
    }
    value.expire_at_ms = 6000;
    ASSERT_TRUE((*builder)->AddKey(0, long_key, value).ok());
    EXPECT_EQ((*builder)->AddKey(0, "k0", value).error().code, ErrorCode::kAlreadyExists);
    ASSERT_TRUE((*builder)->Finish(position).ok());
  }
  Open();
  EXPECT_EQ(store_->CheckpointPosition(), position);
  EXPECT_EQ(Get("k10", 0), "v");
  EXPECT_EQ(Get("k11", 1), "v");
  EXPECT_EQ(Get(long_key), "v");
  Transaction& txn = Live();
  EXPECT_EQ(txn.KeyCount(0), 501u);
  EXPECT_EQ(txn.ExpiryCount(0) + txn.ExpiryCount(1), 335u);
  txn.Commit();
  auto expired = store_->ExpiredKeys(100000, 1000);
  ASSERT_TRUE(expired.ok());
  EXPECT_EQ(expired->size(), 335u);
}

TEST_F(StoreTest, MoreDatabasesAndFewerKeepTheirKeys) {
  Set("a", "15", kNoExpiry, 15);
  Checkpoint();
  options_.databases = 2;
  Open();
  EXPECT_FALSE(Get("a", 1).has_value());
  Checkpoint();
  options_.databases = 40;
  Open();
  EXPECT_EQ(Get("a", 15), "15");
  Set("b", "39", kNoExpiry, 39);
  EXPECT_EQ(Get("b", 39), "39");
}

TEST_F(StoreTest, ReadOnlyOpensBesideTheServersFilesAndChangesNothing) {
  Set("a", "1");
  Checkpoint();
  Set("b", "2");
  auto job = store_->FreezeActive(Position());
  std::atomic<bool> cancelled = true;
  ASSERT_FALSE(job->Run({}, cancelled).ok());
  job.reset();
  store_.reset();
  options_.read_only = true;
  Open();
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(Get("b"), "2");
  store_.reset();
  EXPECT_EQ(PosixFileSystem().List(options_.directory + "/run")->size(), 1u);
}

}  // namespace
}  // namespace holdfast
