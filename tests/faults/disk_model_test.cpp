// The model of the disk against a simpler one, and what it may and must leave after a power cut.
#include "tests/faults/disk_model.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "storage/base/clock.h"
#include "tests/faults/disk_pages.h"

namespace holdfast::faults {
namespace {

TEST(DiskPagesTest, ContentsAreThoseOfAString) {
  SeededRandom random(1);
  PagePool pool;
  Content content;
  std::string model;
  for (int i = 0; i < 4000; i++) {
    const uint64_t position = random.Below(5 * kPage);
    if (random.Below(4) == 0) {
      content.Resize(position, pool, 1);
      model.resize(position);
    } else {
      const std::string bytes(random.Below(2 * kPage) + 1, static_cast<char>(random.Below(4)));
      const bool zeros = bytes[0] == '\0';
      content.Store(position, bytes.size(), zeros ? nullptr : bytes.data(), pool, 1);
      if (model.size() < position + bytes.size()) model.resize(position + bytes.size());
      model.replace(position, bytes.size(), bytes);
    }
    ASSERT_EQ(content.size(), model.size());
    ASSERT_TRUE(content.Bytes() == model) << "after step " << i;
  }
}

TEST(DiskPagesTest, ACopyIsChangedAlone) {
  PagePool pool, pool_of_copy;
  Content content;
  const std::string bytes(3 * kPage, 'a');
  content.Store(0, bytes.size(), bytes.data(), pool, 1);
  const uint64_t hash = content.Hash();
  Content copy = content;
  EXPECT_EQ(copy.Hash(), hash);
  copy.Store(kPage, 1, "b", pool_of_copy, 2);
  EXPECT_NE(copy.Hash(), hash);
  EXPECT_EQ(content.Hash(), hash);
  EXPECT_TRUE(content.Bytes() == bytes);
  copy.Store(kPage, 1, "a", pool_of_copy, 2);
  EXPECT_EQ(copy.Hash(), hash);
}

TEST(DiskPagesTest, ZerosAreTheSameHoweverTheyCame) {
  PagePool pool;
  Content grown, written, cut;
  grown.Resize(2 * kPage, pool, 1);
  const std::string zeros(2 * kPage, '\0');
  written.Store(0, zeros.size(), zeros.data(), pool, 1);
  cut.Store(0, 1, "x", pool, 1);
  cut.Resize(0, pool, 1);
  cut.Resize(2 * kPage, pool, 1);
  EXPECT_EQ(grown.Hash(), written.Hash());
  EXPECT_EQ(grown.Hash(), cut.Hash());
}

// A directory "/d" with the file "f", inodes 1 and 2.
struct Disk {
  void Apply(TraceRecord record, std::string_view path = {}, std::string_view data = {}) {
    record.data_size = data.size();
    const auto applied = model.Apply({record, path, {}, data});
    ASSERT_TRUE(applied.ok()) << applied.error().message;
  }
  void Sync(uint64_t inode) {
    Apply({.kind = TraceKind::kSyncBegin, .inode = inode, .token = 7});
    Apply({.kind = TraceKind::kSyncEnd, .inode = inode, .token = 7});
  }
  void Write(uint64_t position, std::string_view data) {
    Apply({.kind = TraceKind::kWrite, .inode = 2, .position = position, .size = data.size(), .token = ++token}, {},
          data);
  }
  // All that may be found in "f"; "none": no such file.
  std::set<std::string> Outcomes() {
    std::set<std::string> outcomes;
    DiskState state;
    for (uint64_t seed = 0; seed < 400; seed++) {
      SeededRandom random(seed);
      EXPECT_TRUE(model.Choose(random, state).ok());
      const Content* content = state.FindFile("f");
      outcomes.insert(content == nullptr ? "none" : content->Bytes());
    }
    return outcomes;
  }

  DiskModel model;
  uint64_t token = 100;
};

TEST(DiskModelTest, OnlyWhatIsSyncedIsSure) {
  Disk disk;
  disk.Apply({.kind = TraceKind::kRoot, .inode = 1}, "/d");
  disk.Apply({.kind = TraceKind::kCreate, .inode = 2}, "/d/f");
  disk.Write(0, "abc");
  EXPECT_EQ(disk.Outcomes(), (std::set<std::string>{"none", "", std::string(3, '\0'), "abc"}));
  disk.Sync(2);
  EXPECT_EQ(disk.Outcomes(), (std::set<std::string>{"none", "abc"}));
  disk.Sync(1);
  EXPECT_EQ(disk.Outcomes(), (std::set<std::string>{"abc"}));
  disk.Write(1, "X");
  EXPECT_EQ(disk.Outcomes(), (std::set<std::string>{"abc", "aXc"}));
  disk.Apply({.kind = TraceKind::kTruncate, .inode = 2, .position = 2});
  EXPECT_EQ(disk.Outcomes(), (std::set<std::string>{"abc", "aXc", "ab", "aX", {"ab\0", 3}, {"aX\0", 3}}));
}

TEST(DiskModelTest, EqualStatesHaveEqualHashesAndOthersNot) {
  Disk disk;
  disk.Apply({.kind = TraceKind::kRoot, .inode = 1}, "/d");
  disk.Apply({.kind = TraceKind::kCreate, .inode = 2}, "/d/f");
  disk.Sync(1);
  const std::string bytes(2000, 'x');
  disk.Write(0, bytes);
  std::set<std::string> contents;
  std::set<uint64_t> hashes;
  DiskState state;
  for (uint64_t seed = 0; seed < 400; seed++) {
    SeededRandom random(seed);
    ASSERT_TRUE(disk.model.Choose(random, state).ok());
    contents.insert(state.FindFile("f")->Bytes());
    hashes.insert(state.Hash());
  }
  EXPECT_EQ(contents.size(), hashes.size());
  EXPECT_GE(contents.size(), 16u);  // four sectors, there or not
}

}  // namespace
}  // namespace holdfast::faults
