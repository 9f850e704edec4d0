// What a store does about files that are not as they were written.
#include <gtest/gtest.h>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/lmdb_env.h"
#include "tests/storage/store_fixture.h"

namespace holdfast {
namespace {

using StoreDamageTest = testing::StoreFixture;

TEST_F(StoreDamageTest, EachFlippedBitOfAValueIsDetected) {
  options_.cache_bytes = 0;
  const std::string body = "a value that stands in data.mdb";
  Set("key", body);
  Checkpoint();
  store_.reset();
  const std::string whole = ReadData();
  const size_t at = whole.rfind(body);
  ASSERT_NE(at, std::string::npos);
  ASSERT_EQ(whole.find(body), at);
  for (size_t bit = 0; bit < (body.size() + 4) * 8; bit += 7) {  // with the checksum behind it
    std::string damaged = whole;
    damaged[at + bit / 8] = static_cast<char>(damaged[at + bit / 8] ^ (1 << (bit % 8)));
    WriteData(damaged);
    Open();
    Transaction& txn = Live();
    auto found = txn.Find("key");
    ASSERT_FALSE(found.ok()) << "bit " << bit;
    EXPECT_EQ(found.error().code, ErrorCode::kCorruption);
    EXPECT_NE(found.error().message.find("database 'keys'"), std::string::npos) << found.error().message;
    txn.Commit();
  }
}

TEST_F(StoreDamageTest, TruncatedDataFileIsRefusedWithAClearMessage) {
  for (int i = 0; i < 2000; ++i) Set("k" + std::to_string(i), std::string(100, 'x'));
  Checkpoint();
  store_.reset();
  const std::string whole = ReadData();
  for (const size_t size : {size_t{0}, size_t{100}, size_t{4096}, size_t{8192}, whole.size() / 2}) {
    WriteData(std::string_view(whole).substr(0, size));
    auto opened = Store::Open(options_);
    ASSERT_FALSE(opened.ok()) << size;
    EXPECT_EQ(opened.error().code, ErrorCode::kCorruption) << opened.error().message;
    EXPECT_NE(opened.error().message.find("data.mdb"), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().message.find("truncated"), std::string::npos) << opened.error().message;
  }
  WriteData(whole);
  Open();
  EXPECT_EQ(Get("k7"), std::string(100, 'x'));
}

TEST_F(StoreDamageTest, DamagedRunIsRefusedAndAnIncompleteOneIsDeleted) {
  Set("a", "1");
  auto job = store_->FreezeActive(Position());
  std::atomic<bool> cancelled = true;  // after the run is written
  ASSERT_EQ(job->Run({}, cancelled).error().code, ErrorCode::kAborted);
  job.reset();
  store_.reset();
  FileSystem& fs = PosixFileSystem();
  const std::string run_directory = options_.directory + "/run";
  const std::vector<std::string> names = *fs.List(run_directory);
  ASSERT_EQ(names.size(), 1u);
  const std::string path = run_directory + "/" + names[0];
  const std::string whole = *ReadFile(fs, path, 1 << 20);
  for (size_t at = 0; at < whole.size(); at += 5) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    auto file = fs.Open(path, {OpenMode::kCreateOrReplace, false});
    ASSERT_TRUE((*file)->WriteAt(0, damaged).ok());
    auto opened = Store::Open(options_);
    ASSERT_FALSE(opened.ok()) << "byte " << at;
    EXPECT_NE(opened.error().message.find(names[0]), std::string::npos) << opened.error().message;
  }
  auto file = fs.Open(path, {OpenMode::kCreateOrReplace, false});
  ASSERT_TRUE((*file)->WriteAt(0, whole).ok());
  auto leftover = fs.Open(run_directory + "/00000000000000000099.tmp", {OpenMode::kCreate, false});
  ASSERT_TRUE((*leftover)->WriteAt(0, "half").ok());
  Open();
  EXPECT_EQ(fs.List(run_directory)->size(), 1u);
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(store_->CheckpointPosition(), Position());
}

TEST_F(StoreDamageTest, HalfMergedLmdbWithoutItsRunIsRefused) {
  options_.merge_dirty_pages = 1;
  Open();
  for (int i = 0; i < 500; ++i) Set("k" + std::to_string(i), std::string(200, 'x'));
  auto job = store_->FreezeActive(Position());
  std::atomic<bool> cancelled = false;
  ASSERT_FALSE(job->Run([&](double) { cancelled = true; }, cancelled).ok());
  auto view = store_->OpenView();
  ASSERT_FALSE(view.ok());
  EXPECT_EQ(view.error().code, ErrorCode::kBusy);
  job.reset();
  store_.reset();
  ASSERT_TRUE(PosixFileSystem().RemoveTree(options_.directory + "/run").ok());
  auto opened = Store::Open(options_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, ErrorCode::kCorruption);
}

}  // namespace
}  // namespace holdfast
