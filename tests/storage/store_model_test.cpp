// The store against a std::map: random operations across freezes, checkpoints that fail or stop anywhere, reopening.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/frozen_view.h"
#include "storage/lmdb_env.h"
#include "storage/store.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

constexpr int kDatabases = 3;

// Counts units as the log would.
class CountingSink : public EffectSink {
 public:
  uint64_t AppendedOffset() const override { return offset; }
  int SelectedDb() const override { return selected; }
  uint64_t AppendUnit(std::string_view bytes, int db_after, int64_t) override {
    selected = db_after;
    last = bytes;
    return offset += bytes.size();
  }
  uint64_t offset = 0;
  int selected = -1;
  std::string last;
};

struct ModelKey {
  std::string value;                           // strings
  std::map<std::string, std::string> members;  // hashes, by suffix
  std::map<std::string, std::string> items;    // their ordered rows
  bool is_hash = false;
  int64_t expire_at_ms = kNoExpiry;
  friend bool operator==(const ModelKey&, const ModelKey&) = default;
};
using Model = std::map<int, std::map<std::string, ModelKey>>;

std::string HashHeader(CollectionId id, uint64_t count) {
  std::string header;
  AppendLittle<uint64_t>(header, id);
  AppendLittle<uint64_t>(header, count);
  return header;
}

CollectionId IdOf(const KeyValue& value) { return LoadLittle<uint64_t>(value.body.data()); }

std::string MemberSuffix(const std::string& field) {
  std::string suffix;
  AppendBig<uint64_t>(suffix, RowHash(field));
  return suffix + field;
}

class StoreModelTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  StoreModelTest() : random_(GetParam()) {
    options_.directory = directory_.path();
    options_.databases = kDatabases;
    options_.memtable_bytes = 1u << 20;
    options_.cache_bytes = 32u << 10;
    options_.merge_dirty_pages = 8;
    options_.dead_rows_per_checkpoint = 50;
    options_.map_bytes = 1ull << 30;
    options_.fs = &PosixFileSystem();
    options_.random = &random_;
    Open();
  }

  void Open() {
    store_.reset();
    auto opened = Store::Open(options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(*opened);
    store_->AttachSink(&sink_);
  }

  std::string AKey() {
    const uint64_t number = random_.Below(60);
    if (number < 4) return std::string(600, 'k') + std::to_string(number);  // folded row keys
    if (number == 4) return std::string(490, 'e');                          // folded as expiry row only
    return "key" + std::to_string(number);
  }

  std::string AField() {
    const uint64_t number = random_.Below(12);
    return number < 2 ? std::string(700, 'f') + std::to_string(number) : "f" + std::to_string(number);
  }

  void WriteString(Transaction& txn, int db, const std::string& key) {
    auto old = txn.FindForReplace(db, key);
    ASSERT_TRUE(old.ok()) << old.error().message;
    ASSERT_EQ(old->has_value(), model_[db].contains(key)) << key.substr(0, 20);
    ModelKey expected;
    expected.value =
        std::string(random_.Below(20) == 0 ? 5000 : random_.Below(40), static_cast<char>('a' + random_.Below(26)));
    if (random_.Below(3) == 0) expected.expire_at_ms = static_cast<int64_t>(1000 + random_.Below(1000));
    KeyValue value;
    value.body = expected.value;
    value.expire_at_ms = expected.expire_at_ms;
    txn.Put(db, key, value, *old);
    txn.EmitOn(db, {"SET", key, expected.value});
    model_[db][key] = expected;
  }

  void WriteHash(Transaction& txn, int db, const std::string& key) {
    auto old = txn.FindForWrite(db, key);
    ASSERT_TRUE(old.ok()) << old.error().message;
    ModelKey& expected = model_[db][key];
    std::optional<KeyValue> previous = *old;
    const bool go_on = previous.has_value() && previous->type == ValueType::kHash;
    ASSERT_EQ(go_on, expected.is_hash) << key.substr(0, 20);
    if (!go_on) expected = ModelKey{};
    expected.is_hash = true;
    const CollectionId id = go_on ? IdOf(*previous) : txn.NewCollectionId();
    for (int i = 0; i < 3; ++i) {
      const std::string suffix = MemberSuffix(AField());
      const std::string item = AField();
      if (random_.Below(3) == 0) {
        txn.EraseRow(id, CollectionKind::kMember, suffix);
        txn.EraseRow(id, CollectionKind::kItem, item);
        expected.members.erase(suffix);
        expected.items.erase(item);
      } else {
        const std::string text = std::to_string(random_.Next());
        txn.PutRow(id, CollectionKind::kMember, suffix, text);
        txn.PutRow(id, CollectionKind::kItem, item, text);
        expected.members[suffix] = text;
        expected.items[item] = text;
      }
    }
    const std::string header = HashHeader(id, expected.members.size());
    KeyValue value;
    value.type = ValueType::kHash;
    value.body = header;
    value.expire_at_ms = go_on ? previous->expire_at_ms : kNoExpiry;
    txn.Put(db, key, value, previous);
    txn.EmitOn(db, {"HSET", key});
  }

  void Delete(Transaction& txn, int db, const std::string& key) {
    auto old = txn.FindForWrite(db, key);
    ASSERT_TRUE(old.ok());
    ASSERT_EQ(old->has_value(), model_[db].contains(key));
    if (!old->has_value()) return;
    txn.Erase(db, key, **old);
    txn.EmitOn(db, {"DEL", key});
    model_[db].erase(key);
  }

  void Move(Transaction& txn, int from, int to, const std::string& key) {
    auto source = txn.FindForWrite(from, key);
    auto target = txn.FindForWrite(to, key);
    ASSERT_TRUE(source.ok());
    ASSERT_TRUE(target.ok());
    if (from == to || !source->has_value() || target->has_value()) return;
    const std::string body((*source)->body);
    KeyValue value = **source;
    txn.Erase(from, key, **source, true);
    value.body = body;
    txn.Put(to, key, value, std::nullopt);
    txn.EmitOn(from, {"MOVE", key});
    model_[to][key] = model_[from][key];
    model_[from].erase(key);
  }

  void Step() {
    Transaction& txn = store_->Begin(TransactionMode::kLive, 0, 0);
    const int db = static_cast<int>(random_.Below(kDatabases));
    const int other = static_cast<int>(random_.Below(kDatabases));
    const uint64_t choice = random_.Below(200);
    if (choice < 70) {
      WriteString(txn, db, AKey());
    } else if (choice < 140) {
      WriteHash(txn, db, AKey());
    } else if (choice < 180) {
      Delete(txn, db, AKey());
    } else if (choice < 195) {
      Move(txn, db, other, AKey());
    } else if (choice < 197) {
      txn.FlushDb(db);
      txn.EmitOn(db, {"FLUSHDB"});
      model_[db].clear();
    } else {
      txn.SwapDb(db, other);
      txn.EmitOn(db, {"SWAPDB"});
      std::swap(model_[db], model_[other]);
    }
    const UnitResult result = txn.Commit();
    EXPECT_EQ(result.end_offset, result.effects > 0 ? sink_.offset : 0);
  }

  void CheckRows(Transaction& txn, CollectionId id, CollectionKind kind,
                 const std::map<std::string, std::string>& rows) {
    std::map<std::string, std::string> seen;
    auto visited = txn.VisitRows(id, kind, {}, false, [&](std::string_view suffix, std::string_view value) {
      EXPECT_TRUE(seen.emplace(suffix, value).second);
      return true;
    });
    ASSERT_TRUE(visited.ok()) << visited.error().message;
    ASSERT_EQ(seen, rows);
    std::vector<std::string> backwards;
    ASSERT_TRUE(txn.VisitRows(id, kind, {}, true,
                              [&](std::string_view suffix, std::string_view) {
                                backwards.emplace_back(suffix);
                                return true;
                              })
                    .ok());
    ASSERT_EQ(backwards.size(), rows.size());
    for (const auto& [suffix, value] : rows) {
      auto row = txn.FindRow(id, kind, suffix);
      ASSERT_TRUE(row.ok());
      ASSERT_TRUE(row->has_value());
      EXPECT_EQ(**row, value);
      // From each row on, in both directions, that row comes first.
      if (suffix.size() > 400) continue;  // long rows lie in the order of their digests
      for (const bool reverse : {false, true}) {
        std::string first;
        ASSERT_TRUE(txn.VisitRows(id, kind, suffix, reverse,
                                  [&](std::string_view at, std::string_view) {
                                    first = at;
                                    return false;
                                  })
                        .ok());
        EXPECT_EQ(first, suffix);
      }
    }
  }

  void Compare() {
    Transaction& txn = store_->Begin(TransactionMode::kLive, 0, 0);
    for (int db = 0; db < kDatabases; ++db) {
      uint64_t expiries = 0;
      for (const auto& [key, expected] : model_[db]) {
        if (expected.expire_at_ms != kNoExpiry) ++expiries;
        auto found = txn.Find(db, key);
        ASSERT_TRUE(found.ok()) << found.error().message;
        ASSERT_TRUE(found->has_value()) << "db " << db << " key " << key.substr(0, 20);
        EXPECT_EQ((*found)->expire_at_ms, expected.expire_at_ms);
        if (!expected.is_hash) {
          EXPECT_EQ((*found)->body, expected.value);
          continue;
        }
        const CollectionId id = IdOf(**found);
        CheckRows(txn, id, CollectionKind::kMember, expected.members);
        CheckRows(txn, id, CollectionKind::kItem, expected.items);
      }
      EXPECT_EQ(txn.KeyCount(db), model_[db].size());
      EXPECT_EQ(txn.ExpiryCount(db), expiries);
      std::set<std::string> keys;
      uint64_t cursor = 0;
      do {
        auto next = txn.VisitKeys(db, cursor, [&](std::string_view key, const KeyValue&) {
          EXPECT_TRUE(keys.emplace(key).second);
          return keys.size() % 5 != 0;
        });
        ASSERT_TRUE(next.ok());
        cursor = *next;
      } while (cursor != 0);
      EXPECT_EQ(keys.size(), model_[db].size());
      auto random_key = txn.RandomKey(db);
      ASSERT_TRUE(random_key.ok());
      EXPECT_EQ(random_key->has_value(), !model_[db].empty());
      EXPECT_TRUE(!random_key->has_value() || model_[db].contains(**random_key));
    }
    txn.Commit();
    CompareExpiries();
  }

  // A view for another thread against the model of its moment.
  void CompareView(StoreView& view, const Model& model) {
    for (int db = 0; db < kDatabases; ++db) {
      const auto found = model.find(db);
      const std::map<std::string, ModelKey> none;
      const auto& expected = found == model.end() ? none : found->second;
      EXPECT_EQ(view.KeyCount(db), expected.size());
      std::map<std::string, ModelKey> seen;
      uint64_t last_hash = 0;
      auto visited =
          view.VisitKeys(db, [&](std::string_view key, uint64_t hash, const KeyValue& value) -> Result<void> {
            EXPECT_EQ(hash, RowHash(key));
            EXPECT_GE(hash, last_hash);
            last_hash = hash;
            EXPECT_FALSE(seen.contains(std::string(key)));
            ModelKey& row = seen[std::string(key)];
            row.expire_at_ms = value.expire_at_ms;
            row.is_hash = value.type == ValueType::kHash;
            if (!row.is_hash) {
              row.value = value.body;
              return {};
            }
            const auto collect = [](std::map<std::string, std::string>& to) {
              return [&to](std::string_view suffix, std::string_view bytes) {
                EXPECT_TRUE(to.emplace(suffix, bytes).second);
                return true;
              };
            };
            RETURN_IF_ERROR(view.VisitRows(IdOf(value), CollectionKind::kMember, collect(row.members)));
            return view.VisitRows(IdOf(value), CollectionKind::kItem, collect(row.items));
          });
      ASSERT_TRUE(visited.ok()) << visited.error().message;
      ASSERT_EQ(seen.size(), expected.size());
      for (const auto& [key, row] : expected) {
        ASSERT_TRUE(seen.contains(key)) << key.substr(0, 20);
        EXPECT_EQ(seen[key], row) << key.substr(0, 20);
      }
    }
  }

  void CompareExpiries() {
    std::multiset<std::pair<int, std::string>> expected;
    for (const auto& [db, keys] : model_) {
      for (const auto& [key, value] : keys) {
        if (value.expire_at_ms != kNoExpiry && value.expire_at_ms <= 1500) expected.emplace(db, key);
      }
    }
    auto expired = store_->ExpiredKeys(1500, 100000);
    ASSERT_TRUE(expired.ok()) << expired.error().message;
    std::multiset<std::pair<int, std::string>> found;
    for (const Store::ExpiredKey& key : *expired) found.emplace(key.db, key.key);
    EXPECT_EQ(found, expected);
  }

  StreamPosition Position() {
    StreamPosition position;
    position.offset = sink_.offset;
    position.selected_db = sink_.selected;
    position.lineage_id = std::string(40, 'a');
    return position;
  }

  testing::TempDirectory directory_;
  SeededRandom random_;
  StoreOptions options_;
  CountingSink sink_;
  std::unique_ptr<Store> store_;
  Model model_;
};

TEST_P(StoreModelTest, EqualsAMapAcrossCheckpointsAndReopening) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Model at_freeze;
  uint64_t offset_at_freeze = 0;
  int views = 0;
  for (int round = 0; round < 40 && !HasFatalFailure(); ++round) {
    for (uint64_t i = random_.Below(80); i > 0 && !HasFatalFailure(); --i) Step();
    if (round % 4 == 0) Compare();
    if (!store_->HasFrozen()) {
      at_freeze = model_;
      offset_at_freeze = sink_.offset;
      store_->FreezeActive(Position());
    }
    // What the checkpoint will make of LMDB, before it is made; not while a part of it is there.
    auto view = OpenFrozenView(*store_->PendingCheckpoint());
    if (view.ok()) {
      EXPECT_EQ((*view)->position().offset, offset_at_freeze);
    } else {
      EXPECT_EQ(view.error().code, ErrorCode::kBusy) << view.error().message;
    }
    views += view.ok() ? 1 : 0;
    for (uint64_t i = random_.Below(30); i > 0 && !HasFatalFailure(); --i) Step();
    // Run the checkpoint, stopping it after any number of LMDB transactions.
    std::atomic<bool> cancelled = false;
    uint64_t transactions_left = random_.Below(40);
    auto job = store_->PendingCheckpoint();
    Result<void> run = job->Run(
        [&](double) {
          if (transactions_left-- == 0) cancelled = true;
        },
        cancelled);
    if (round % 3 == 0) {
      ASSERT_TRUE(store_->RenewReader().ok());
    }
    if (round % 5 == 0) Compare();
    if (view.ok()) {
      CompareView(**view, at_freeze);
      view->reset();
    }
    if (run.ok()) {
      ASSERT_TRUE(store_->FinishCheckpoint().ok());
      EXPECT_EQ(store_->CheckpointPosition().offset, offset_at_freeze);
    } else {
      ASSERT_EQ(run.error().code, ErrorCode::kAborted) << run.error().message;
    }
    if (random_.Below(3) == 0) {  // crash: what came after the freeze is gone
      job.reset();
      Open();
      model_ = at_freeze;
      sink_.offset = store_->CheckpointPosition().offset;
      sink_.selected = store_->CheckpointPosition().selected_db;
      EXPECT_EQ(sink_.offset, offset_at_freeze);
      Compare();
    }
  }
  EXPECT_GT(views, 10);
}

TEST_P(StoreModelTest, RowsOfDeletedCollectionsAndDatabasesAreRemoved) {
  for (int i = 0; i < 400; ++i) Step();
  auto checkpoint = [&] {
    std::atomic<bool> cancelled = false;
    auto job = store_->FreezeActive(Position());
    auto run = job->Run({}, cancelled);
    ASSERT_TRUE(run.ok()) << run.error().message;
    ASSERT_TRUE(store_->FinishCheckpoint().ok());
  };
  checkpoint();
  Transaction& txn = store_->Begin(TransactionMode::kLive, 0, 0);
  txn.FlushAll();
  txn.Emit({"FLUSHALL"});
  txn.Commit();
  model_.clear();
  for (int i = 0; i < 100 && (i == 0 || store_->Stats().dead_collections > 0); ++i) checkpoint();
  EXPECT_EQ(store_->Stats().dead_collections, 0u);
  Compare();
  store_.reset();
  // Nothing but the state itself is left.
  auto env = LmdbEnv::Open({options_.directory + "/lmdb", options_.map_bytes, true, options_.fs});
  ASSERT_TRUE(env.ok());
  auto reader = (*env)->BeginRead();
  ASSERT_TRUE(reader.ok());
  for (const LmdbTable table : {LmdbTable::kKeys, LmdbTable::kRows, LmdbTable::kExpiry, LmdbTable::kDead}) {
    EXPECT_EQ((*reader)->TableStats(table)->entries, 0u) << LmdbTableName(table);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModelTest, ::testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace holdfast
