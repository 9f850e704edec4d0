#include "storage/row_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "storage/base/clock.h"
#include "storage/memtable.h"

namespace holdfast {
namespace {

void PutText(Memtable& memtable, RowTable& table, uint64_t hash, std::string_view key, std::string_view value) {
  char* to = memtable.Put(table, hash, key, value.size(), 1);
  if (!value.empty()) std::memcpy(to, value.data(), value.size());
}

TEST(RowTableTest, StaysSortedAndFindsAllUnderRandomAndCraftedHashes) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    Memtable memtable;
    RowTable* table = memtable.KeyTable(1);
    std::map<std::pair<uint64_t, std::string>, std::string> model;
    for (int i = 0; i < 5000; ++i) {
      uint64_t hash = random.Next();
      if (seed == 2) hash |= 0xffff'ffff'0000'0000;  // all at the end of the table
      if (seed == 3) hash = random.Below(3) == 0 ? ~uint64_t{0} : random.Below(4);
      const std::string key = "k" + std::to_string(random.Below(300));
      const std::string value(random.Below(60), static_cast<char>('a' + random.Below(26)));
      PutText(memtable, *table, hash, key, value);
      model[{hash, key}] = value;
    }
    EXPECT_EQ(table->size(), model.size());
    auto expected = model.begin();
    for (RowTable::Position at = table->First(); at != table->End(); table->Next(at)) {
      const RowTable::Slot& slot = table->At(at);
      ASSERT_NE(expected, model.end());
      EXPECT_EQ(slot.hash, expected->first.first);
      EXPECT_EQ(slot.row->key(), expected->first.second);
      EXPECT_EQ(slot.row->value(), expected->second);
      EXPECT_EQ(table->Find(slot.hash, slot.row->key()), &slot);
      EXPECT_EQ(table->LowerBound(slot.hash, slot.row->key()), at);
      ++expected;
    }
    EXPECT_EQ(expected, model.end());
    EXPECT_EQ(table->Find(5, "absent"), nullptr);
  }
}

// However large the table: the executor waits for it.
TEST(RowTableTest, NoInsertionMakesManySlots) {
  SeededRandom random(1);
  Memtable memtable;
  RowTable* table = memtable.MemberTable(1);
  size_t slots = table->slots();
  for (size_t rows = 1; rows <= 400'000; ++rows) {
    PutText(memtable, *table, random.Next(), "k", "v");
    ASSERT_LE(table->slots(), slots + 10'000) << "at " << rows << " rows";
    slots = table->slots();
  }
  EXPECT_EQ(table->size(), 400'000u);
  EXPECT_LE(table->slots(), 400'000u * 4);
}

// Hashes are public: who chooses them alike, in the highest bits or all, gets no table beyond measure.
TEST(RowTableTest, HashesThatAreAlikeCostNoMoreMemory) {
  for (const int alike : {8, 20, 40, 63}) {
    SeededRandom random(static_cast<uint64_t>(alike));
    Memtable memtable;
    RowTable* table = memtable.MemberTable(1);
    // Pairs of these, so that many rows have one hash in the last round.
    for (size_t i = 0; i < (alike == 63 ? 3000u : 60'000u); ++i) {
      PutText(memtable, *table, random.Next() >> alike, "k" + std::to_string(i), "v");
      ASSERT_LE(table->slots(), 128 * (i + 1) + 1200) << alike << " bits alike, " << i << " rows";
    }
    size_t found = 0;
    for (RowTable::Position at = table->First(); at != table->End(); table->Next(at)) ++found;
    EXPECT_EQ(found, table->size());
  }
}

TEST(RowTableTest, WalksBothWaysFromAnywhere) {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{100}, size_t{30'000}}) {
    SeededRandom random(count + 7);
    Memtable memtable;
    RowTable* table = memtable.MemberTable(1);
    std::map<std::pair<uint64_t, std::string>, int> model;
    for (size_t i = 0; i < count; ++i) {
      // A third of them in one corner, so that segments differ in depth.
      const uint64_t hash = i % 3 == 0 ? random.Next() >> 12 : random.Next();
      model[{hash, "k"}] = 1;
      PutText(memtable, *table, hash, "k", "v");
    }
    RowTable::Position at = table->End();
    for (auto expected = model.rbegin(); expected != model.rend(); ++expected) {
      ASSERT_TRUE(table->Previous(at));
      ASSERT_EQ(table->At(at).hash, expected->first.first);
    }
    EXPECT_FALSE(table->Previous(at));
    for (int i = 0; i < 2000; ++i) {
      const uint64_t hash = i % 2 == 0 ? random.Next() >> 12 : random.Next();
      const auto expected = model.lower_bound({hash, ""});
      const RowTable::Position found = table->LowerBound(hash, "");
      ASSERT_EQ(found == table->End(), expected == model.end());
      if (expected != model.end()) {
        ASSERT_EQ(table->At(found).hash, expected->first.first);
      }
      RowTable::Position before = found;
      ASSERT_EQ(table->Previous(before), expected != model.begin());
      if (expected != model.begin()) {
        ASSERT_EQ(table->At(before).hash, std::prev(expected)->first.first);
      }
    }
  }
}

TEST(RowTableTest, ShrinksWhenMostRowsAreTakenOut) {
  SeededRandom random(2);
  Memtable memtable;
  RowTable* table = memtable.MemberTable(1);
  std::vector<uint64_t> hashes(100'000);
  for (uint64_t& hash : hashes) PutText(memtable, *table, hash = random.Next(), "k", "v");
  while (hashes.size() > 10) {
    ASSERT_TRUE(memtable.Remove(*table, hashes.back(), "k"));
    hashes.pop_back();
    ASSERT_LE(table->slots(), 64 * hashes.size() + 1200);
  }
  EXPECT_EQ(table->size(), 10u);
  for (const uint64_t hash : hashes) EXPECT_NE(table->Find(hash, "k"), nullptr);
}

TEST(RowTableTest, FilledInOrderItFindsAllAndGoesOnGrowing) {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{5}, size_t{1000}, size_t{40'000}}) {
    SeededRandom random(count + 1);
    std::map<std::pair<uint64_t, std::string>, std::string> model;
    // The last ones crowd the highest home, beyond the table's tail.
    for (size_t i = 0; i < count; ++i) {
      const uint64_t hash = i % 50 == 0 ? ~uint64_t{0} - i : random.Next();
      model[{hash, "key" + std::to_string(i)}] = std::to_string(i);
    }
    Memtable memtable;
    RowTable& table = *memtable.KeyTable(1);
    std::vector<RowTable::Slot> sorted;
    for (const auto& [key, value] : model) {
      sorted.push_back({key.first, memtable.NewLooseRow(key.second, value, value == "3")});
    }
    memtable.FillTable(table, sorted);
    EXPECT_EQ(table.size(), count);
    EXPECT_EQ(memtable.rows(), count);
    for (size_t i = 0; i < 100; ++i) {
      const uint64_t hash = random.Next();
      memtable.Put(table, hash, "new", 0, 5);
      model[{hash, "new"}] = "";
    }
    for (const auto& [key, value] : model) {
      const RowTable::Slot* slot = table.Find(key.first, key.second);
      ASSERT_NE(slot, nullptr) << key.second;
      EXPECT_EQ(slot->row->value(), value);
      EXPECT_EQ(slot->row->tombstone, value == "3");
    }
    size_t found = 0;
    for (RowTable::Position at = table.First(); at != table.End(); table.Next(at)) ++found;
    EXPECT_EQ(found, model.size());
  }
}

TEST(RowTableTest, RowsTakenOutLeaveTheOthersInOrder) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRandom random(seed);
    Memtable memtable;
    RowTable* table = memtable.MemberTable(1);
    std::map<std::pair<uint64_t, std::string>, std::string> model;
    for (int i = 0; i < 20000; ++i) {
      // Few hashes, so that rows are displaced far from their homes.
      uint64_t hash = random.Below(400) << 54;
      if (seed == 2) hash |= 0xffff'0000'0000'0000;
      if (seed == 3) hash = random.Below(2) == 0 ? ~uint64_t{0} : random.Below(4);
      const std::string key = "k" + std::to_string(random.Below(8));
      if (random.Below(2) == 0) {
        PutText(memtable, *table, hash, key, key + "'s value");
        model[{hash, key}] = key + "'s value";
      } else {
        ASSERT_EQ(memtable.Remove(*table, hash, key), model.erase({hash, key}) > 0);
      }
      if (i % 500 != 0) continue;
      ASSERT_EQ(table->size(), model.size());
      ASSERT_EQ(memtable.rows(), model.size());
      auto expected = model.begin();
      for (RowTable::Position at = table->First(); at != table->End(); table->Next(at)) {
        const RowTable::Slot& found = table->At(at);
        ASSERT_NE(expected, model.end());
        ASSERT_EQ(found.hash, expected->first.first);
        ASSERT_EQ(found.row->key(), expected->first.second);
        ASSERT_EQ(table->Find(found.hash, found.row->key()), &found);
        ++expected;
      }
      ASSERT_EQ(expected, model.end());
    }
  }
}

}  // namespace
}  // namespace holdfast
