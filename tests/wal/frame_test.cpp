#include "wal/frame.h"

#include <gtest/gtest.h>

#include "wal/lineage.h"
#include "wal/segment_format.h"

namespace holdfast::wal {
namespace {

std::string Encoded(const HistoryFrame& history, const LocalFields& local) {
  std::string bytes(FrameSizeOnDisk(history.payload.size()), '\0');
  WriteFrameHeader(bytes.data(), history, local);
  bytes.replace(kFrameHeaderSize, history.payload.size(), history.payload);
  return bytes;
}

HistoryFrame Sample() {
  return {.kind = FrameKind::kData,
          .part = UnitPart::kMiddle,
          .selected_db = 3,
          .selected_db_after = 4,
          .offset = 123456789,
          .time_ms = 1'700'000'000'000,
          .digest = 77,
          .payload = "*1\r\n$4\r\nPING\r\n"};
}

TEST(FrameTest, WhatIsWrittenIsRead) {
  const LocalFields local{.incarnation = 11, .chain = 12, .durable_mark = 4096};
  const std::string bytes = Encoded(Sample(), local);
  EXPECT_EQ(bytes.size() % kFrameAlignment, 0u);
  const auto parsed = ParseFrame(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->history.kind, FrameKind::kData);
  EXPECT_EQ(parsed->history.part, UnitPart::kMiddle);
  EXPECT_EQ(parsed->history.selected_db, 3);
  EXPECT_EQ(parsed->history.selected_db_after, 4);
  EXPECT_EQ(parsed->history.offset, 123456789u);
  EXPECT_EQ(parsed->history.time_ms, 1'700'000'000'000);
  EXPECT_EQ(parsed->history.digest, 77u);
  EXPECT_EQ(parsed->history.payload, Sample().payload);
  EXPECT_EQ(parsed->local.incarnation, 11u);
  EXPECT_EQ(parsed->local.chain, 12u);
  EXPECT_EQ(parsed->local.durable_mark, 4096u);
  EXPECT_EQ(parsed->size_on_disk, bytes.size());
}

TEST(FrameTest, EachFlippedBitIsSeen) {
  const std::string good = Encoded(Sample(), {});
  const size_t checked = kFrameHeaderSize + Sample().payload.size();
  for (size_t bit = 0; bit < checked * 8; bit++) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParseFrame(bad).ok()) << bit;
  }
  for (size_t size = 0; size < checked; size++) EXPECT_FALSE(ParseFrame(good.substr(0, size)).ok()) << size;
}

TEST(FrameTest, HeaderIsFoundByIncarnation) {
  const std::string bytes = Encoded(Sample(), {.incarnation = 9, .chain = 1, .durable_mark = 5000});
  LocalFields local;
  EXPECT_TRUE(IsFrameHeader(bytes, 9, &local));
  EXPECT_EQ(local.durable_mark, 5000u);
  EXPECT_FALSE(IsFrameHeader(bytes, 8, &local));
  EXPECT_FALSE(IsFrameHeader(bytes.substr(0, 79), 9, &local));
}

TEST(LineageTest, AnIdThatComesBackIsNewsOnceAndEarlierTablesAreNot) {
  Lineage once, twice;
  once.Push(std::string(40, 'a'), 0, 1);
  once.Push(std::string(40, 'b'), 100, 2);
  twice = once;
  twice.Push(std::string(40, 'a'), 100, 3);
  EXPECT_FALSE(once.Knows(twice));
  EXPECT_TRUE(twice.Knows(once));
  EXPECT_TRUE(twice.Knows(twice));
  EXPECT_EQ(twice.ValidUntil(std::string(40, 'a')), UINT64_MAX);
  EXPECT_EQ(twice.ValidUntil(std::string(40, 'b')), 100u);
}

TEST(LineageTest, TableIsBoundedAndKnowsWhereIdsEnd) {
  Lineage lineage;
  EXPECT_EQ(lineage.current_id(), std::string(40, '0'));
  EXPECT_EQ(lineage.second_offset(), -1);
  lineage.Reset(std::string(40, 'A'), 0, 1);
  lineage.Push(std::string(40, 'b'), 100, 2);
  EXPECT_EQ(lineage.current_id(), std::string(40, 'b'));
  EXPECT_EQ(lineage.second_id(), std::string(40, 'a'));
  EXPECT_EQ(lineage.second_offset(), 101);
  EXPECT_EQ(lineage.ValidUntil(std::string(40, 'a')), 100u);
  EXPECT_EQ(lineage.ValidUntil(std::string(40, 'B')), UINT64_MAX);
  EXPECT_EQ(lineage.ValidUntil(std::string(40, 'c')), std::nullopt);
  for (uint64_t i = 0; i < 2 * kLineageEntriesMax; i++) {
    std::string id(40, '0');
    id[39] = static_cast<char>('0' + i % 10);
    lineage.Push(id, 200 + i, 3);
  }
  EXPECT_EQ(lineage.entries().size(), kLineageEntriesMax);
  std::string bytes;
  lineage.AppendTo(bytes);
  EXPECT_EQ(bytes.size(), Lineage::kSerializedSizeMax);
  const auto parsed = Lineage::Parse(bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, lineage);
  for (size_t size = 0; size < bytes.size(); size++) EXPECT_FALSE(Lineage::Parse(bytes.substr(0, size)).ok());
  EXPECT_FALSE(Lineage::Parse(bytes + "x").ok());
}

TEST(SegmentFormatTest, HeaderWithAFullTableFitsItsBlock) {
  SegmentHeader header;
  header.sequence = 7;
  header.incarnation = 8;
  header.chain = 9;
  header.previous_end = 10;
  header.recycled = true;
  header.state.end.offset = 111;
  header.state.end.selected_db = 12;
  header.state.end.time_ms = 13;
  header.state.end.digest.Update("history");
  header.state.inside_unit = true;
  for (uint64_t i = 0; i < kLineageEntriesMax; i++) header.state.lineage.Push(std::string(40, 'f'), i, 1);
  header.state.role = std::string(kStickyPayloadMax, 'r');
  header.state.membership = std::string(kStickyPayloadMax, 'm');
  std::string bytes(kSegmentHeaderSize, 'x');
  const uint64_t checksum = WriteSegmentHeader(bytes.data(), header);
  const auto parsed = ParseSegmentHeader(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->checksum, checksum);
  EXPECT_EQ(parsed->header.sequence, 7u);
  EXPECT_EQ(parsed->header.previous_end, 10u);
  EXPECT_TRUE(parsed->header.recycled);
  EXPECT_TRUE(parsed->header.state.inside_unit);
  EXPECT_EQ(parsed->header.state.end, header.state.end);
  EXPECT_EQ(parsed->header.state.lineage, header.state.lineage);
  EXPECT_EQ(parsed->header.state.role, header.state.role);
  EXPECT_EQ(parsed->header.state.membership, header.state.membership);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_FALSE(ParseSegmentHeader(bad).ok()) << at;
  }
}

TEST(SegmentFormatTest, NamesAreExact) {
  EXPECT_EQ(SegmentName(3, 4), "00000000000000000003-00000000000000000004.log");
  const auto numbers = ParseSegmentName(SegmentName(UINT64_MAX, 42));
  ASSERT_TRUE(numbers.has_value());
  EXPECT_EQ(numbers->sequence, UINT64_MAX);
  EXPECT_EQ(numbers->first_offset, 42u);
  for (const char* bad :
       {"", "spare.tmp", "00000000000000000003-00000000000000000004.lo",
        "0000000000000000000x-00000000000000000004.log", "99999999999999999999-00000000000000000004.log"}) {
    EXPECT_FALSE(ParseSegmentName(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace holdfast::wal
