#include "net/full_sync_loader.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "replication/role.h"
#include "storage/types/strings.h"
#include "tests/support/temp_directory.h"

namespace holdfast::net {
namespace {

class FullSyncLoaderTest : public ::testing::Test {
 protected:
  FullSyncLoaderTest() {
    auto opened = wal::DataDirectory::Open(PosixFileSystem(), directory_.path(), random_);
    CHECK_MSG(opened.ok(), opened.error().message);
    data_ = std::move(opened).value();
    request_.options.generation_path = data_->generation_path();
    request_.options.segment_bytes = 1 << 20;
    request_.options.map_bytes = 64 << 20;
    request_.options.fs = &PosixFileSystem();
    request_.options.clock = &SystemClock();
    request_.options.random = &random_;
    request_.role_record = replication::FormatRole({});
    request_.directory = data_.get();
    MakeSnapshot();
  }

  void MakeSnapshot() {
    auto engine = wal::Engine::Open(request_.options, {});
    CHECK_MSG(engine.ok(), engine.error().message);
    for (int i = 0; i < 2000; ++i) {
      Transaction& tx = (*engine)->store().Begin(TransactionMode::kLive, 0, SystemClock().WallMs());
      CHECK(strings::Set(tx, "key" + std::to_string(i), "value", {}).ok());
      tx.Commit();
    }
    std::optional<Result<wal::SnapshotResult>> made;
    wal::SnapshotRequest request;
    request.data_directory = directory_.path();
    CHECK((*engine)->StartSnapshot(request, [&](auto result) { made.emplace(std::move(result)); }).ok());
    while (!made.has_value()) {
      if ((*engine)->log().HasPending()) {
        (*engine)->log().Seal();
        CHECK((*engine)->log().WriteBatch().ok());
        (*engine)->log().FinishBatch();
      }
      (*engine)->RunCompletions();
      (*engine)->Tick(SystemClock().MonotonicUs() / 1000);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK_MSG(made->ok(), made->error().message);
    request_.snapshot_path = (*made)->path;
    request_.offset = (*made)->position.offset;
    made.reset();
  }

  [[nodiscard]] size_t Generations() {
    size_t count = 0;
    const auto names = PosixFileSystem().List(directory_.path());
    for (const std::string& name : *names) count += name.starts_with("gen-") ? 1 : 0;
    return count;
  }

  holdfast::testing::TempDirectory directory_;
  SeededRandom random_{5};
  std::unique_ptr<wal::DataDirectory> data_;
  LoadRequest request_;
  FullSyncLoader loader_;
};

TEST_F(FullSyncLoaderTest, AGenerationStaysIfItsEngineIsTaken) {
  std::promise<std::unique_ptr<wal::Engine>> engine;
  loader_.Start(request_, [&](Result<LoadedGeneration> loaded) {
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    engine.set_value(std::move(loaded->engine));
  });
  EXPECT_EQ(engine.get_future().get()->log().AppendedOffset(), request_.offset);
  loader_.Cancel();
  EXPECT_EQ(Generations(), 2u);
}

TEST_F(FullSyncLoaderTest, AGenerationThatNobodyTakesIsRemoved) {
  std::promise<void> done;
  loader_.Start(request_, [&](Result<LoadedGeneration> loaded) {
    EXPECT_TRUE(loaded.ok());
    EXPECT_EQ(Generations(), 2u);
    { const LoadedGeneration dropped = std::move(loaded).value(); }
    EXPECT_EQ(Generations(), 1u);
    done.set_value();
  });
  done.get_future().wait();
}

TEST_F(FullSyncLoaderTest, ACancelledLoadLeavesNothingWheneverItIsCancelled) {
  for (int delay_us = 0; delay_us < 100'000; delay_us = delay_us * 2 + 50) {
    loader_.Start(request_, [](const Result<LoadedGeneration>&) {});
    std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
    loader_.Cancel();
    EXPECT_EQ(Generations(), 1u) << "cancelled after " << delay_us << " us";
  }
}

}  // namespace
}  // namespace holdfast::net
