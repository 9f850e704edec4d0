// Snapshot to store and back.
#include <gtest/gtest.h>

#include "storage/snapshot.h"
#include "storage/store.h"
#include "tests/storage/fake_store_view.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

using testing::CollectVisitor;
using testing::ContentOfAllTypes;
using testing::FakeContent;
using testing::FakeStoreView;
using testing::MakeFakeKey;
using testing::SampleHeader;
using testing::SamplePosition;
using testing::TempDirectory;

class SnapshotLoadTest : public ::testing::Test {
 protected:
  void Write(const FakeContent& content) {
    FakeStoreView view(content, SamplePosition());
    auto written = WriteSnapshot(fs_, path_, SampleHeader(), view, {}, never_, {});
    ASSERT_TRUE(written.ok()) << written.error().message;
  }

  StoreOptions Generation(const std::string& name, int databases = 16) {
    EXPECT_TRUE(fs_.CreateDirectory(directory_.File(name)).ok());
    StoreOptions options;
    options.directory = directory_.File(name);
    options.databases = databases;
    options.map_bytes = 1ull << 30;
    options.fs = &fs_;
    options.random = &random_;
    return options;
  }

  TempDirectory directory_;
  FileSystem& fs_ = PosixFileSystem();
  SeededRandom random_{1};
  const std::string path_ = directory_.File("snap.hfs");
  const std::atomic<bool> never_{false};
};

TEST_F(SnapshotLoadTest, LoadedStoreGivesTheSameSnapshot) {
  FakeContent content = ContentOfAllTypes();
  for (int i = 0; i < 5000; ++i) content[MakeFakeKey(i % 5, "key:" + std::to_string(i))] = {.body = std::to_string(i)};
  Write(content);
  SnapshotProgress last{};
  const StoreOptions options = Generation("gen-1");
  auto loaded = LoadSnapshot(fs_, path_, options, never_, [&](const SnapshotProgress& progress) { last = progress; });
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->position, SamplePosition());
  EXPECT_EQ(loaded->lineage_table, SampleHeader().lineage_table);
  EXPECT_EQ(last.keys_done, content.size());
  EXPECT_EQ(last.keys_total, content.size());

  auto store = Store::Open(options);
  ASSERT_TRUE(store.ok()) << store.error().message;
  EXPECT_EQ((*store)->CheckpointPosition(), SamplePosition());
  auto view = (*store)->OpenView();
  ASSERT_TRUE(view.ok()) << view.error().message;
  const std::string again = directory_.File("again.hfs");
  auto written = WriteSnapshot(fs_, again, SampleHeader(), **view, {}, never_, {});
  ASSERT_TRUE(written.ok()) << written.error().message;
  EXPECT_EQ(written->keys, content.size());
  auto reader = SnapshotReader::Open(fs_, again);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  CollectVisitor visitor;
  ASSERT_TRUE((*reader)->VisitAll(visitor).ok());
  EXPECT_TRUE(visitor.content() == content);
  // The same content at the same position is the same file.
  EXPECT_EQ(*ReadFile(fs_, again, 1 << 26), *ReadFile(fs_, path_, 1 << 26));
}

TEST_F(SnapshotLoadTest, DamagedFileIsNotLoaded) {
  Write(ContentOfAllTypes());
  std::string bytes = *ReadFile(fs_, path_, 1 << 20);
  const size_t block = bytes.find("HFSB");
  bytes[block + 100] = static_cast<char>(bytes[block + 100] ^ 4);
  ASSERT_TRUE(WriteFileAtomically(fs_, path_, bytes).ok());
  auto loaded = LoadSnapshot(fs_, path_, Generation("gen-1"), never_, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kCorruption);
  EXPECT_NE(loaded.error().message.find("at byte " + std::to_string(block)), std::string::npos)
      << loaded.error().message;
}

TEST_F(SnapshotLoadTest, TooFewDatabasesAreToldWithTheNumberNeeded) {
  Write(ContentOfAllTypes());
  auto loaded = LoadSnapshot(fs_, path_, Generation("gen-1", 4), never_, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(loaded.error().message.find("database 7"), std::string::npos) << loaded.error().message;
  EXPECT_NE(loaded.error().message.find("at least 8"), std::string::npos) << loaded.error().message;
}

TEST_F(SnapshotLoadTest, CancelledLoadSaysSo) {
  Write(ContentOfAllTypes());
  const std::atomic<bool> cancelled{true};
  auto loaded = LoadSnapshot(fs_, path_, Generation("gen-1"), cancelled, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kAborted);
}

}  // namespace
}  // namespace holdfast
