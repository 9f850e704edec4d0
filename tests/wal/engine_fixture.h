// An engine for tests.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "storage/content_digest.h"
#include "storage/types/strings.h"
#include "tests/support/real_files.h"
#include "tests/support/temp_directory.h"
#include "wal/engine.h"

namespace holdfast::wal {

using holdfast::testing::RealFiles;

// An engine on real files, with the executor's part played by the test's thread.
class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : random_(7) {
    options_.generation_path = JoinPath(directory_.path(), "gen-1");
    options_.memtable_bytes = 256 << 10;
    options_.cache_bytes = 64 << 10;
    options_.segment_bytes = 1 << 20;
    options_.backlog_bytes = 1 << 20;
    options_.space_reserve_bytes = 0;
    options_.fs = &PosixFileSystem();
    options_.clock = &SystemClock();
    options_.random = &random_;
  }

  Result<void> Open() {
    RETURN_IF_ERROR(PosixFileSystem().CreateDirectory(options_.generation_path));
    ASSIGN_OR_RETURN(engine_, Engine::Open(options_, {}));
    engine_->SetWake([this] {
      std::lock_guard lock(mutex_);
      woken_ = true;
      wake_.notify_one();
    });
    return {};
  }

  void Set(const std::string& key, const std::string& value) {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
    ASSERT_TRUE(strings::Set(tx, key, value, {}).ok());
    tx.Commit();
  }

  std::optional<std::string> Get(const std::string& key) {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
    auto value = strings::Get(tx, key);
    std::optional<std::string> found;
    if (value.ok() && value->has_value()) found = (*value)->Whole().value();
    tx.Commit();
    return found;
  }

  void Commit() {
    while (engine_->log().HasPending()) {
      engine_->log().Seal();
      ASSERT_TRUE(engine_->log().WriteBatch().ok());
      engine_->log().FinishBatch();
    }
  }

  // Turns the executor would make, until `done`; background threads wake it.
  void TurnUntil(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (true) {
      Commit();
      engine_->RunCompletions();
      engine_->Tick(SystemClock().MonotonicUs() / 1000);
      if (done()) return;
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "background work did not end";
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::milliseconds(50), [this] { return woken_; });
      woken_ = false;
    }
  }

  void Checkpoint() {
    const uint64_t wanted = engine_->log().AppendedOffset();
    engine_->RequestCheckpoint();
    TurnUntil([&] { return engine_->store().CheckpointPosition().offset >= wanted; });
  }

  std::string Digest() {
    Transaction& tx = engine_->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
    const std::string digest = DigestOf(tx).value().Hex();
    tx.Commit();
    return digest;
  }

  holdfast::testing::TempDirectory directory_;
  SeededRandom random_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
};

}  // namespace holdfast::wal
