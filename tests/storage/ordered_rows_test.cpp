#include "storage/ordered_rows.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/clock.h"
#include "storage/memtable.h"

namespace holdfast {
namespace {

// Rows as a memtable makes them, held by the test.
class Rows {
 public:
  Row* Make(std::string_view key) {
    auto& bytes = made_.emplace_back(std::make_unique<uint64_t[]>((sizeof(Row) + key.size()) / 8 + 1));
    Row* row = new (bytes.get()) Row{0, 0, 0, static_cast<uint16_t>(key.size()), false, false};
    std::memcpy(reinterpret_cast<char*>(row + 1), key.data(), key.size());
    return row;
  }

 private:
  std::vector<std::unique_ptr<uint64_t[]>> made_;
};

using Model = std::map<std::string, Row*>;

void ExpectEqual(const OrderedRows& tree, const Model& model) {
  ASSERT_EQ(tree.size(), model.size());
  auto it = tree.begin();
  for (const auto& [key, row] : model) {
    ASSERT_FALSE(it == tree.end());
    ASSERT_EQ(*it, row);
    ++it;
  }
  ASSERT_TRUE(it == tree.end());
  for (auto back = model.rbegin(); back != model.rend(); ++back) ASSERT_EQ(*--it, back->second);
}

void ExpectBounds(const OrderedRows& tree, const Model& model, const std::string& key) {
  const auto found = model.find(key);
  ASSERT_EQ(tree.Find(key), found == model.end() ? nullptr : found->second);
  const auto lower = model.lower_bound(key);
  const auto tree_lower = tree.LowerBound(key);
  ASSERT_EQ(tree_lower == tree.end(), lower == model.end());
  if (lower != model.end()) {
    ASSERT_EQ(*tree_lower, lower->second);
  }
  const auto upper = model.upper_bound(key);
  const auto tree_upper = tree.UpperBound(key);
  ASSERT_EQ(tree_upper == tree.end(), upper == model.end());
  if (upper != model.end()) {
    ASSERT_EQ(*tree_upper, upper->second);
  }
}

// Keys of several kinds: few and many common first bytes, zero bytes, prefixes of each other, long ones.
std::string RandomKey(Random& random) {
  static const std::string kPrefixes[] = {"", "a", std::string(10, '\0'), "collection", std::string(60, 'x')};
  std::string key = kPrefixes[random.Below(std::size(kPrefixes))];
  const uint64_t size = random.Below(12);
  for (uint64_t i = 0; i < size; ++i) key += static_cast<char>(random.Below(3));
  return key;
}

TEST(OrderedRowsTest, DoesWhatAMapDoes) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    Rows rows;
    RowArena arena(nullptr);
    OrderedRows tree(arena);
    Model model;
    for (int i = 0; i < 30000; ++i) {
      const std::string key = RandomKey(random);
      // Grows, then shrinks to next to nothing.
      if (random.Below(10) < (i < 15000 ? 7u : 2u)) {
        Row* made = nullptr;
        Row* old = tree.FindOrInsert(key, [&] { return made = rows.Make(key); });
        const auto known = model.find(key);
        ASSERT_EQ(old, known == model.end() ? nullptr : known->second);
        if (old == nullptr) {
          model[key] = made;
        } else if (random.Below(2) == 0) {
          model[key] = rows.Make(key);
          tree.Replace(model[key]);
        }
      } else if (model.erase(key) != 0) {
        tree.Erase(key);
      }
      ASSERT_NO_FATAL_FAILURE(ExpectBounds(tree, model, RandomKey(random)));
      if (i % 1000 == 0) {
        ASSERT_NO_FATAL_FAILURE(ExpectEqual(tree, model));
      }
    }
    while (!model.empty()) {
      const auto victim = std::next(model.begin(), static_cast<std::ptrdiff_t>(random.Below(model.size())));
      tree.Erase(victim->first);
      model.erase(victim);
    }
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(tree, model));
  }
}

TEST(OrderedRowsTest, QueuesWorkAtBothEnds) {
  for (const bool up : {true, false}) {
    Rows rows;
    RowArena arena(nullptr);
    OrderedRows tree(arena);
    Model model;
    uint64_t in = up ? 0 : 100'000'000;
    auto name = [](uint64_t number) {
      std::string key = std::to_string(number);
      return "0123456789" + std::string(12 - key.size(), '0') + key;
    };
    for (int i = 0; i < 40000; ++i) {
      const std::string key = name(up ? in++ : in--);
      ASSERT_EQ(tree.FindOrInsert(key, [&] { return model[key] = rows.Make(key); }), nullptr);
      if (i >= 5000) {
        const auto oldest = up ? model.begin() : std::prev(model.end());
        tree.Erase(oldest->first);
        model.erase(oldest);
      }
    }
    ExpectEqual(tree, model);
    // The nodes that became empty were used again: 5000 rows at a time need less than a hundred kilobytes.
    EXPECT_LE(arena.bytes(), 256u * 1024);
  }
}

}  // namespace
}  // namespace holdfast
