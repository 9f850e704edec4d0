#include "storage/snapshot.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "storage/snapshot_format.h"
#include "tests/storage/fake_store_view.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

using testing::CollectVisitor;
using testing::ContentOfAllTypes;
using testing::CountBody;
using testing::FakeContent;
using testing::FakeStoreView;
using testing::FakeValue;
using testing::FaultFileSystem;
using testing::FileCall;
using testing::MakeFakeKey;
using testing::MemberSuffix;
using testing::SampleHeader;
using testing::SamplePosition;

constexpr char kPath[] = "snap.hfs";

std::string RandomBytes(uint64_t seed, size_t size) {
  SeededRandom random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Next());
  return bytes;
}

SnapshotFooter Write(FileSystem& fs, const FakeContent& content, SnapshotWriteOptions options = {}) {
  FakeStoreView view(content, SamplePosition());
  const std::atomic<bool> cancelled{false};
  auto written = WriteSnapshot(fs, kPath, SampleHeader(), view, options, cancelled, {});
  EXPECT_TRUE(written.ok()) << written.error().message;
  return written.ok() ? *written : SnapshotFooter();
}

FakeContent ReadAll(FileSystem& fs) {
  auto reader = SnapshotReader::Open(fs, kPath);
  EXPECT_TRUE(reader.ok()) << reader.error().message;
  if (!reader.ok()) return {};
  CollectVisitor visitor;
  auto visited = (*reader)->VisitAll(visitor);
  EXPECT_TRUE(visited.ok()) << visited.error().message;
  return visitor.content();
}

void ExpectClean(FileSystem& fs) {
  auto verified = VerifySnapshot(fs, kPath, [](const SnapshotFinding& finding) {
    ADD_FAILURE() << "at " << finding.position << ": " << finding.message;
  });
  EXPECT_TRUE(verified.ok()) << verified.error().message;
}

// Some MB in many blocks: small keys, a string of many chunks, a set of many members, records longer than a block.
FakeContent BigContent() {
  FakeContent content = ContentOfAllTypes();
  for (int i = 0; i < 20'000; ++i) {
    content[MakeFakeKey(i % 3, "key:" + std::to_string(i))] = {.body = "value " + std::to_string(i * 7919)};
  }
  std::vector<std::string> chunks;
  for (uint64_t i = 0; i < 40; ++i) chunks.push_back(RandomBytes(i, kChunkSize));
  content[MakeFakeKey(0, "chunks")] = testing::ChunkedString(40 * kChunkSize, chunks);
  FakeValue set{.type = ValueType::kHash, .body = CountBody(20'002)};
  for (int i = 0; i < 20'000; ++i) set.rows[{'m', MemberSuffix("field" + std::to_string(i))}] = std::string(50, 'v');
  set.rows[{'m', MemberSuffix("long value")}] = RandomBytes(77, 1'000'000);
  set.rows[{'m', MemberSuffix(RandomBytes(78, 700'000))}] = "long field";
  content[MakeFakeKey(2, "hash")] = set;
  content[MakeFakeKey(2, RandomBytes(79, 600'000))] = {.body = "long key"};
  content[MakeFakeKey(4, RandomBytes(80, 3 * kSnapshotBlockTarget))] = {
      .type = ValueType::kHash, .body = CountBody(1), .rows = {{{'m', MemberSuffix("f")}, "v"}}};
  return content;
}

TEST(SnapshotTest, AllTypesComeBack) {
  FaultFileSystem fs;
  const FakeContent content = ContentOfAllTypes();
  const SnapshotFooter footer = Write(fs, content);
  EXPECT_EQ(footer.keys, content.size());
  EXPECT_EQ(footer.keys_by_type[0], 8u);
  EXPECT_EQ(footer.keys_by_type[5], 1u);
  EXPECT_EQ(footer.file_bytes, fs.Content(kPath).size());
  EXPECT_EQ(ReadAll(fs), content);
  ExpectClean(fs);
}

TEST(SnapshotTest, HeaderTellsTheViewsPosition) {
  FaultFileSystem fs;
  Write(fs, ContentOfAllTypes());
  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_TRUE(reader.ok());
  const SnapshotHeader& header = (*reader)->header();
  EXPECT_EQ(header.position, SamplePosition());
  EXPECT_EQ(header.lineage_table, SampleHeader().lineage_table);
  EXPECT_EQ(header.node_id, SampleHeader().node_id);
  EXPECT_EQ(header.created_ms, SampleHeader().created_ms);
  EXPECT_EQ(header.databases, 16u);
  EXPECT_EQ(header.key_count, ContentOfAllTypes().size());
}

TEST(SnapshotTest, EmptyStoreComesBack) {
  FaultFileSystem fs;
  const SnapshotFooter footer = Write(fs, {});
  EXPECT_EQ(footer.keys, 0u);
  EXPECT_EQ(footer.blocks, 0u);
  EXPECT_TRUE(ReadAll(fs).empty());
  ExpectClean(fs);
}

TEST(SnapshotTest, BigKeysSpanBlocksAndThreadsDoNotChangeTheBytes) {
  FaultFileSystem fs;
  const FakeContent content = BigContent();
  const SnapshotFooter footer = Write(fs, content, {.threads = 0});
  EXPECT_GT(footer.blocks, 15u);
  EXPECT_LT(footer.stored_bytes, footer.raw_bytes);
  EXPECT_TRUE(ReadAll(fs) == content);
  ExpectClean(fs);
  const std::string bytes = fs.Content(kPath);
  for (int threads : {1, 2, 4}) {
    Write(fs, content, {.threads = threads});
    EXPECT_TRUE(fs.Content(kPath) == bytes) << threads << " threads";
  }
}

TEST(SnapshotTest, IncompressibleBlocksAreStoredRaw) {
  FaultFileSystem fs;
  FakeContent content;
  for (uint64_t i = 0; i < 20; ++i) content[MakeFakeKey(0, std::to_string(i))] = {.body = RandomBytes(i, 60'000)};
  const SnapshotFooter footer = Write(fs, content);
  EXPECT_EQ(footer.stored_bytes, footer.raw_bytes);
  EXPECT_EQ(ReadAll(fs), content);
}

TEST(SnapshotTest, EveryKeyIsFoundAloneWithItsValue) {
  FaultFileSystem fs;
  const FakeContent content = BigContent();
  Write(fs, content);
  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_TRUE(reader.ok());
  size_t step = 0;
  for (const auto& [key, value] : content) {
    if (value.rows.empty() && std::get<3>(key).size() < 1000 && ++step % 97 != 0) continue;
    CollectVisitor visitor;
    auto found = (*reader)->VisitKey(std::get<0>(key), std::get<3>(key), visitor);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_TRUE(*found);
    ASSERT_EQ(visitor.content().size(), 1u);
    EXPECT_TRUE(visitor.content().begin()->second == value);
  }
}

TEST(SnapshotTest, AbsentKeysAreNotFound) {
  FaultFileSystem fs;
  Write(fs, BigContent());
  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_TRUE(reader.ok());
  for (int i = 0; i < 300; ++i) {
    CollectVisitor visitor;
    auto found = (*reader)->VisitKey(i % 17, "absent:" + std::to_string(i), visitor);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_FALSE(*found);
    EXPECT_TRUE(visitor.content().empty());
  }
}

TEST(SnapshotTest, OneKeyCostsOneRead) {
  FaultFileSystem fs;
  const FakeContent content = BigContent();
  Write(fs, content);
  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_TRUE(reader.ok());
  ASSERT_GT((*reader)->footer().blocks, 15u);
  int one_read = 0;
  for (int i = 0; i < 200; ++i) {
    const uint64_t before = fs.calls(FileCall::kRead);
    CollectVisitor visitor;
    auto found = (*reader)->VisitKey(i % 3, "key:" + std::to_string(i), visitor);
    ASSERT_TRUE(found.ok() && *found);
    const uint64_t reads = fs.calls(FileCall::kRead) - before;
    // Two only when the key stands at a border of blocks.
    EXPECT_LE(reads, 2u);
    if (reads == 1) ++one_read;
  }
  EXPECT_GE(one_read, 190);
}

TEST(SnapshotTest, CancellingLeavesNothing) {
  for (int cancel_after : {0, 1, 3}) {
    FaultFileSystem fs;
    FakeStoreView view(BigContent(), SamplePosition());
    std::atomic<bool> cancelled{cancel_after == 0};
    int blocks = 0;
    auto written = WriteSnapshot(fs, kPath, SampleHeader(), view, {}, cancelled, [&](const SnapshotProgress&) {
      if (++blocks == cancel_after) cancelled = true;
    });
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::kAborted);
    auto names = fs.List("");
    ASSERT_TRUE(names.ok());
    EXPECT_TRUE(names->empty()) << names->front();
  }
}

TEST(SnapshotTest, EveryFailingCallLeavesNothingOrAFinishedFile) {
  const FakeContent content = ContentOfAllTypes();
  for (uint64_t nth = 1;; ++nth) {
    FaultFileSystem fs;
    fs.FailCall(nth, ErrorCode::kNoSpace);
    FakeStoreView view(content, SamplePosition());
    const std::atomic<bool> cancelled{false};
    auto written = WriteSnapshot(fs, kPath, SampleHeader(), view, {}, cancelled, {});
    const auto names = fs.List("");
    if (written.ok()) {
      ASSERT_GT(nth, 4u);
      ExpectClean(fs);
      break;
    }
    EXPECT_EQ(written.error().code, ErrorCode::kNoSpace);
    EXPECT_NE(written.error().message.find(kPath), std::string::npos);
    ASSERT_TRUE(names.ok());
    EXPECT_TRUE(names->empty()) << "call " << nth << " left " << names->front();
  }
}

TEST(SnapshotTest, PowerCutLeavesTheWholeFileOrNone) {
  const FakeContent content = ContentOfAllTypes();
  SeededRandom random(1);
  for (uint64_t nth = 1; nth < 40; ++nth) {
    FaultFileSystem fs;
    fs.CutPowerAtCall(nth);
    FakeStoreView view(content, SamplePosition());
    const std::atomic<bool> cancelled{false};
    const bool written = WriteSnapshot(fs, kPath, SampleHeader(), view, {}, cancelled, {}).ok();
    fs.Crash(random);
    auto exists = fs.Exists(kPath);
    ASSERT_TRUE(exists.ok());
    EXPECT_TRUE(*exists || !written);
    if (*exists) ExpectClean(fs);
  }
}

TEST(SnapshotTest, ProgressReachesTheEnd) {
  FaultFileSystem fs;
  const FakeContent content = BigContent();
  FakeStoreView view(content, SamplePosition());
  const std::atomic<bool> cancelled{false};
  SnapshotProgress last{};
  auto written = WriteSnapshot(fs, kPath, SampleHeader(), view, {}, cancelled, [&](const SnapshotProgress& progress) {
    EXPECT_GE(progress.keys_done, last.keys_done);
    EXPECT_GT(progress.stored_bytes, last.stored_bytes);
    last = progress;
  });
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(last.keys_done, content.size());
  EXPECT_EQ(last.keys_total, content.size());
  EXPECT_EQ(last.raw_bytes, written->raw_bytes);
  EXPECT_EQ(last.stored_bytes, written->stored_bytes);
}

TEST(SnapshotTest, RateIsHonoured) {
  FaultFileSystem fs;
  FakeContent content;
  for (uint64_t i = 0; i < 16; ++i) content[MakeFakeKey(0, std::to_string(i))] = {.body = RandomBytes(i, 60'000)};
  const auto start = std::chrono::steady_clock::now();
  const SnapshotFooter footer = Write(fs, content, {.bytes_per_second_max = 5'000'000});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_GE(seconds, static_cast<double>(footer.file_bytes) / 5e6 * 0.99);
}

TEST(SnapshotTest, VisitorsErrorComesBack) {
  class Refusing : public SnapshotVisitor {
   public:
    Result<void> Key(const SnapshotKey&) override { return Error{ErrorCode::kNoSpace, "full"}; }
    Result<void> Row(const SnapshotRow&) override { return {}; }
  };
  FaultFileSystem fs;
  Write(fs, ContentOfAllTypes());
  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_TRUE(reader.ok());
  Refusing visitor;
  auto visited = (*reader)->VisitAll(visitor);
  ASSERT_FALSE(visited.ok());
  EXPECT_EQ(visited.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(visited.error().message, "full");
  auto salvaged = (*reader)->VisitUndamaged(visitor, [](const SnapshotFinding&) { ADD_FAILURE(); });
  EXPECT_EQ(salvaged.error().code, ErrorCode::kNoSpace);
}

// All types, a record cut over several blocks, a key that goes on behind it, a block stored raw.
FakeContent SampleContent() {
  FakeContent content = ContentOfAllTypes();
  FakeValue hash{.type = ValueType::kHash, .body = CountBody(40)};
  for (int i = 0; i < 39; ++i) hash.rows[{'m', MemberSuffix("field" + std::to_string(i))}] = "value";
  hash.rows[{'m', MemberSuffix("long")}] = std::string(600'000, 'z');
  content[MakeFakeKey(9, "spans blocks")] = hash;
  content[MakeFakeKey(10, "raw")] = {.body = RandomBytes(1, 60)};
  return content;
}

// The file was written by the first version of the format and must be readable for ever. It may be written anew (run
// this test with HOLDFAST_WRITE_SAMPLE=1) only while no release has the format.
TEST(SnapshotTest, StoredSampleOfVersion1IsRead) {
  const std::string path = std::string(HOLDFAST_SOURCE_DIRECTORY) + "/tests/data/snapshot-version-1.hfs";
  FileSystem& fs = PosixFileSystem();
  if (std::getenv("HOLDFAST_WRITE_SAMPLE") != nullptr) {
    FakeStoreView view(SampleContent(), SamplePosition());
    const std::atomic<bool> cancelled{false};
    ASSERT_TRUE(WriteSnapshot(fs, path, SampleHeader(), view, {}, cancelled, {}).ok());
  }
  auto reader = SnapshotReader::Open(fs, path);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  EXPECT_EQ((*reader)->header().version, 1u);
  EXPECT_EQ((*reader)->header().position, SamplePosition());
  EXPECT_EQ((*reader)->header().lineage_table, SampleHeader().lineage_table);
  CollectVisitor visitor;
  auto visited = (*reader)->VisitAll(visitor);
  ASSERT_TRUE(visited.ok()) << visited.error().message;
  EXPECT_TRUE(visitor.content() == SampleContent());
}

TEST(SnapshotTest, NewerVersionIsRefusedByVersion) {
  FaultFileSystem fs;
  Write(fs, ContentOfAllTypes());
  SnapshotHeader header = SampleHeader();
  header.position = SamplePosition();
  header.databases = 16;
  header.version = kSnapshotVersion + 1;
  std::string bytes;
  snapshot_format::AppendHeader(bytes, header);
  fs.SetContent(kPath, bytes + fs.Content(kPath).substr(bytes.size()));
  auto reader = SnapshotReader::Open(fs, kPath);
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(reader.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(reader.error().message.find("version 2"), std::string::npos);
  auto verified = VerifySnapshot(fs, kPath, [](const SnapshotFinding&) {});
  ASSERT_FALSE(verified.ok());
  EXPECT_EQ(verified.error().code, ErrorCode::kUnsupported);
}

TEST(SnapshotTest, OtherFilesAreRefused) {
  FaultFileSystem fs;
  EXPECT_EQ(SnapshotReader::Open(fs, kPath).error().code, ErrorCode::kNotFound);
  Write(fs, {});
  fs.SetContent(kPath, "REDIS0011" + std::string(2000, 'x'));
  EXPECT_EQ(SnapshotReader::Open(fs, kPath).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(VerifySnapshot(fs, kPath, [](const SnapshotFinding&) {}).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace holdfast
