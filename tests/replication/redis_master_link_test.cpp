// The dialect of Redis' replicas: every byte that is sent counts there, so every byte is compared.
#include "replication/redis_master_link.h"

#include <gtest/gtest.h>

namespace holdfast::replication {
namespace {

const std::string kId(40, 'a'), kNewId(40, 'b');
constexpr MasterLinkOptions kOptions{5000, 1000};

wal::Lineage History() {
  wal::Lineage lineage;
  lineage.Reset(kId, 0, 0);
  return lineage;
}

wal::HistoryFrame Data(uint64_t offset, std::string_view payload, int16_t db = 0) {
  wal::HistoryFrame frame;
  frame.offset = offset;
  frame.payload = payload;
  frame.selected_db = db;
  return frame;
}

std::string Ack(std::string_view offset) {
  std::string bytes = "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$" + std::to_string(offset.size()) + "\r\n";
  bytes += offset;
  return bytes + "\r\n";
}

TEST(RedisMasterLink, ContinuesWithNothingButTheStream) {
  RedisMasterLink link(kOptions, {}, 0);
  std::string out;
  link.Continue(History(), 100, 120, out);
  EXPECT_EQ(out, "+CONTINUE " + kId + "\r\n");
  out.clear();
  ASSERT_TRUE(link.Frame(Data(100, "0123456789", 7), out).ok());
  wal::HistoryFrame role;
  role.kind = wal::FrameKind::kRole;
  role.offset = 110;
  ASSERT_TRUE(link.Frame(role, out).ok());
  ASSERT_TRUE(link.Frame(Data(110, "abc"), out).ok());
  EXPECT_EQ(out, "0123456789abc");
  EXPECT_EQ(link.next_offset(), 113u);
  // A frame that leaves something out never becomes a stream.
  EXPECT_EQ(link.Frame(Data(120, "x"), out).error().code, ErrorCode::kCorruption);
}

TEST(RedisMasterLink, OldReplicasGetNoId) {
  RedisMasterLink link(kOptions, {.psync = true, .psync2 = false}, 0);
  std::string out;
  link.Continue(History(), 0, 0, out);
  EXPECT_EQ(out, "+CONTINUE\r\n");
}

TEST(RedisMasterLink, FullSyncIsTheFileBehindItsLength) {
  RedisMasterLink link(kOptions, {}, 0);
  std::string out;
  ASSERT_TRUE(link.Tick(1000, 0, 0, out).ok());
  EXPECT_EQ(out, "\n");
  out.clear();
  link.BeginFullSync(History(), 60, {50, 6, "name"}, out);
  EXPECT_EQ(out, "+FULLRESYNC " + kId + " 50\r\n$6\r\n");
  out.clear();
  link.SnapshotChunk("REDI", out);
  EXPECT_EQ(link.state(), MasterState::kSnapshot);
  ASSERT_TRUE(link.Tick(2500, 0, 0, out).ok());  // nothing may stand within the file, or behind it
  link.SnapshotChunk("S!", out);
  ASSERT_TRUE(link.Tick(4000, 0, 0, out).ok());
  EXPECT_EQ(out, "REDIS!");
  EXPECT_FALSE(link.online());
  ASSERT_TRUE(link.Received(Ack("50"), 4100).ok());
  EXPECT_TRUE(link.online());
  EXPECT_EQ(link.acked_offset(), 50u);
}

TEST(RedisMasterLink, SyncGetsNoOffsetsButADatabase) {
  RedisMasterLink link(kOptions, {.psync = false}, 0);
  std::string out;
  link.BeginFullSync(History(), 60, {50, 2, "name"}, out);
  link.SnapshotChunk("ab", out);
  ASSERT_TRUE(link.Frame(Data(50, "one", 12), out).ok());
  ASSERT_TRUE(link.Frame(Data(53, "two", 3), out).ok());
  EXPECT_EQ(out, "$2\r\nab*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\nonetwo");
  EXPECT_TRUE(link.online());
  ASSERT_TRUE(link.Received(Ack("0"), 100).ok());
  ASSERT_TRUE(link.Tick(1'000'000, 0, 0, out).ok());  // owes no acknowledgement
}

TEST(RedisMasterLink, ANewIdEndsTheLink) {
  RedisMasterLink link(kOptions, {}, 0);
  std::string out;
  link.Continue(History(), 100, 100, out);
  wal::Lineage longer = History();
  std::string payload;
  longer.AppendTo(payload);
  wal::HistoryFrame frame;
  frame.kind = wal::FrameKind::kLineage;
  frame.offset = 100;
  frame.payload = payload;
  ASSERT_TRUE(link.Frame(frame, out).ok());  // this one the replica was told of
  longer.Push(kNewId, 100, 0);
  payload.clear();
  longer.AppendTo(payload);
  frame.payload = payload;
  EXPECT_EQ(link.Frame(frame, out).error().code, ErrorCode::kAborted);
}

TEST(RedisMasterLink, SilenceEndsALinkButLoadingIsNoSilence) {
  RedisMasterLink link(kOptions, {}, 0);
  std::string out;
  link.Continue(History(), 0, 0, out);
  ASSERT_TRUE(link.Received("\n", 4000).ok());
  ASSERT_TRUE(link.Tick(8000, 0, 0, out).ok());
  EXPECT_FALSE(link.Tick(9001, 0, 0, out).ok());
}

TEST(RedisMasterLink, AcknowledgementsAreNotBelieved) {
  RedisMasterLink link(kOptions, {}, 0);
  std::string out;
  link.Continue(History(), 100, 100, out);
  EXPECT_FALSE(link.Received(Ack("101"), 0).ok());
  RedisMasterLink other(kOptions, {}, 0);
  other.Continue(History(), 100, 100, out);
  EXPECT_FALSE(other.Received("*1\r\n$8\r\nFLUSHALL\r\n", 0).ok());
}

}  // namespace
}  // namespace holdfast::replication
