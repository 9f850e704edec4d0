#include "storage/cold_rows.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "storage/types/hashes.h"
#include "storage/types/lists.h"
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
