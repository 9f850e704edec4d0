#include "storage/memtable.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/row_cache.h"

namespace holdfast {
namespace {

void PutText(Memtable& memtable, RowTable& table, uint64_t hash, std::string_view key, std::string_view value) {
  char* to = memtable.Put(table, hash, key, value.size(), 1);
  if (!value.empty()) std::memcpy(to, value.data(), value.size());
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

// When all rows were read again lately, a row is not looked for in a whole round: the executor would stop meanwhile.
TEST(RowCacheTest, EvictionPassesOverABoundedNumberOfRows) {
  RowCache cache(1 << 20);
  const std::string value(100, 'v');
  uint64_t rows = 0;
  for (uint64_t full = cache.rows(); full == 0 || cache.rows() != full; ++rows) {
    full = cache.rows();
    cache.Insert(1, rows, std::to_string(rows), value);
    if (cache.rows() == full) break;  // the first one had to go for it
  }
  cache.ReleaseEvicted();
  ASSERT_GT(cache.rows(), 2000u);
  const uint64_t oldest = rows - cache.rows() + 1;
  for (uint64_t i = oldest; i <= rows; ++i) ASSERT_NE(cache.Find(1, i, std::to_string(i)).data, nullptr) << i;
  cache.Insert(1, rows + 1, std::to_string(rows + 1), value);
  uint64_t gone = 0;
  for (uint64_t i = oldest; i <= rows; ++i) {
    if (cache.Find(1, i, std::to_string(i)).data == nullptr) gone = i;
  }
  // The hand stands behind the place of the one that went first.
  EXPECT_GT(gone, oldest + 64);
  EXPECT_LT(gone, oldest + 256);
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
