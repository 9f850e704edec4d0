// Snapshots that an engine makes: of which moment, when they fail, when they are ended.
#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <string>

#include "storage/types/keys.h"
#include "tests/wal/engine_fixture.h"
#include "wal/engine.h"

namespace holdfast::wal {
namespace {

// The file of a snapshot is opened once that is allowed.
class SlowSnapshots : public RealFiles {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    if (path.find("/snapshots/") != std::string::npos) open_.get_future().wait();
    return real.Open(path, options);
  }
  std::promise<void> open_;
};

class EngineSnapshotTest : public EngineTest {
 protected:
  // As for a full synchronization.
  void StartCopy() {
    SnapshotRequest request;
    request.data_directory = directory_.path();
    request.fresh = false;
    copy_.reset();
    const auto started =
        engine_->StartSnapshot(std::move(request), [&](Result<SnapshotResult> made) { copy_ = std::move(made); });
    ASSERT_TRUE(started.ok()) << started.error().message;
  }

  // What is in memory is in a run file, but not in LMDB yet.
  void StartWithRun() {
    const std::atomic<bool> cancelled{true};  // after the run was written
    auto job = engine_->store().FreezeActive(engine_->log().EndPosition());
    ASSERT_EQ(job->Run({}, cancelled).error().code, ErrorCode::kAborted);
    job.reset();  // it holds LMDB open, which a process may open once only
    engine_.reset();
    ASSERT_TRUE(Open().ok());
  }

  void TearDown() override { copy_.reset(); }  // its pin goes before the log

  std::optional<Result<SnapshotResult>> copy_;
};

TEST_F(EngineSnapshotTest, SnapshotHoldsEverythingUpToTheMomentItWasAskedForThread) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 500; ++i) Set("key" + std::to_string(i), "value" + std::to_string(i));
  const uint64_t asked = engine_->log().AppendedOffset();
  const std::string digest = Digest();
  std::optional<Result<SnapshotResult>> result;
  SnapshotRequest request;
  request.data_directory = directory_.path();
  ASSERT_TRUE(engine_->StartSnapshot(request, [&](Result<SnapshotResult> made) { result = std::move(made); }).ok());
  auto second = engine_->StartSnapshot(request, [](const Result<SnapshotResult>&) {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  Set("later", "1");
  TurnUntil([&] { return result.has_value(); });
  ASSERT_TRUE(result->ok()) << result->error().message;
  EXPECT_GE((*result)->position.offset, asked);
  size_t findings = 0;
  ASSERT_TRUE(VerifySnapshot(PosixFileSystem(), (*result)->path, [&](const SnapshotFinding&) { ++findings; }).ok());
  EXPECT_EQ(findings, 0u);
  result.reset();

  // Loaded into another generation it is the same content at the same offset, and the log can go on from there.
  auto list = ListSnapshots(PosixFileSystem(), directory_.path());
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 1u);
  const std::string path = list->front().path;
  EngineOptions other = options_;
  other.generation_path = JoinPath(directory_.path(), "gen-2");
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(other.generation_path).ok());
  StoreOptions target;
  target.directory = other.generation_path;
  target.fs = &PosixFileSystem();
  target.random = &random_;
  const std::atomic<bool> cancelled{false};
  auto header = LoadSnapshot(PosixFileSystem(), path, target, cancelled, {});
  ASSERT_TRUE(header.ok()) << header.error().message;
  LogState state;
  state.end = header->position;
  state.lineage = Lineage::Parse(header->lineage_table).value();
  LogOptions log_options;
  log_options.directory = JoinPath(other.generation_path, "wal");
  log_options.fs = &PosixFileSystem();
  log_options.clock = &SystemClock();
  log_options.random = &random_;
  ASSERT_TRUE(Log::Open(log_options, state).ok());
  engine_.reset();
  options_ = other;
  ASSERT_TRUE(Open().ok());
  EXPECT_GE(engine_->log().AppendedOffset(), asked);
  EXPECT_EQ(Get("key499"), "value499");
  Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
  ASSERT_TRUE(keys::Delete(tx, std::vector<std::string_view>{"later"}).ok());
  tx.Commit();
  EXPECT_EQ(Digest(), digest);
}

TEST_F(EngineSnapshotTest, ASnapshotThatNeedsACheckpointFailsWithIt) {
  ASSERT_TRUE(Open().ok());
  const std::string runs = JoinPath(options_.generation_path, "run");
  ASSERT_TRUE(PosixFileSystem().RemoveTree(runs).ok());
  ASSERT_TRUE(PosixFileSystem().Open(runs, {.mode = OpenMode::kCreate}).ok());
  Set("k", "v");
  std::optional<Result<SnapshotResult>> result;
  const auto save = [&](bool fresh) {
    SnapshotRequest request;
    request.data_directory = directory_.path();
    request.fresh = fresh;
    result.reset();
    return engine_->StartSnapshot(request, [&](Result<SnapshotResult> made) { result = std::move(made); });
  };
  ASSERT_TRUE(save(true).ok());
  TurnUntil([&] { return result.has_value(); });
  ASSERT_FALSE(result->ok());
  EXPECT_NE(result->error().message.find("run"), std::string::npos) << result->error().message;
  // The last checkpoint is good enough for a full synchronization.
  ASSERT_TRUE(save(false).ok());
  TurnUntil([&] { return result.has_value(); });
  EXPECT_TRUE(result->ok()) << result->error().message;
  ASSERT_TRUE(PosixFileSystem().Remove(runs).ok());
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(runs).ok());
  ASSERT_TRUE(save(true).ok());
  TurnUntil([&] { return result.has_value(); });
  EXPECT_TRUE(result->ok()) << result->error().message;
}

TEST_F(EngineSnapshotTest, ASnapshotThatLetsStoreAndLogGrowTooMuchIsEnded) {
  SlowSnapshots fs;
  options_.fs = &fs;
  options_.snapshot_growth_bytes = 1 << 20;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 500; ++i) Set("key" + std::to_string(i), "value");
  Commit();
  std::optional<Result<SnapshotResult>> made;
  SnapshotRequest request;
  request.data_directory = directory_.path();
  ASSERT_TRUE(
      engine_->StartSnapshot(request, [&](Result<SnapshotResult> result) { made.emplace(std::move(result)); }).ok());
  TurnUntil([&] { return engine_->store().CheckpointPosition().offset >= engine_->log().AppendedOffset(); });
  for (int i = 0; i < 200; ++i) TurnUntil([] { return true; });
  EXPECT_TRUE(engine_->SnapshotRunning());
  for (int i = 0; i < 1100; ++i) Set("key", std::string(1000, 'v'));
  TurnUntil([] { return true; });
  fs.open_.set_value();
  TurnUntil([&] { return made.has_value(); });
  ASSERT_FALSE(made->ok());
  EXPECT_EQ(made->error().code, ErrorCode::kLimit);
  EXPECT_NE(made->error().message.find("snapshot-growth-max"), std::string::npos) << made->error().message;
  EXPECT_TRUE(PosixFileSystem().List(JoinPath(directory_.path(), "snapshots"))->empty());
  engine_.reset();
}

// A run found at the start is in the store, but not yet in LMDB, which snapshots are made from.
TEST_F(EngineSnapshotTest, ASnapshotWaitsForTheRunThatWasFoundAtTheStart) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 100; ++i) Set("key" + std::to_string(i), "value");
  Commit();
  StartWithRun();
  ASSERT_TRUE(engine_->store().HasFrozen());
  std::optional<Result<SnapshotResult>> made;
  SnapshotRequest request;
  request.data_directory = directory_.path();
  ASSERT_TRUE(
      engine_
          ->StartSnapshot(std::move(request), [&](Result<SnapshotResult> result) { made.emplace(std::move(result)); })
          .ok());
  TurnUntil([&] { return made.has_value(); });
  ASSERT_TRUE(made->ok()) << made->error().message;
  EXPECT_EQ((*made)->footer.keys, 100u);
  EXPECT_EQ((*made)->position.offset, engine_->log().AppendedOffset());
  made.reset();  // its pin goes before the log
}

// What is in memory is in the copy, so that no stream of the same size follows it; the checkpoint comes later.
TEST_F(EngineSnapshotTest, ACopyHoldsWhatIsInMemory) {
  options_.checkpoint_log_bytes = 1 << 20;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 500; ++i) Set("key" + std::to_string(i), "old");
  Checkpoint();
  for (int i = 250; i < 3000; ++i) Set("key" + std::to_string(i), "new");
  Commit();
  const uint64_t asked = engine_->log().DurableOffset();
  const uint64_t checkpoints = engine_->CheckpointsDone();
  StartCopy();
  Set("later", "1");
  TurnUntil([&] { return copy_.has_value(); });
  ASSERT_TRUE(copy_->ok()) << copy_->error().message;
  EXPECT_EQ((*copy_)->position.offset, asked);
  EXPECT_EQ((*copy_)->footer.keys, 3000u);
  EXPECT_EQ(engine_->CheckpointsDone(), checkpoints) << "it makes way for the copy";
  TurnUntil([&] { return engine_->CheckpointsDone() > checkpoints; });
  EXPECT_EQ(engine_->store().CheckpointPosition().offset, asked);

  auto reader = SnapshotReader::Open(PosixFileSystem(), (*copy_)->path);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  class Values : public SnapshotVisitor {
   public:
    Result<void> Key(const SnapshotKey& key) override {
      EXPECT_EQ(key.value.body, std::stoi(std::string(key.key.substr(3))) < 250 ? "old" : "new") << key.key;
      return {};
    }
    Result<void> Row(const SnapshotRow&) override { return {}; }
  } values;
  EXPECT_TRUE((*reader)->VisitAll(values).ok());
}

TEST_F(EngineSnapshotTest, ACopyLeavesAFewBytesToTheStream) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 500; ++i) Set("key" + std::to_string(i), "value");
  Checkpoint();
  const uint64_t checkpoint = engine_->store().CheckpointPosition().offset;
  Set("later", "1");
  Commit();
  StartCopy();
  EXPECT_FALSE(engine_->store().HasFrozen());
  TurnUntil([&] { return copy_.has_value(); });
  ASSERT_TRUE(copy_->ok()) << copy_->error().message;
  EXPECT_EQ((*copy_)->position.offset, checkpoint);
  EXPECT_EQ((*copy_)->footer.keys, 500u);
}

// Nobody is sent what a crash here could take back.
TEST_F(EngineSnapshotTest, ACopyWaitsUntilTheLogIsDurable) {
  options_.checkpoint_log_bytes = 64 << 10;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 500; ++i) Set("key" + std::to_string(i), "value");
  ASSERT_LT(engine_->log().DurableOffset(), engine_->log().AppendedOffset());
  StartCopy();
  for (int i = 0; i < 10; ++i) {
    engine_->RunCompletions();
    engine_->Tick(SystemClock().MonotonicUs() / 1000);
    EXPECT_EQ(engine_->CurrentSnapshotProgress().keys_total, 0u);
  }
  EXPECT_TRUE(engine_->store().HasFrozen());
  EXPECT_FALSE(copy_.has_value());
  TurnUntil([&] { return copy_.has_value(); });
  ASSERT_TRUE(copy_->ok()) << copy_->error().message;
  EXPECT_EQ((*copy_)->footer.keys, 500u);
  EXPECT_EQ((*copy_)->position.offset, engine_->log().DurableOffset());
}

// A checkpoint makes way for a copy only while writers have room.
TEST_F(EngineSnapshotTest, ACheckpointDoesNotWaitForACopyForEver) {
  SlowSnapshots fs;
  options_.fs = &fs;
  options_.checkpoint_log_bytes = 1 << 20;
  options_.memtable_bytes = 4 << 20;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 2500; ++i) Set("key" + std::to_string(i), "value");
  Commit();
  StartCopy();
  const uint64_t asked = engine_->log().AppendedOffset();
  for (int i = 0; i < 200; ++i) TurnUntil([] { return true; });
  EXPECT_EQ(engine_->CheckpointsDone(), 0u);
  for (int i = 0; i < 600; ++i) Set("more", std::string(1000, 'v'));
  TurnUntil([&] { return engine_->CheckpointsDone() > 0; });
  for (int i = 0; i < 2500; ++i) Set("key" + std::to_string(i), "other");
  Checkpoint();
  EXPECT_FALSE(copy_.has_value());
  fs.open_.set_value();
  TurnUntil([&] { return copy_.has_value(); });
  ASSERT_TRUE(copy_->ok()) << copy_->error().message;
  EXPECT_EQ((*copy_)->position.offset, asked);
  EXPECT_EQ((*copy_)->footer.keys, 2500u);
  copy_.reset();
  engine_.reset();
}

// The last checkpoint would be good enough, but LMDB does not hold it, and cannot take it.
TEST_F(EngineSnapshotTest, ASnapshotThatNeedsAMergeFailsWithIt) {
  class FullForLmdb : public RealFiles {
   public:
    Result<SpaceInfo> Space(const std::string& path) override {
      if (path.ends_with("/lmdb") && full.load()) return SpaceInfo{.total_bytes = 1ull << 30, .free_bytes = 0};
      return real.Space(path);
    }
    std::atomic<bool> full{false};
  } fs;
  options_.fs = &fs;
  ASSERT_TRUE(Open().ok());
  Set("key", "value");
  Commit();
  StartWithRun();
  fs.full = true;
  const auto copy = [&] {
    StartCopy();
    TurnUntil([&] { return copy_.has_value(); });
  };
  copy();
  ASSERT_FALSE(copy_->ok());
  EXPECT_EQ(copy_->error().code, ErrorCode::kNoSpace) << copy_->error().message;
  fs.full = false;
  TurnUntil([&] { return !engine_->CheckpointRunning(); });
  copy();
  ASSERT_TRUE(copy_->ok()) << copy_->error().message;
  EXPECT_EQ((*copy_)->footer.keys, 1u);
  copy_.reset();
  engine_.reset();
}

// A replica has got the first part of a unit, whose rest will not come.
TEST_F(EngineSnapshotTest, ASnapshotWaitsForNoUnitThatIsAbandoned) {
  ASSERT_TRUE(Open().ok());
  std::unique_ptr<LogCursor> cursor = OpenCursor(engine_->log());
  ASSERT_TRUE(cursor->Seek(0).ok());
  Set("before", "value");
  Commit();
  Set("long", std::string(3 << 20, 'v'));
  Commit();
  std::vector<std::shared_ptr<const SharedFrame>> frames;
  for (bool inside = false; !inside;) {
    auto frame = cursor->Next();
    ASSERT_TRUE(frame.ok() && *frame != nullptr);
    inside = !(*frame)->history.EndsUnit();
    frames.push_back(*frame);
  }
  cursor.reset();
  engine_.reset();
  options_.generation_path = JoinPath(directory_.path(), "replica");
  ASSERT_TRUE(Open().ok());
  for (const auto& frame : frames) ASSERT_TRUE(engine_->AppendAndApply(frame->history).ok());
  ASSERT_TRUE(engine_->log().InsideUnit());
  std::optional<Result<SnapshotResult>> made;
  SnapshotRequest request;
  request.data_directory = directory_.path();
  ASSERT_TRUE(
      engine_->StartSnapshot(request, [&](Result<SnapshotResult> result) { made.emplace(std::move(result)); }).ok());
  engine_->AbandonUnit();
  TurnUntil([&] { return made.has_value(); });
  ASSERT_TRUE(made->ok()) << made->error().message;
  EXPECT_EQ((*made)->footer.keys, 1u);
  made.reset();
}

}  // namespace
}  // namespace holdfast::wal
