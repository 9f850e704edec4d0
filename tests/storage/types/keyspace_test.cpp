#include "storage/types/keyspace.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;

class Keyspace : public ::testing::Test {
 protected:
  Keyspace() { store_->AttachSink(&sink_); }

  keyspace::ScanPage Scan(const keyspace::ScanOptions& options, int64_t now_ms = kNow) {
    Transaction& transaction = store_->Begin(TransactionMode::kLive, 0, now_ms);
    auto page = keyspace::Scan(transaction, options);
    transaction.Commit();
    EXPECT_TRUE(page.ok());
    return *page;
  }

  ::holdfast::testing::TestStore store_;
  ::holdfast::testing::RecordingSink sink_;
  ::holdfast::testing::OperationRunner runner_{store_.store()};
};

TEST_F(Keyspace, AScanSeesEveryKeyAcrossWritesAndCheckpoints) {
  for (int i = 0; i < 1000; ++i) runner_.Run({"SET", "key:" + std::to_string(i), "v"}, kNow);
  std::multiset<std::string> seen;
  keyspace::ScanOptions options;
  options.count = 37;
  int pages = 0;
  do {
    keyspace::ScanPage page = Scan(options);
    EXPECT_LE(page.keys.size(), 40u);
    seen.insert(page.keys.begin(), page.keys.end());
    options.cursor = page.cursor;
    runner_.Run({"SET", "other:" + std::to_string(pages), "v"}, kNow);
    if (++pages % 7 == 0) {
      StreamPosition position;
      position.offset = sink_.AppendedOffset();
      store_.Checkpoint(position);
    }
  } while (options.cursor != 0);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen.count("key:" + std::to_string(i)), 1u) << i;
  EXPECT_GE(pages, 1000 / 37);
}

TEST_F(Keyspace, AScanFiltersByPatternTypeAndExpiry) {
  for (int i = 0; i < 50; ++i) runner_.Run({"SET", "a" + std::to_string(i), "v"}, kNow);
  for (int i = 0; i < 50; ++i) runner_.Run({"SET", "b" + std::to_string(i), "v", "PX", "10"}, kNow);
  keyspace::ScanOptions options;
  options.count = 1000;
  EXPECT_EQ(Scan(options).keys.size(), 100u);
  EXPECT_EQ(Scan(options, kNow + 11).keys.size(), 50u);
  options.pattern = "a?";
  EXPECT_EQ(Scan(options).keys.size(), 10u);
  options.type = "STRING";
  EXPECT_EQ(Scan(options).keys.size(), 10u);
  options.type = "list";
  EXPECT_EQ(Scan(options).keys.size(), 0u);
  options.type = "nonsense";
  EXPECT_EQ(Scan(options).keys.size(), 0u);
}

TEST_F(Keyspace, ARandomKeyIsOneOfThem) {
  auto random_key = [&] {
    Transaction& transaction = store_->Begin(TransactionMode::kLive, 0, kNow);
    auto key = keyspace::RandomKey(transaction);
    transaction.Commit();
    EXPECT_TRUE(key.ok());
    return *key;
  };
  EXPECT_EQ(random_key(), std::nullopt);
  std::set<std::string> all;
  for (int i = 0; i < 10; ++i) {
    all.insert(std::to_string(i));
    runner_.Run({"SET", std::to_string(i), "v"}, kNow);
  }
  std::set<std::string> seen;
  for (int i = 0; i < 500; ++i) seen.insert(random_key().value_or("none"));
  EXPECT_EQ(seen, all);
}

TEST_F(Keyspace, UnkeyedAnswersWaitForEverythingAppended) {
  runner_.Run({"SET", "a", "1"}, kNow);
  Transaction& transaction = store_->Begin(TransactionMode::kLive, 0, kNow);
  EXPECT_EQ(keyspace::Size(transaction), 1u);
  UnitResult result = transaction.Commit();
  EXPECT_EQ(result.end_offset, 0u);
  EXPECT_GE(result.seen_offset, sink_.AppendedOffset());
}

}  // namespace
}  // namespace holdfast
