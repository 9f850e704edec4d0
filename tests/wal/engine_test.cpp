#include "wal/engine.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "storage/content_digest.h"
#include "storage/types/hashes.h"
#include "storage/types/keys.h"
#include "storage/types/keyspace.h"
#include "storage/types/strings.h"
#include "tests/support/fake_clock.h"
#include "tests/wal/engine_fixture.h"
#include "wal/segment_format.h"

namespace holdfast::wal {
namespace {

TEST_F(EngineTest, CommittedWritesAreThereAfterReopeningWithoutACheckpoint) {
  ASSERT_TRUE(Open().ok());
  const std::string lineage = engine_->log().lineage().current_id();
  for (int i = 0; i < 100; ++i) Set("key" + std::to_string(i), "value" + std::to_string(i));
  Commit();
  const uint64_t end = engine_->log().DurableOffset();
  const std::string digest = Digest();
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(engine_->log().AppendedOffset(), end);
  EXPECT_EQ(engine_->log().lineage().current_id(), lineage) << "a start that cuts nothing keeps its id";
  EXPECT_EQ(Digest(), digest);
}

TEST_F(EngineTest, UncommittedWritesAreGoneAfterReopening) {
  ASSERT_TRUE(Open().ok());
  Set("durable", "1");
  Commit();
  Set("pending", "1");
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Get("durable"), "1");
  EXPECT_EQ(Get("pending"), std::nullopt);
}

// Nothing that goes with the log's end may be in the store.
TEST_F(EngineTest, ACheckpointWaitsUntilTheLogIsDurable) {
  ASSERT_TRUE(Open().ok());
  Set("durable", "1");
  Commit();
  Set("pending", "1");
  engine_->RequestCheckpoint();
  for (int i = 0; i < 3; ++i) {
    engine_->Tick(SystemClock().MonotonicUs() / 1000);
    engine_->RunCompletions();
  }
  ASSERT_TRUE(engine_->CheckpointRunning());
  engine_.reset();  // what was begun by now is on the disk; what is pending never gets there
  const Result<void> opened = Open();
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(Get("durable"), "1");
  EXPECT_EQ(Get("pending"), std::nullopt);
}

// The server was down while a key expired that the log changes once more.
TEST_F(EngineTest, ReplayLetsNoKeyExpireByTheClock) {
  holdfast::testing::FakeClock past;
  options_.clock = &past;
  ASSERT_TRUE(Open().ok());
  const auto get = [&] {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, past.WallMs());
    const auto value = strings::Get(tx, "key");
    const std::string found = value.ok() && value->has_value() ? (*value)->Whole().value() : "nothing";
    tx.Commit();
    return found;
  };
  Transaction& set = engine_->store().Begin(TransactionMode::kLive, 0, past.WallMs());
  strings::SetOptions expiring;
  expiring.expire_at_ms = past.WallMs() + 1000;
  ASSERT_TRUE(strings::Set(set, "key", "be", expiring).ok());
  set.Commit();
  past.AdvanceMs(500);
  Transaction& append = engine_->store().Begin(TransactionMode::kLive, 0, past.WallMs());
  ASSERT_TRUE(strings::Append(append, "key", "fore").ok());
  append.Commit();
  Commit();
  ASSERT_EQ(get(), "before");
  ASSERT_GT(SystemClock().WallMs(), past.WallMs() + 1000) << "the clock of this machine is behind";
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(get(), "before");
  engine_.reset();  // before its clock
}

TEST_F(EngineTest, CheckpointsInTheBackgroundBoundTheReplayThread) {
  ASSERT_TRUE(Open().ok());
  const std::string value(1000, 'v');
  for (int i = 0; i < 5000; ++i) {
    Set("key" + std::to_string(i % 700), value + std::to_string(i));
    if (i % 50 == 0) TurnUntil([] { return true; });
  }
  Checkpoint();
  EXPECT_GE(engine_->CheckpointsDone(), 2u);
  const std::string digest = Digest();
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(engine_->recovery().replayed_bytes, 0u);
  EXPECT_EQ(Digest(), digest);
}

TEST_F(EngineTest, RowsOfAFlushedDatabaseAreCollectedWithoutFurtherWrites) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 2000; ++i) Set("key" + std::to_string(i), "value");
  Checkpoint();
  Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
  keyspace::FlushAll(tx);
  tx.Commit();
  Checkpoint();
  TurnUntil([&] { return engine_->store().Stats().dead_collections == 0; });
}

// A client that makes and deletes small collections must not keep the disk busy with checkpoints; what it deleted goes
// when none was made for some time.
TEST_F(EngineTest, WhatWasDeletedLatelyAsksForNoCheckpointAtOnce) {
  ASSERT_TRUE(Open().ok());
  const auto run = [this](const auto& operation) {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
    ASSERT_TRUE(operation(tx).ok());
    tx.Commit();
  };
  const auto make = [&](const std::string& key) {
    run([&](Transaction& tx) { return hashes::Set(tx, key, std::vector<std::string_view>{"field", "value"}); });
  };
  const auto remove = [&](const std::string& key) {
    run([&](Transaction& tx) { return keys::Delete(tx, std::vector<std::string_view>{key}); });
  };
  for (int i = 0; i < 20; ++i) make("old" + std::to_string(i));
  Checkpoint();
  ASSERT_EQ(engine_->CheckpointsDone(), 1u);
  // The time of ticks is the test's own from here on. In each turn the files are looked after once.
  int64_t now_ms = SystemClock().MonotonicUs() / 1000;
  const auto turn = [&] {
    now_ms += 250;
    Commit();
    engine_->Tick(now_ms);
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(wake_.wait_for(lock, std::chrono::seconds(60), [this] { return woken_; }));
    woken_ = false;
    lock.unlock();
    engine_->RunCompletions();
  };
  for (int i = 0; i < 16; ++i) {
    make("young");
    remove("young");
    remove("old" + std::to_string(i));
    turn();
  }
  EXPECT_EQ(engine_->CheckpointsDone(), 1u);
  EXPECT_EQ(engine_->store().Stats().dead_collections, 16u);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (engine_->store().Stats().dead_collections > 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    turn();
  }
  EXPECT_EQ(engine_->CheckpointsDone(), 2u);
}

// The start waits for no merge: a full memtable is set aside, and the server answers.
TEST_F(EngineTest, WhatWritersMayRunAheadIsReplayedWithoutACheckpoint) {
  ASSERT_TRUE(Open().ok());
  const std::string value(1000, 'v');
  for (int i = 0; i < 700; ++i) Set("key" + std::to_string(i), value);
  Commit();
  const std::string digest = Digest();
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(engine_->store().HasFrozen());
  EXPECT_EQ(engine_->store().CheckpointPosition().offset, 0u);
  EXPECT_EQ(Digest(), digest);
  TurnUntil([&] { return engine_->CheckpointsDone() > 0; });
  EXPECT_EQ(Digest(), digest);
}

// Other threads look up the keys of what is replayed next: what they found must never win over what came after.
TEST_F(EngineTest, ReplayWithLookUpsAheadGivesTheSameContent) {
  options_.memtable_bytes = 16 << 20;
  ASSERT_TRUE(Open().ok());
  const auto change = [this](int steps) {
    for (int i = 0; i < steps; ++i) {
      const int db = static_cast<int>(random_.Below(4));
      Transaction& tx = engine_->store().Begin(TransactionMode::kLive, db, SystemClock().WallMs());
      const std::string key = "key" + std::to_string(random_.Below(3000));
      const uint64_t what = random_.Below(1000);
      if (what == 0) {
        keyspace::FlushDb(tx);
      } else if (what == 1) {
        EXPECT_TRUE(keyspace::SwapDb(tx, db, 3 - db).ok());
      } else if (what < 300) {
        EXPECT_TRUE(keys::Delete(tx, std::vector<std::string_view>{key}).ok());
      } else if (what < 400) {
        strings::SetOptions options;
        options.expire_at_ms = SystemClock().WallMs() + 3'600'000;
        EXPECT_TRUE(strings::Set(tx, key, "expires", options).ok());
      } else {
        EXPECT_TRUE(strings::Set(tx, key, std::string(random_.Below(300), 'v'), {}).ok());
      }
      tx.Commit();
      if (i % 100 == 0) Commit();
    }
    Commit();
  };
  change(20'000);
  Checkpoint();
  change(20'000);
  const std::string digest = Digest();
  std::vector<std::pair<uint64_t, uint64_t>> counts;
  const auto count = [&] {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
    counts.clear();
    for (int db = 0; db < 4; ++db) counts.emplace_back(tx.KeyCount(db), tx.ExpiryCount(db));
    tx.Commit();
    return counts;
  };
  const auto before = count();
  for (int i = 0; i < 3; ++i) {
    engine_.reset();
    if (i == 2) options_.memtable_bytes = 100 << 10;  // LMDB changes in the middle
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(Digest(), digest);
    EXPECT_EQ(count(), before);
  }
}

TEST_F(EngineTest, UnitsBeyondALoweredBoundAreReplayed) {
  ASSERT_TRUE(Open().ok());
  const std::string large(3 << 20, 'l');
  Set("large", large);
  Commit();
  engine_.reset();
  options_.max_unit_bytes = 1 << 20;
  const auto opened = Open();
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(Get("large"), large);
}

// Rows that are overwritten again and again fill the log and not the memtable: a restart would replay all of it.
TEST_F(EngineTest, LogWrittenWhileACheckpointIsMadeCountsAsPressure) {
  options_.checkpoint_log_bytes = 100 << 10;
  ASSERT_TRUE(Open().ok());
  const std::string value(1000, 'v');
  for (int i = 0; i < 60; ++i) Set("key", value);
  EXPECT_EQ(engine_->WritePressure(), 0) << "nothing is frozen yet";
  for (int i = 0; i < 60; ++i) Set("key", value);
  engine_->Tick(SystemClock().MonotonicUs() / 1000);  // freezes; the log is not durable, so the job waits
  ASSERT_TRUE(engine_->CheckpointRunning());
  for (int i = 0; i < 80; ++i) Set("key", value);
  EXPECT_GT(engine_->WritePressure(), 0.6);
  for (int i = 0; i < 80; ++i) Set("key", value);
  EXPECT_GT(engine_->WritePressure(), 1.2);
  EXPECT_LT(engine_->store().Stats().active_bytes, 10u << 10);
  TurnUntil([&] { return engine_->CheckpointsDone() > 0 && !engine_->CheckpointRunning(); });
  EXPECT_EQ(engine_->WritePressure(), 0);
}

TEST_F(EngineTest, ALogLongerThanTheMemtableIsCheckpointedWhileItIsReplayed) {
  ASSERT_TRUE(Open().ok());
  const std::string value(1000, 'v');
  for (int i = 0; i < 3000; ++i) Set("key" + std::to_string(i), value);
  Commit();  // no Tick: no checkpoint
  const std::string digest = Digest();
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_GT(engine_->store().CheckpointPosition().offset, 0u);
  EXPECT_LT(engine_->store().Stats().active_bytes, 6 * options_.memtable_bytes);
  EXPECT_EQ(Digest(), digest);
}

// What is set aside while replaying, before the first checkpoint and behind a promotion.
TEST_F(EngineTest, ACheckpointOfReplayHasTheLineageOfTheLogThere) {
  ASSERT_TRUE(Open().ok());
  const std::string value(1000, 'v');
  const auto fill = [&] {
    for (int i = 0; i < 500; ++i) Set("key" + std::to_string(i), value);
    Commit();  // no Tick: no checkpoint
  };
  fill();
  const std::string first = engine_->log().lineage().current_id();
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(engine_->store().HasFrozen());
  TurnUntil([&] { return !engine_->store().HasFrozen(); });
  EXPECT_EQ(engine_->log().lineage().current_id(), first);
  EXPECT_EQ(engine_->store().CheckpointPosition().lineage_id, first);

  Checkpoint();
  engine_->log().StartLineage(random_.Hex(kLineageIdSize), SystemClock().WallMs());
  fill();
  const std::string second = engine_->log().lineage().current_id();
  ASSERT_NE(second, first);
  engine_.reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(engine_->store().HasFrozen());
  TurnUntil([&] { return !engine_->store().HasFrozen(); });
  EXPECT_EQ(engine_->store().CheckpointPosition().lineage_id, second);
}

// Units of one millisecond share a frame; a snapshot's offset is where a turn of the executor ended, maybe inside of
// one.
TEST_F(EngineTest, AReplicaMayBeginInsideAFrame) {
  ASSERT_TRUE(Open().ok());
  const int64_t time_ms = SystemClock().WallMs();
  const auto set = [&](int db, const std::string& key) {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, db, time_ms);
    ASSERT_TRUE(strings::Set(tx, key, "value", {}).ok());
    tx.Commit();
  };
  set(3, "one");
  const uint64_t inside = engine_->log().AppendedOffset();
  set(3, "two");
  set(1, "three");
  Commit();
  const std::unique_ptr<LogCursor> cursor = OpenCursor(engine_->log());
  ASSERT_TRUE(cursor->Seek(0).ok());
  std::shared_ptr<const SharedFrame> whole;
  while (whole == nullptr || whole->history.kind != FrameKind::kData) {
    auto frame = cursor->Next();
    ASSERT_TRUE(frame.ok() && *frame != nullptr);
    whole = *frame;
  }
  ASSERT_GT(whole->history.EndOffset(), inside) << "the units do not share a frame";

  EngineOptions other = options_;
  other.generation_path = JoinPath(directory_.path(), "replica");
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(other.generation_path).ok());
  for (const bool told : {true, false}) {
    auto replica = Engine::Open(other, {});
    ASSERT_TRUE(replica.ok()) << replica.error().message;
    ASSERT_TRUE((*replica)->ApplyAndAppend(whole->history.payload.substr(0, inside), time_ms).ok());
    ASSERT_TRUE(cursor->Seek(inside).ok());
    auto rest = cursor->Next();
    ASSERT_TRUE(rest.ok() && *rest != nullptr);
    EXPECT_EQ((*rest)->history.selected_db, 3);
    HistoryFrame frame = (*rest)->history;
    if (!told) frame.selected_db = kSelectedDbUnknown;  // its own log knows
    const auto applied = (*replica)->AppendAndApply(frame);
    ASSERT_TRUE(applied.ok()) << applied.error().message;
    for (const auto& [db, key] : {std::pair(3, "one"), std::pair(3, "two"), std::pair(1, "three")}) {
      Transaction& tx = (*replica)->store().Begin(TransactionMode::kLive, db, time_ms);
      const auto value = strings::Get(tx, key);
      EXPECT_TRUE(value.ok() && value->has_value()) << key;
      tx.Commit();
    }
    replica->reset();
    ASSERT_TRUE(PosixFileSystem().RemoveTree(other.generation_path).ok());
    ASSERT_TRUE(PosixFileSystem().CreateDirectory(other.generation_path).ok());
  }
}

TEST_F(EngineTest, AReplicaThatAppendsAndAppliesFramesHoldsTheSame) {
  ASSERT_TRUE(Open().ok());
  std::unique_ptr<LogCursor> cursor = OpenCursor(engine_->log());
  ASSERT_TRUE(cursor->Seek(0).ok());
  for (int i = 0; i < 30; ++i) Set("key" + std::to_string(i), std::string(static_cast<size_t>(i) * 100000, 'x'));
  Commit();
  EngineOptions other = options_;
  other.generation_path = JoinPath(directory_.path(), "replica");
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(other.generation_path).ok());
  auto replica = Engine::Open(other, {});
  ASSERT_TRUE(replica.ok());
  while (true) {
    auto frame = cursor->Next();
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    if (*frame == nullptr) break;
    auto applied = (*replica)->AppendAndApply((*frame)->history);
    ASSERT_TRUE(applied.ok()) << applied.error().message;
    while ((*replica)->log().HasPending()) {
      (*replica)->log().Seal();
      ASSERT_TRUE((*replica)->log().WriteBatch().ok());
      (*replica)->log().FinishBatch();
    }
  }
  EXPECT_EQ((*replica)->log().DurableOffset(), engine_->log().DurableOffset());
  EXPECT_EQ((*replica)->log().EndPosition().digest, engine_->log().EndPosition().digest);
  Transaction& tx = (*replica)->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
  const std::string digest = DigestOf(tx).value().Hex();
  tx.Commit();
  EXPECT_EQ(digest, Digest());
  cursor.reset();
}

TEST_F(EngineTest, UnitsOfAnotherServerAreOursByteForByteAndWhatFailsIsInNoLog) {
  ASSERT_TRUE(Open().ok());
  const int64_t now_ms = SystemClock().WallMs();
  const std::string set = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*4\r\n$5\r\nsetex\r\n$1\r\nk\r\n$3\r\n100\r\n$1\r\nv\r\n";
  const std::string ping = "*1\r\n$4\r\nPING\r\n";
  const std::string wrong = "*3\r\n$5\r\nLPUSH\r\n$1\r\nk\r\n$1\r\nx\r\n";
  ASSERT_TRUE(engine_->ApplyAndAppend(set, now_ms).ok());
  ASSERT_TRUE(engine_->ApplyAndAppend(ping, now_ms - 5000).ok()) << "time does not go back";
  EXPECT_EQ(engine_->log().AppendedOffset(), set.size() + ping.size());
  EXPECT_EQ(engine_->log().SelectedDb(), 3);
  auto failed = engine_->ApplyAndAppend(wrong, now_ms);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().message.find("LPUSH"), std::string::npos) << failed.error().message;
  EXPECT_EQ(engine_->log().AppendedOffset(), set.size() + ping.size());
  EXPECT_TRUE(engine_->WriteRefusal().has_value());
  Commit();
  engine_.reset();
  ASSERT_TRUE(Open().ok()) << "what failed must not come back";
  EXPECT_EQ(engine_->log().AppendedOffset(), set.size() + ping.size());
  EXPECT_EQ(engine_->log().SelectedDb(), 3);
  // A relative expiry counts from when it was logged, in replay, too.
  Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 3, now_ms);
  auto found = tx.Find("k");
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->expire_at_ms, now_ms + 100'000);
  tx.Commit();
}

TEST_F(EngineTest, AnEffectThatFailsEndsCheckpointsAndWrites) {
  ASSERT_TRUE(Open().ok());
  Set("key", "value");
  Commit();
  const std::string bytes = "*2\r\n$7\r\nUNKNOWN\r\n$3\r\nkey\r\n";
  HistoryFrame frame;
  frame.offset = engine_->log().AppendedOffset();
  frame.selected_db = static_cast<int16_t>(engine_->log().SelectedDb());
  frame.selected_db_after = frame.selected_db;
  frame.time_ms = SystemClock().WallMs();
  frame.payload = bytes;
  StreamPosition end = engine_->log().EndPosition();
  end.digest.Update(bytes);
  frame.digest = end.digest.Value();
  auto applied = engine_->AppendAndApply(frame);
  ASSERT_FALSE(applied.ok());
  EXPECT_NE(applied.error().message.find("UNKNOWN"), std::string::npos) << applied.error().message;
  ASSERT_TRUE(engine_->WriteRefusal().has_value());
  engine_->RequestCheckpoint();
  for (int i = 0; i < 20; ++i) TurnUntil([] { return true; });
  EXPECT_FALSE(engine_->CheckpointRunning());
  EXPECT_EQ(engine_->store().CheckpointPosition().offset, 0u);
  // So there will be no snapshot of it, and nobody is kept waiting for one.
  SnapshotRequest request;
  request.data_directory = directory_.path();
  std::optional<Result<SnapshotResult>> result;
  ASSERT_TRUE(engine_->StartSnapshot(request, [&](Result<SnapshotResult> made) { result = std::move(made); }).ok());
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->ok());
}

TEST_F(EngineTest, WritesAreRefusedWhileTheDiskIsBelowItsMarkAndAcceptedAgain) {
  options_.space_reserve_bytes = UINT64_MAX;
  class AlmostFull : public RealFiles {
   public:
    Result<SpaceInfo> Space(const std::string&) override {
      return SpaceInfo{.total_bytes = 1000ull << 20, .free_bytes = free_bytes.load()};
    }
    std::atomic<uint64_t> free_bytes{40ull << 20};
  } fs;
  options_.fs = &fs;
  ASSERT_TRUE(Open().ok());
  TurnUntil([&] { return engine_->WriteRefusal().has_value(); });
  EXPECT_NE(engine_->WriteRefusal()->find("50.0 MB"), std::string::npos) << *engine_->WriteRefusal();
  fs.free_bytes = 60ull << 20;
  TurnUntil([&] { return !engine_->WriteRefusal().has_value(); });
  engine_.reset();
}

TEST_F(EngineTest, WhileCheckpointsFailTheBoundHoldsBetweenTheTries) {
  ASSERT_TRUE(Open().ok());
  // A file stands where the directory of runs belongs.
  const std::string runs = JoinPath(options_.generation_path, "run");
  ASSERT_TRUE(PosixFileSystem().RemoveTree(runs).ok());
  ASSERT_TRUE(PosixFileSystem().Open(runs, {.mode = OpenMode::kCreate}).ok());
  Set("k", std::string(options_.memtable_bytes, 'v'));
  engine_->RequestCheckpoint();
  TurnUntil([&] {
    Set("more", std::string(options_.memtable_bytes, 'v'));
    return engine_->store().WritePressure() > 0.9 && engine_->WritePressure() == 0;
  });
  EXPECT_FALSE(engine_->WriteRefusal().has_value()) << "some more is allowed";
  for (int i = 0; i < 5; ++i) Set("key" + std::to_string(i), std::string(options_.memtable_bytes, 'v'));
  EXPECT_TRUE(engine_->LacksSpace()) << "no turn was made since";
  ASSERT_TRUE(engine_->WriteRefusal().has_value());
  EXPECT_NE(engine_->WriteRefusal()->find("Checkpoints fail"), std::string::npos) << *engine_->WriteRefusal();
  ASSERT_TRUE(PosixFileSystem().Remove(runs).ok());
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(runs).ok());
  TurnUntil([&] { return !engine_->WriteRefusal().has_value() && !engine_->CheckpointRunning(); });
}

TEST_F(EngineTest, ASpareSegmentThatCannotBePreparedIsTriedAgainWithPauses) {
  ASSERT_TRUE(Open().ok());
  // Something that is no file stands where the spare belongs.
  const std::string in_the_way = JoinPath(JoinPath(options_.generation_path, "wal"), kSpareName);
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(in_the_way).ok());
  TurnUntil([&] { return engine_->WriteRefusal().has_value(); });
  int turns = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  TurnUntil([&] {
    ++turns;
    return std::chrono::steady_clock::now() >= end;
  });
  // Turns that nothing asks for come each 50 ms, tries each 200 ms.
  EXPECT_LT(turns, 100);
  ASSERT_TRUE(PosixFileSystem().RemoveTree(in_the_way).ok());
  TurnUntil([&] { return !engine_->WriteRefusal().has_value(); });
}

}  // namespace
}  // namespace holdfast::wal
