// Each synced byte of a small log is flipped, each length is cut: refused if any surviving durable mark, a later
// segment or the checkpoint's offset proves the loss, else cut and reported. What must happen is computed from the
// frames that the independent reader finds, not from what recovery says.
#include <gtest/gtest.h>

#include <optional>

#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/wal/log_driver.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::CheckedFrame;
using holdfast::testing::CheckedLog;
using holdfast::testing::CheckLog;
using holdfast::testing::FaultFileSystem;
using holdfast::testing::Problems;
using testing::kTestDirectory;
using testing::LogDriver;

constexpr uint64_t kHeaderBlock = 4096;

class DamageTest : public ::testing::TestWithParam<bool> {
 protected:
  // Two segments with several batches; the last batches are small, a unit spans frames. With the parameter the log ends
  // with an idle durable mark.
  void SetUp() override {
    driver_.options.segment_bytes = 8 << 10;
    ASSERT_TRUE(driver_.Create().ok());
    for (int i = 0; i < 5; i++) {
      driver_.Append(static_cast<size_t>(300 + i * 333));
      ASSERT_TRUE(driver_.Commit().ok());
      if (i == 2) driver_.checkpoint = driver_.log->EndPosition();
    }
    driver_.Append(150);
    driver_.clock.AdvanceMs(1);
    driver_.Append(90);
    ASSERT_TRUE(driver_.Commit().ok());
    if (GetParam()) {
      ASSERT_TRUE(driver_.log->AppendDurableMark());
      ASSERT_TRUE(driver_.Commit().ok());
    }
    late_checkpoint_ = driver_.log->EndPosition();
    driver_.log.reset();
    log_ = CheckLog(fs_, kTestDirectory, true);
    ASSERT_EQ(Problems(log_), "");
    ASSERT_EQ(log_.files.size(), 2u);
  }

  struct Expected {
    bool refused = false;
    uint64_t end = 0;  // offset of whole units, if not refused
    bool cut = false;
  };
  [[nodiscard]] const CheckedFrame* LastFrameOf(const std::string& file) const {
    const CheckedFrame* last = nullptr;
    for (const CheckedFrame& frame : log_.frames) {
      if (frame.file == file) last = &frame;
    }
    return last;
  }

  // The frames of the last segment that are lost begin with `first_bad`; `survives` tells whose headers are left.
  template <typename Survives>
  Expected AfterLoss(const CheckedFrame& first_bad, const StreamPosition& checkpoint, Survives survives) const {
    Expected expected;
    for (const CheckedFrame& frame : log_.frames) {
      if (frame.file != first_bad.file || !survives(frame)) continue;
      if (frame.durable_mark > first_bad.position) expected.refused = true;
    }
    expected.end = first_bad.offset;  // no unit of this log spans frames in its last segment
    if (checkpoint.offset > expected.end) expected.refused = true;
    expected.cut = true;
    return expected;
  }

  Expected ForFlip(const std::string& file, uint64_t at, const StreamPosition& checkpoint) const {
    const bool last_segment = file == log_.files.back();
    if (at < kHeaderBlock) return {.refused = true};
    for (const CheckedFrame& frame : log_.frames) {
      const uint64_t checked_end = frame.position + 80 + frame.payload.size();
      if (frame.file != file || at < frame.position || at >= checked_end) continue;
      if (!last_segment) return {.refused = true};
      const bool in_header = at < frame.position + 80;
      return AfterLoss(frame, checkpoint,
                       [&](const CheckedFrame& other) { return !in_header || other.position != frame.position; });
    }
    return {.end = log_.end_offset};  // padding or what nobody has written
  }

  Expected ForCut(const std::string& file, uint64_t size, const StreamPosition& checkpoint) const {
    if (size < kHeaderBlock) return {.refused = true};
    for (const CheckedFrame& frame : log_.frames) {
      if (frame.file != file || frame.position + 80 + frame.payload.size() <= size) continue;
      if (file != log_.files.back()) return {.refused = true};
      Expected expected =
          AfterLoss(frame, checkpoint, [&](const CheckedFrame& other) { return other.position + 80 <= size; });
      expected.cut = size > frame.position;
      return expected;
    }
    return {.end = log_.end_offset};
  }

  void Check(const std::string& what, const StreamPosition& checkpoint, const Expected& expected) {
    driver_.checkpoint = checkpoint;
    const auto outcome = driver_.Replay(true);
    ASSERT_EQ(outcome.ok(), !expected.refused) << what << (outcome.ok() ? "" : ": " + outcome.error().message);
    uint64_t damages = 0;
    if (!outcome.ok()) {
      ASSERT_EQ(outcome.error().code, ErrorCode::kCorruption) << what;
      ASSERT_NE(outcome.error().message.find("holdfast log verify " + kTestDirectory), std::string::npos) << what;
      ASSERT_NE(outcome.error().message.find(" at byte "), std::string::npos) << outcome.error().message;
      return;
    }
    ASSERT_EQ(outcome->state.end.offset, expected.end) << what;
    ASSERT_TRUE(driver_.replayed == driver_.stream.substr(checkpoint.offset, expected.end - checkpoint.offset)) << what;
    ASSERT_EQ(expected.cut, outcome->report.cut_bytes > 0) << what;
    const auto verified = VerifyLog(fs_, kTestDirectory, [&](const Finding& finding) { damages += !finding.torn; });
    ASSERT_TRUE(verified.ok());
    ASSERT_EQ(damages, 0u) << what;
  }

  FaultFileSystem fs_;
  LogDriver driver_{fs_};
  StreamPosition late_checkpoint_;
  CheckedLog log_;
};

TEST_P(DamageTest, EachFlippedByteIsRefusedOrCut) {
  const StreamPosition early = driver_.checkpoint;
  uint64_t refused = 0;
  uint64_t cut = 0;
  for (const std::string& file : log_.files) {
    const std::string good = fs_.Content(file);
    const CheckedFrame* last = LastFrameOf(file);
    const uint64_t end = last->position + last->size;
    for (uint64_t at = 0; at < end; at += at >= 600 && at < kHeaderBlock ? 61 : 1) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
      fs_.SetContent(file, bad);
      const StreamPosition& checkpoint = at % 3 == 0 ? late_checkpoint_ : early;
      // A checkpoint in the second segment leaves the first one's frames unread.
      if (file == log_.files.front() && at >= kHeaderBlock && at % 3 == 0) continue;
      const Expected expected = ForFlip(file, at, checkpoint);
      Check(file + " flipped at " + std::to_string(at), checkpoint, expected);
      if (HasFatalFailure()) return;
      refused += expected.refused;
      cut += expected.cut;
    }
    fs_.SetContent(file, good);
  }
  EXPECT_GT(refused, 1000u);
  EXPECT_GT(cut, 50u);
}

TEST_P(DamageTest, EachCutLengthIsRefusedOrCut) {
  const StreamPosition early = driver_.checkpoint;
  for (const std::string& file : log_.files) {
    const std::string good = fs_.Content(file);
    const CheckedFrame* last = LastFrameOf(file);
    for (uint64_t size = 0; size < last->position + last->size + 16; size += size < kHeaderBlock ? 111 : 1) {
      fs_.SetContent(file, good.substr(0, size));
      const StreamPosition& checkpoint = size % 3 == 0 ? late_checkpoint_ : early;
      if (file == log_.files.front() && size >= kHeaderBlock && size % 3 == 0) continue;
      Check(file + " cut to " + std::to_string(size), checkpoint, ForCut(file, size, checkpoint));
      if (HasFatalFailure()) return;
    }
    fs_.SetContent(file, good);
  }
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutIdleMark, DamageTest, ::testing::Bool());

}  // namespace
}  // namespace holdfast::wal
