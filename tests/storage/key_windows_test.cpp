#include "storage/key_windows.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/base/hash.h"
#include "tests/storage/store_fixture.h"

namespace holdfast {
namespace {

constexpr uint64_t kBytes = 16 * 64;  // 16 windows

// Of window `window` of 16.
uint64_t Hash(uint64_t window, uint64_t tag) { return window << 60 | tag << 44 | 1; }

void Learn(KeyWindows& windows, KeyspaceId keyspace, uint64_t hash, const std::vector<uint64_t>& hashes) {
  KeyWindows::Lesson lesson = windows.Begin(keyspace, hash);
  EXPECT_LE(lesson.first(), hash);
  EXPECT_GE(lesson.last(), hash);
  for (const uint64_t other : hashes) {
    if (!lesson.Add(other)) break;
  }
  windows.Learn(lesson);
}

TEST(KeyWindowsTest, KnowWhatTheyWereTaught) {
  KeyWindows windows(kBytes);
  EXPECT_EQ(windows.count(), 16u);
  EXPECT_FALSE(windows.IsAbsent(1, Hash(3, 7)));
  windows.Put(1, Hash(3, 7));  // nothing is known of the window: nothing is learned
  EXPECT_TRUE(windows.WantsToLearn(1, Hash(3, 7)));
  Learn(windows, 1, Hash(3, 7), {Hash(3, 7), Hash(3, 8), Hash(3, 7)});
  EXPECT_FALSE(windows.WantsToLearn(1, Hash(3, 9)));
  EXPECT_FALSE(windows.IsAbsent(1, Hash(3, 7)));
  EXPECT_FALSE(windows.IsAbsent(1, Hash(3, 8)));
  EXPECT_TRUE(windows.IsAbsent(1, Hash(3, 9)));
  EXPECT_FALSE(windows.IsAbsent(1, Hash(4, 9)));
  EXPECT_FALSE(windows.IsAbsent(2, Hash(3, 9)));  // another keyspace
  windows.Put(1, Hash(3, 9));
  EXPECT_FALSE(windows.IsAbsent(1, Hash(3, 9)));
  windows.Put(2, Hash(3, 10));
  EXPECT_TRUE(windows.IsAbsent(1, Hash(3, 10)));
}

TEST(KeyWindowsTest, AWindowThatFillsUpIsForgotten) {
  KeyWindows windows(kBytes);
  Learn(windows, 1, Hash(0, 0), {});
  for (uint64_t i = 0; i < 28; ++i) {
    EXPECT_TRUE(windows.IsAbsent(1, Hash(0, i)));
    windows.Put(1, Hash(0, i));
  }
  EXPECT_TRUE(windows.IsAbsent(1, Hash(0, 100)));
  windows.Put(1, Hash(0, 100));
  EXPECT_FALSE(windows.IsAbsent(1, Hash(0, 101)));
  EXPECT_TRUE(windows.WantsToLearn(1, Hash(0, 101)));
  Learn(windows, 1, Hash(0, 0), {Hash(0, 100)});  // the others were deleted
  EXPECT_TRUE(windows.IsAbsent(1, Hash(0, 1)));
}

TEST(KeyWindowsTest, ATooFullWindowAndOneOfAnotherKeyspaceAreTriedNowAndThen) {
  KeyWindows windows(kBytes);
  std::vector<uint64_t> many;
  for (uint64_t i = 0; i < 29; ++i) many.push_back(Hash(5, i));
  Learn(windows, 1, Hash(5, 0), many);
  EXPECT_FALSE(windows.IsAbsent(1, Hash(5, 1000)));
  int tries = 0;
  for (int i = 0; i < 1000; ++i) tries += windows.WantsToLearn(1, Hash(5, 0)) ? 1 : 0;
  EXPECT_GT(tries, 0);
  EXPECT_LT(tries, 50);
  Learn(windows, 1, Hash(6, 0), {});
  tries = 0;
  for (int i = 0; i < 1000; ++i) tries += windows.WantsToLearn(2, Hash(6, 0)) ? 1 : 0;
  EXPECT_GT(tries, 0);
  EXPECT_LT(tries, 50);
}

TEST(KeyWindowsTest, WithoutRoomTheyKnowNothing) {
  KeyWindows none(kBytes - 1);
  EXPECT_EQ(none.bytes(), 0u);
  none.Prefetch(1);
  none.Put(1, 2);
  EXPECT_FALSE(none.WantsToLearn(1, 2));
  EXPECT_FALSE(none.IsAbsent(1, 2));
}

// ---- in a store -----------------------------------------------------------------------------------------------------

class StoreKeyWindowsTest : public testing::StoreFixture {
 protected:
  StoreKeyWindowsTest() {
    options_.cache_bytes = 1u << 20;  // 2048 windows
    Open();
  }

  void SetMany(const std::string& prefix) {
    for (int i = 0; i < kMany; ++i) Set(prefix + std::to_string(i), prefix);
  }

  // What one who writes these keys finds.
  void ExpectMany(const std::string& prefix, bool there) {
    Transaction& txn = Live();
    for (int i = 0; i < kMany; ++i) {
      const auto found = txn.FindForWrite(prefix + std::to_string(i));
      ASSERT_TRUE(found.ok());
      ASSERT_EQ(found->has_value(), there) << prefix << i;
    }
    txn.Commit();
  }

  uint64_t Misses() { return store_->Stats().cache_misses; }

  static constexpr int kMany = 4096;
};

TEST_F(StoreKeyWindowsTest, OnceTheyAreKnownNewKeysAreNotLookedForInLmdb) {
  SetMany("a");
  Checkpoint();
  SetMany("b");
  Checkpoint();
  SetMany("c");
  const uint64_t before = Misses();
  SetMany("d");
  EXPECT_LT(Misses() - before, static_cast<uint64_t>(kMany) / 10);
  Checkpoint();
  Set("other", "");
  Checkpoint();
  for (const char* prefix : {"a", "b", "c", "d"}) ExpectMany(prefix, true);
  ExpectMany("e", false);
}

TEST_F(StoreKeyWindowsTest, KeysOfMemtablesAreLearnedLikeThoseOfLmdb) {
  SetMany("lmdb");
  Checkpoint();
  SetMany("frozen");
  Freeze();
  SetMany("active");
  ExpectMany("none", false);  // learns what is not known yet
  Merge();
  Checkpoint();
  Set("other", "");
  Checkpoint();  // nothing is in memory any more
  for (const char* prefix : {"lmdb", "frozen", "active"}) ExpectMany(prefix, true);
  ExpectMany("none", false);
}

TEST_F(StoreKeyWindowsTest, ARunFoundAtStartIsLearned) {
  SetMany("lmdb");
  Checkpoint();
  SetMany("run");
  Freeze();
  std::atomic<bool> cancelled = true;
  EXPECT_EQ(job_->Run({}, cancelled).error().code, ErrorCode::kAborted);  // the run is written, not merged
  job_.reset();
  Open();
  ExpectMany("none", false);
  ExpectMany("run", true);
  job_ = store_->PendingCheckpoint();
  Merge();
  Set("other", "");
  Checkpoint();
  ExpectMany("run", true);
  ExpectMany("lmdb", true);
  ExpectMany("none", false);
}

TEST_F(StoreKeyWindowsTest, DeletedKeysAndEmptiedDatabasesComeBack) {
  SetMany("a");
  Checkpoint();
  ExpectMany("none", false);
  for (int i = 0; i < kMany; ++i) Delete("a" + std::to_string(i));
  Checkpoint();
  Set("other", "");
  Checkpoint();
  ExpectMany("a", false);
  SetMany("a");
  ExpectMany("a", true);
  Transaction& flush = Live();
  flush.FlushDb(0);
  flush.Emit({"FLUSHDB"});
  flush.Commit();
  ExpectMany("a", false);
  SetMany("a");
  Checkpoint();
  Set("other", "");
  Checkpoint();
  ExpectMany("a", true);
  ExpectMany("b", false);
}

}  // namespace
}  // namespace holdfast
