#include "storage/memtable.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/row_cache.h"

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
    for (size_t i = 0; i < table->slot_count(); ++i) {
      const RowTable::Slot& slot = table->slot(i);
      if (slot.row == nullptr) continue;
      ASSERT_NE(expected, model.end());
      EXPECT_EQ(slot.hash, expected->first.first);
      EXPECT_EQ(slot.row->key(), expected->first.second);
      EXPECT_EQ(slot.row->value(), expected->second);
      EXPECT_EQ(table->Find(slot.hash, slot.row->key()), &slot);
      EXPECT_EQ(table->LowerBound(slot.hash, slot.row->key()), i);
      ++expected;
    }
    EXPECT_EQ(expected, model.end());
    EXPECT_EQ(table->Find(5, "absent"), nullptr);
  }
}

TEST(RowTableTest, AnExpectedSizeIsTakenOnceAndNeverFarBeyondNeed) {
  SeededRandom random(1);
  Memtable memtable;
  RowTable* table = memtable.MemberTable(1, 100'000);
  size_t growths = 0;
  for (size_t rows = 1; rows <= 100'000; ++rows) {
    const size_t slots = table->slot_count();
    PutText(memtable, *table, random.Next(), "k", "v");
    if (table->slot_count() == slots) continue;
    ++growths;
    ASSERT_LE(table->slot_count(), rows * 64 + 64);
    if (rows > 100'000 / 8) ADD_FAILURE() << "grew again at " << rows << " rows";
  }
  EXPECT_EQ(table->size(), 100'000u);
  EXPECT_LE(growths, 12u);
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
    ASSERT_LE(table->slot_count(), 64 * hashes.size() + 1200);
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
    for (size_t i = 0; i < table.slot_count(); ++i) found += table.slot(i).row != nullptr ? 1 : 0;
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
      for (size_t slot = 0; slot < table->slot_count(); ++slot) {
        const RowTable::Slot& found = table->slot(slot);
        if (found.row == nullptr) continue;
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

TEST(MemtableTest, ValuesAreOverwrittenInPlaceAndGrow) {
  Memtable memtable;
  RowTable* table = memtable.KeyTable(1);
  PutText(memtable, *table, 9, "key", "long enough");
  const uint64_t bytes = memtable.bytes();
  for (int i = 0; i < 100; ++i) PutText(memtable, *table, 9, "key", "short");
  EXPECT_EQ(memtable.bytes(), bytes);
  EXPECT_EQ(table->Find(9, "key")->row->value(), "short");
  // Growing byte by byte costs a bounded multiple, as rows get room in reserve.
  for (size_t size = 1; size <= 10'000; ++size) PutText(memtable, *table, 9, "key", std::string(size, 'x'));
  EXPECT_LT(memtable.bytes() - bytes, 100'000u);
  // A big value that becomes small gives its memory back.
  PutText(memtable, *table, 9, "key", std::string(1 << 20, 'y'));
  PutText(memtable, *table, 9, "key", "z");
  EXPECT_LT(memtable.bytes() - bytes, 100'000u);
  memtable.Erase(*table, 9, "key", 77);
  EXPECT_TRUE(table->Find(9, "key")->row->tombstone);
  EXPECT_EQ(table->Find(9, "key")->row->writer_offset, 77u);
  EXPECT_EQ(memtable.rows(), 1u);
}

TEST(MemtableTest, RemovedOrderedRowLeavesATombstoneOnlyIfItReplacedOne) {
  Memtable memtable;
  const std::string row_key = ExpiryRowKey(5, 1, 2, "key");
  memtable.PutOrdered(row_key, 0, 1);
  EXPECT_TRUE(memtable.RemoveOrdered(row_key));
  EXPECT_EQ(memtable.FindOrdered(row_key), nullptr);
  memtable.EraseOrdered(row_key, 2);
  EXPECT_FALSE(memtable.RemoveOrdered(row_key));
  memtable.PutOrdered(row_key, 30'000, 3);
  EXPECT_FALSE(memtable.RemoveOrdered(row_key));
  EXPECT_FALSE(memtable.FindOrdered(row_key)->tombstone);
}

TEST(MemtableTest, VisitInOrderFollowsRowKeysAndSkipsDeadCollections) {
  Memtable memtable;
  SeededRandom random(5);
  std::map<std::string, bool> expected;
  for (int i = 0; i < 2000; ++i) {
    const auto id = random.Below(20) + 1;
    const std::string name = "n" + std::to_string(random.Below(50));
    const uint64_t hash = random.Below(1000) + 1;
    switch (random.Below(4)) {
      case 0: {
        const auto keyspace = static_cast<KeyspaceId>(id);
        PutText(memtable, *memtable.KeyTable(keyspace), hash, name, "v");
        expected[KeyRowKey(keyspace, hash, name)] = false;
        break;
      }
      case 1: {
        std::string suffix;
        AppendBig<uint64_t>(suffix, hash);
        memtable.Erase(*memtable.MemberTable(id), hash, name, 1);
        if (id != 7) expected[CollectionRowKey(id, CollectionKind::kMember, suffix + name)] = true;
        break;
      }
      case 2: {
        const CollectionKind kind = random.Below(2) == 0 ? CollectionKind::kItem : CollectionKind::kScore;
        const std::string row_key = CollectionRowKey(id, kind, name);
        memtable.PutOrdered(row_key, 0, 1);
        if (id != 7) expected[row_key] = false;
        break;
      }
      default: {
        const std::string row_key = ExpiryRowKey(static_cast<int64_t>(hash), 1, hash, name);
        memtable.PutOrdered(row_key, 0, 1);
        expected[row_key] = false;
      }
    }
  }
  memtable.AddDeadCollection(7);
  memtable.AddDeadKeyspace(3);
  expected[DeadCollectionRowKey(7)] = false;
  expected[DeadKeyspaceRowKey(3)] = false;
  auto next = expected.begin();
  ASSERT_TRUE(memtable
                  .VisitInOrder([&](std::string_view row_key, const Row& row) -> Result<void> {
                    EXPECT_NE(next, expected.end());
                    EXPECT_EQ(row_key, next->first);
                    EXPECT_EQ(row.tombstone, next->second);
                    ++next;
                    return {};
                  })
                  .ok());
  EXPECT_EQ(next, expected.end());
}

TEST(RowCacheTest, HoldsWhatWasInsertedWithinItsBound) {
  constexpr uint64_t kBytes = 64 << 10;
  RowCache cache(kBytes);
  SeededRandom random(11);
  std::map<std::string, std::string> model;
  int found = 0;
  for (int i = 0; i < 50'000; ++i) {
    const std::string key = std::to_string(random.Below(2000));
    const uint64_t hash = std::hash<std::string>()(key) & 0xff;  // many collisions
    switch (random.Below(3)) {
      case 0:
        model[key] = std::string(random.Below(100), 'v');
        cache.Insert(1, hash, key, model[key]);
        break;
      case 1:
        model.erase(key);
        cache.Erase(1, hash, key);
        break;
      default: {
        const RowCache::Value value = cache.Find(1, hash, key);
        if (value.data == nullptr) break;
        ++found;
        ASSERT_TRUE(model.contains(key));
        // An insertion that found no room keeps the older value out, too: erase comes first in the store.
        EXPECT_EQ(value.view(), model[key]);
      }
    }
    EXPECT_LE(cache.bytes(), kBytes);
    cache.ReleaseEvicted();
  }
  EXPECT_GT(found, 1000);
  EXPECT_EQ(cache.Find(2, 0, "0").data, nullptr);
}

}  // namespace
}  // namespace holdfast
