#include "storage/content_digest.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;
using Commands = std::vector<std::vector<std::string>>;

std::string DigestAfter(const Commands& commands) {
  testing::TestStore store;
  testing::RecordingSink sink;
  store->AttachSink(&sink);
  testing::OperationRunner runner(store.store());
  for (const auto& words : commands) runner.Run(words, kNow);
  std::string digest = store.Digest();
  // The same from a view of the checkpoint.
  StreamPosition position;
  position.offset = sink.AppendedOffset();
  store.Checkpoint(position);
  auto view = store->OpenView();
  EXPECT_TRUE(view.ok());
  auto viewed = DigestOf(**view);
  EXPECT_TRUE(viewed.ok());
  EXPECT_EQ(viewed->Hex(), digest);
  return digest;
}

TEST(ContentDigestTest, NothingIsAllZeros) { EXPECT_EQ(DigestAfter({}), std::string(40, '0')); }

TEST(ContentDigestTest, TheWayToTheContentDoesNotCount) {
  const std::string big(3 * kChunkSize + 5, 'x');
  EXPECT_EQ(DigestAfter({{"SET", "a", "1"}, {"SET", "b", "2"}}),
            DigestAfter({{"SET", "b", "7"}, {"SET", "c", "2"}, {"SET", "a", "1"}, {"RENAME", "c", "b"}}));
  EXPECT_EQ(DigestAfter({{"SET", "a", big}}),
            DigestAfter({{"APPEND", "a", big.substr(0, 100)}, {"SETRANGE", "a", "100", big.substr(100)}}));
  // Zeros that are stored and zeros that are not.
  EXPECT_EQ(DigestAfter({{"SET", "a", std::string(200000, '\0') + "x"}}),
            DigestAfter({{"SETRANGE", "a", "200000", "x"}}));
}

TEST(ContentDigestTest, EverythingLogicalCounts) {
  const std::vector<Commands> contents = {
      {{"SET", "a", "1"}},
      {{"SET", "a", "2"}},
      {{"SET", "b", "1"}},
      {{"SELECT", "1"}, {"SET", "a", "1"}},
      {{"SET", "a", "1", "PX", "10"}},
      {{"SET", "a", "1", "PX", "11"}},
      {{"SET", "a", "1"}, {"SET", "b", "1"}},
      {{"SET", "a", ""}},
      {{"SETRANGE", "a", "200000", "x"}},
      {{"SETRANGE", "a", "200001", "x"}},
  };
  std::set<std::string> digests;
  for (const Commands& commands : contents) {
    std::string digest = DigestAfter(commands);
    EXPECT_EQ(digest.size(), 40u);
    digests.insert(digest);
  }
  EXPECT_EQ(digests.size(), contents.size());
}

TEST(ContentDigestTest, AValuesDigestDoesNotKnowItsName) {
  testing::TestStore store;
  testing::RecordingSink sink;
  store->AttachSink(&sink);
  testing::OperationRunner runner(store.store());
  runner.Run({"MSET", "a", "1", "b", "1", "c", "2"}, kNow);
  Transaction& transaction = store->Begin(TransactionMode::kLive, 0, kNow);
  std::vector<std::string> digests;
  for (const char* key : {"a", "b", "c", "nothing"}) {
    auto digest = DigestOfValue(transaction, key);
    ASSERT_TRUE(digest.ok());
    digests.push_back(digest->Hex());
  }
  transaction.Commit();
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_NE(digests[0], digests[2]);
  EXPECT_EQ(digests[3], std::string(40, '0'));
}

}  // namespace
}  // namespace holdfast
