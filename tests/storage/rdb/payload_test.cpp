#include "storage/rdb/payload.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/rdb/crc64.h"
#include "storage/rdb/packed.h"
#include "storage/types/lists.h"
#include "tests/support/recorded_store.h"

namespace holdfast::testing {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes

constexpr int64_t kNow = 1'700'000'000'000;

std::string WithFooter(std::string body, uint16_t version) {
  AppendLittle<uint16_t>(body, version);
  AppendLittle<uint64_t>(body, rdb::Crc64(body));
  return body;
}

std::string Str(const std::string& bytes) { return static_cast<char>(bytes.size()) + bytes; }

class PayloadTest : public ::testing::Test {
 protected:
  std::string Dump(std::string_view key) {
    Transaction& tx = live_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto payload = rdb::Dump(tx, key, {});
    tx.Commit();
    EXPECT_TRUE(payload.ok()) << payload.error().message;
    return payload.ok() && *payload ? **payload : "";
  }

  // "restored", "busy" or an error's message.
  std::string Restore(std::string_view key, std::string_view payload, rdb::RestoreOptions options = {}) {
    Transaction& tx = live_.store().Begin(TransactionMode::kLive, 0, kNow);
    auto result = rdb::Restore(tx, key, payload, options);
    tx.Commit();
    if (!result.ok()) return result.error().message;
    return *result == rdb::RestoreResult::kRestored ? "restored" : "busy";
  }

  RecordedStore live_;
};

TEST_F(PayloadTest, EffectIsThePayloadWithAnAbsoluteTime) {
  live_.Run({"SET", "k", "value"}, kNow);
  const std::string payload = Dump("k");
  EXPECT_EQ(payload, WithFooter("\x00\x05value"s, 10));
  live_.Effects();
  EXPECT_EQ(Restore("copy", payload), "restored");
  EXPECT_EQ(live_.Effects(), "RESTORE copy 0 " + PercentEncode(payload) + " REPLACE ABSTTL");
  EXPECT_EQ(Restore("copy", payload), "busy");
  EXPECT_EQ(Restore("copy", payload, {.replace = true, .expire_at_ms = kNow + 5}), "restored");
  EXPECT_EQ(live_.Effects(),
            "RESTORE copy " + std::to_string(kNow + 5) + " " + PercentEncode(payload) + " REPLACE ABSTTL");
  EXPECT_EQ(live_.Run({"GET", "copy"}, kNow), "$value");
}

TEST_F(PayloadTest, TimeThatIsOverDeletes) {
  live_.Run({"SET", "k", "value"}, kNow);
  const std::string payload = Dump("k");
  live_.Effects();
  EXPECT_EQ(Restore("k", payload, {.replace = true, .expire_at_ms = kNow}), "restored");
  EXPECT_EQ(live_.Effects(), "DEL k");
  EXPECT_EQ(Restore("k", payload, {.expire_at_ms = kNow - 1}), "restored");
  EXPECT_EQ(live_.Effects(), "");
}

TEST_F(PayloadTest, ReplayMakesTheSame) {
  Shadow shadow(live_);
  live_.Run({"SET", "string", std::string(200'000, 's')}, kNow);
  std::vector<std::string> hash = {"HSET", "hash"}, sorted = {"ZADD", "sorted"};
  Transaction& tx = live_.store().Begin(TransactionMode::kLive, 0, kNow);
  for (int i = 0; i < 700; ++i) {
    const std::string item = "item " + std::to_string(i);
    ASSERT_TRUE(lists::Push(tx, "list", ListEnd::kRight, std::vector<std::string_view>{item}, {}).ok());
    for (std::vector<std::string>* words : {&hash, &sorted}) {
      words->push_back(std::to_string(i));
      words->push_back("m" + std::to_string(i));
    }
  }
  tx.Commit();
  const std::vector<std::vector<std::string>> commands = {
      hash, sorted, {"SADD", "set", "1", "2", "x"}, {"SADD", "integers", "1", "-5"}};
  for (const auto& words : commands) ASSERT_EQ(live_.Run(words, kNow)[0], ':');
  live_.Checkpoint();
  for (const char* key : {"string", "list", "hash", "sorted", "set", "integers"}) {
    const std::string payload = Dump(key);
    EXPECT_EQ(Restore(std::string("copy of ") + key, payload), "restored");
    EXPECT_EQ(Dump(std::string("copy of ") + key), payload) << key;
  }
  EXPECT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(shadow.Digest(), live_.Digest());
  EXPECT_EQ(live_.Run({"ZRANK", "copy of sorted", "m555"}, kNow), ":555");
  live_.Run({"ZADD", "copy of sorted", "-1", "new"}, kNow);
  EXPECT_EQ(live_.Run({"ZRANK", "copy of sorted", "m555"}, kNow), ":556");
  EXPECT_EQ(shadow.CatchUp(), "");
  live_.CheckpointAndReopen();
  EXPECT_EQ(shadow.Digest(), live_.Digest());
  EXPECT_EQ(live_.Run({"ZRANK", "copy of sorted", "m555"}, kNow), ":556");
}

TEST_F(PayloadTest, NewerPayloadIsLoggedInAFormThatReplicasUnderstand) {
  // A listpack set of version 11: unknown to Redis 7.0.
  rdb::ListpackBuilder members;
  members.Append("x");
  members.Append("5");
  EXPECT_EQ(Restore("set", WithFooter("\x14" + Str(members.Finish()), 11)), "restored");
  EXPECT_EQ(live_.Effects(),
            "RESTORE set 0 " + PercentEncode(WithFooter("\x02\x02\x01x\xc0\x05"s, 10)) + " REPLACE ABSTTL");
  // A type and a version that it knows stay as they are.
  const std::string old = WithFooter("\x02\x01\x01m"s, 6);
  EXPECT_EQ(Restore("old", old), "restored");
  EXPECT_EQ(live_.Effects(), "RESTORE old 0 " + PercentEncode(old) + " REPLACE ABSTTL");
  // Unless what is written has to be older still.
  rdb::ListpackBuilder fields;
  fields.Append("f");
  fields.Append("v");
  EXPECT_EQ(Restore("hash", WithFooter("\x10" + Str(fields.Finish()), 10), {.logged = {.version = 9}}), "restored");
  EXPECT_EQ(live_.Effects(),
            "RESTORE hash 0 " + PercentEncode(WithFooter("\x04\x01\x01"s + "f\x01v", 9)) + " REPLACE ABSTTL");
}

TEST_F(PayloadTest, RefusedPayloadChangesNothing) {
  live_.Run({"SET", "k", "value"}, kNow);
  live_.Effects();
  const std::string before = live_.Digest();
  const std::string cases[] = {
      WithFooter("\x02\x02\x01m\x01m"s, 10),                            // a member twice
      WithFooter("\x04\x02\x01m\x01v\x01m\x01w"s, 10),                  // a field twice
      WithFooter("\x02\x00"s, 10),                                      // no members
      WithFooter("\x02\x03\x01m\x01n"s, 10),                            // too short
      WithFooter("\x07\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00"s, 10),  // a module's
      WithFooter("\x1c\x00"s, 13),                                      // a type that is not here
      WithFooter("\x00\x01v"s, 16),                                     // a version of the future
      "\x00\x01v\x0a\x00 8 wrong bytes"s.substr(0, 13),                 // a wrong checksum
      "short",
      "",
  };
  for (const std::string& payload : cases) {
    const std::string answer = Restore("k", payload, {.replace = true});
    EXPECT_NE(answer, "restored") << PercentEncode(payload);
    EXPECT_NE(answer, "busy") << PercentEncode(payload);
  }
  EXPECT_EQ(live_.Effects(), "");
  EXPECT_EQ(live_.Digest(), before);
}

TEST_F(PayloadTest, RefusesWhatDoesNotFitAUnit) {
  class SmallSink : public RecordingSink {
    [[nodiscard]] uint64_t MaxUnitBytes() const override { return 10'000; }
  } sink;
  TestStore store;
  store->AttachSink(&sink);
  rdb::MemorySink bytes;
  rdb::Output output(bytes, /*compress=*/true);
  ASSERT_TRUE(output.String(std::string(20'000, 'x')).ok());
  ASSERT_TRUE(output.Flush().ok());
  const std::string payload = WithFooter("\x01\x01"s + bytes.bytes(), 10);
  ASSERT_LT(payload.size(), 1000u);
  Transaction& tx = store->Begin(TransactionMode::kLive, 0, kNow);
  auto result = rdb::Restore(tx, "k", payload, {});
  tx.Commit();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kLimit);
  EXPECT_TRUE(sink.units.empty());
  // It is not read further than to where that is known: its end, which is missing here, is not looked for.
  const std::string torn = WithFooter("\x01\x03"s + bytes.bytes(), 10);
  Transaction& second = store->Begin(TransactionMode::kLive, 0, kNow);
  result = rdb::Restore(second, "k", torn, {});
  second.Commit();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kLimit) << result.error().message;
}

}  // namespace
}  // namespace holdfast::testing
