#include "cli/tool_log_jump.h"

#include <gtest/gtest.h>

#include <map>

#include "cli/tool_input.h"
#include "cli/tool_log_reader.h"
#include "tests/cli/tool_test_files.h"
#include "wal/log_walk.h"

namespace holdfast::cli {
namespace {

using testing::FaultFileSystem;
using testing::Resp;

class ToolLogJumpTest : public ::testing::Test {
 protected:
  // A large segment in a log of its own (the first one of a log is small); each unit in a batch of its own.
  void Write(const std::vector<std::string>& units) {
    const std::string directory = "wal" + std::to_string(++logs_);
    ASSERT_TRUE(fs_.CreateDirectory(directory).ok());
    SeededRandom random(1);
    wal::LogOptions options;
    options.directory = directory;
    options.segment_bytes = kSegmentBytes;
    options.fs = &fs_;
    options.clock = &SystemClock();
    options.random = &random;
    wal::LogState state;
    state.lineage.Reset(std::string(wal::kLineageIdSize, 'a'), 0, 1);
    state.end.lineage_id = state.lineage.current_id();
    auto log = wal::Log::Open(options, state);
    ASSERT_TRUE(log.ok()) << log.error().message;
    ASSERT_TRUE((*log)->PrepareSpare().ok());
    const auto append = [&](const std::string& unit) {
      (*log)->AppendUnit(unit, 0, 1'700'000'000'000);
      (*log)->Seal();
      ASSERT_TRUE((*log)->WriteBatch().ok());
      (*log)->FinishBatch();
    };
    for (int i = 0; i < 5; ++i) append(Resp({"SELECT", "0"}) + Resp({"SET", "before", std::string(1'000'000, 'w')}));
    for (const std::string& unit : units) append(unit);
    const auto files = wal::ListLogFiles(fs_, directory);
    ASSERT_TRUE(files.ok());
    ASSERT_GE(files->size(), 2U);
    path_ = (*files)[1].path;
    directory_ = directory;
    segments_ = files->size();
    Walk();
  }

  // Where the frames are, read from the beginning.
  void Walk() {
    auto reader = wal::SegmentReader::Open(fs_, path_, false, 1 << 20);
    ASSERT_TRUE(reader.ok());
    wal::WalkState state{(*reader)->header().state, (*reader)->header_checksum()};
    ends_.clear();
    const auto end = wal::WalkFrames(**reader, wal::kSegmentHeaderSize, (*reader)->file_size(), state,
                                     [&](const StreamPosition&, const wal::ParsedFrame& frame, uint64_t position) {
                                       if (frame.history.kind != wal::FrameKind::kData) return Result<void>();
                                       ends_.push_back({state.history.end, state.history.inside_unit,
                                                        position + frame.size_on_disk, frame.header_checksum});
                                       return Result<void>();
                                     });
    ASSERT_TRUE(end.ok());
    end_ = end->position;
  }

  std::optional<LogPlace> Find(const StreamPosition& wanted) {
    auto search = wal::SegmentReader::Open(fs_, path_, false, kSearchWindow);
    auto reader = wal::SegmentReader::Open(fs_, path_, false, 1 << 20);
    EXPECT_TRUE(search.ok() && reader.ok());
    const auto place = FindPlace(**search, **reader, wanted);
    EXPECT_TRUE(place.ok()) << place.error().message;
    return place.ok() ? *place : std::nullopt;
  }

  bool MoreBehind(uint64_t end) {
    auto search = wal::SegmentReader::Open(fs_, path_, false, kSearchWindow);
    EXPECT_TRUE(search.ok());
    const auto more = FramesBehind(**search, end);
    EXPECT_TRUE(more.ok());
    return more.ok() && *more;
  }

  void Overwrite(uint64_t position, const std::string& bytes) {
    auto file = fs_.Open(path_, {.mode = OpenMode::kWrite});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->WriteAt(position, bytes).ok());
  }

  struct End {
    StreamPosition at;
    bool inside_unit;
    uint64_t position;
    uint64_t chain;
  };
  static constexpr uint64_t kSegmentBytes = 16 << 20;
  FaultFileSystem fs_;
  int logs_ = 0;
  std::string path_;  // the second segment
  std::string directory_;
  size_t segments_ = 0;
  std::vector<End> ends_;  // of data frames
  uint64_t end_ = 0;
};

std::vector<std::string> Units(size_t count, size_t bytes) {
  std::vector<std::string> units = {Resp({"SELECT", "0"}) + Resp({"SET", "first", "value"})};
  for (size_t i = 1; i < count; ++i) {
    units.push_back(Resp({"SET", "key" + std::to_string(i), std::string(bytes, 'x')}));
  }
  return units;
}

TEST_F(ToolLogJumpTest, EveryUnitEndIsFoundWhereReadingFromTheBeginningFindsIt) {
  for (const auto& [count, bytes] : std::map<size_t, size_t>{{40, 300'000}, {600, 20'000}, {2000, 100}}) {
    Write(Units(count, bytes));
    ASSERT_GE(ends_.size(), count);
    for (size_t i = 0; i < ends_.size(); i += 1 + count / 60) {
      const auto place = Find(ends_[i].at);
      ASSERT_TRUE(place) << count << " units, number " << i;
      EXPECT_EQ(place->position, ends_[i].position);
      EXPECT_EQ(place->chain, ends_[i].chain);
      EXPECT_EQ(place->selected_db, ends_[i].at.selected_db);
      EXPECT_EQ(place->time_ms, ends_[i].at.time_ms);
    }
    EXPECT_TRUE(Find(ends_.back().at));
  }
}

TEST_F(ToolLogJumpTest, PositionsThatAreNoUnitEndOrOfAnotherHistoryAreNotFound) {
  std::vector<std::string> units = Units(30, 200'000);
  units.push_back(Resp({"SET", "large", std::string(5 << 20, 'y')}));  // in several frames
  Write(units);
  ASSERT_GE(ends_.size(), 30U);
  StreamPosition wanted = ends_[20].at;
  ++wanted.offset;
  EXPECT_FALSE(Find(wanted));
  wanted = ends_[20].at;
  wanted.digest.Update("x");
  EXPECT_FALSE(Find(wanted));
  size_t parts = 0;
  for (const End& end : ends_) {
    if (!end.inside_unit) continue;
    ++parts;
    EXPECT_FALSE(Find(end.at));
  }
  EXPECT_GE(parts, 4U);
  EXPECT_TRUE(Find(ends_.back().at));
}

// Whoever stores a copy of the log in the log: what is found there is not taken for the log.
TEST_F(ToolLogJumpTest, ValuesThatHoldFramesOfTheSegmentDoNotMislead) {
  std::vector<std::string> units = Units(20, 200'000);
  Write(units);
  std::string copy(3 << 20, '\0');
  {
    auto file = fs_.Open(path_, {});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->ReadAt(wal::kSegmentHeaderSize, copy.data(), copy.size()).ok());
  }
  // The random numbers are the same, so the second segment has the incarnation of the first.
  units.push_back(Resp({"SET", "copy", copy}));
  units.push_back(Resp({"SET", "behind", std::string(100'000, 'z')}));
  Write(units);
  std::string segment(static_cast<size_t>(end_), '\0');
  {
    auto file = fs_.Open(path_, {});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->ReadAt(0, segment.data(), segment.size()).ok());
  }
  const std::string frame = segment.substr(wal::kSegmentHeaderSize, wal::kFrameHeaderSize);
  ASSERT_NE(segment.find(frame, wal::kSegmentHeaderSize + 1), std::string::npos) << "the copy holds the same frames";
  size_t found = 0;
  for (const End& end : ends_) {
    if (end.inside_unit) continue;
    const auto place = Find(end.at);
    if (!place) continue;  // read from the beginning, then
    ++found;
    EXPECT_EQ(place->position, end.position) << "offset " << end.at.offset;
    EXPECT_EQ(place->chain, end.chain);
  }
  EXPECT_GT(found, 0U);
}

// From a place in one segment into the next ones, which say of the history what was jumped over.
TEST_F(ToolLogJumpTest, ReadingGoesOnInTheNextSegments) {
  Write(Units(150, 300'000));
  ASSERT_GE(segments_, 4U);
  ASSERT_GE(ends_.size(), 40U);
  StreamPosition wanted = ends_[40].at;
  wanted.lineage_id = std::string(wal::kLineageIdSize, 'a');  // as a store has it
  const ToolInput input{InputKind::kLogDirectory, directory_, "", directory_, {}};
  auto log = LogReader::Open(fs_, input, false);
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE((*log)->SeekPosition(wanted).ok());
  ASSERT_TRUE((*log)->jumped());
  uint64_t end = wanted.offset;
  while (true) {
    const auto frame = (*log)->Next();
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    if (!*frame) break;
    if ((*frame)->history->kind != wal::FrameKind::kData) continue;
    ASSERT_EQ((*frame)->history->offset, end);
    end = (*frame)->history->EndOffset();
  }
  auto whole = LogReader::Open(fs_, input, false);
  ASSERT_TRUE(whole.ok());
  while (true) {
    const auto frame = (*whole)->Next();
    ASSERT_TRUE(frame.ok());
    if (!*frame) break;
  }
  EXPECT_EQ(end, (*whole)->state().end.offset);
}

TEST_F(ToolLogJumpTest, DamageBeforeThePlaceIsNoHindranceButNearItIsOne) {
  Write(Units(40, 300'000));
  ASSERT_GE(ends_.size(), 40U);
  Overwrite(ends_[3].position + 200, "damage");
  EXPECT_TRUE(Find(ends_.back().at));
  Overwrite(ends_[36].position + 200, "damage");
  EXPECT_FALSE(Find(ends_.back().at));
}

TEST_F(ToolLogJumpTest, FramesBehindABreakAreSeen) {
  Write(Units(40, 300'000));
  ASSERT_GE(ends_.size(), 40U);
  EXPECT_FALSE(MoreBehind(end_));
  EXPECT_TRUE(MoreBehind(ends_[20].position + 8));
  // A hole, and frames behind it.
  Overwrite(ends_[30].position, std::string(1 << 20, '\0'));
  EXPECT_TRUE(MoreBehind(ends_[30].position));
}

}  // namespace
}  // namespace holdfast::cli
