#include "storage/effects/applier.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/effects/effect_codec.h"
#include "storage/types/strings.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;

class Recorder : public ApplyObserver {
 public:
  void UnitApplied(uint64_t end_offset, const std::vector<Transaction::Touched>& keys) override {
    events.push_back("unit " + std::to_string(end_offset));
    for (const auto& key : keys) events.back() += " " + std::to_string(key.db) + ":" + key.key;
  }
  void Published(std::string_view channel, std::string_view message, uint64_t unit_end) override {
    events.push_back("publish " + std::string(channel) + " " + std::string(message) + " " + std::to_string(unit_end));
  }
  void ShardPublished(std::string_view channel, std::string_view message, uint64_t unit_end) override {
    events.push_back("spublish " + std::string(channel) + " " + std::string(message) + " " + std::to_string(unit_end));
  }
  void AckRequested(uint64_t end_offset) override { events.push_back("ack " + std::to_string(end_offset)); }

  std::vector<std::string> events;
};

// "SET a 1; GET b" as effects.
std::string Effects(const std::string& text) {
  std::string bytes;
  std::vector<std::string> words(1);
  auto flush = [&] {
    AppendEffect(bytes, std::vector<std::string_view>(words.begin(), words.end()));
    words.assign(1, "");
  };
  for (char c : text) {
    if (c == ';') {
      flush();
    } else if (c == ' ') {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  flush();
  return bytes;
}

TEST(CheckStreamCommand, TellsWhatReplayWillNotTake) {
  auto check = [](std::vector<std::string_view> arguments, const StreamRules& rules = {}) {
    auto checked = CheckStreamCommand(arguments, rules);
    return checked.ok() ? std::string() : checked.error().message;
  };
  for (const auto& known : std::vector<std::vector<std::string_view>>{{"SET", "a", "b"},
                                                                      {"set", "a", "b"},
                                                                      {"PING"},
                                                                      {"multi"},
                                                                      {"EXEC"},
                                                                      {"SELECT", "15"},
                                                                      {"PUBLISH", "c", "m"},
                                                                      {"REPLCONF", "GETACK", "*"},
                                                                      {"FLUSHALL"},
                                                                      {"SWAPDB", "0", "1"},
                                                                      {"ZUNIONSTORE", "d", "1", "a"}}) {
    EXPECT_EQ(check(known), "") << known[0];
  }
  EXPECT_EQ(check({"JSON.SET", "a", "$"}), "JSON.SET: unknown effect");
  EXPECT_EQ(check({"SET", "a"}), "SET: wrong number of arguments: 1");
  EXPECT_NE(check({"SELECT", "16"}).find("'databases' is 16"), std::string::npos);
  EXPECT_EQ(check({"SELECT", "16"}, {.databases = 17}), "");
  EXPECT_NE(check({"function", "LOAD", "x"}).find("rdb-skip-unsupported"), std::string::npos);
  EXPECT_EQ(check({"function", "LOAD", "x"}, {.skip_functions = true}), "");
  EXPECT_NE(check({"REPLCONF", "ACK", "1"}), "");
}

class Replay : public ::testing::Test {
 protected:
  Replay() { store_->AttachSink(&sink_); }

  Result<void> Apply(const std::string& text, int selected_db = 0) {
    std::string bytes = Effects(text);
    Result<void> result = applier_.Apply({offset_, selected_db, kNow, bytes});
    if (result.ok()) offset_ += bytes.size();
    return result;
  }
  // As a client sees it long before any expiry.
  std::string Read(const std::vector<std::string>& words, int db = 0) {
    ::holdfast::testing::OperationRunner runner(store_.store());
    runner.Run({"SELECT", std::to_string(db)}, 1);
    return runner.Run(words, 1);
  }
  // Replay has no clock: look at what is there, expired or not.
  std::string Stored(const std::string& key) {
    store_->SetApplyUnit(offset_, offset_);
    Transaction& transaction = store_->Begin(TransactionMode::kApply, 0, kNow);
    std::string text = "none";
    if (auto found = transaction.Find(key); found.ok() && *found) {
      text = std::string((*found)->body) + "@" + std::to_string((*found)->expire_at_ms);
    }
    transaction.Commit();
    return text;
  }

  ::holdfast::testing::TestStore store_;
  ::holdfast::testing::RecordingSink sink_;
  Recorder recorder_;
  Applier applier_{store_.store(), &recorder_};
  uint64_t offset_ = 1000;
};

TEST_F(Replay, EveryFormAMasterMaySendIsUnderstood) {
  struct Case {
    std::string effects;
    std::string expected;  // of key k
  };
  const std::string plus5 = std::to_string(kNow + 5000);
  const std::vector<Case> cases = {
      {"SET k 1 EX 5", "1@" + plus5},
      {"set k 1 px 5000", "1@" + plus5},
      {"SET k 1 PXAT " + plus5, "1@" + plus5},
      {"SET k 1 EXAT 1700000005", "1@" + plus5},
      {"SET k 1 PXAT 5;SET k 2 KEEPTTL", "2@5"},
      {"SET k 1;SET k 2 NX GET", "1@-1"},
      {"SET k 2 XX", "none"},
      {"SETEX k 5 v", "v@" + plus5},
      {"PSETEX k 5000 v", "v@" + plus5},
      {"SETNX k v;SETNX k w", "v@-1"},
      {"SET k v PX 5000;GETSET k w", "w@-1"},
      {"SET k v;GETDEL k", "none"},
      {"SET k v;GETEX k EX 5", "v@" + plus5},
      {"SET k v EX 5;GETEX k PERSIST", "v@-1"},
      {"INCR k;INCRBY k 5;DECR k;DECRBY k 7", "-2@-1"},
      {"INCRBYFLOAT k 1.5", "1.5@-1"},
      {"MSET k 1 l 2;MSETNX k 3 m 4", "1@-1"},
      {"SET k a;APPEND k bc;SETRANGE k 1 X", "aXc@-1"},
      {"SET k a;EXPIRE k 5", "a@" + plus5},
      {"SET k a;PEXPIRE k 5000", "a@" + plus5},
      {"SET k a;EXPIREAT k 1700000005", "a@" + plus5},
      {"SET k a;PEXPIREAT k 77 NX;PEXPIREAT k 55 GT", "a@77"},
      {"SET k a;PEXPIREAT k 1", "a@1"},
      {"SET k a;PEXPIREAT k -1", "a@0"},
      {"SET k a;EXPIRE k 5;PERSIST k", "a@-1"},
      {"SET k a;UNLINK k l", "none"},
      {"SET k a;DEL k", "none"},
      {"SET l a;RENAME l k", "a@-1"},
      {"SET l a;RENAMENX l k", "a@-1"},
      {"SET l a;COPY l k DB 0 REPLACE", "a@-1"},
      {"SET k a;MOVE k 1", "none"},
      {"SET k a;FLUSHDB ASYNC", "none"},
      {"SET k a;FLUSHALL", "none"},
      {"SET k a;SWAPDB 0 1", "none"},
      {"SETBIT k 1 1;SETBIT k 7 1", "A@-1"},
      {"SET l A;BITOP OR k l m", "A@-1"},
      {"BITFIELD k SET u8 0 65 INCRBY u8 #1 66", "AB@-1"},
      {"MULTI;SET k 1;PING;INCR k;EXEC", "2@-1"},
      {"SPUBLISH ch hi;MULTI;SET k 1;SPUBLISH ch hi;INCR k;EXEC", "2@-1"},
  };
  for (const Case& one : cases) {
    ASSERT_TRUE(Apply("FLUSHALL").ok());
    auto result = Apply(one.effects);
    ASSERT_TRUE(result.ok()) << one.effects << ": " << result.error().message;
    EXPECT_EQ(Stored("k"), one.expected) << one.effects;
  }
}

TEST_F(Replay, UnitsEndAtCommandsAndAtExec) {
  const uint64_t start = offset_;
  ASSERT_TRUE(Apply("SELECT 2;SET a 1;MULTI;SET b 2;SELECT 3;SET c 3;EXEC;PING;DEL a;REPLCONF GETACK *;PUBLISH ch "
                    "hi;SPUBLISH ch ho")
                  .ok());
  auto size = [](const std::string& text) { return Effects(text).size(); };
  const uint64_t first = start + size("SELECT 2;SET a 1");
  const uint64_t second = first + size("MULTI;SET b 2;SELECT 3;SET c 3;EXEC");
  const uint64_t third = second + size("PING;DEL a");
  const uint64_t fourth = third + size("REPLCONF GETACK *");
  const uint64_t fifth = fourth + size("PUBLISH ch hi");
  const std::vector<std::string> expected = {
      "unit " + std::to_string(first) + " 2:a", "unit " + std::to_string(second) + " 2:b 3:c",
      "unit " + std::to_string(third),          "ack " + std::to_string(fourth),
      "publish ch hi " + std::to_string(fifth), "spublish ch ho " + std::to_string(fifth + size("SPUBLISH ch ho"))};
  EXPECT_EQ(recorder_.events, expected);
  EXPECT_EQ(applier_.selected_db(), 3);
  EXPECT_EQ(applier_.offset(), offset_);
  EXPECT_EQ(Read({"GET", "a"}, 2), "$1");
  EXPECT_EQ(Read({"GET", "b"}, 2), "$2");
  EXPECT_EQ(Read({"GET", "c"}, 3), "$3");
}

TEST_F(Replay, NothingIsSkipped) {
  struct Case {
    std::string effects;
    std::string message;  // a part of it
    ErrorCode code;
    int selected_db = 0;
  };
  const std::vector<Case> cases = {
      {"SET a 1;FCALL l x", "stream offset 1027: FCALL: unknown effect", ErrorCode::kUnsupported},
      {"SET a x;INCR a", "INCR: value is not an integer or out of range", ErrorCode::kInvalidArgument},
      {"RENAME nothing b", "RENAME: no such key", ErrorCode::kNotFound},
      {"SET a", "SET: wrong number of arguments: 1", ErrorCode::kCorruption},
      {"SET a 1 BAD", "SET: syntax error", ErrorCode::kInvalidArgument},
      {"SELECT 16", "SELECT: DB index is out of range", ErrorCode::kOutOfRange},
      {"SELECT -1", "SELECT: DB index is out of range", ErrorCode::kOutOfRange},
      {"MULTI;SET a 1", "MULTI without EXEC", ErrorCode::kCorruption},
      {"MULTI;MULTI;EXEC;EXEC", "MULTI inside of MULTI", ErrorCode::kCorruption},
      {"EXEC", "EXEC: unknown effect", ErrorCode::kUnsupported},
      {"SET a 1", "SET before any SELECT", ErrorCode::kCorruption, -1},
      {"MULTI;SET a 1;EVAL x 0;EXEC", "EVAL: unknown effect", ErrorCode::kUnsupported},
      {"SETRANGE a 1099511627776 x", "SETRANGE: string exceeds maximum", ErrorCode::kLimit},
      {"SETBIT a 99999999999999 1", "SETBIT: bit offset", ErrorCode::kOutOfRange},
      {"SET a 1;LPUSH a x", "LPUSH: Operation against a key", ErrorCode::kWrongType},
      {"LSET l 0 x", "LSET: no such key", ErrorCode::kNotFound},
      {"RPUSH l x;LSET l 1 y", "LSET: index out of range", ErrorCode::kOutOfRange},
      {"RPUSH l x;LPOP l -1", "LPOP: value is not an integer or out of range", ErrorCode::kInvalidArgument},
      {"LMOVE a b UP DOWN", "LMOVE: syntax error", ErrorCode::kInvalidArgument},
      {"BITFIELD a SET i64 8796093022207 1", "BITFIELD: string exceeds maximum", ErrorCode::kLimit},
  };
  for (const Case& one : cases) {
    ::holdfast::testing::TestStore store;
    Applier applier(store.store());
    std::string bytes = Effects(one.effects);
    auto result = applier.Apply({1000, one.selected_db, kNow, bytes});
    ASSERT_FALSE(result.ok()) << one.effects;
    EXPECT_NE(result.error().message.find(one.message), std::string::npos) << result.error().message;
    EXPECT_NE(result.error().message.find("stream offset 1"), std::string::npos) << result.error().message;
    EXPECT_EQ(result.error().code, one.code) << result.error().message;
    // For good.
    std::string ping = Effects("PING");
    EXPECT_FALSE(applier.Apply({2000, 0, kNow, ping}).ok());
  }
}

TEST_F(Replay, AnUnfinishedEffectIsAnError) {
  std::string bytes = Effects("SET a 1");
  bytes.pop_back();
  auto result = applier_.Apply({5, 0, kNow, bytes});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "stream offset 5: the unit ends inside of an effect");
}

TEST_F(Replay, NothingIsAppendedToTheLogAgain) {
  ASSERT_TRUE(Apply("SET a 1;MULTI;INCR a;EXEC").ok());
  EXPECT_TRUE(sink_.units.empty());
}

}  // namespace
}  // namespace holdfast
