// Each call of the file system that a store makes fails once: at a start, in a checkpoint, in the loading of a copy.
// The error names the file, and nothing that was there is lost.
#include <gtest/gtest.h>

#include "storage/rdb/rdb_load.h"
#include "storage/snapshot.h"
#include "tests/storage/rdb/rdb_content.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/failing_files.h"

namespace holdfast::testing {
namespace {

class StoreCallsTest : public StoreFixture {
 protected:
  StoreCallsTest() { options_.fs = &files_; }

  struct Tried {
    bool fired;
    Result<void> outcome;
  };
  // `act` with its `nth` call failing.
  template <typename Act>
  Tried Try(uint64_t nth, Act act) {
    files_.FailCall(nth);
    Result<void> outcome = act();
    const bool fired = files_.fired();
    files_.FailCall(0);
    return {fired, std::move(outcome)};
  }

  // `attempt` with 1, 2, ... up to one in which no call failed any more; how many there are. An attempt in which one
  // failed says so by an error of its file.
  template <typename Attempt>
  uint64_t FailEach(Attempt attempt, bool always_told = true) {
    for (uint64_t nth = 1;; ++nth) {
      SCOPED_TRACE("call " + std::to_string(nth));
      const Tried tried = attempt(nth);
      if (!tried.fired) {
        EXPECT_TRUE(tried.outcome.ok()) << tried.outcome.error().message;
        return nth - 1;
      }
      if (tried.outcome.ok()) {
        EXPECT_FALSE(always_told);
      } else {
        EXPECT_EQ(tried.outcome.error().code, ErrorCode::kIo);
        EXPECT_NE(tried.outcome.error().message.find(directory_.path()), std::string::npos)
            << tried.outcome.error().message;
      }
      if (HasFailure()) return nth;
    }
  }

  FailingFiles files_;
};

TEST_F(StoreCallsTest, AStartThatFailsChangesNothing) {
  Set("merged", "1");
  Checkpoint();
  Set("in the run", "2");
  Freeze();
  std::atomic<bool> cancelled = true;
  ASSERT_EQ(job_->Run({}, cancelled).error().code, ErrorCode::kAborted);
  job_.reset();
  store_.reset();
  const uint64_t calls = FailEach([&](uint64_t nth) {
    return Try(nth, [&]() -> Result<void> {
      ASSIGN_OR_RETURN(const auto store, Store::Open(options_));
      return {};
    });
  });
  EXPECT_GT(calls, 10u);
  options_.fs = &PosixFileSystem();
  Open();
  EXPECT_EQ(Get("merged"), "1");
  EXPECT_EQ(Get("in the run"), "2");
}

TEST_F(StoreCallsTest, AFirstStartThatFailsIsDoneAgain) {
  store_.reset();
  const uint64_t calls = FailEach([&](uint64_t nth) {
    options_.directory = directory_.File("fresh-" + std::to_string(nth));
    const auto open = [&]() -> Result<void> {
      ASSIGN_OR_RETURN(const auto store, Store::Open(options_));
      return {};
    };
    Tried first = Try(nth, open);
    EXPECT_TRUE(open().ok()) << "the next start";
    return first;
  });
  EXPECT_GT(calls, 10u);
}

TEST_F(StoreCallsTest, ACheckpointThatFailsIsGoneOnWith) {
  options_.merge_dirty_pages = 4;
  const uint64_t calls = FailEach([&](uint64_t nth) {
    options_.directory = directory_.File("round-" + std::to_string(nth));
    Open();
    for (int i = 0; i < 20; ++i) Set("k" + std::to_string(i), std::string(900, 'x'));
    Set("gone", "x", 5000);
    Checkpoint();
    Delete("gone");
    for (int i = 0; i < 20; ++i) Set("k" + std::to_string(i), "new " + std::to_string(i));
    Freeze();
    std::atomic<bool> cancelled = false;
    Tried run = Try(nth, [&] { return job_->Run({}, cancelled); });
    EXPECT_EQ(Get("k7"), "new 7") << "reads go on";
    Merge();  // the same job again, if it has anything left to do
    Open();
    EXPECT_EQ(Get("k19"), "new 19");
    EXPECT_FALSE(Get("gone").has_value());
    return run;
  });
  EXPECT_GT(calls, 8u);
}

TEST_F(StoreCallsTest, EachStepOfAnImportThatFailsIsTold) {
  FakeContent content;
  for (int i = 0; i < 10; ++i) content[MakeFakeKey(i % 2, "key" + std::to_string(i))] = StringOf(std::string(500, 'v'));
  std::vector<std::pair<std::string, double>> members;
  for (int i = 0; i < 300; ++i) members.emplace_back("m" + std::to_string(i), i * 7919 % 300);
  content[MakeFakeKey(0, "sorted")] = SortedSetOf(members, kLarge);
  content[MakeFakeKey(1, "later")] = Expiring(StringOf("a"), 1'900'000'000'000);
  const std::string bytes = WriteRdbOf(content);
  options_.merge_dirty_pages = 8;
  rdb::RdbLoadOptions load;
  load.sort_memory_bytes = 12'000;  // less than there is: in files
  const auto position = [](const rdb::RdbLoaded&) -> Result<StreamPosition> { return SamplePosition(); };
  const uint64_t calls = FailEach(
      [&](uint64_t nth) {
        options_.directory = directory_.File("import-" + std::to_string(nth));
        Tried tried = Try(nth, [&]() -> Result<void> {
          rdb::MemorySource source(bytes);
          ASSIGN_OR_RETURN(const auto loaded, rdb::LoadRdb(source, options_, load, position));
          return {};
        });
        (void)PosixFileSystem().RemoveTree(options_.directory);
        return tried;
      },
      /*always_told=*/false);  // a temporary file of the sorter that cannot be removed goes with its directory
  EXPECT_GT(calls, 40u);
}

TEST_F(StoreCallsTest, EachStepOfLoadingASnapshotThatFailsIsTold) {
  const std::string path = directory_.File("snap.hfs");
  FakeStoreView view(ContentOfAllTypes(), SamplePosition());
  const std::atomic<bool> never{false};
  ASSERT_TRUE(WriteSnapshot(PosixFileSystem(), path, SampleHeader(), view, {}, never, {}).ok());
  options_.merge_dirty_pages = 2;
  const uint64_t calls = FailEach([&](uint64_t nth) {
    options_.directory = directory_.File("load-" + std::to_string(nth));
    Tried tried = Try(nth, [&]() -> Result<void> {
      ASSIGN_OR_RETURN(const auto loaded, LoadSnapshot(files_, path, options_, never, {}));
      return {};
    });
    (void)PosixFileSystem().RemoveTree(options_.directory);
    return tried;
  });
  EXPECT_GT(calls, 15u);
}

}  // namespace
}  // namespace holdfast::testing
