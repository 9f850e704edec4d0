#include "cli/tool_verify.h"

#include <gtest/gtest.h>

#include <vector>

#include "cli/tool_context.h"
#include "tests/cli/tool_test_files.h"
#include "tests/support/fault_file_system.h"
#include "wal/data_directory.h"

namespace holdfast::cli {
namespace {

using holdfast::testing::FaultFileSystem;
using holdfast::testing::RunHoldfast;
using Outcome = holdfast::testing::ToolOutcome;

std::string StoredSample() {
  auto bytes = ReadFile(PosixFileSystem(),
                        std::string(HOLDFAST_SOURCE_DIRECTORY) + "/tests/data/snapshot-version-1.hfs", 1 << 20);
  EXPECT_TRUE(bytes.ok());
  return bytes.ok() ? *bytes : "";
}

TEST(ToolVerifyTest, CleanSnapshotExitsWithZero) {
  FaultFileSystem fs;
  ASSERT_TRUE(WriteFileAtomically(fs, "s.hfs", StoredSample()).ok());
  const Outcome text = RunHoldfast(fs, {"snapshot", "verify", "s.hfs"});
  EXPECT_EQ(text.status, 0) << text.out << text.err;
  EXPECT_NE(text.out.find("s.hfs: clean: 15 keys"), std::string::npos) << text.out;
  EXPECT_EQ(text.err, "");
  const Outcome json = RunHoldfast(fs, {"snapshot", "verify", "--json", "s.hfs"});
  EXPECT_EQ(json.status, 0);
  EXPECT_NE(json.out.find("\"result\":\"clean\""), std::string::npos) << json.out;
  EXPECT_NE(json.out.find("\"offset\":123456"), std::string::npos) << json.out;
}

TEST(ToolVerifyTest, DamagedSnapshotExitsWithOneAndSaysWhere) {
  FaultFileSystem fs;
  std::string bytes = StoredSample();
  const size_t block = bytes.find("HFSB");
  bytes[block + 80] = static_cast<char>(bytes[block + 80] ^ 1);
  ASSERT_TRUE(WriteFileAtomically(fs, "s.hfs", bytes).ok());
  const Outcome text = RunHoldfast(fs, {"snapshot", "verify", "s.hfs"});
  EXPECT_EQ(text.status, 1);
  EXPECT_NE(text.out.find("s.hfs at byte " + std::to_string(block) + ": block 0"), std::string::npos) << text.out;
  const Outcome json = RunHoldfast(fs, {"snapshot", "verify", "s.hfs", "--json"});
  EXPECT_EQ(json.status, 1);
  EXPECT_NE(json.out.find("\"findings\":[{\"position\":" + std::to_string(block)), std::string::npos) << json.out;
}

// A log of a few units in data/gen-1/wal; returns its file.
std::string WriteLog(FaultFileSystem& fs) {
  EXPECT_TRUE(fs.CreateDirectory("data").ok());
  EXPECT_TRUE(fs.CreateDirectory("data/gen-1").ok());
  const std::vector<std::string> units(10, testing::Resp({"SET", "k", "1"}));
  return testing::WriteSmallLog(fs, "data/gen-1/wal", units, false);
}

TEST(ToolVerifyTest, LogIsFoundFromAnyOfItsDirectories) {
  FaultFileSystem fs;
  WriteLog(fs);
  for (const char* directory : {"data", "data/gen-1", "data/gen-1/wal"}) {
    const Outcome outcome = RunHoldfast(fs, {"log", "verify", directory});
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_NE(outcome.out.find("data/gen-1/wal: clean"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("10 units"), std::string::npos) << outcome.out;
  }
}

TEST(ToolVerifyTest, OnlyTheGenerationInForceIsChecked) {
  FaultFileSystem fs;
  SeededRandom random(1);
  {
    auto data = wal::DataDirectory::Open(fs, "data", random);
    ASSERT_TRUE(data.ok()) << data.error().message;
    ASSERT_TRUE((*data)->Commit((*data)->generation_path()).ok());
  }
  WriteLog(fs);
  ASSERT_TRUE(fs.CreateDirectory("data/gen-2").ok());
  ASSERT_TRUE(fs.CreateDirectory("data/gen-2/wal").ok());
  const Outcome good = RunHoldfast(fs, {"log", "verify", "data"});
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  EXPECT_EQ(good.out.find("gen-2"), std::string::npos) << good.out;
  fs.SetContent("data/CURRENT", "gen-1\nnonsense\n");
  const Outcome bad = RunHoldfast(fs, {"log", "verify", "data"});
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.err.find("data/CURRENT is damaged"), std::string::npos) << bad.err;
}

TEST(ToolVerifyTest, DamagedLogExitsWithOneAndSaysWhere) {
  FaultFileSystem fs;
  const std::string file = WriteLog(fs);
  std::string bytes = fs.Content(file);
  const size_t at = bytes.find("SET");  // in the first frame: later ones prove that it was durable
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 'X';
  fs.SetContent(file, bytes);
  const Outcome text = RunHoldfast(fs, {"log", "verify", "data"});
  EXPECT_EQ(text.status, 1) << text.out << text.err;
  EXPECT_NE(text.out.find(file + " at byte "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("damaged"), std::string::npos) << text.out;
  const Outcome json = RunHoldfast(fs, {"log", "verify", "data", "--json"});
  EXPECT_EQ(json.status, 1);
  EXPECT_NE(json.out.find("\"result\":\"damaged\""), std::string::npos) << json.out;
  EXPECT_NE(json.out.find("\"torn\":false"), std::string::npos) << json.out;
}

TEST(ToolVerifyTest, UnreadableFilesAndWrongUsageExitWithTwo) {
  FaultFileSystem fs;
  ASSERT_TRUE(WriteFileAtomically(fs, "text", std::string(1000, 'x')).ok());
  const Outcome missing = RunHoldfast(fs, {"snapshot", "verify", "missing.hfs"});
  EXPECT_EQ(missing.status, 2);
  EXPECT_NE(missing.err.find("missing.hfs"), std::string::npos);
  EXPECT_EQ(RunHoldfast(fs, {"snapshot", "verify", "text"}).status, 2);
  EXPECT_NE(RunHoldfast(fs, {"snapshot", "verify", "text", "--json"}).out.find("\"result\":\"unreadable\""),
            std::string::npos);
  EXPECT_EQ(RunHoldfast(fs, {"log", "verify", "missing"}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {"log"}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {"log", "verify"}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {"snapshot", "verify", "text", "--nonsense"}).status, 2);
  ASSERT_TRUE(fs.CreateDirectory("empty").ok());
  const Outcome empty = RunHoldfast(fs, {"log", "verify", "empty"});
  EXPECT_EQ(empty.status, 2);
  EXPECT_NE(empty.err.find("neither a data directory nor a log directory"), std::string::npos) << empty.err;
}

TEST(ToolVerifyTest, HelpAndVersionAreClean) {
  FaultFileSystem fs;
  const Outcome help = RunHoldfast(fs, {"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.out.find("snapshot"), std::string::npos);
  const Outcome version = RunHoldfast(fs, {"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.out, std::string("holdfast ") + HOLDFAST_VERSION + "\n");
}

TEST(ToolJsonTest, BytesThatAreNoUtf8AreKeptAsBase64) {
  EXPECT_EQ(JsonBytes("a\"\n").dump(), "\"a\\\"\\n\"");
  EXPECT_EQ(JsonBytes("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80").dump(), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(JsonBytes("\xff").dump(), "{\"base64\":\"/w==\"}");
  EXPECT_EQ(JsonBytes("\xc0\xaf").dump(), "{\"base64\":\"wK8=\"}");
  EXPECT_EQ(JsonBytes("\xed\xa0\x80").dump(), "{\"base64\":\"7aCA\"}");
}

TEST(ToolTimeTest, ZonesAndFormsAreUnderstood) {
  EXPECT_EQ(ParseTime("2026-11-22T14:32:05.250Z").value(), 1795357925250);
  EXPECT_EQ(ParseTime("2026-11-22T15:32:05.25+01:00").value(), 1795357925250);
  EXPECT_EQ(ParseTime("2026-11-22 09:32:05.250-0500").value(), 1795357925250);
  EXPECT_EQ(ParseTime("1795357925250").value(), 1795357925250);
  EXPECT_EQ(TimeText(1795357925250), "2026-11-22T14:32:05.250Z");
  EXPECT_EQ(TimeText(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_TRUE(ParseTime("2026-11-22T14:32").ok());
  for (const char* wrong : {"", "yesterday", "2026-11-31T00:00:00Z", "2026-11-22T14:32:05Zz", "2026-13-01", "14:32"}) {
    EXPECT_FALSE(ParseTime(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace holdfast::cli
