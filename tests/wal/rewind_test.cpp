// Going back to a fork: what is cut is in a file first, and a power cut at any call ends before or after, never
// between.
#include "wal/rewind.h"

#include <gtest/gtest.h>

#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/wal/log_driver.h"
#include "wal/diverged_tail.h"
#include "wal/log_walk.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::CheckLog;
using holdfast::testing::FaultFileSystem;
using holdfast::testing::Problems;
using testing::LogDriver;

constexpr const char* kRoleOfReplica = "replica of the new master";
const std::string kNewId(40, 'b');

// A deposed master: fork, then more than its successor ever saw, over several segments, then REPLICAOF.
struct Deposed {
  explicit Deposed(FileSystem& file_system, uint64_t seed = 3) : fs(file_system), driver(file_system, seed) {
    driver.options.directory = "data/gen-1/wal";
    driver.options.segment_bytes = 12 << 10;
  }

  Result<void> Make() {
    RETURN_IF_ERROR(fs.CreateDirectory("data"));
    RETURN_IF_ERROR(fs.SyncDirectory(""));
    RETURN_IF_ERROR(fs.CreateDirectory("data/gen-1"));
    RETURN_IF_ERROR(fs.SyncDirectory("data"));
    RETURN_IF_ERROR(driver.Create());
    driver.log->AppendControl(FrameKind::kRole, "master", driver.clock.WallMs());
    for (int i = 0; i < 6; ++i) {
      driver.Append(1500);
      driver.Append(300);
      RETURN_IF_ERROR(driver.Commit());
      if (i == 1) driver.Checkpoint();
    }
    fork = driver.stream.size();
    agreed = driver.log->lineage();
    agreed.Push(kNewId, fork, driver.clock.WallMs());
    for (int i = 0; i < 6; ++i) {
      if (i == 2) driver.Append(30'000);  // a unit of several frames
      driver.Append(2500);
      RETURN_IF_ERROR(driver.Commit());
    }
    driver.log->AppendControl(FrameKind::kRole, "replica, before the rewind", driver.clock.WallMs());
    return driver.Commit();
  }

  // What the server does once the master has agreed. The log is closed afterwards.
  Result<void> Order() {
    driver.log.reset();
    TailRequest request;
    request.log_directory = driver.options.directory;
    request.data_directory = "data";
    request.from = fork;
    request.to = driver.stream.size();
    request.fs = &fs;
    request.random = &driver.random;
    ASSIGN_OR_RETURN(tail, SaveTail(request));
    return WriteRewindOrder(fs, "data/gen-1", {fork, agreed, kRoleOfReplica, tail.path});
  }

  FileSystem& fs;
  LogDriver driver;
  uint64_t fork = 0;
  Lineage agreed;
  SavedTail tail;
};

// A start as the engine makes it. `before` says what the directory held.
Result<void> Start(FileSystem& fs, const Deposed& before, LogDriver& after) {
  after.options.directory = before.driver.options.directory;
  after.options.segment_bytes = before.driver.options.segment_bytes;
  after.checkpoint = before.driver.checkpoint;
  after.clock.SetWallMs(const_cast<Deposed&>(before).driver.clock.WallMs());
  ASSIGN_OR_RETURN(const std::optional<RewindOrder> order, ReadRewindOrder(fs, "data/gen-1"));
  RecoveryInput input{.directory = after.options.directory, .checkpoint = after.checkpoint, .fs = &fs};
  if (order) input.cut_at = order->offset;
  after.replayed.clear();
  ReplayVisitor visitor;
  visitor.units = [&](uint64_t, int16_t, int64_t, std::string_view units) -> Result<void> {
    after.replayed += units;
    return {};
  };
  ASSIGN_OR_RETURN(RecoveryOutcome outcome, Recover(input, visitor));
  RETURN_IF_ERROR(after.OpenAt(std::move(outcome.state)));
  after.stream = before.driver.stream.substr(0, after.log->AppendedOffset());
  return order ? CompleteRewind(fs, "data/gen-1", *order, *after.log) : Result<void>();
}

// The bytes of a kept tail, "" and a failure if it is not a whole one.
std::string TailBytes(FileSystem& fs, const std::string& path) {
  auto reader = SegmentReader::Open(fs, path, false, 1 << 20);
  EXPECT_TRUE(reader.ok()) << reader.error().message;
  if (!reader.ok()) return "";
  WalkState state;
  state.history = (*reader)->header().state;
  state.chain = (*reader)->header_checksum();
  std::string bytes;
  auto end = WalkFrames(**reader, kSegmentHeaderSize, (*reader)->file_size(), state,
                        [&](const StreamPosition&, const ParsedFrame& frame, uint64_t) -> Result<void> {
                          if (frame.history.kind == FrameKind::kData) bytes += frame.history.payload;
                          return {};
                        });
  EXPECT_TRUE(end.ok() && !end->broken && end->position == (*reader)->file_size());
  EXPECT_FALSE(state.history.inside_unit);
  return bytes;
}

// Everything that must hold after a start, whatever happened before it.
void CheckBeforeOrAfter(FileSystem& fs, const Deposed& before, bool* rewound) {
  LogDriver after(fs, 9);
  auto started = Start(fs, before, after);
  ASSERT_TRUE(started.ok()) << started.error().message;
  const uint64_t end = after.log->AppendedOffset();
  const uint64_t from = before.driver.checkpoint.offset;
  ASSERT_EQ(after.replayed, before.driver.stream.substr(from, end - from));
  *rewound = end != before.driver.stream.size();
  if (*rewound) {
    ASSERT_EQ(end, before.fork) << "neither before nor after";
    EXPECT_EQ(after.log->lineage(), before.agreed);
    EXPECT_EQ(after.log->role(), kRoleOfReplica);
    EXPECT_EQ(TailBytes(fs, JoinPath("data/diverged", TailFileName(before.agreed.entries()[0].id, before.fork,
                                                                   before.driver.stream.size()))),
              before.driver.stream.substr(before.fork));
  } else {
    EXPECT_EQ(after.log->role(), "replica, before the rewind");
  }
  // It goes on, and a later start cuts nothing more.
  after.Append(400);
  ASSERT_TRUE(after.Commit().ok());
  const std::string stream = after.stream;
  after.log.reset();
  LogDriver later(fs, 10);
  started = Start(fs, before, later);
  ASSERT_TRUE(started.ok()) << started.error().message;
  ASSERT_EQ(later.replayed, stream.substr(from));
  later.log.reset();
  ASSERT_EQ(Problems(CheckLog(fs, before.driver.options.directory)), "");
}

TEST(RewindTest, ALogThatIsGoneIsRefused) {
  FaultFileSystem fs;
  Deposed before(fs);
  ASSERT_TRUE(before.Make().ok());
  before.driver.checkpoint = StreamPosition();
  ASSERT_TRUE(before.Order().ok());
  ASSERT_TRUE(fs.RemoveTree(before.driver.options.directory).ok());
  LogDriver after(fs, 9);
  const auto started = Start(fs, before, after);
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code, ErrorCode::kCorruption);
  EXPECT_NE(started.error().message.find("the log is gone"), std::string::npos) << started.error().message;
}

TEST(RewindTest, TheTailIsKeptAndTheLogEndsAtTheFork) {
  FaultFileSystem fs;
  Deposed deposed(fs);
  ASSERT_TRUE(deposed.Make().ok());
  auto ordered = deposed.Order();
  ASSERT_TRUE(ordered.ok()) << ordered.error().message;
  EXPECT_EQ(deposed.tail.bytes, deposed.driver.stream.size() - deposed.fork);
  EXPECT_EQ(deposed.tail.units, 7u);
  EXPECT_EQ(CountTails(fs, "data").count, 1u);
  EXPECT_EQ(CountTails(fs, "data").stream_bytes, deposed.tail.bytes);
  bool rewound = false;
  CheckBeforeOrAfter(fs, deposed, &rewound);
  EXPECT_TRUE(rewound);
}

TEST(RewindTest, TheLogIsReadableAsASegmentByTheVerifier) {
  FaultFileSystem fs;
  Deposed deposed(fs);
  ASSERT_TRUE(deposed.Make().ok());
  ASSERT_TRUE(deposed.Order().ok());
  // At a directory of its own, under a segment's name, the tail is a log.
  ASSERT_TRUE(fs.CreateDirectory("alone").ok());
  ASSERT_TRUE(fs.Link(deposed.tail.path, JoinPath("alone", SegmentName(1, deposed.fork))).ok());
  int findings = 0;
  auto report = VerifyLog(fs, "alone", [&](const Finding&) { ++findings; });
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(findings, 0);
}

TEST(RewindTest, PowerCutsAnywhereEndBeforeOrAfter) {
  int before = 0, after = 0;
  for (uint64_t call = 1;; ++call) {
    FaultFileSystem fs;
    Deposed deposed(fs);
    ASSERT_TRUE(deposed.Make().ok());
    fs.CutPowerAtCall(call);
    LogDriver first(fs, 8);
    const bool done = deposed.Order().ok() && Start(fs, deposed, first).ok();
    first.log.reset();
    if (!fs.power_is_off()) {
      EXPECT_TRUE(done);
      break;
    }
    for (uint64_t seed = 0; seed < 4; ++seed) {
      SCOPED_TRACE("call " + std::to_string(call) + ", seed " + std::to_string(seed));
      SeededRandom random(call * 100 + seed);
      const std::unique_ptr<FaultFileSystem> state = fs.CrashedCopy(random);
      const std::unique_ptr<FaultFileSystem> twice = state->CrashedCopy(random);
      bool rewound = false;
      CheckBeforeOrAfter(*state, deposed, &rewound);
      ++(rewound ? after : before);
      // And power goes again while the start completes it.
      twice->CutPowerAtCall(1 + random.Below(40));
      LogDriver again(*twice, 11);
      (void)Start(*twice, deposed, again);
      again.log.reset();
      twice->Crash(random);
      bool rewound_twice = false;
      CheckBeforeOrAfter(*twice, deposed, &rewound_twice);
      EXPECT_EQ(rewound, rewound_twice);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(before, 20);
  EXPECT_GT(after, 40);
}

TEST(RewindTest, AFailedCallBeforeTheOrderLeavesEverything) {
  std::vector<bool> rewound_after;  // a failure of each call
  for (uint64_t call = 1;; ++call) {
    FaultFileSystem fs;
    Deposed deposed(fs);
    ASSERT_TRUE(deposed.Make().ok());
    fs.FailCall(call, ErrorCode::kNoSpace);
    const auto ordered = deposed.Order();
    fs.ClearFaults();
    SCOPED_TRACE("call " + std::to_string(call));
    bool rewound = false;
    CheckBeforeOrAfter(fs, deposed, &rewound);
    if (HasFatalFailure()) return;
    if (ordered.ok()) {
      EXPECT_TRUE(rewound);
      break;
    }
    rewound_after.push_back(rewound);
  }
  // Only the last sync of the directory may fail with the order already there.
  ASSERT_GT(rewound_after.size(), 3u);
  for (size_t i = 0; i + 1 < rewound_after.size(); ++i) EXPECT_FALSE(rewound_after[i]) << "call " << i + 1;
}

TEST(RewindTest, ADamagedOrderIsRefused) {
  FaultFileSystem fs;
  Deposed deposed(fs);
  ASSERT_TRUE(deposed.Make().ok());
  ASSERT_TRUE(deposed.Order().ok());
  const std::string whole = fs.Content("data/gen-1/rewind");
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    fs.SetContent("data/gen-1/rewind", damaged);
    const auto order = ReadRewindOrder(fs, "data/gen-1");
    ASSERT_FALSE(order.ok()) << "byte " << i;
    EXPECT_EQ(order.error().code, ErrorCode::kCorruption);
  }
}

TEST(RewindTest, ATailWhoseBeginningIsTrimmedKeepsTheRest) {
  FaultFileSystem fs;
  Deposed deposed(fs);
  ASSERT_TRUE(deposed.Make().ok());
  deposed.driver.Checkpoint();
  ASSERT_TRUE(deposed.driver.log->Trim(deposed.driver.checkpoint.offset, 8000).ok());
  const uint64_t first = deposed.driver.log->FirstOffset();
  ASSERT_GT(first, deposed.fork);
  ASSERT_TRUE(deposed.Order().ok());
  EXPECT_EQ(deposed.tail.from, first);
}

// A start that lost power while it cut may leave the old size, and zeros in the block where the cut is. The frames
// behind vouch for what was there, but it is to go, and is in the tail's file.
TEST(RewindTest, ZerosBehindTheForkOfACutThatLostPowerAreNoDamage) {
  for (const size_t frames_zeroed : {1u, 2u}) {
    FaultFileSystem fs;
    Deposed deposed(fs);
    ASSERT_TRUE(deposed.Make().ok());
    const auto log = CheckLog(fs, deposed.driver.options.directory);
    ASSERT_TRUE(deposed.Order().ok());
    size_t zeroed = 0;
    for (const auto& frame : log.frames) {
      if (frame.kind != 1 || frame.offset < deposed.fork || zeroed == frames_zeroed) continue;
      std::string bytes = fs.Content(frame.file);
      bytes.replace(frame.position, frame.size, frame.size, '\0');
      fs.SetContent(frame.file, bytes);
      ++zeroed;
    }
    ASSERT_EQ(zeroed, frames_zeroed);
    bool rewound = false;
    CheckBeforeOrAfter(fs, deposed, &rewound);
    EXPECT_TRUE(rewound);
  }
}

}  // namespace
}  // namespace holdfast::wal
