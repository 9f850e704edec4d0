// One row of data.mdb is damaged, each in turn: whatever reads it says so, and whatever does not need it answers as
// before.
#include <gtest/gtest.h>

#include "storage/base/coding.h"
#include "storage/content_digest.h"
#include "storage/lmdb_check.h"
#include "storage/rdb/rdb_writer.h"
#include "storage/snapshot.h"
#include "tests/storage/fake_store_view.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/fault_file_system.h"

namespace holdfast::testing {
namespace {

using Words = std::vector<std::string>;

const std::vector<Words> kReads = {
    {"GET", "s"},
    {"GET", "long"},
    {"GETRANGE", "long", "65000", "66000"},
    {"BITCOUNT", "long"},
    {"HGETALL", "hash"},
    {"HGET", "hash", "f"},
    {"HGET", "hash", "none"},
    {"SMEMBERS", "set"},
    {"SMEMBERS", "ints"},
    {"SUNION", "set", "ints"},
    {"ZRANGE", "zset", "0", "-1"},
    {"ZRANK", "zset", "b"},
    {"ZRANK", "ranks", "m250"},
    {"ZREVRANK", "ranks", "m3"},
    {"ZRANGE", "ranks", "140", "160"},
    {"ZUNION", "2", "zset", "ranks"},
    {"XRANGE", "stream", "-", "+"},
    {"XSTATE", "stream"},
    {"ENCODING", "list"},
    {"KEYS", "*"},
    {"EXISTS", "s", "hash", "none"},
};

// Each on keys of its own.
const std::vector<Words> kWrites = {
    {"APPEND", "w:s", "more"},
    {"SETRANGE", "w:long", "65530", "across two chunks"},
    {"RPUSH", "w:list", "d"},
    {"HSET", "w:hash", "f", "new", "h", "1"},
    {"HDEL", "w:hash2", "f"},
    {"SADD", "w:set", "c"},
    {"SREM", "w:set2", "a", "b"},
    {"ZADD", "w:zset", "9", "a"},
    {"ZREM", "w:zset2", "a"},
    {"ZPOPMIN", "w:zset3", "1"},
    {"XADD", "w:stream", "9-9", "f", "v"},
    {"XDEL", "w:stream2", "1-1"},
    {"RENAME", "w:rename", "w:renamed"},
    {"COPY", "w:copy", "w:copied"},
    {"PERSIST", "w:expiring"},
    {"PEXPIREAT", "w:expire", "90000"},
    {"DEL", "w:delete"},
    {"GETDEL", "w:getdel"},
    {"INCRBY", "w:number", "5"},
    {"SUNIONSTORE", "w:union", "w:set3", "w:set4"},
};

class DamagedRowsTest : public StoreFixture {
 protected:
  struct Row {
    LmdbTable table;
    std::string key;
    std::string value;
    size_t position;
  };

  DamagedRowsTest() {
    options_.databases = 3;
    options_.cache_bytes = 0;
    Open();
    OperationRunner runner(*store_);
    const std::string long_string(70'000, 'L');
    for (const std::string prefix : {"", "w:"}) {
      Do(runner, {"SET", prefix + "s", "v"});
      Do(runner, {"SET", prefix + "long", long_string});
      Do(runner, {"RPUSH", prefix + "list", "a", "b", "c"});
      for (const std::string number : {"", "2"}) {
        Do(runner, {"HSET", prefix + "hash" + number, "f", "v", "g", "w", std::string(600, 'F'), "folded"});
        Do(runner, {"ZADD", prefix + "zset" + number, "1", "a", "2", "b"});
        Do(runner, {"XADD", prefix + "stream" + number, "1-1", "f", "v"});
      }
      for (const std::string number : {"", "2", "3", "4"}) Do(runner, {"SADD", prefix + "set" + number, "a", "b"});
      Do(runner, {"ZADD", prefix + "zset3", "1", "a", "2", "b"});
    }
    Do(runner, {"SADD", "ints", "1", "2"});
    Words ranks = {"ZADD", "ranks"};
    for (int i = 0; i < 300; ++i) ranks.insert(ranks.end(), {std::to_string(i % 30), "m" + std::to_string(i)});
    Do(runner, ranks);
    Do(runner, {"XGROUP", "CREATE", "stream", "group", "0"});
    Do(runner, {"XREADGROUP", "GROUP", "group", "consumer", "COUNT", "10", "STREAMS", "stream", ">"});
    for (const std::string key : {"rename", "expire", "delete", "getdel"}) Do(runner, {"SET", "w:" + key, "v"});
    Do(runner, {"SET", "w:number", "37"});
    Do(runner, {"SADD", "w:copy", "x"});
    Do(runner, {"SET", "w:expiring", "v", "PXAT", "50000"});
    Do(runner, {"SET", std::string(600, 'K'), "a key that is folded", "PXAT", "60000"});
    Do(runner, {"SELECT", "1"});
    Do(runner, {"HSET", "flushed", "f", "v"});
    Do(runner, {"SET", "flushed too", "v", "PXAT", "60000"});
    Checkpoint();
    store_.reset();
    whole_ = ReadData();
    LmdbWalkVisitor visitor;
    visitor.row = [&](LmdbTable table, std::string_view key, std::string_view value,
                      uint64_t position) -> Result<void> {
      rows_.push_back({table, std::string(key), std::string(value), position});
      return {};
    };
    visitor.damage = [](const LmdbFinding& finding) { ADD_FAILURE() << finding.message; };
    EXPECT_TRUE(WalkLmdbFile(PosixFileSystem(), DataFile(), visitor).ok());
    EXPECT_GT(rows_.size(), 700u);
  }

  void Do(OperationRunner& runner, const Words& words) {
    const std::string reply = runner.Run(words, 1000);
    EXPECT_FALSE(reply.starts_with("-")) << words[0] << " " << words[1] << ": " << reply;
  }

  template <typename T>
  std::string Outcome(const Result<T>& result) {
    if (result.ok()) return "+OK";
    EXPECT_TRUE(result.error().code == ErrorCode::kCorruption || result.error().code == ErrorCode::kUnsupported)
        << result.error().message;
    return "-ERR " + result.error().message;
  }

  // Everything there is to be done with a store, and what came of it.
  std::vector<std::string> RunAll() {
    std::vector<std::string> replies;
    auto opened = Store::Open(options_);
    replies.push_back(Outcome(opened));
    if (!opened.ok()) return replies;
    store_ = std::move(*opened);
    sink_ = {};
    store_->AttachSink(&sink_);
    OperationRunner runner(*store_);
    for (const Words& words : kReads) replies.push_back(runner.Run(words, 1000));
    {
      Transaction& txn = Live();
      const auto digest = DigestOf(txn);
      replies.push_back(digest.ok() ? digest->Hex() : Outcome(digest));
      replies.push_back(Outcome(txn.VisitRows(2, CollectionKind::kItem, {}, true, [](auto, auto) { return true; })));
      txn.Commit();
    }
    ReadView(replies);
    const auto expired = store_->ExpiredKeys(100'000, 10);
    replies.push_back(expired.ok() ? std::to_string(expired->size()) : Outcome(expired));
    for (const Words& words : kWrites) {
      const size_t units = sink_.units.size();
      replies.push_back(runner.Run(words, 1000));
      // A command that met damage at a later member has done, and told by its effect, what came before it.
      const bool refused = replies.back().starts_with("-");
      EXPECT_TRUE(sink_.units.size() == units + 1 || (refused && sink_.units.size() == units)) << words[0];
    }
    runner.Run({"SELECT", "1"}, 1000);
    replies.push_back(runner.Run({"FLUSHDB"}, 1000));
    Freeze();
    std::atomic<bool> cancelled = false;
    replies.push_back(Outcome(job_->Run({}, cancelled)));
    job_.reset();
    store_.reset();
    return replies;
  }

  void ReadView(std::vector<std::string>& replies) {
    // Hints: nothing comes of damage.
    store_->OpenColdRows()->Fetch({{1, "s", {}}, {1, "long", {}}, {1, "hash", {"f"}}, {1, "zset", {"a"}}});
    auto view = store_->OpenView();
    replies.push_back(Outcome(view));
    if (!view.ok()) return;
    const auto digest = DigestOf(**view);
    replies.push_back(digest.ok() ? digest->Hex() : Outcome(digest));
    FaultFileSystem files;
    const std::atomic<bool> never{false};
    replies.push_back(Outcome(WriteSnapshot(files, "snap.hfs", SampleHeader(), **view, {}, never, {})));
    EXPECT_EQ(*files.Exists("snap.hfs"), replies.back() == "+OK");
    rdb::MemorySink sink;
    replies.push_back(Outcome(rdb::WriteRdb(sink, {}, {}, **view, nullptr, {})));
  }

  // How many answers told of damage.
  size_t Compare(const std::vector<std::string>& expected, const Row& row) {
    const std::vector<std::string> replies = RunAll();
    size_t told = 0;
    for (size_t i = 0; i < replies.size(); ++i) {
      if (replies[i] == expected[i]) continue;
      ++told;
      EXPECT_TRUE(replies[i].starts_with("-")) << i << ": " << replies[i] << ", without damage " << expected[i];
    }
    EXPECT_TRUE(replies.size() == expected.size() || !replies[0].starts_with("+")) << PrintableKey(row.key);
    return told;
  }

  // Rows that are alike are not all tried: of the larger collections each 150th.
  std::vector<Row> Tried() const {
    std::vector<Row> tried;
    std::map<std::string, int> alike;
    for (const Row& row : rows_) {
      const bool collection = row.table == LmdbTable::kRows;
      if (collection && alike[row.key.substr(0, kCollectionRowPrefix)]++ % 150 != 0) continue;
      tried.push_back(row);
    }
    return tried;
  }

  std::string whole_;
  std::vector<Row> rows_;
};

TEST_F(DamagedRowsTest, ARowThatDoesNotMatchItsChecksumIsToldByWhateverReadsIt) {
  const std::vector<std::string> expected = RunAll();
  for (const std::string& reply : expected) EXPECT_FALSE(reply.starts_with("-")) << reply;
  for (const Row& row : Tried()) {
    SCOPED_TRACE(std::string(LmdbTableName(row.table)) + " " + PrintableKey(row.key));
    std::string damaged = whole_;
    damaged[row.position + row.value.size() / 2] ^= 4;  // of the checksum if there is no value
    WriteData(damaged);
    const size_t told = Compare(expected, row);
    const bool read_by_all = row.table == LmdbTable::kKeys || row.table == LmdbTable::kMeta;
    EXPECT_GE(told, read_by_all ? 1u : 0u);
    if (HasFailure()) return;
  }
}

TEST_F(DamagedRowsTest, AKeyRowThatBreaksTheFormatIsToldThoughItsChecksumIsRight) {
  const std::vector<std::string> expected = RunAll();
  for (const Row& row : rows_) {
    if (row.table != LmdbTable::kKeys && row.table != LmdbTable::kMeta) continue;
    const size_t byte = row.key.size() % 2;  // type or flags, or the version of the state
    SCOPED_TRACE(PrintableKey(row.key) + " byte " + std::to_string(byte));
    std::string value = row.value;
    value[byte] = '\x7f';
    std::string damaged = whole_;
    damaged.replace(row.position, value.size(), value);
    StoreLittle<uint32_t>(damaged.data() + row.position + value.size(), LmdbRowChecksum(row.key, value));
    WriteData(damaged);
    EXPECT_GE(Compare(expected, row), 1u);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace holdfast::testing
