#include "storage/cold_rows.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "storage/types/hashes.h"
#include "storage/types/lists.h"
#include "storage/types/sorted_sets.h"
#include "storage/types/strings.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

constexpr int kFields = 4000;
const std::string kValue(4000, 'v');

std::string Name(int i) { return "name:" + std::to_string(i); }

// A store whose data lies on disk and nowhere else.
class ColdRowsTest : public ::testing::Test {
 protected:
  ColdRowsTest() { store_->AttachSink(&sink_); }

  void Fill() {
    for (int i = 0; i < kFields; ++i) {
      Transaction& tx = store_->Begin(TransactionMode::kLive, 0, 1);
      const std::string field = Name(i);
      const std::string_view pair[] = {field, kValue};
      ASSERT_TRUE(hashes::Set(tx, "hash", pair).ok());
      ASSERT_TRUE(strings::Set(tx, field, kValue, {}).ok());
      tx.Commit();
    }
    Checkpoint();
  }

  void Checkpoint() {
    StreamPosition position = store_->CheckpointPosition();
    ++position.offset;
    store_.Checkpoint(position);
  }

  void MakeCold() {
    Reopen();
    const std::string path = store_.directory() + "/lmdb/data.mdb";
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << path;
    ASSERT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    ::close(fd);
  }

  template <typename Read>
  int64_t FaultsOf(const Read& read) {
    rusage before{}, after{};
    ::getrusage(RUSAGE_THREAD, &before);
    Transaction& tx = store_->Begin(TransactionMode::kLive, 0, 1);
    read(tx);
    tx.Commit();
    ::getrusage(RUSAGE_THREAD, &after);
    return after.ru_majflt - before.ru_majflt;
  }

  void Fetch(const std::string& key, std::vector<std::string> members) {
    auto wanted = store_->WantFromLmdb(0, key);
    ASSERT_TRUE(wanted.has_value());
    wanted->members = std::move(members);
    store_->OpenColdRows()->Fetch({*wanted});
  }

  void Reopen() {
    store_.Reopen();
    store_->AttachSink(&sink_);
  }

  testing::RecordingSink sink_;
  testing::TestStore store_;
};

TEST_F(ColdRowsTest, WhatWasFetchedIsReadWithoutWaiting) {
  Fill();
  MakeCold();
  const auto field = [](int i) {
    return [i](Transaction& tx) {
      auto value = hashes::Get(tx, "hash", Name(i));
      ASSERT_TRUE(value.ok());
      EXPECT_EQ(value->value_or(""), kValue);
    };
  };
  if (FaultsOf(field(17)) == 0) GTEST_SKIP() << "this file system keeps the data in memory";
  MakeCold();
  Fetch("hash", {Name(17), Name(3000), "none"});
  EXPECT_EQ(FaultsOf(field(17)), 0);
  EXPECT_EQ(FaultsOf(field(3000)), 0);
  MakeCold();
  Fetch(Name(5), {});
  EXPECT_EQ(FaultsOf([](Transaction& tx) { EXPECT_TRUE(strings::Get(tx, Name(5)).ok()); }), 0);
}

// A sorted set of members with the scores 0, 1, 2, ...
class ColdSortedSetTest : public ColdRowsTest {
 protected:
  static constexpr int kMembers = 60000;

  static std::string Member(int i) { return std::to_string(i) + std::string(90, 'm'); }

  template <typename Read>
  static auto Reads(const Read& read) {
    return [read](Transaction& tx) {
      const auto set = SortedSetReader::Open(tx, "z");
      ASSERT_TRUE(set.ok());
      ASSERT_TRUE(set->has_value());
      read(**set);
    };
  }

  void SetUp() override {
    for (int i = 0; i < kMembers;) {
      Transaction& tx = store_->Begin(TransactionMode::kLive, 0, 1);
      auto editor = SortedSetEditor::Open(tx, "z");
      ASSERT_TRUE(editor.ok());
      for (const int end = i + 1000; i < end; ++i) ASSERT_TRUE(editor->PutNew(Member(i), i).ok());
      editor->Finish("zadd");
      tx.Commit();
    }
    Checkpoint();
    MakeCold();
    in_memory_ = FaultsOf(Reads([](const SortedSetReader& set) { ASSERT_TRUE(set.Score(Member(7)).ok()); })) == 0;
    MakeCold();
  }

  void Fetch(std::vector<std::string> words, WantedKey::Ranks ranks = WantedKey::Ranks::kNone) {
    auto wanted = store_->WantFromLmdb(0, "z");
    ASSERT_TRUE(wanted.has_value());
    wanted->members = std::move(words);
    wanted->ranks = ranks;
    store_->OpenColdRows()->Fetch({*wanted});
  }

  static auto Range(SortedSetRange::By by, int64_t start, bool reverse = false) {
    return Reads([=](const SortedSetReader& set) {
      SortedSetRange range;
      range.by = by;
      range.reverse = reverse;
      range.start = start;
      range.stop = start + 99;
      range.scores = {static_cast<double>(start), static_cast<double>(start + 99), false, false};
      int64_t next = reverse ? kMembers - 1 - start : start;
      ASSERT_TRUE(set.Visit(range,
                            [&](std::string_view member, double score) {
                              EXPECT_EQ(member, Member(static_cast<int>(next)));
                              EXPECT_EQ(score, static_cast<double>(next));
                              next += reverse ? -1 : 1;
                              return true;
                            })
                      .ok());
    });
  }

  bool in_memory_ = false;  // of this file system nothing is ever cold
};

TEST_F(ColdSortedSetTest, PlacesOfMembersScoresAndRanksAreReadWithoutWaiting) {
  if (in_memory_) GTEST_SKIP() << "this file system keeps the data in memory";
  const auto rank = Reads([](const SortedSetReader& set) {
    const auto place = set.Rank(Member(31234), /*reverse=*/false);
    ASSERT_TRUE(place.ok());
    EXPECT_EQ(*place, 31234u);
  });
  Fetch({Member(31234)});
  EXPECT_EQ(FaultsOf(rank), 0);
  MakeCold();
  Fetch({"20000", "(20099"});
  EXPECT_EQ(FaultsOf(Range(SortedSetRange::By::kScore, 20000)), 0);
  MakeCold();
  Fetch({"45000", "45099"}, WantedKey::Ranks::kFromLowest);
  EXPECT_EQ(FaultsOf(Range(SortedSetRange::By::kRank, 45000)), 0);
  MakeCold();
  Fetch({"11000", "11099"}, WantedKey::Ranks::kFromHighest);
  EXPECT_EQ(FaultsOf(Range(SortedSetRange::By::kRank, 11000, /*reverse=*/true)), 0);
  for (const char* word :
       {"-1", "-60001", "60000", "nan", "-inf", "+inf", "(", "", "-9223372036854775808", "9223372036854775807"}) {
    Fetch({word});
    Fetch({word}, WantedKey::Ranks::kFromLowest);
    Fetch({word}, WantedKey::Ranks::kFromHighest);
  }
}

// One by one from both ends, as queues do it: rows are brought into memory before they are needed.
TEST_F(ColdSortedSetTest, PopsAreWalkedAheadOf) {
  if (in_memory_) GTEST_SKIP() << "this file system keeps the data in memory";
  int64_t faults = 0;
  constexpr int kPops = 12000;
  for (int i = 0; i < kPops; ++i) {
    const int64_t met = FaultsOf([i](Transaction& tx) {
      for (const auto end : {sorted_sets::ScoreEnd::kMin, sorted_sets::ScoreEnd::kMax}) {
        const auto popped = sorted_sets::Pop(tx, "z", end, 1);
        ASSERT_TRUE(popped.ok());
        const int wanted = end == sorted_sets::ScoreEnd::kMin ? i : kMembers - 1 - i;
        ASSERT_EQ((*popped)->at(0).member, Member(wanted));
      }
    });
    if (i > 0) faults += met;
    for (const WalkAhead& walk : store_->TakeWalksAhead()) store_->OpenColdRows()->Walk(walk);
  }
  EXPECT_EQ(faults, 0);
}

// Once a queue is being read; the first items are those that batches fetch.
TEST_F(ColdRowsTest, PopsOfAListAreWalkedAheadOf) {
  constexpr int kItems = 30000;
  for (int i = 0; i < kItems; ++i) {
    Transaction& tx = store_->Begin(TransactionMode::kLive, 0, 1);
    const std::string item = Name(i) + std::string(90, 'i');
    const std::string_view items[] = {item};
    ASSERT_TRUE(lists::Push(tx, "list", ListEnd::kRight, items, lists::PushCondition::kAlways).ok());
    tx.Commit();
  }
  Checkpoint();
  const auto pop = [this](ListEnd end) {
    return FaultsOf([end](Transaction& tx) {
      const auto popped = lists::Pop(tx, "list", end);
      ASSERT_TRUE(popped.ok());
      ASSERT_TRUE(popped->has_value());
    });
  };
  for (const ListEnd end : {ListEnd::kLeft, ListEnd::kRight}) {
    MakeCold();
    if (pop(end) == 0) GTEST_SKIP() << "this file system keeps the data in memory";
    bool walked = false;
    int64_t faults = 0;
    for (int i = 1; i < 12000; ++i) {
      const int64_t met = pop(end);
      if (walked) faults += met;
      for (const WalkAhead& walk : store_->TakeWalksAhead()) {
        store_->OpenColdRows()->Walk(walk);
        walked = true;
      }
    }
    EXPECT_TRUE(walked);
    EXPECT_EQ(faults, 0);
    Checkpoint();
  }
}

TEST_F(ColdRowsTest, WalksAheadBecomeWider) {
  EndAhead end;
  EXPECT_EQ(end.Moved(1), EndAhead::kWidthMin);
  uint64_t walked = EndAhead::kWidthMin;
  for (uint64_t moved = 1; moved < 200000; ++moved) {
    const uint64_t rows = end.Moved(1);
    if (rows == 0) continue;
    EXPECT_LT(moved, walked) << "walked over before it was reached";
    EXPECT_LE(rows, EndAhead::kWidthMax);
    walked = moved + rows;
  }
  EXPECT_GT(walked, 200000u);
}

TEST_F(ColdRowsTest, OnlyWhatIsNotInMemoryIsWanted) {
  Fill();
  EXPECT_FALSE(store_->WantFromLmdb(0, Name(1)).has_value()) << "clean rows of the last checkpoint";
  EXPECT_TRUE(store_->WantFromLmdb(0, "hash").has_value()) << "its fields may be elsewhere";
  Reopen();
  EXPECT_TRUE(store_->WantFromLmdb(0, Name(1)).has_value());
  EXPECT_TRUE(store_->WantFromLmdb(0, "nobody").has_value());
  FaultsOf([](Transaction& tx) { EXPECT_TRUE(strings::Get(tx, Name(1)).ok()); });
  EXPECT_FALSE(store_->WantFromLmdb(0, Name(1)).has_value()) << "in the row cache";
  FaultsOf([](Transaction& tx) { EXPECT_TRUE(strings::Set(tx, Name(2), "short", {}).ok()); });
  EXPECT_FALSE(store_->WantFromLmdb(0, Name(2)).has_value()) << "in the memtable";
}

TEST_F(ColdRowsTest, EveryKindOfKeyMayBeWanted) {
  Transaction& tx = store_->Begin(TransactionMode::kLive, 0, 1);
  ASSERT_TRUE(strings::Set(tx, "long", std::string(1 << 20, 'x'), {}).ok());
  const std::string_view items[] = {"a", "b"};
  ASSERT_TRUE(lists::Push(tx, "list", ListEnd::kRight, items, lists::PushCondition::kAlways).ok());
  ASSERT_TRUE(strings::Set(tx, std::string(5000, 'k'), "v", {}).ok());
  tx.Commit();
  Checkpoint();
  Reopen();
  for (const std::string& key : {std::string("long"), std::string("list"), std::string(5000, 'k'), std::string("no")}) {
    Fetch(key, {"member"});
  }
  const std::string digest = store_.Digest();
  Reopen();
  EXPECT_EQ(store_.Digest(), digest);
}

}  // namespace
}  // namespace holdfast
