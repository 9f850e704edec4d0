// The process is killed before each file call of a checkpoint and between each two transactions of its merge: what is
// on the disk then is the state before or the state after, whole, and the checkpoint can be finished.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>

#include "storage/content_digest.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/real_files.h"

namespace holdfast {
namespace {

class WatchedFiles : public testing::RealFiles {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    before_call();
    return real.Open(path, options);
  }
  Result<void> Rename(const std::string& from, const std::string& to) override {
    before_call();
    return real.Rename(from, to);
  }
  Result<void> Remove(const std::string& path) override {
    before_call();
    return real.Remove(path);
  }
  Result<void> SyncDirectory(const std::string& path) override {
    before_call();
    return real.SyncDirectory(path);
  }

  std::function<void()> before_call = [] {};
};

class CheckpointKillTest : public testing::StoreFixture {
 protected:
  static std::string Digest(Store& store) {
    const uint64_t offset = store.CheckpointPosition().offset;
    store.SetApplyUnit(offset, offset);
    Transaction& transaction = store.Begin(TransactionMode::kApply, 0, 0);
    auto digest = DigestOf(transaction);
    transaction.Commit();
    EXPECT_TRUE(digest.ok());
    return digest.ok() ? digest->Hex() : "";
  }

  void CopyDirectory() {
    std::filesystem::copy(options_.directory, directory_.File("copy-" + std::to_string(copies_++)),
                          std::filesystem::copy_options::recursive);
  }

  // The copy holds one of two states, and what it had begun can be finished. Returns its position.
  uint64_t CheckCopy(const std::string& path, const std::map<uint64_t, std::string>& digests) {
    StoreOptions options = options_;
    options.directory = path;
    options.fs = &PosixFileSystem();
    auto opened = Store::Open(options);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    if (!opened.ok()) return 0;
    Store& store = **opened;
    const uint64_t offset = store.CheckpointPosition().offset;
    EXPECT_TRUE(digests.contains(offset)) << offset;
    if (!digests.contains(offset)) return offset;
    EXPECT_EQ(Digest(store), digests.at(offset)) << "at offset " << offset;
    if (const std::shared_ptr<CheckpointJob> job = store.PendingCheckpoint()) {
      const std::atomic<bool> cancelled = false;
      EXPECT_TRUE(job->Run({}, cancelled).ok());
      EXPECT_TRUE(store.FinishCheckpoint().ok());
      EXPECT_EQ(Digest(store), digests.at(offset)) << "when its checkpoint was finished";
    }
    return offset;
  }

  int copies_ = 0;
};

TEST_F(CheckpointKillTest, WhatIsOnTheDiskIsTheStateBeforeOrAfter) {
  WatchedFiles files;
  options_.fs = &files;
  options_.merge_dirty_pages = 3;
  Open();
  const auto fill = [&](int from, int to, const std::string& value) {
    for (int i = from; i < to; ++i) Set("key" + std::to_string(i), value + std::to_string(i));
  };
  fill(0, 150, std::string(100, 'a'));
  Checkpoint();
  std::map<uint64_t, std::string> digests{{Position().offset, Digest(*store_)}};
  const uint64_t before = Position().offset;
  fill(100, 200, std::string(200, 'b'));
  for (int i = 0; i < 20; ++i) Delete("key" + std::to_string(i));
  const uint64_t after = Position().offset;
  digests[after] = Digest(*store_);

  Freeze();
  files.before_call = [&] { CopyDirectory(); };
  const std::atomic<bool> cancelled = false;
  int transactions = 0;
  const Result<void> run = job_->Run(
      [&](double) {
        ++transactions;
        CopyDirectory();
      },
      cancelled);
  ASSERT_TRUE(run.ok()) << run.error().message;
  files.before_call = [] {};
  CopyDirectory();
  job_.reset();
  ASSERT_TRUE(store_->FinishCheckpoint().ok());
  EXPECT_GT(transactions, 5);
  int old = 0;
  for (int i = 0; i < copies_; ++i) {
    SCOPED_TRACE("copy " + std::to_string(i));
    const uint64_t offset = CheckCopy(directory_.File("copy-" + std::to_string(i)), digests);
    if (HasFailure()) return;
    old += offset == before;
  }
  EXPECT_GE(old, 2) << "before the run had its name";
  EXPECT_GT(copies_ - old, transactions);
  store_.reset();  // before its files
}

}  // namespace
}  // namespace holdfast
