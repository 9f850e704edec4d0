#include "storage/builder_behind.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "storage/store_meta.h"

namespace holdfast {
namespace {

struct Seen {
  std::vector<std::string> added;
  std::vector<std::thread::id> threads;
  uint64_t finished_at = 0;
  bool gone = false;
};

// Notes what comes; fails at the addition of this number.
class NotingBuilder : public StoreBuilder {
 public:
  explicit NotingBuilder(Seen& seen, size_t fail_at = SIZE_MAX) : seen_(seen), fail_at_(fail_at) {}
  ~NotingBuilder() override {
    seen_.gone = true;
    seen_.threads.push_back(std::this_thread::get_id());
  }
  Result<void> AddKey(int db, std::string_view key, const KeyValue& value) override {
    return Note("key " + std::to_string(db) + " " + std::string(key) + " " +
                std::to_string(static_cast<int>(value.type)) + (value.chunked ? " chunked " : " ") +
                std::to_string(value.expire_at_ms) + " " + std::string(value.body));
  }
  CollectionId NewCollectionId() override { return next_++; }
  Result<void> AddRow(CollectionId id, CollectionKind kind, std::string_view suffix, std::string_view value) override {
    EXPECT_LT(id, next_);
    return Note("row " + std::to_string(id) + " " + static_cast<char>(kind) + " " + std::string(suffix) + " " +
                std::string(value));
  }
  Result<void> Finish(const StreamPosition& position) override {
    seen_.finished_at = position.offset;
    return Note("finish");
  }

 private:
  Result<void> Note(std::string what) {
    if (seen_.added.size() == fail_at_) return Error{ErrorCode::kNoSpace, "the disk is full"};
    seen_.added.push_back(std::move(what));
    seen_.threads.push_back(std::this_thread::get_id());
    return {};
  }
  Seen& seen_;
  const size_t fail_at_;
  CollectionId next_ = EmptyStoreMeta(1).next_collection;
};

StreamPosition At(uint64_t offset) {
  StreamPosition position;
  position.offset = offset;
  return position;
}

TEST(BuilderBehindTest, AllComesInItsOrderAndOnOneThread) {
  Seen behind, plain;
  const auto add = [](StoreBuilder& builder) {
    KeyValue value;
    for (int i = 0; i < 30'000; ++i) {
      const std::string number = std::to_string(i);
      const std::string body = i % 1000 == 0 ? std::string(60'000, 'b') : "body" + number;
      value.type = i % 3 == 0 ? ValueType::kHash : ValueType::kString;
      value.chunked = i % 7 == 1;
      value.expire_at_ms = i % 5 == 0 ? i : kNoExpiry;
      value.body = body;
      ASSERT_TRUE(builder.AddKey(i / 20'000, "key" + number, value).ok());
      if (value.type != ValueType::kHash) continue;
      const CollectionId id = builder.NewCollectionId();
      ASSERT_TRUE(builder.AddRow(id, CollectionKind::kMember, "f" + number, "").ok());
      ASSERT_TRUE(builder.AddRow(id, CollectionKind::kMember, "", number).ok());
    }
    ASSERT_TRUE(builder.Finish(At(77)).ok());
  };
  {
    NotingBuilder builder(plain);
    add(builder);
  }
  {
    BuilderBehind builder(std::make_unique<NotingBuilder>(behind));
    add(builder);
    EXPECT_EQ(behind.finished_at, 77u) << "Finish waits";
  }
  EXPECT_EQ(behind.added, plain.added);
  EXPECT_TRUE(behind.gone);
  // LMDB's transactions begin and end on one thread.
  for (const std::thread::id id : behind.threads) {
    ASSERT_EQ(id, behind.threads.front());
    ASSERT_NE(id, std::this_thread::get_id());
  }
}

TEST(BuilderBehindTest, AFailureComesBackAndNothingFollowsIt) {
  for (const size_t fail_at : {size_t{0}, size_t{20'000}, size_t{99'999}, size_t{100'000}}) {
    Seen seen;
    BuilderBehind builder(std::make_unique<NotingBuilder>(seen, fail_at));
    KeyValue value;
    Result<void> result;
    for (int i = 0; result.ok() && i < 100'000; ++i) result = builder.AddKey(0, "key" + std::to_string(i), value);
    if (result.ok()) result = builder.Finish(At(1));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kNoSpace);
    EXPECT_EQ(builder.Finish(At(1)).error().code, ErrorCode::kNoSpace);
    EXPECT_EQ(seen.added.size(), fail_at);
    EXPECT_EQ(seen.finished_at, fail_at == 100'000 ? 1u : 0u);
  }
}

TEST(BuilderBehindTest, WithoutFinishTheRestIsDropped) {
  Seen seen;
  {
    BuilderBehind builder(std::make_unique<NotingBuilder>(seen));
    ASSERT_TRUE(builder.AddKey(0, "key", {}).ok());
  }
  EXPECT_TRUE(seen.gone);
  EXPECT_EQ(seen.finished_at, 0u);
}

}  // namespace
}  // namespace holdfast
