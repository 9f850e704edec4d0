// List operations against a model, and the effects they append. tests/system/oracle_test.py compares with Redis.
#include "storage/types/lists.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/content_digest.h"
#include "storage/effects/applier.h"
#include "storage/effects/effect_codec.h"
#include "storage/types/keys.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

using lists::Ends;
using lists::PushCondition;
using Items = std::vector<std::string>;

constexpr int64_t kNow = 1'700'000'000'000;

class Lists : public ::testing::Test {
 protected:
  Lists() { store_->AttachSink(&sink_); }

  template <typename Operation>
  auto Run(Operation operation) {
    Transaction& transaction = store_->Begin(TransactionMode::kLive, 0, kNow);
    auto result = operation(transaction);
    transaction.Commit();
    return result;
  }
  uint64_t Push(std::string_view key, ListEnd end, const std::vector<std::string_view>& items,
                PushCondition condition = PushCondition::kAlways) {
    auto length = Run([&](Transaction& t) { return lists::Push(t, key, end, items, condition); });
    EXPECT_TRUE(length.ok());
    return length.ok() ? *length : 0;
  }
  Items All(std::string_view key) {
    Items items;
    Run([&](Transaction& t) {
      auto list = lists::Open(t, key);
      EXPECT_TRUE(list.ok());
      if (list.ok() && *list) {
        auto visited = (*list)->Visit(0, (*list)->Length(), [&](uint64_t, std::string_view item) {
          items.emplace_back(item);
          return true;
        });
        EXPECT_TRUE(visited.ok());
      }
      return 0;
    });
    return items;
  }
  // Words of all effects since the last call; effects are separated by " | ".
  std::string Effects() {
    std::string text;
    for (; told_ < sink_.units.size(); ++told_) {
      std::string_view rest = sink_.units[told_].bytes;
      std::vector<std::string_view> words;
      while (!rest.empty()) {
        auto length = ParseEffect(rest, words);
        if (!length.ok() || !*length) return "unreadable effect";
        rest.remove_prefix(**length);
        if (words[0] == "SELECT") continue;
        if (!text.empty()) text += " | ";
        for (size_t i = 0; i < words.size(); ++i) text += (i > 0 ? " " : "") + std::string(words[i]);
      }
    }
    return text;
  }
  void Checkpoint() {
    StreamPosition position;
    position.offset = sink_.AppendedOffset();
    position.selected_db = sink_.SelectedDb();
    store_.Checkpoint(position);
  }

  ::holdfast::testing::TestStore store_;
  ::holdfast::testing::RecordingSink sink_;
  size_t told_ = 0;
};

TEST_F(Lists, EachOperationHasItsEffect) {
  EXPECT_EQ(Push("l", ListEnd::kLeft, {"b", "a"}), 2u);
  EXPECT_EQ(Push("l", ListEnd::kRight, {"c"}), 3u);
  EXPECT_EQ(Push("none", ListEnd::kRight, {"c"}, PushCondition::kIfPresent), 0u);
  EXPECT_EQ(Effects(), "LPUSH l b a | RPUSH l c");
  EXPECT_EQ(All("l"), (Items{"a", "b", "c"}));
  EXPECT_EQ(*Run([](Transaction& t) { return lists::Insert(t, "l", true, "c", "x"); }), 4);
  EXPECT_EQ(*Run([](Transaction& t) { return lists::Insert(t, "l", false, "nobody", "x"); }), -1);
  EXPECT_TRUE(Run([](Transaction& t) { return lists::Set(t, "l", -1, "d"); }).ok());
  EXPECT_EQ(All("l"), (Items{"a", "b", "x", "d"}));
  EXPECT_EQ(*Run([](Transaction& t) { return lists::Remove(t, "l", -1, "b"); }), 1u);
  EXPECT_TRUE(Run([](Transaction& t) { return lists::Trim(t, "l", 0, -2); }).ok());
  EXPECT_TRUE(Run([](Transaction& t) { return lists::Trim(t, "l", 0, -1); }).ok());
  EXPECT_EQ(Effects(), "LINSERT l BEFORE c x | LSET l -1 d | LREM l -1 b | LTRIM l 0 -2");
  EXPECT_EQ(**Run([](Transaction& t) { return lists::Move(t, "l", "m", {ListEnd::kRight, ListEnd::kLeft}); }), "x");
  EXPECT_EQ(**Run([](Transaction& t) { return lists::Move(t, "m", "m", {ListEnd::kLeft, ListEnd::kRight}); }), "x");
  EXPECT_EQ(**Run([](Transaction& t) { return lists::Pop(t, "m", ListEnd::kLeft); }), "x");
  EXPECT_EQ(Effects(), "RPOPLPUSH l m | LMOVE m m LEFT RIGHT | LPOP m");
  EXPECT_EQ(**Run([](Transaction& t) { return lists::PopSome(t, "l", ListEnd::kRight, 9); }), (Items{"a"}));
  EXPECT_EQ(Effects(), "RPOP l 1");
  EXPECT_FALSE(Run([](Transaction& t) { return lists::Pop(t, "l", ListEnd::kLeft); })->has_value());
  EXPECT_EQ(Run([](Transaction& t) { return t.KeyCount(0); }), 0u);
}

TEST_F(Lists, MoveToAnotherTypeChangesNothing) {
  Push("l", ListEnd::kRight, {"a"});
  Run([](Transaction& t) {
    t.Put(0, "s", {ValueType::kString, false, kNoExpiry, "text"}, std::nullopt);
    t.Emit({"SET", "s", "text"});
    return 0;
  });
  const auto moved = Run([](Transaction& t) { return lists::Move(t, "l", "s", {}); });
  ASSERT_FALSE(moved.ok());
  EXPECT_EQ(moved.error().code, ErrorCode::kWrongType);
  EXPECT_EQ(All("l"), (Items{"a"}));
}

TEST_F(Lists, MissingItemIsReportedAndNothingIsChanged) {
  Push("l", ListEnd::kRight, {"a", "b", "c"});
  Run([](Transaction& t) {
    const auto found = t.Find("l");
    const auto body = ListBody::Parse((*found)->body);
    std::string suffix(1, '\x80');
    suffix += std::string("\0\0\0\0\0\0\1", 7);
    t.EraseRow(body->id, CollectionKind::kItem, suffix);
    return 0;
  });
  Effects();
  const auto removed = Run([](Transaction& t) { return lists::Remove(t, "l", 0, "c"); });
  ASSERT_FALSE(removed.ok());
  EXPECT_EQ(removed.error().code, ErrorCode::kCorruption);
  EXPECT_EQ(Effects(), "");
}

TEST_F(Lists, DamagedBodiesAreRefused) {
  ListBody body{7, 3, ListBody::kStart - 1};
  ASSERT_TRUE(ListBody::Parse(body.Encode()).ok());
  EXPECT_EQ(ListBody::Parse(body.Encode())->head, ListBody::kStart - 1);
  EXPECT_FALSE(ListBody::Parse(body.Encode().substr(1)).ok());
  EXPECT_FALSE(ListBody::Parse(body.Encode() + "x").ok());
  EXPECT_FALSE(ListBody::Parse(ListBody{7, 0, ListBody::kStart}.Encode()).ok());
  EXPECT_FALSE(ListBody::Parse(ListBody{7, 1, 5}.Encode()).ok());
  EXPECT_FALSE(ListBody::Parse(ListBody{7, ~uint64_t{0}, ListBody::kStart}.Encode()).ok());
}

TEST_F(Lists, PositionsOfManyMatches) {
  Push("l", ListEnd::kRight, {"a", "b", "a", "c", "a", "b"});
  const auto find = [&](std::string_view item, const lists::PositionOptions& options) {
    return Run([&](Transaction& t) { return *lists::Positions(**lists::Open(t, "l"), item, options); });
  };
  using Indexes = std::vector<uint64_t>;
  EXPECT_EQ(find("a", {}), (Indexes{0}));
  EXPECT_EQ(find("a", {2, 0, 0}), (Indexes{2, 4}));
  EXPECT_EQ(find("a", {-1, 2, 0}), (Indexes{4, 2}));
  EXPECT_EQ(find("b", {1, 0, 2}), (Indexes{1}));
  EXPECT_EQ(find("b", {-2, 1, 0}), (Indexes{1}));
  EXPECT_EQ(find("z", {1, 0, 0}), Indexes());
}

// ---- a random walk: model, live store and a store made from the effects agree at every step -------------------------

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) { live_->AttachSink(&sink_); }

  void Run(int steps) {
    for (int step = 0; step < steps; ++step) {
      const std::string key = Key();
      Transaction& transaction = live_->Begin(TransactionMode::kLive, 0, kNow);
      const std::string said = Step(transaction, key);
      transaction.Commit();
      ASSERT_FALSE(::testing::Test::HasFailure()) << "step " << step << ": " << said;
      ASSERT_NO_FATAL_FAILURE(CatchUp()) << "step " << step << ": " << said;
      if (step % 7 == 0) {
        ASSERT_EQ(live_.Digest(), replica_.Digest()) << "step " << step << ": " << said;
      }
      ASSERT_NO_FATAL_FAILURE(Compare(key)) << "step " << step << ": " << said;
      if (live_->FreezeWanted() || random_.Below(150) == 0) live_.Checkpoint(Position());
      if (random_.Below(200) == 0) replica_.Checkpoint(Position());
      if (random_.Below(400) == 0) {
        replica_.Checkpoint(Position());
        replica_.Reopen();
        applier_.emplace(replica_.store());
        ASSERT_EQ(live_.Digest(), replica_.Digest()) << "step " << step << ": reopened";
      }
    }
  }

 private:
  using Model = std::deque<std::string>;

  StreamPosition Position() {
    StreamPosition position;
    position.offset = sink_.AppendedOffset();
    position.selected_db = sink_.SelectedDb();
    return position;
  }
  void CatchUp() {
    for (; applied_ < sink_.units.size(); ++applied_) {
      const auto& unit = sink_.units[applied_];
      auto result = applier_->Apply({unit.offset, unit.selected_db, unit.time_ms, unit.bytes});
      ASSERT_TRUE(result.ok()) << result.error().message;
    }
  }
  void Compare(const std::string& key) {
    Transaction& transaction = live_->Begin(TransactionMode::kLive, 0, kNow);
    auto list = lists::Open(transaction, key);
    std::vector<std::string> items;
    if (list.ok() && *list) {
      auto visited = (*list)->Visit(0, (*list)->Length(), [&](uint64_t, std::string_view item) {
        items.emplace_back(item);
        return true;
      });
      EXPECT_TRUE(visited.ok());
    }
    transaction.Commit();
    ASSERT_TRUE(list.ok());
    const Model& model = model_[key];
    ASSERT_EQ(list->has_value(), !model.empty());
    ASSERT_TRUE(std::equal(items.begin(), items.end(), model.begin(), model.end()));
  }

  std::string Key() { return "list" + std::to_string(random_.Below(4)); }
  std::string Item() {
    if (random_.Below(30) == 0) return std::string(random_.Below(70'000), static_cast<char>('a' + random_.Below(26)));
    return "item " + std::to_string(random_.Below(12));
  }
  ListEnd End() { return random_.Below(2) == 0 ? ListEnd::kLeft : ListEnd::kRight; }
  static std::string PopModel(Model& model, ListEnd end) {
    std::string item = end == ListEnd::kLeft ? model.front() : model.back();
    end == ListEnd::kLeft ? model.pop_front() : model.pop_back();
    return item;
  }
  static void PushModel(Model& model, ListEnd end, const std::string& item) {
    end == ListEnd::kLeft ? model.push_front(item) : model.push_back(item);
  }

  std::string Step(Transaction& t, const std::string& key) {
    Model& model = model_[key];
    const auto size = static_cast<int64_t>(model.size());
    const ListEnd end = End();
    switch (random_.Below(10)) {
      case 0:
      case 1:
      case 2: {
        // Now and then many at once, so that walks cross batches and thresholds.
        std::vector<std::string> items(random_.Below(20) == 0 ? 300 : random_.Below(5) + 1);
        for (std::string& item : items) item = Item();
        for (const std::string& item : items) PushModel(model, end, item);
        const std::vector<std::string_view> views(items.begin(), items.end());
        EXPECT_EQ(*lists::Push(t, key, end, views, PushCondition::kAlways), model.size());
        return "push";
      }
      case 3: {
        const auto popped = *lists::Pop(t, key, end);
        EXPECT_EQ(popped.has_value(), size > 0);
        if (popped) {
          EXPECT_EQ(*popped, PopModel(model, end));
        }
        return "pop";
      }
      case 4: {
        const auto popped = *lists::PopSome(t, key, end, random_.Below(100));
        if (popped) {
          for (const std::string& item : *popped) EXPECT_EQ(item, PopModel(model, end));
        }
        return "pop some";
      }
      case 5: {
        const std::string pivot = Item(), item = Item();
        const bool before = random_.Below(2) == 0;
        auto at = std::find(model.begin(), model.end(), pivot);
        const auto length = *lists::Insert(t, key, before, pivot, item);
        if (at != model.end()) model.insert(before ? at : at + 1, item);
        const bool inserted = static_cast<int64_t>(model.size()) > size;
        EXPECT_EQ(length, inserted ? size + 1 : size == 0 ? 0 : -1);
        return "insert";
      }
      case 6: {
        const auto count = static_cast<int64_t>(random_.Below(9)) - 4;
        const std::string item = Item();
        EXPECT_EQ(*lists::Remove(t, key, count, item), RemoveFromModel(model, count, item));
        return "remove " + std::to_string(count);
      }
      case 7:
        return Trim(t, key, model);
      case 8: {
        const std::string other = Key();
        const Ends ends{end, End()};
        const auto moved = *lists::Move(t, key, other, ends);
        EXPECT_EQ(moved.has_value(), size > 0);
        if (moved) {
          EXPECT_EQ(*moved, PopModel(model, ends.from));
          PushModel(model_[other], ends.to, *moved);
        }
        return "move";
      }
      default: {
        const int64_t index = static_cast<int64_t>(random_.Below(20)) - 10;
        const std::string item = Item();
        const auto place = index < 0 ? size + index : index;
        const auto set = lists::Set(t, key, index, item);
        EXPECT_EQ(set.ok(), place >= 0 && place < size);
        if (set.ok()) model[static_cast<size_t>(place)] = item;
        return "set";
      }
    }
  }

  std::string Trim(Transaction& t, const std::string& key, Model& model) {
    const auto size = static_cast<int64_t>(model.size());
    const int64_t start = static_cast<int64_t>(random_.Below(40)) - 20;
    const int64_t stop = random_.Below(3) == 0 ? static_cast<int64_t>(random_.Below(60)) - 30 : size - 1;
    EXPECT_TRUE(lists::Trim(t, key, start, stop).ok());
    const auto first = std::max<int64_t>(start < 0 ? size + start : start, 0);
    const auto last = std::min<int64_t>(stop < 0 ? size + stop : stop, size - 1);
    if (first > last) {
      model.clear();
    } else {
      model = Model(model.begin() + first, model.begin() + last + 1);
    }
    return "trim " + std::to_string(start) + " " + std::to_string(stop);
  }

  static uint64_t RemoveFromModel(Model& model, int64_t count, const std::string& item) {
    uint64_t removed = 0;
    const uint64_t most = count == 0 ? model.size() : static_cast<uint64_t>(count < 0 ? -count : count);
    if (count < 0) std::reverse(model.begin(), model.end());
    for (auto at = model.begin(); at != model.end() && removed < most;) {
      if (*at != item) {
        ++at;
        continue;
      }
      at = model.erase(at);
      ++removed;
    }
    if (count < 0) std::reverse(model.begin(), model.end());
    return removed;
  }

  SeededRandom random_;
  ::holdfast::testing::TestStore live_{256 * 1024, 64 * 1024};
  ::holdfast::testing::TestStore replica_{64ull << 20, 0};
  ::holdfast::testing::RecordingSink sink_;
  std::optional<Applier> applier_{std::in_place, replica_.store()};
  size_t applied_ = 0;
  std::map<std::string, Model> model_;
};

TEST(ListWalk, ModelStoreAndReplayAgree) {
  for (uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ASSERT_NO_FATAL_FAILURE(Walk(seed).Run(700));
  }
}

TEST(ListWalk, ModelStoreAndReplayAgreeSlow) {
  const uint64_t seed = RandomSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  ASSERT_NO_FATAL_FAILURE(Walk(seed).Run(8000));
}

}  // namespace
}  // namespace holdfast
