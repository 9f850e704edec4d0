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
#include "storage/types/members.h"
#include "tests/storage/store_fixture.h"

namespace holdfast {
namespace {

using StoreTest = testing::StoreFixture;

TEST_F(StoreTest, UnitOfOneEffectIsNotWrappedAndSeveralAre) {
  Set("a", "1");
  EXPECT_EQ(sink_.units.back().bytes, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n");
  Set("a", "2");
  EXPECT_EQ(sink_.units.back().bytes, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n");
  Transaction& txn = Live();
  txn.Emit({"PING"});
  txn.EmitOn(11, {"PING"});
  const UnitResult result = txn.Commit();
  EXPECT_EQ(result.effects, 2u);
  EXPECT_EQ(result.end_offset, sink_.AppendedOffset());
  EXPECT_EQ(sink_.SelectedDb(), 11);
  EXPECT_EQ(sink_.units.back().bytes,
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
  EXPECT_EQ(sink_.units.back().bytes, "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n");
  EXPECT_EQ(sink_.units.back().time_ms, 5000);
  // Time never goes back below a unit's.
  Transaction& later = Live(10);
  EXPECT_EQ(later.now_ms(), 5000);
  later.Commit();
}

TEST_F(StoreTest, ApplyModeSeesExpiredKeysAndEmitsNothing) {
  Set("a", "1", 5000);
  const uint64_t before = sink_.AppendedOffset();
  store_->SetApplyUnit(before, before + 10);
  Transaction& txn = store_->Begin(TransactionMode::kApply, 0, 9000);
  auto found = txn.FindForWrite("a");
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->has_value());
  txn.Emit({"PING"});
  EXPECT_EQ(txn.Commit().end_offset, before + 10);
  EXPECT_EQ(sink_.AppendedOffset(), before);
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

// What never left the active memtable need not be collected from anywhere.
TEST_F(StoreTest, OnlyCollectionsThatLeftTheMemtableAreToBeCollected) {
  const auto make = [this](const std::string& key) {
    Transaction& txn = Live();
    ASSERT_TRUE(txn.FindForWrite(key).ok());
    std::string body;
    AppendLittle<uint64_t>(body, txn.NewCollectionId());
    AppendLittle<uint64_t>(body, 1);
    KeyValue value;
    value.type = ValueType::kHash;
    value.body = body;
    txn.Put(0, key, value, std::nullopt);
    txn.PutRow(LoadLittle<uint64_t>(body.data()), CollectionKind::kMember, MemberSuffix("field"), "value");
    txn.Emit({"HSET", key, "field", "value"});
    txn.Commit();
  };
  // Only when all was checkpointed: the store is opened again.
  const auto rows_in_lmdb = [this] {
    store_.reset();
    const uint64_t rows = [this] {
      const auto env = LmdbEnv::Open({JoinPath(options_.directory, "lmdb"), 1ull << 30, true, options_.fs}).value();
      return env->BeginRead().value()->TableStats(LmdbTable::kRows)->entries;
    }();
    Open();
    return rows;
  };
  make("young");
  Delete("young");
  EXPECT_EQ(store_->Stats().dead_collections, 0u);
  make("old");
  Checkpoint();
  EXPECT_EQ(rows_in_lmdb(), 1u);
  make("younger");
  Delete("younger");
  EXPECT_EQ(store_->Stats().dead_collections, 0u);
  Delete("old");
  EXPECT_EQ(store_->Stats().dead_collections, 1u);
  EXPECT_EQ(store_->Stats().dead_in_lmdb, 0u);
  Checkpoint();
  EXPECT_EQ(store_->Stats().dead_collections, 0u);
  EXPECT_EQ(rows_in_lmdb(), 0u);
  // Also of those made before a start, and of those that are frozen.
  make("old");
  Checkpoint();
  Open();
  Delete("old");
  EXPECT_EQ(store_->Stats().dead_collections, 1u);
  make("frozen");
  Freeze();
  Delete("frozen");
  EXPECT_EQ(store_->Stats().dead_collections, 2u);
  Merge();
  Checkpoint();
  EXPECT_EQ(store_->Stats().dead_collections, 0u);
  EXPECT_EQ(rows_in_lmdb(), 0u);
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

// Each call looks at some thousand keys, and later ones go on where it ended.
TEST_F(StoreTest, RandomKeyAmongMassesOfExpiredKeysIsBounded) {
  constexpr int kKeys = 50'000;
  for (int i = 0; i < kKeys; ++i) Set(std::to_string(i), "x", 500);
  const auto pick = [&] {
    Transaction& txn = Live();
    const auto key = txn.RandomKey(0);
    EXPECT_TRUE(key.ok());
    txn.Commit();
    return key.ok() ? *key : std::nullopt;
  };
  for (int i = 0; i < 30; ++i) EXPECT_EQ(pick(), std::nullopt);
  EXPECT_FALSE(store_->FreezeWanted()) << "a checkpoint does not remove what has expired";
  std::string last = "live0";  // where searches come last
  for (int i = 1; i < 200; ++i) {
    const std::string name = "live" + std::to_string(i);
    if (RowHash(name) > RowHash(last)) last = name;
  }
  Set(last, "x");
  Checkpoint();
  int tries = 0;
  for (int i = 0; i < 5; ++i) {
    Open();  // searches begin anew
    int more = 1;
    while (pick() != last && more < 100) ++more;
    EXPECT_LE(more, 20);
    EXPECT_EQ(pick(), last) << "where it was found before";
    tries += more;
  }
  EXPECT_GT(tries, 15);
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
