// Keyspace events: told next to the change, in Redis' order, by replay as well, and not kept unless wanted. That each
// command tells what Redis tells is compared in tests/system/oracle_test.py.
#include "storage/key_events.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "storage/effects/applier.h"
#include "storage/types/keys.h"
#include "storage/types/lists.h"
#include "storage/types/sets.h"
#include "storage/types/strings.h"
#include "tests/support/recorded_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::TestStore;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr uint32_t kAll = ~uint32_t{0};

std::string Text(const std::vector<KeyEvent>& events) {
  std::string text;
  for (const KeyEvent& event : events) {
    text += (text.empty() ? "" : " ") + std::string(event.name) + ":" + std::to_string(event.db) + ":" + event.key;
  }
  return text;
}

class KeyEvents : public ::testing::Test {
 protected:
  std::string Events(const std::function<void(Transaction&)>& operation, int64_t now_ms = kNow) {
    Transaction& tx = store_.store().Begin(TransactionMode::kLive, 0, now_ms);
    operation(tx);
    const std::string text = Text(tx.TakeEvents());
    tx.Commit();
    return text;
  }

  RecordedStore store_;
};

TEST_F(KeyEvents, NothingIsKeptUnlessWanted) {
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_TRUE(strings::Append(tx, "k", "v").ok()); }), "");
  store_.store().SetEventClasses(static_cast<uint32_t>(KeyEventClass::kString));
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_TRUE(strings::Append(tx, "k", "v").ok()); }), "append:0:k");
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_TRUE(keys::Persist(tx, "k").ok()); }), "");
}

TEST_F(KeyEvents, AreInTheOrderOfRedis) {
  store_.store().SetEventClasses(kAll);
  store_.Run({"RPUSH", "l", "a"}, kNow);
  EXPECT_EQ(Events([](Transaction& tx) {
              ASSERT_TRUE(lists::Move(tx, "l", "m", {ListEnd::kLeft, ListEnd::kRight}).ok());
            }),
            "new:0:m rpush:0:m lpop:0:l del:0:l");
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_TRUE(keys::Rename(tx, "m", "n").ok()); }),
            "new:0:n rename_from:0:m rename_to:0:n");
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_TRUE(keys::Move(tx, "n", 3).ok()); }),
            "new:3:n move_from:0:n move_to:3:n");
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_FALSE(*keys::Exists(tx, {{"n"}})); }), "keymiss:0:n");
}

TEST_F(KeyEvents, AWriteThatMeetsAnExpiredKeyTellsThat) {
  store_.store().SetEventClasses(kAll);
  const auto set = [](int64_t at) {
    return [at](Transaction& tx) {
      strings::SetOptions options;
      options.expire_at_ms = at;
      ASSERT_TRUE(strings::Set(tx, "k", "v", options).ok());
    };
  };
  EXPECT_EQ(Events(set(kNow + 10)), "new:0:k set:0:k expire:0:k");
  EXPECT_EQ(Events(set(kNow + 90), kNow + 20), "expired:0:k new:0:k set:0:k expire:0:k");
  EXPECT_EQ(Events([](Transaction& tx) { ASSERT_TRUE(*keys::ExpireNow(tx, 0, "k")); }, kNow + 90), "expired:0:k");
}

struct Collector : ApplyObserver {
  void UnitApplied(uint64_t, const std::vector<Transaction::Touched>&) override {}
  void KeysChanged(const std::vector<KeyEvent>& events, uint64_t) override { text += Text(events) + ";"; }
  void Published(std::string_view, std::string_view, uint64_t) override {}
  void ShardPublished(std::string_view, std::string_view, uint64_t) override {}
  void AckRequested(uint64_t) override {}
  std::string text;
};

TEST_F(KeyEvents, ReplayTellsThemToo) {
  store_.Run({"SADD", "s", "a"}, kNow);
  store_.Run({"GET", "none"}, kNow);
  store_.Run({"SREM", "s", "a"}, kNow);
  TestStore replica;
  replica->SetEventClasses(kAll);
  Collector collector;
  Applier applier(replica.store(), &collector);
  for (const auto& unit : store_.sink().units) {
    ASSERT_TRUE(applier.Apply({unit.offset, unit.selected_db, unit.time_ms, unit.bytes}).ok());
  }
  EXPECT_EQ(collector.text, "new:0:s sadd:0:s;srem:0:s del:0:s;");
}

}  // namespace
}  // namespace holdfast
