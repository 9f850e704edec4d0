// Records and messages of peers and of this node's log with right checksums and lines or fields that cannot be: each is
// refused, by the line or field.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "replication/group.h"
#include "replication/role.h"
#include "replication/wire.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::replication {
namespace {

const std::string kIdA(40, 'a');

std::string Sealed(const std::string& text) { return text + fmt::format("checksum {:016x}\n", Checksum64(text)); }

TEST(RecordRules, LinesOfARole) {
  const std::string first = "holdfast-role 1\n";
  ASSERT_TRUE(ParseRole(Sealed(first + "role follow 6379 a host\nconfigured 00ff\nconsent no\nmade-here " + kIdA +
                               "\nmade-here " + kIdA + "\npromise 7 x\ndurable 2\ncopied-up-to 9 8\n"))
                  .ok());
  for (const std::string line : {"role",
                                 "role ",
                                 "role owner",
                                 "role follow",
                                 "role follow ",
                                 "role follow x host",
                                 "role follow -1 host",
                                 "role follow 65536 host",
                                 "role follow 99999999999 host",
                                 "role follow 1",
                                 "role follow 1 ",
                                 "role follow 1-host",
                                 "configured ",
                                 "configured xyz",
                                 "configured 12 ",
                                 "configured fffffffffffffffff",
                                 "consent maybe",
                                 "promise ",
                                 "promise 7",
                                 "promise 7 ",
                                 "promise x y",
                                 "durable ",
                                 "durable x",
                                 "durable 1x",
                                 "copied-up-to ",
                                 "copied-up-to 9",
                                 "copied-up-to 9 ",
                                 "copied-up-to x 8",
                                 "copied-up-to 9 8 7",
                                 "unknown 1"}) {
    const auto parsed = ParseRole(Sealed(first + line + "\n"));
    ASSERT_FALSE(parsed.ok()) << line;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorruption) << line;
    EXPECT_NE(parsed.error().message.find("has the line '" + line + "'"), std::string::npos) << parsed.error().message;
  }
  EXPECT_EQ(ParseRole(Sealed("holdfast-role 2\n")).error().code, ErrorCode::kUnsupported);
  EXPECT_NE(ParseRole(Sealed("")).error().message.find("empty"), std::string::npos);
  EXPECT_FALSE(ParseRole(Sealed(first + "consent yes")).ok()) << "a line without end";
}

TEST(RecordRules, LinesOfAGroup) {
  const std::string first = "holdfast-group 1\n";
  const std::string node = "node " + kIdA + " 6379 host";
  ASSERT_TRUE(
      ParseGroup(Sealed(first + "epoch 2 behind 10 before 1 behind 5\nsince 1\ndurable 2\nsettled yes\n" + node + "\n"))
          .ok());
  for (const std::string& line : {std::string("epoch"),
                                  std::string("epoch x behind 10 before 1 behind 5"),
                                  std::string("epoch 2 ahead 10"),
                                  std::string("epoch 2 behind x"),
                                  std::string("epoch 2 behind 10 after 1"),
                                  std::string("epoch 2 behind 10 before x"),
                                  std::string("epoch 2 behind 10 before 1 ahead 5"),
                                  std::string("epoch 2 behind 10 before 1 behind x"),
                                  std::string("epoch 2 behind 10 before 1 behind 5 6"),
                                  std::string("since x"),
                                  std::string("durable x"),
                                  std::string("durable -1"),
                                  std::string("settled maybe"),
                                  "node " + kIdA.substr(1) + " 6379 host",
                                  "node " + std::string(40, 'z') + " 6379 host",
                                  "node " + kIdA + " x host",
                                  "node " + kIdA + " 0 host",
                                  "node " + kIdA + " 65536 host",
                                  "node " + kIdA + " 6379",
                                  "node " + kIdA + " 6379 ",
                                  "node " + kIdA + " 6379 " + std::string(kHostBytesMax + 1, 'h'),
                                  node + "\n" + node,
                                  std::string("other 1")}) {
    const auto parsed = ParseGroup(Sealed(first + line + "\n"));
    ASSERT_FALSE(parsed.ok()) << line;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorruption) << line;
    EXPECT_NE(parsed.error().message.find("has the line '"), std::string::npos) << parsed.error().message;
  }
  EXPECT_EQ(ParseGroup(Sealed("holdfast-group 2\n")).error().code, ErrorCode::kUnsupported);
  EXPECT_NE(ParseGroup(Sealed("")).error().message.find("empty"), std::string::npos);
  EXPECT_FALSE(ParseGroup(Sealed(first + "since 1")).ok()) << "a line without end";
}

TEST(RecordRules, AnswersToACandidate) {
  ASSERT_TRUE(ParsePromiseAnswer("PROMISED 1 2 " + kIdA).ok());
  ASSERT_TRUE(ParsePromiseAnswer("REFUSED 1 a reason").ok());
  for (const std::string& text :
       {std::string(), std::string("PROMISED"), "PROMISED x 2 " + kIdA, "PROMISED 1 x " + kIdA,
        std::string("PROMISED 1 2"), std::string("PROMISED 1 2 id"), "PROMISED 1 2 " + kIdA + " ",
        std::string("REFUSED"), std::string("REFUSED x reason"), std::string("MAYBE 1 2")}) {
    const auto parsed = ParsePromiseAnswer(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_NE(parsed.error().message.find("it answers '" + text + "'"), std::string::npos) << parsed.error().message;
  }
}

struct FrameBody {
  uint8_t kind = static_cast<uint8_t>(wal::FrameKind::kData);
  uint8_t part = 0;
  int16_t db = 0, db_after = 0;
  uint16_t zero = 0;
  uint64_t offset = 100;
  std::string payload = "x";

  [[nodiscard]] std::string Bytes() const {
    std::string body = {static_cast<char>(kind), static_cast<char>(part)};
    AppendLittle<int16_t>(body, db);
    AppendLittle<int16_t>(body, db_after);
    AppendLittle<uint16_t>(body, zero);
    AppendLittle<uint64_t>(body, offset);
    AppendLittle<int64_t>(body, 1);
    AppendLittle<uint64_t>(body, 2);
    return body + payload;
  }
};

TEST(RecordRules, FieldsOfAFrame) {
  ASSERT_TRUE(ParseFrameMessage(FrameBody().Bytes()).ok());
  const std::pair<const char*, FrameBody> cases[] = {
      {"which is unknown or never travels", {.kind = 0}},
      {"which is unknown or never travels", {.kind = static_cast<uint8_t>(wal::FrameKind::kDurableMark)}},
      {"which never travels", {.kind = static_cast<uint8_t>(wal::FrameKind::kRole)}},
      {"with part 4", {.part = 4}},
      {"reserved bits", {.zero = 1}},
      {"frame payload of", {.payload = std::string(wal::kFramePayloadMax + 1, 'x')}},
      {"data frame without payload", {.payload = ""}},
      {"frame with database", {.db = wal::kSelectedDbUnknown - 1}},
      {"frame with database", {.db_after = -2}},
      {"frame offset overflows", {.offset = UINT64_MAX}},
  };
  for (const auto& [why, body] : cases) {
    const auto parsed = ParseFrameMessage(body.Bytes());
    ASSERT_FALSE(parsed.ok()) << why;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorruption);
    EXPECT_NE(parsed.error().message.find(why), std::string::npos) << why << ": " << parsed.error().message;
  }
  for (size_t size = 0; size < kFrameBodyPrefix; ++size) {
    EXPECT_FALSE(ParseFrameMessage(FrameBody().Bytes().substr(0, size)).ok()) << size;
  }
}

TEST(RecordRules, FieldsOfHistoriesAndCopies) {
  const auto history = [](const std::string& table) {
    std::string body(8, '\0');
    AppendLengthPrefixed(body, table);
    return ParseHistory(body);
  };
  wal::Lineage lineage;
  std::string table;
  lineage.AppendTo(table);
  EXPECT_NE(history(table).error().message.find("names no history"), std::string::npos);
  EXPECT_FALSE(history("x").ok());
  const auto begin = [](uint64_t size, uint64_t start, const std::string& name, const std::string& more) {
    std::string body;
    for (const uint64_t field : {uint64_t{1}, size, start}) AppendLittle<uint64_t>(body, field);
    AppendLengthPrefixed(body, name);
    return ParseSnapshotBegin(body + more);
  };
  ASSERT_TRUE(begin(10, 10, std::string(kSnapshotNameMax, 'n'), "").ok());
  EXPECT_FALSE(begin(10, 11, "name", "").ok());
  EXPECT_FALSE(begin(10, 10, std::string(kSnapshotNameMax + 1, 'n'), "").ok());
  EXPECT_FALSE(begin(10, 10, "name", "x").ok());
  EXPECT_FALSE(ParseSnapshotBegin("short").ok());
  EXPECT_FALSE(ParseSnapshotData("short").ok());
  EXPECT_FALSE(ParseSnapshotData(std::string(8, '\0')).ok()) << "no bytes";
  EXPECT_FALSE(ParseSnapshotData(std::string(8 + kSnapshotChunkMax + 1, '\0')).ok());
  EXPECT_TRUE(ParseSnapshotData(std::string(8 + kSnapshotChunkMax, '\0')).ok());
  EXPECT_FALSE(ParseSnapshotEnd(std::string(15, '\0')).ok());
  EXPECT_FALSE(ParseSnapshotEnd(std::string(17, '\0')).ok());
  EXPECT_FALSE(ParseKeepalive(std::string(15, '\0')).ok());
  EXPECT_TRUE(ParseKeepalive(std::string(17, '\0')).ok()) << "a later version may say more";
}

}  // namespace
}  // namespace holdfast::replication
