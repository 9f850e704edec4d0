// Bytes whose checksums are right and that break a rule nevertheless: made by hand, or by whole files that were
// swapped, copied or taken from another time. What a checksum cannot tell, the rules must.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "tests/support/fault_file_system.h"
#include "tests/wal/log_driver.h"
#include "wal/frame.h"
#include "wal/history_state.h"
#include "wal/lineage.h"
#include "wal/rewind.h"
#include "wal/segment_format.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::FaultFileSystem;
using testing::kTestDirectory;
using testing::LogDriver;

// Where fields of a frame header are: docs/formats-log.md.
constexpr size_t kOffsetAt = 32, kPayloadSizeAt = 64, kKindAt = 70, kPartAt = 71, kReservedShortAt = 74,
                 kReservedAt = 76;

std::string FrameOf(FrameKind kind, const std::string& payload) {
  std::string bytes(FrameSizeOnDisk(payload.size()), '\0');
  WriteFrameHeader(bytes.data(), {.kind = kind, .offset = 100, .time_ms = 5, .digest = 7, .payload = payload}, {});
  bytes.replace(kFrameHeaderSize, payload.size(), payload);
  return bytes;
}

void SealFrame(std::string& frame) {
  StoreLittle<uint64_t>(frame.data(), Checksum64(std::string_view(frame).substr(8, kFrameHeaderSize - 8)));
}

TEST(ResealedTest, AFrameHeaderThatBreaksARuleIsRefused) {
  struct Case {
    const char* refusal;
    FrameKind kind;
    std::function<void(std::string&)> change;
  };
  const auto byte = [](size_t at, uint8_t value) {
    return [=](std::string& frame) { frame[at] = static_cast<char>(value); };
  };
  const std::vector<Case> cases = {
      {"frame kind 0 is unknown", FrameKind::kData, byte(kKindAt, 0)},
      {"frame kind 99 is unknown", FrameKind::kData, byte(kKindAt, 99)},
      {"frame part 9 is unknown", FrameKind::kData, byte(kPartAt, 9)},
      {"above the limit", FrameKind::kData,
       [](std::string& frame) { StoreLittle<uint32_t>(frame.data() + kPayloadSizeAt, kFramePayloadMax + 1); }},
      {"reserved bytes", FrameKind::kData, byte(kReservedShortAt, 1)},
      {"reserved bytes", FrameKind::kData, byte(kReservedAt + 3, 1)},
      {"no payload", FrameKind::kData,
       [](std::string& frame) { StoreLittle<uint32_t>(frame.data() + kPayloadSizeAt, 0); }},
      {"cannot be part of a unit", FrameKind::kRole, byte(kPartAt, 1)},
      {"offset overflows", FrameKind::kData,
       [](std::string& frame) { StoreLittle<uint64_t>(frame.data() + kOffsetAt, UINT64_MAX - 1); }},
  };
  for (const Case& one : cases) {
    std::string frame = FrameOf(one.kind, "payload");
    ASSERT_TRUE(ParseFrame(frame).ok());
    one.change(frame);
    SealFrame(frame);
    const auto parsed = ParseFrame(frame);
    ASSERT_FALSE(parsed.ok()) << one.refusal;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorruption);
    EXPECT_NE(parsed.error().message.find(one.refusal), std::string::npos) << parsed.error().message;
  }
}

// A segment header's checksum stands at 8 and covers what follows; flags are its second field.
TEST(ResealedTest, ASegmentHeaderThatBreaksARuleIsRefused) {
  SegmentHeader header;
  header.state.lineage.Push(std::string(40, 'a'), 0, 1);
  std::string good(kSegmentHeaderSize, '\0');
  WriteSegmentHeader(good.data(), header);
  const auto refused = [&](size_t at, uint32_t value) {
    std::string bytes = good;
    StoreLittle<uint32_t>(bytes.data() + at, value);
    StoreLittle<uint64_t>(bytes.data() + 8, Checksum64(std::string_view(bytes).substr(16)));
    const auto parsed = ParseSegmentHeader(bytes);
    return parsed.ok() ? "" : parsed.error().message;
  };
  EXPECT_NE(refused(16, 999).find("version 999"), std::string::npos);
  EXPECT_NE(refused(20, 0x80000000).find("make no sense"), std::string::npos);
  // A database that no frame could name, and a history that begins only behind the segment's start.
  EXPECT_NE(refused(72, 40000).find("make no sense"), std::string::npos);
  EXPECT_EQ(refused(72, 15), "");
  EXPECT_NE(refused(176, 9).find("make no sense"), std::string::npos);
  // The lengths at the end: each position that held one is tried with one that is too large.
  size_t refusals = 0;
  for (size_t at = 24; at + 4 <= 400; ++at) refusals += !refused(at, 5000).empty();
  EXPECT_GT(refusals, 2u);
}

TEST(ResealedTest, SegmentNamesThatAreNearlyRight) {
  for (const char* bad :
       {"00000000000000000003_00000000000000000004.log", "00000000000000000003-00000000000000000004.lo_",
        "00000000000000000003-0000000000000000000x.log", "0000000000000000000/-00000000000000000004.log",
        "00000000000000000003-99999999999999999999.log"}) {
    EXPECT_FALSE(ParseSegmentName(bad).has_value()) << bad;
  }
}

TEST(ResealedTest, ALineageTableThatBreaksARuleIsRefused) {
  std::string many;
  AppendLittle<uint32_t>(many, kLineageEntriesMax + 1);
  EXPECT_NE(Lineage::Parse(many).error().message.find("at most"), std::string::npos);
  Lineage table;
  table.Push(std::string(40, 'a'), 50, 1);
  table.Push(std::string(40, 'b'), 60, 2);
  std::string bytes;
  table.AppendTo(bytes);
  const size_t second_offset = 4 + (20 + 16) + 20;
  ASSERT_EQ(LoadLittle<uint64_t>(bytes.data() + second_offset), 60u);
  StoreLittle<uint64_t>(bytes.data() + second_offset, 49);
  const auto parsed = Lineage::Parse(bytes);
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message.find("go back at entry 1"), std::string::npos) << parsed.error().message;
}

TEST(ResealedTest, FramesThatDoNotFollowLeaveTheStateAsItIs) {
  HistoryState state;
  state.end.offset = 100;
  state.end.time_ms = 10;
  state.lineage.Push(std::string(40, 'a'), 0, 1);
  const auto refusal = [&](HistoryFrame frame) {
    const StreamPosition before = state.end;
    const auto followed = state.Follow(frame);
    EXPECT_EQ(state.end, before);
    return followed.ok() ? "followed" : followed.error().message;
  };
  std::string table_of_later, empty_table;
  Lineage later;
  later.Push(std::string(40, 'b'), 101, 2);
  later.AppendTo(table_of_later);
  Lineage().AppendTo(empty_table);
  const uint64_t digest = state.end.digest.Value();
  const HistoryFrame control{.kind = FrameKind::kRole, .offset = 100, .time_ms = 10, .digest = digest, .payload = {}};
  const auto with = [&](FrameKind kind, const std::string& payload) {
    HistoryFrame frame = control;
    frame.kind = kind;
    frame.payload = payload;
    return frame;
  };
  const std::string long_payload(kStickyPayloadMax + 1, 'x');
  EXPECT_NE(refusal(with(FrameKind::kLineage, table_of_later)).find("begins elsewhere"), std::string::npos);
  EXPECT_NE(refusal(with(FrameKind::kLineage, empty_table)).find("begins elsewhere"), std::string::npos);
  EXPECT_NE(refusal(with(FrameKind::kLineage, "?")).find("lineage table"), std::string::npos);
  EXPECT_NE(refusal(with(FrameKind::kRole, long_payload)).find("a role frame of 769"), std::string::npos);
  EXPECT_NE(refusal(with(FrameKind::kMembership, long_payload)).find("a membership frame of 769"), std::string::npos);
  HistoryFrame other = control;
  other.digest = digest + 1;
  EXPECT_NE(refusal(other).find("digest"), std::string::npos);
  HistoryFrame data{.kind = FrameKind::kData, .offset = 100, .time_ms = 10, .digest = digest, .payload = "x"};
  EXPECT_NE(refusal(data).find("digest"), std::string::npos);
  data.part = UnitPart::kLast;
  EXPECT_NE(refusal(data).find("not begun"), std::string::npos);
  data.part = UnitPart::kWhole;
  data.time_ms = 9;
  EXPECT_NE(refusal(data).find("time"), std::string::npos);
  data.time_ms = 10;
  data.selected_db = 3;
  EXPECT_NE(refusal(data).find("selected database"), std::string::npos);
  state.inside_unit = true;
  EXPECT_NE(refusal(control).find("inside a unit"), std::string::npos);
  HistoryFrame mark = with(FrameKind::kDurableMark, "");
  EXPECT_TRUE(state.Follow(mark).ok());
}

TEST(ResealedTest, ARewindOrderThatBreaksARuleIsRefused) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectory("gen-1").ok());
  RewindOrder order;
  order.offset = 10;
  const auto refused = [&] {
    EXPECT_TRUE(WriteRewindOrder(fs, "gen-1", order).ok());
    return !ReadRewindOrder(fs, "gen-1").ok();
  };
  EXPECT_TRUE(refused()) << "no lineage";
  order.lineage.Push(std::string(40, 'a'), 11, 1);
  EXPECT_TRUE(refused()) << "a lineage that begins behind the cut";
  order.offset = 11;
  EXPECT_FALSE(refused());
  // More bytes than fields, and fewer than a header.
  std::string bytes = fs.Content("gen-1/rewind");
  bytes.insert(bytes.size() - 8, "more");
  StoreLittle<uint64_t>(bytes.data() + bytes.size() - 8,
                        Checksum64(std::string_view(bytes).substr(0, bytes.size() - 8)));
  for (const std::string& bad : {bytes, std::string("HFREWND1"), std::string()}) {
    fs.SetContent("gen-1/rewind", bad);
    const auto read = ReadRewindOrder(fs, "gen-1");
    ASSERT_FALSE(read.ok()) << bad.size();
    EXPECT_EQ(read.error().code, ErrorCode::kCorruption);
  }
}

// A log whose oldest segment begins inside a unit has no end of a unit before that unit's own: nowhere to cut.
TEST(ResealedTest, ACutBeforeTheFirstUnitsEndIsRefused) {
  SegmentHeader header;
  header.sequence = 1;
  header.state.end.offset = 100;
  header.state.inside_unit = true;
  header.state.lineage.Push(std::string(40, 'a'), 0, 1);
  std::string bytes(kSegmentHeaderSize, '\0');
  const uint64_t chain = WriteSegmentHeader(bytes.data(), header);
  const std::string payload = "the rest";
  HistoryDigest digest = header.state.end.digest;
  digest.Update(payload);
  std::string frame(FrameSizeOnDisk(payload.size()), '\0');
  WriteFrameHeader(frame.data(),
                   {.part = UnitPart::kLast, .offset = 100, .time_ms = 1, .digest = digest.Value(), .payload = payload},
                   {.incarnation = 0, .chain = chain, .durable_mark = 0});
  frame.replace(kFrameHeaderSize, payload.size(), payload);
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectory(kTestDirectory).ok());
  const std::string path = JoinPath(kTestDirectory, SegmentName(1, 100));
  ASSERT_TRUE(fs.Open(path, {.mode = OpenMode::kCreate}).ok());
  fs.SetContent(path, bytes + frame);
  const RecoveryInput input{
      .directory = kTestDirectory, .checkpoint = header.state.end, .cut_at = uint64_t{100}, .fs = &fs};
  const auto outcome = Recover(input, {});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kCorruption);
  EXPECT_NE(outcome.error().message.find("no frame ends there"), std::string::npos) << outcome.error().message;
  EXPECT_EQ(fs.Content(path), bytes + frame);
}

// ---- whole segments -------------------------------------------------------------------------------------------------

class ResealedSegmentsTest : public ::testing::Test {
 protected:
  // Three segments of a log.
  void SetUp() override {
    driver_.options.segment_bytes = 8 << 10;
    ASSERT_TRUE(driver_.Create().ok());
    while (Names().size() < 3) {
      driver_.Append(900);
      ASSERT_TRUE(driver_.Commit().ok());
    }
    driver_.log.reset();
  }

  std::vector<std::string> Names() {
    std::vector<std::string> names;
    const auto listed = fs_.List(kTestDirectory);
    EXPECT_TRUE(listed.ok());
    for (const std::string& name : *listed) {
      if (ParseSegmentName(name)) names.push_back(kTestDirectory + "/" + name);
    }
    return names;
  }

  // Recovery and the verifier agree that there is damage; recovery's words.
  std::string Refusal() {
    size_t damages = 0;
    EXPECT_TRUE(VerifyLog(fs_, kTestDirectory, [&](const Finding& finding) { damages += !finding.torn; }).ok());
    EXPECT_GT(damages, 0u);
    const auto outcome = driver_.Replay(true);
    if (outcome.ok()) return "recovered";
    EXPECT_EQ(outcome.error().code, ErrorCode::kCorruption);
    return outcome.error().message;
  }

  void ChangeHeader(const std::string& path, const std::function<void(SegmentHeader&)>& change) {
    std::string bytes = fs_.Content(path);
    auto parsed = ParseSegmentHeader(bytes);
    ASSERT_TRUE(parsed.ok());
    change(parsed->header);
    WriteSegmentHeader(bytes.data(), parsed->header);
    fs_.SetContent(path, bytes);
  }

  FaultFileSystem fs_;
  LogDriver driver_{fs_};
};

TEST_F(ResealedSegmentsTest, SwappedSegmentsAreRefused) {
  const auto names = Names();
  const std::string first = fs_.Content(names[0]);
  fs_.SetContent(names[0], fs_.Content(names[1]));
  fs_.SetContent(names[1], first);
  EXPECT_NE(Refusal().find("belongs to segment"), std::string::npos) << Refusal();
}

TEST_F(ResealedSegmentsTest, ASegmentInPlaceOfAnotherIsRefused) {
  const auto names = Names();
  fs_.SetContent(names[1], fs_.Content(names[2]));
  EXPECT_NE(Refusal().find("belongs to segment"), std::string::npos) << Refusal();
}

TEST_F(ResealedSegmentsTest, AMissingSegmentIsRefused) {
  ASSERT_TRUE(fs_.Remove(Names()[1]).ok());
  EXPECT_NE(Refusal(), "recovered");
}

TEST_F(ResealedSegmentsTest, SegmentsOfAnotherLogAreRefused) {
  // The same units under another lineage: the same names.
  FaultFileSystem other_files;
  LogDriver other(other_files, 2);
  other.options.segment_bytes = 8 << 10;
  ASSERT_TRUE(other.Create().ok());
  while (other.stream.size() < driver_.stream.size()) {
    other.Append(900);
    ASSERT_TRUE(other.Commit().ok());
  }
  const auto names = Names();
  for (const size_t at : {size_t{1}, size_t{2}}) {
    const std::string before = fs_.Content(names[at]);
    const std::string content = other_files.Content(names[at]);
    ASSERT_FALSE(content.empty());
    fs_.SetContent(names[at], content);
    EXPECT_NE(Refusal(), "recovered") << names[at];
    fs_.SetContent(names[at], before);
  }
}

TEST_F(ResealedSegmentsTest, AHeaderThatDoesNotContinueIsRefused) {
  const std::vector<std::function<void(SegmentHeader&)>> changes = {
      [](SegmentHeader& header) { header.chain ^= 1; },
      [](SegmentHeader& header) { header.state.end.time_ms += 1; },
      [](SegmentHeader& header) { header.state.end.selected_db += 1; },
      [](SegmentHeader& header) { header.state.end.digest.Update("more"); },
      [](SegmentHeader& header) { header.state.inside_unit = true; },
      [](SegmentHeader& header) { header.state.lineage.Push(std::string(40, 'f'), header.state.end.offset, 1); },
      [](SegmentHeader& header) { header.state.role = "other"; },
      [](SegmentHeader& header) { header.state.membership = "other"; },
      [](SegmentHeader& header) { header.previous_end -= 16; },
      [](SegmentHeader& header) { header.previous_end += 16; },
      [](SegmentHeader& header) { header.sequence += 1; },
      [](SegmentHeader& header) { header.state.end.offset += 1; },
  };
  const std::string path = Names()[1];
  const std::string whole = fs_.Content(path);
  for (size_t i = 0; i < changes.size(); ++i) {
    ChangeHeader(path, changes[i]);
    EXPECT_NE(Refusal(), "recovered") << "change " << i;
    fs_.SetContent(path, whole);
  }
  EXPECT_TRUE(driver_.Replay(true).ok());
}

TEST_F(ResealedSegmentsTest, ACutWhereNoFrameEndsIsRefused) {
  const RecoveryInput input{
      .directory = kTestDirectory, .checkpoint = {}, .read_only = true, .cut_at = 901, .fs = &fs_};
  const auto outcome = Recover(input, {});
  ASSERT_FALSE(outcome.ok());
  EXPECT_NE(outcome.error().message.find("no frame ends there"), std::string::npos) << outcome.error().message;
}

TEST_F(ResealedSegmentsTest, ALogOpenedBesideSegmentsThatDoNotFitIsRefused) {
  LogState state;
  state.lineage.Reset(std::string(40, 'a'), 0, 1);
  // Nothing recovered: the segments there lie beyond the end.
  EXPECT_EQ(driver_.OpenAt(state).error().code, ErrorCode::kAlreadyExists);
  auto outcome = driver_.Replay(false);
  ASSERT_TRUE(outcome.ok());
  const auto names = Names();
  const std::string middle = fs_.Content(names[1]);
  ASSERT_TRUE(fs_.Remove(names[1]).ok());
  EXPECT_EQ(driver_.OpenAt(outcome->state).error().code, ErrorCode::kCorruption);
}

}  // namespace
}  // namespace holdfast::wal
