// Every byte of a small snapshot, log and store flipped, and every truncation: verify finds it, or what can be read is
// the same as before. Nothing crashes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "cli/tool_context.h"
#include "cli/tool_input.h"
#include "cli/tool_log_reader.h"
#include "cli/tool_verify.h"
#include "storage/lmdb_check.h"
#include "storage/store_builder.h"
#include "tests/cli/tool_test_files.h"
#include "tests/support/temp_directory.h"

namespace holdfast::cli {
namespace {

using testing::FaultFileSystem;
using testing::Resp;
using testing::RunHoldfast;
using testing::TempDirectory;

// Every so many bytes; HOLDFAST_DAMAGE_STEP=1 means every byte and every length, whatever the build (minutes).
size_t StepFromEnvironment() {
  if (const char* given = std::getenv("HOLDFAST_DAMAGE_STEP"); given != nullptr) return std::stoul(given);
#ifdef HOLDFAST_SANITIZED
  return 7;
#else
  return 1;
#endif
}
const size_t kStep = StepFromEnvironment();
const bool kEveryLength = std::getenv("HOLDFAST_DAMAGE_STEP") != nullptr;

TEST(ToolDamageTest, EveryFlippedByteOfASnapshotIsFound) {
  FaultFileSystem fs;
  testing::WriteSmallSnapshot(fs, "s.hfs");
  const std::string whole = fs.Content("s.hfs");
  ASSERT_EQ(RunHoldfast(fs, {"verify", "s.hfs"}).status, kToolClean);
  for (size_t i = 0; i < whole.size(); i += kStep) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    fs.SetContent("s.hfs", bytes);
    const auto outcome = RunHoldfast(fs, {"verify", "s.hfs"});
    EXPECT_NE(outcome.status, kToolClean) << "byte " << i << ": " << outcome.out;
    EXPECT_NE(RunHoldfast(fs, {"scan", "s.hfs"}).status, kToolClean) << "byte " << i;
    (void)RunHoldfast(fs, {"inspect", "--json", "s.hfs"});
  }
  for (size_t size = 0; size < whole.size(); size += kStep) {
    fs.SetContent("s.hfs", whole.substr(0, size));
    EXPECT_NE(RunHoldfast(fs, {"verify", "s.hfs"}).status, kToolClean) << "cut to " << size;
    (void)RunHoldfast(fs, {"inspect", "s.hfs"});
  }
}

TEST(ToolDamageTest, NoKeyOfADamagedSnapshotIsPrintedWrong) {
  FaultFileSystem fs;
  testing::WriteSmallSnapshot(fs, "s.hfs");
  const std::string whole = fs.Content("s.hfs");
  const std::string good = RunHoldfast(fs, {"scan", "--json", "s.hfs"}).out;
  for (size_t i = 0; i < whole.size(); i += kStep) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    fs.SetContent("s.hfs", bytes);
    std::istringstream lines(RunHoldfast(fs, {"scan", "--json", "--skip-damaged", "s.hfs"}).out);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("{\"result\"")) continue;  // could not be opened
      EXPECT_NE(good.find(line + "\n"), std::string::npos) << "byte " << i << ": " << line;
    }
  }
}

// What can be read of a log: every effect with its place, and whether verify was content.
std::string ReadableLog(FileSystem& fs, const std::string& directory) {
  std::string text;
  auto log = LogReader::Open(fs, {InputKind::kLogDirectory, directory, "", directory, {}}, false);
  if (!log.ok()) return log.error().message;
  UnitReader units(**log);
  while (true) {
    const auto next = units.Next();
    if (!next.ok()) return text + next.error().message;
    if (!*next) return text;
    if ((*next)->kind != wal::FrameKind::kData) continue;
    text +=
        std::to_string((*next)->offset) + " " + std::to_string((*next)->time_ms) + " " + std::string((*next)->bytes);
  }
}

TEST(ToolDamageTest, EveryFlippedByteOfALogIsFoundOrMeansNothing) {
  FaultFileSystem fs;
  std::vector<std::string> units;
  for (int i = 0; i < 5; ++i) units.push_back(Resp({"SET", "key" + std::to_string(i), "value"}));
  const std::string file = testing::WriteSmallLog(fs, "wal", units);
  // Behind the frames are zeros, a megabyte of them: the first ones stand for all.
  const std::string zero_filled = fs.Content(file);
  const std::string whole = zero_filled.substr(0, zero_filled.find_last_not_of('\0') + 200);
  fs.SetContent(file, whole);
  const std::string good = ReadableLog(fs, "wal");
  ASSERT_NE(good.find("key4"), std::string::npos);
  ASSERT_EQ(RunHoldfast(fs, {"verify", "wal"}).status, kToolClean);
  for (size_t i = 0; i < whole.size(); i += kStep) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    fs.SetContent(file, bytes);
    const auto outcome = RunHoldfast(fs, {"verify", "wal"});
    if (outcome.status != kToolClean) continue;
    // Only what no surviving byte proves may be called torn: the mark behind the last unit.
    EXPECT_EQ(ReadableLog(fs, "wal"), good) << "byte " << i << ": " << outcome.out;
  }
  for (size_t size = 0; size < whole.size(); size += kStep) {
    fs.SetContent(file, whole.substr(0, size));
    const auto outcome = RunHoldfast(fs, {"verify", "wal"});
    if (outcome.status != kToolClean) continue;
    const std::string readable = ReadableLog(fs, "wal");
    EXPECT_EQ(good.substr(0, readable.size()), readable) << "cut to " << size;
  }
}

// All rows of an LMDB file, or "" if damage was told.
std::string RowsOf(FileSystem& fs, const std::string& path, std::string* damage) {
  std::string rows;
  LmdbWalkVisitor visitor;
  visitor.row = [&](LmdbTable table, std::string_view key, std::string_view value, uint64_t) -> Result<void> {
    rows += std::to_string(static_cast<int>(table)) + std::to_string(key.size()) + "." + std::to_string(value.size());
    rows += std::string(key) + std::string(value);
    return {};
  };
  visitor.damage = [&](const LmdbFinding& finding) { *damage += finding.message + "\n"; };
  const auto walked = WalkLmdbFile(fs, path, visitor);
  if (!walked.ok()) *damage += walked.error().message;
  return rows;
}

class StoreDamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    StoreOptions options;
    options.directory = directory_.File("gen-1");
    options.map_bytes = 1 << 30;
    options.fs = &PosixFileSystem();
    auto builder = StoreBuilder::Create(options);
    ASSERT_TRUE(builder.ok()) << builder.error().message;
    const KeyValue string{ValueType::kString, false, kNoExpiry, "value"};
    for (int i = 0; i < 60; ++i) ASSERT_TRUE((*builder)->AddKey(0, "key" + std::to_string(i), string).ok());
    const KeyValue expiring{ValueType::kString, false, 4'000'000'000'000, "v"};
    ASSERT_TRUE((*builder)->AddKey(1, "expiring", expiring).ok());
    const std::string large(9000, 'x');  // on pages of its own
    ASSERT_TRUE((*builder)->AddKey(0, "large", {ValueType::kString, false, kNoExpiry, large}).ok());
    ASSERT_TRUE((*builder)->Finish(testing::SmallPosition()).ok());
    auto bytes = ReadFile(PosixFileSystem(), directory_.File("gen-1/lmdb/data.mdb"), 1 << 24);
    ASSERT_TRUE(bytes.ok());
    whole_ = *bytes;
    ASSERT_TRUE(fs_.CreateDirectory("lmdb").ok());
    ASSERT_TRUE(WriteFileAtomically(fs_, "lmdb/data.mdb", whole_).ok());
  }

  TempDirectory directory_;
  FaultFileSystem fs_;
  std::string whole_;
};

TEST_F(StoreDamageTest, EveryFlippedByteOfAStoreIsFoundOrMeansNothing) {
  std::string damage;
  const std::string good = RowsOf(fs_, "lmdb/data.mdb", &damage);
  ASSERT_EQ(damage, "");
  ASSERT_NE(good.find("key42"), std::string::npos);
  size_t found = 0;
  for (size_t i = 0; i < whole_.size(); i += kStep) {
    std::string bytes = whole_;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    fs_.SetContent("lmdb/data.mdb", bytes);
    damage.clear();
    const std::string rows = RowsOf(fs_, "lmdb/data.mdb", &damage);
    if (damage.empty()) {
      ASSERT_EQ(rows, good) << "byte " << i;
    } else {
      ++found;
    }
  }
  EXPECT_GT(found, 10'000 / kStep);  // the large value alone
  for (size_t size = 0; size < whole_.size(); size += kEveryLength ? kStep : 61 * kStep) {
    fs_.SetContent("lmdb/data.mdb", whole_.substr(0, size));
    damage.clear();
    const std::string rows = RowsOf(fs_, "lmdb/data.mdb", &damage);
    if (damage.empty()) {
      ASSERT_EQ(rows, good) << "cut to " << size;
    }
  }
}

// The same through the commands that read with LMDB: they say that something is damaged, or give what they gave before.
TEST_F(StoreDamageTest, NoDamagedPageIsReadThroughLmdb) {
  const std::string generation = directory_.File("gen-1");
  const std::string file = generation + "/lmdb/data.mdb";
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(generation + "/wal").ok());
  const auto scan = [&] { return RunHoldfast(PosixFileSystem(), {"scan", "--json", generation}); };
  const auto good = scan();
  ASSERT_EQ(good.status, kToolClean) << good.err;
  size_t found = 0;
  // Page headers, offsets of nodes and heads of nodes are at the beginning of a page and where its nodes begin.
  for (size_t i = 0; i < whole_.size(); i += i % 4096 < 400 ? 11 * kStep : 193 * kStep) {
    std::string bytes = whole_;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    std::ofstream(file, std::ios::binary) << bytes;
    const auto outcome = scan();
    if (outcome.status != kToolClean) {
      ++found;
      continue;
    }
    ASSERT_EQ(outcome.out, good.out) << "byte " << i;
  }
  EXPECT_GT(found, 50 / kStep);
}

// `get` looks only at the pages it needs: what it prints is what was there, and "no key" is said of no key that was.
TEST_F(StoreDamageTest, NoDamagedPageMakesGetSayWhatIsNotSo) {
  const std::string generation = directory_.File("gen-1");
  const std::string file = generation + "/lmdb/data.mdb";
  ASSERT_TRUE(PosixFileSystem().CreateDirectory(generation + "/wal").ok());
  const auto get = [&] {
    return RunHoldfast(PosixFileSystem(), {"get", "--json", generation, "key7", "key42", "large"});
  };
  const auto good = get();
  ASSERT_EQ(good.status, kToolClean) << good.err;
  const auto absent = RunHoldfast(PosixFileSystem(), {"get", generation, "key60"});
  ASSERT_EQ(absent.status, kToolDamage);
  ASSERT_NE(absent.err.find("no key \"key60\""), std::string::npos) << absent.err;
  size_t found = 0;
  for (size_t i = 0; i < whole_.size(); i += i % 4096 < 400 ? 13 * kStep : 211 * kStep) {
    std::string bytes = whole_;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    std::ofstream(file, std::ios::binary) << bytes;
    const auto outcome = get();
    EXPECT_EQ(outcome.err.find("no key"), std::string::npos) << "byte " << i << ": " << outcome.err;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("{\"result\"")) continue;
      ASSERT_NE(good.out.find(line + "\n"), std::string::npos) << "byte " << i << ": " << line;
    }
    found += outcome.status != kToolClean;
  }
  EXPECT_GT(found, 20 / kStep);
}

TEST_F(StoreDamageTest, VerifyOfAGoodStoreIsClean) {
  const std::string log = directory_.File("gen-1/wal");
  const ToolContext tool{PosixFileSystem(), {std::cout, std::cerr}};
  const auto part = VerifyLmdb(tool, directory_.File("gen-1"), false);
  ASSERT_TRUE(part.ok()) << part.error().message;
  EXPECT_STREQ(part->verdict(), "clean") << (part->findings.empty() ? "" : part->findings.front().message);
  EXPECT_EQ(part->facts["keys"], 62);
}

}  // namespace
}  // namespace holdfast::cli
